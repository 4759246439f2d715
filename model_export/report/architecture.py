"""Reads the architecture of a bundle from its graph: blocks, their layers, their connections.

A block is a module of the network, by the first part of its weights' names. Modules that are alike,
the same part of each of several members, are one block. A node without weights belongs to
the connection between two blocks.
"""

from __future__ import annotations

import itertools
import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy.typing as npt
import onnx
from onnx import TensorProto

from model_export.evaluation.bundle_runner import BundleRunner
from steerstream_bundle.contract import Contract

Shape = tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Layer:
    """One operator with weights: what it does, and the shape that it gives."""

    what: str
    shape: Shape


@dataclass(frozen=True, slots=True)
class Memory:
    """A state tensor, by its name and shape."""

    name: str
    shape: Shape


@dataclass(frozen=True, slots=True, kw_only=True)
class Block:
    """One module of the network.

    Attributes:
        name: the first part of its weights' names.
        copies: how many modules it stands for, which are alike; usually 1.
        weights: how many numbers they hold.
        layers: of one of them, in the order of the graph.
        feeds: names of the blocks that feed it; empty where the frame alone does.
        memories: the state tensors that it writes.
    """

    name: str
    copies: int
    weights: int
    layers: tuple[Layer, ...]
    feeds: tuple[str, ...]
    memories: tuple[Memory, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Architecture:
    """A bundle's contract and its blocks, in the order of the graph.

    Attributes:
        last: names of the blocks that the outputs come from.
    """

    contract: Contract
    blocks: tuple[Block, ...]
    last: tuple[str, ...]

    @property
    def weights(self) -> int:
        """How many numbers all blocks hold."""
        return sum(block.weights for block in self.blocks)


def read(path: Path) -> Architecture:
    """Read a bundle's blocks.

    Raises:
        BundleError: the file is missing, damaged, or has no valid contract.
    """
    contract = BundleRunner(path).contract
    model = onnx.shape_inference.infer_shapes(onnx.load(path), data_prop=True)
    return _Reader(model.graph, contract).architecture()


class _Reader:
    """One graph, looked at from its outputs back."""

    def __init__(self, graph: onnx.GraphProto, contract: Contract) -> None:
        self._contract = contract
        self._nodes = list(graph.node)
        self._weights = {item.name: item for item in graph.initializer}
        self._shapes = {
            value.name: tuple(dim.dim_value for dim in value.type.tensor_type.shape.dim[1:])
            for value in itertools.chain(graph.value_info, graph.output)
        }
        self._makers = {name: node for node in self._nodes for name in node.output}
        self._block_of = self._assigned()

    def architecture(self) -> Architecture:
        names = dict.fromkeys(name for node in self._nodes if (name := self._name(node)))
        return Architecture(
            contract=self._contract,
            blocks=tuple(self._block(name) for name in names),
            last=self._sources(value.name for value in self._contract.values),
        )

    def _assigned(self) -> Mapping[str, str]:
        """Return each weighted node's block, by the node's first output."""
        found: dict[str, str] = {}
        for node in self._nodes:
            names = [self._module(name) for name in node.input if name in self._weights]
            if name := next(filter(None, names), ""):
                found[node.output[0]] = name
        for node in self._nodes:
            if node.output[0] not in found and any(map(self._is_nameless, node.input)):
                # The exporter has replaced the weight; the bias after it kept its name.
                after = next(other for other in self._nodes if node.output[0] in other.input)
                found[node.output[0]] = found.get(after.output[0], "")
        return found

    def _module(self, weight: str) -> str:
        """Return the module that a weight's name begins with, or nothing for other constants."""
        own = _MEMBER.sub("", weight)
        return own.partition(".")[0].strip("_") if "." in own else ""

    def _is_nameless(self, name: str) -> bool:
        found = self._weights.get(name)
        return (
            found is not None
            and len(found.dims) > 1
            and found.data_type == TensorProto.FLOAT
            and not self._module(name)
        )

    def _name(self, node: onnx.NodeProto) -> str:
        return self._block_of.get(node.output[0], "")

    def _block(self, name: str) -> Block:
        nodes = [node for node in self._nodes if self._name(node) == name]
        weights = {found for node in nodes for found in node.input if found in self._weights}
        copies = len({found[1] for name in weights if (found := _MEMBER.match(name))}) or 1
        layers = [self._layer(node) for node in nodes if _KINDS.get(node.op_type)]
        feeding = [found for node in nodes for found in self._sources(node.input)]
        states = {pair.input: pair for pair in self._contract.state}
        return Block(
            name=name,
            copies=copies,
            weights=sum(self._count(found) for found in weights),
            # The graph computes one member after the other.
            layers=tuple(layers[: len(layers) // copies]),
            feeds=tuple(dict.fromkeys(found for found in feeding if found != name)),
            memories=tuple(
                Memory(key, pair.shape)
                for key, pair in states.items()
                if name in self._sources([pair.output])
            ),
        )

    def _count(self, weight: str) -> int:
        item = self._weights[weight]
        return math.prod(item.dims) if item.data_type == TensorProto.FLOAT else 0

    def _layer(self, node: onnx.NodeProto) -> Layer:
        what = _KINDS[node.op_type]
        if node.op_type == "Conv":
            kernel = self._weights[node.input[1]].dims[2:]
            strides = next((item.ints for item in node.attribute if item.name == "strides"), [1])
            what = f"{what} {'x'.join(map(str, kernel))}"
            what += f" / {max(strides)}" if max(strides) > 1 else ""
        return Layer(what, self._shapes.get(node.output[0], ()))

    def _sources(self, tensors: Iterable[str]) -> tuple[str, ...]:
        """Return the blocks that tensors come from, through nodes that are part of none."""
        found: dict[str, None] = {}
        waiting, seen = list(tensors), set[str]()
        while waiting:
            tensor = waiting.pop(0)
            node = self._makers.get(tensor)
            if node is None or tensor in seen:
                continue
            seen.add(tensor)
            if name := self._name(node):
                found[name] = None
            else:
                waiting += self._inputs(node, tensor)
        return tuple(found)

    def _inputs(self, node: onnx.NodeProto, tensor: str) -> Iterable[str]:
        """Return a node's inputs; of a part of a concatenation only what that lets through."""
        parts = node.op_type in ("Slice", "Split")
        joined = self._makers.get(node.input[0]) if parts else None
        if joined is None or joined.op_type != "Concat":
            return node.input
        start, end, axis = self._part(node, tensor)
        sizes = [self._shapes[name] for name in joined.input]
        if axis != joined.attribute[0].i % (len(sizes[0]) + 1):
            return node.input
        edges = [0, *itertools.accumulate(size[axis - 1] for size in sizes)]
        pairs = zip(joined.input, itertools.pairwise(edges), strict=True)
        return [name for name, (low, high) in pairs if low < end and start < high]

    def _part(self, node: onnx.NodeProto, tensor: str) -> tuple[int, int, int]:
        """Return from where to where, along which axis, a tensor is part of its node's input."""
        if node.op_type == "Slice":
            start, end, axis = (self._constant(name).item() for name in node.input[1:4])
            return start, end, axis
        edges = [0, *itertools.accumulate(self._constant(node.input[1]).tolist())]
        at = list(node.output).index(tensor)
        return edges[at], edges[at + 1], node.attribute[0].i

    def _constant(self, name: str) -> npt.NDArray[Any]:
        return onnx.numpy_helper.to_array(self._weights[name])


_KINDS = {
    "Conv": "convolution",
    "Gemm": "dense",
    "MatMul": "dense",
    "LayerNormalization": "layer norm",
    "LSTM": "LSTM",
}
"""Operators that are shown as layers."""

_MEMBER = re.compile(r"^(?:\w+\.)*each\.(\d+)\.")
"""How the weights' names of one of several members begin."""
