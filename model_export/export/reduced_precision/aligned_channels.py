"""Channels in multiples of 8, as ONNX Runtime's 8-bit convolutions take them, by adding zeros.

PilotNet has a layer of 36. Without the 8-bit convolution it is unrolled into a matrix first.
"""

from __future__ import annotations

import numpy as np
import onnx

from model_export.export.onnx_graph import Graph, attributes

_ALIGNED = 8
_LEAST = 16
"""Fewer channels are never given to those kernels."""
_ACTIVATIONS = frozenset({"Relu", "Clip"})
"""Each keeps a zero."""


def align(model: onnx.ModelProto) -> None:
    """Pad, in place, every layer that is read by one convolution alone; results stay as they are.

    The added channels are zero, and the next layer has zeros where it reads them.
    """
    graph = Graph(model)
    for layer in graph.nodes:
        follower = _follower(graph, layer)
        if follower is None:
            continue
        channels = graph.constant(layer.input[1]).shape[0]
        missing = -channels % _ALIGNED
        if channels >= _LEAST and missing:
            _pad(graph, layer.input[1], 0, missing)
            _pad(graph, layer.input[2], 0, missing)
            _pad(graph, follower.input[1], 1, missing)
    # What was inferred of the old widths is no longer true.
    del model.graph.value_info[:]


def _follower(graph: Graph, layer: onnx.NodeProto) -> onnx.NodeProto | None:
    """Return the convolution that alone reads a convolution's activation, if it is so."""
    if not _is_whole(graph, layer):
        return None
    users = graph.users(layer.output[0])
    if len(users) == 1 and users[0].op_type in _ACTIVATIONS:
        users = graph.users(users[0].output[0])
    return users[0] if len(users) == 1 and _is_whole(graph, users[0]) else None


def _is_whole(graph: Graph, node: onnx.NodeProto) -> bool:
    """Whether a node is a convolution over all channels at once, with a bias."""
    whole = node.op_type == "Conv" and len(node.input) == 3 and graph.is_weighted(node)
    return whole and attributes(node).get("group", 1) == 1


def _pad(graph: Graph, tensor: str, axis: int, missing: int) -> None:
    values = graph.constant(tensor)
    widths = [(0, missing if at == axis else 0) for at in range(values.ndim)]
    graph.store(tensor, np.pad(values, widths))
