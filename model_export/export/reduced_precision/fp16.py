"""FP16 for GPUs: the network computes in half precision between its border, heads and cells."""

from __future__ import annotations

import copy

import numpy as np
import onnx
from onnx import TensorProto, helper

from model_export.export.onnx_graph import Graph, set_attribute
from steerstream_bundle.contract import Contract

_VIEWS = frozenset({"Cast", "Reshape", "Slice", "Transpose", "Unsqueeze", "Squeeze"})
"""Operators allowed between the pixels, which FP16 holds exactly, and the first weights."""


def to_fp16(model: onnx.ModelProto, contract: Contract) -> onnx.ModelProto:
    """Return a copy whose weights, but for heads and recurrent cells, are FP16.

    FP16 is what lies between such weights, too, and what brings the pixels to them. The rest stays
    FP32: sums of squares, as a correlation has them, would overflow FP16. Inputs and outputs are as
    they were. ONNX Runtime's own converter is not used, because it rounds what it leaves in FP32 to
    FP16 between any two nodes, states and outputs included.
    """
    converted = onnx.shape_inference.infer_shapes(copy.deepcopy(model))
    graph = Graph(converted)
    chosen = graph.reducible(contract)
    half = (_after(graph, chosen) & _before(graph, chosen)) | {node.name for node in chosen}
    half |= _views_of_pixels(graph, contract.frame.tensor, chosen)
    _Border(graph, half - graph.exact_nodes(contract)).draw()
    onnx.checker.check_model(converted, full_check=True)
    return converted


class _Border:
    """Puts some nodes into FP16, with one cast for each tensor that crosses the border.

    Args:
        graph: with inferred types; changed in place.
        half: names of the nodes that compute in FP16.
    """

    def __init__(self, graph: Graph, half: set[str]) -> None:
        self._graph = graph
        self._half = half
        self._outputs = {value.name for value in graph.model.graph.output}
        values = (
            *graph.model.graph.value_info,
            *graph.model.graph.input,
            *graph.model.graph.output,
        )
        self._floats = {
            value.name for value in values if value.type.tensor_type.elem_type == TensorProto.FLOAT
        }
        self._names: dict[tuple[str, bool], str] = {}
        self._nodes: list[onnx.NodeProto] = []

    def draw(self) -> None:
        """Rewrite the graph."""
        for node in self._graph.nodes:
            inside = node.name in self._half
            node.input[:] = [self._as(tensor, half=inside) for tensor in node.input]
            self._nodes.append(node)
            if inside:
                self._make_half(node)
        self._graph.replace(self._nodes)
        self._graph.drop_unused_constants()

    def _as(self, tensor: str, *, half: bool) -> str:
        """Return the name under which a tensor can be read in one of the two precisions."""
        if (tensor, half) in self._names:
            return self._names[tensor, half]
        if self._graph.is_constant(tensor):
            values = self._graph.constant(tensor)
            if not half or values.dtype != np.float32:
                return tensor
            self._names[tensor, half] = f"{tensor}_fp16"
            self._graph.store(f"{tensor}_fp16", values.astype(np.float16))
        elif tensor not in self._floats or (not half and (tensor, True) not in self._names):
            return tensor
        else:
            self._cast(self._names.get((tensor, not half), tensor), tensor, half=half)
        return self._names[tensor, half]

    def _make_half(self, node: onnx.NodeProto) -> None:
        for at, tensor in enumerate(node.output):
            if tensor in self._floats:
                node.output[at] = self._names[tensor, True] = f"{tensor}_fp16"
                if tensor in self._outputs:
                    self._cast(f"{tensor}_fp16", tensor, half=False, name=tensor)
        if node.op_type == "Cast":
            set_attribute(node, "to", TensorProto.FLOAT16)

    def _cast(self, source: str, tensor: str, *, half: bool, name: str = "") -> None:
        target = name or f"{tensor}_{'fp16' if half else 'fp32'}"
        kind = TensorProto.FLOAT16 if half else TensorProto.FLOAT
        self._nodes.append(helper.make_node("Cast", [source], [target], f"cast_{target}", to=kind))
        self._names[tensor, half] = target


def _after(graph: Graph, nodes: list[onnx.NodeProto]) -> set[str]:
    """Return the names of these nodes and of all that depend on them."""
    tensors: set[str] = set()
    found = {node.name for node in nodes}
    for node in graph.nodes:
        if node.name in found or tensors.intersection(node.input):
            found.add(node.name)
            tensors.update(node.output)
    return found


def _before(graph: Graph, nodes: list[onnx.NodeProto]) -> set[str]:
    """Return the names of these nodes and of all that they depend on."""
    tensors: set[str] = set()
    found = {node.name for node in nodes}
    for node in reversed(graph.nodes):
        if node.name in found or tensors.intersection(node.output):
            found.add(node.name)
            tensors.update(node.input)
    return found


def _views_of_pixels(graph: Graph, frame: str, chosen: list[onnx.NodeProto]) -> set[str]:
    """Return the names of the nodes that bring the pixels, unchanged, to chosen weights."""
    found: set[str] = set()
    for first in graph.users(frame):
        views: set[str] = set()
        for node in graph.line(first):
            if node in chosen:
                found |= views
            if node.op_type not in _VIEWS:
                break
            views.add(node.name)
    return found
