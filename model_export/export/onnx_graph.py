"""Reading and changing ONNX graphs: constants, the maker of a tensor, what has to stay exact."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
from onnx import numpy_helper

from steerstream_bundle.contract import METADATA_KEY, Contract, StateKind

WEIGHTED = frozenset({"Conv", "Gemm", "MatMul"})
"""Operators with weights: where a network's time and size are."""

_EXACT_STATE = frozenset({StateKind.RECURRENT, StateKind.FEEDBACK})


class Graph:
    """A model's graph, indexed by name.

    Args:
        model: read and changed in place.
    """

    def __init__(self, model: onnx.ModelProto) -> None:
        self.model = model
        self._constants = {item.name: item for item in model.graph.initializer}

    @property
    def nodes(self) -> list[onnx.NodeProto]:
        """The nodes in the order in which they run."""
        return list(self.model.graph.node)

    def maker(self, tensor: str) -> onnx.NodeProto | None:
        """Return the node that makes a tensor; None for inputs and constants."""
        return next((node for node in self.nodes if tensor in node.output), None)

    def users(self, tensor: str) -> list[onnx.NodeProto]:
        """Return the nodes that read a tensor."""
        return [node for node in self.nodes if tensor in node.input]

    def line(self, node: onnx.NodeProto) -> Iterator[onnx.NodeProto]:
        """Yield a node and those after it for as long as each is read by one node alone."""
        following = [node]
        while len(following) == 1:
            yield following[0]
            following = self.users(following[0].output[0])

    def is_constant(self, tensor: str) -> bool:
        """Whether a tensor is stored in the file."""
        return tensor in self._constants

    def constant(self, tensor: str) -> npt.NDArray[Any]:
        """Return a stored tensor."""
        return np.array(numpy_helper.to_array(self._constants[tensor]))

    def store(self, tensor: str, values: npt.NDArray[Any]) -> None:
        """Add or replace a stored tensor."""
        if tensor not in self._constants:
            self._constants[tensor] = self.model.graph.initializer.add()
        self._constants[tensor].CopyFrom(numpy_helper.from_array(values, tensor))

    def replace(self, nodes: Iterable[onnx.NodeProto]) -> None:
        """Set all nodes, in the order in which they run."""
        kept = list(nodes)
        del self.model.graph.node[:]
        self.model.graph.node.extend(kept)
        # What was inferred of the old graph's shapes may no longer be true.
        del self.model.graph.value_info[:]

    def drop_unused_nodes(self) -> None:
        """Forget nodes that no output depends on."""
        read = {value.name for value in self.model.graph.output}
        kept = []
        for node in reversed(self.nodes):
            if read.intersection(node.output):
                kept.append(node)
                read.update(node.input)
        self.replace(reversed(kept))

    def drop_unused_constants(self) -> None:
        """Forget stored tensors that no node reads."""
        read = {tensor for node in self.nodes for tensor in node.input}
        kept = [item for item in self.model.graph.initializer if item.name in read]
        del self.model.graph.initializer[:]
        self.model.graph.initializer.extend(kept)
        self._constants = {item.name: item for item in self.model.graph.initializer}

    def is_weighted(self, node: onnx.NodeProto) -> bool:
        """Whether a node multiplies with stored weights."""
        return node.op_type in WEIGHTED and self.is_constant(node.input[1])

    def exact_nodes(self, contract: Contract) -> set[str]:
        """Return the names of the nodes that always stay FP32: heads and recurrent cells.

        They are those between the last weights and an output, these weights included. They take
        little time, their results leave the network or stay in it for many frames, and outputs in
        SI units need more digits than FP16 has.
        """
        ends = [value.name for value in contract.values]
        ends += [pair.output for pair in contract.state if pair.kind in _EXACT_STATE]
        return {node.name for node in self._back_to_weights(ends)}

    def reducible(self, contract: Contract) -> list[onnx.NodeProto]:
        """Return the nodes whose weights may be computed with fewer digits, in their order."""
        exact = self.exact_nodes(contract)
        weighted = (node for node in self.nodes if self.is_weighted(node))
        return [node for node in weighted if node.name not in exact and not self._is_filter(node)]

    def _is_filter(self, node: onnx.NodeProto) -> bool:
        """Whether a node filters one channel, as a blur does: little work on exact pixels."""
        weights = self.constant(node.input[1])
        plane = node.op_type == "Conv" and weights.shape[:2] == (1, 1)
        return plane and attributes(node).get("group", 1) == 1

    def _back_to_weights(self, tensors: list[str]) -> Iterator[onnx.NodeProto]:
        seen: set[str] = set()
        while tensors:
            node = self.maker(tensors.pop())
            if node is None or node.name in seen:
                continue
            seen.add(node.name)
            yield node
            if not self.is_weighted(node):
                tensors.extend(node.input)


def attributes(node: onnx.NodeProto) -> dict[str, Any]:
    """Return a node's attributes by name."""
    return {item.name: onnx.helper.get_attribute_value(item) for item in node.attribute}


def set_attribute(node: onnx.NodeProto, name: str, value: object) -> None:
    """Add or replace one of a node's attributes.

    Args:
        node: changed in place.
        name: of the attribute.
        value: of a type that ONNX has.
    """
    kept = [item for item in node.attribute if item.name != name]
    del node.attribute[:]
    node.attribute.extend([*kept, onnx.helper.make_attribute(name, value)])


def set_contract(model: onnx.ModelProto, contract: Contract) -> None:
    """Write a contract into a model's metadata."""
    onnx.helper.set_model_props(model, {METADATA_KEY: contract.to_json()})
