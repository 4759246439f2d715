"""Removes steps of the exporter that only change shapes; results stay the same to the last bit.

A network is written for windows of frames, and a bundle makes one step. So the exporter adds the
window's dimension and takes it away again, and ONNX Runtime copies the frame each time. It also
takes one value of a dimension in two steps, or out of a stack of one, and a small network's time is
the number of its steps.
"""

from __future__ import annotations

import numpy as np
import onnx

from model_export.export.onnx_graph import Graph

_VIEWS = frozenset({"Unsqueeze", "Squeeze", "Reshape"})


def simplify(model: onnx.ModelProto) -> None:
    """Drop reshapes of reshapes, those to the shape that is there, and stacks of one.

    Single values are gathered.
    The model is changed in place.
    """
    graph = Graph(model)
    for node in graph.nodes:
        if node.op_type == "Squeeze":
            _gather(graph, node)
    for node in graph.nodes:
        if node.op_type == "Gather":
            _take_apart(graph, node)
    shapes = _shapes(model)
    for node in graph.nodes:
        if node.op_type != "Reshape" or not _is_plain(graph, node):
            continue
        node.input[0] = _source(graph, node.input[0])
        if shapes.get(node.input[0]) == graph.constant(node.input[1]).tolist():
            _bypass(graph, node, node.input[0])
    graph.drop_unused_nodes()
    graph.drop_unused_constants()


def _gather(graph: Graph, squeeze: onnx.NodeProto) -> None:
    """Make a slice of one value and the squeeze of its dimension one step."""
    cut = graph.maker(squeeze.input[0])
    if cut is None or cut.op_type != "Slice":
        return
    where = (*cut.input[1:], *squeeze.input[1:])
    if not all(map(graph.is_constant, where)):
        return
    match [graph.constant(name).tolist() for name in where]:
        case [[at], [end], [axis], *step, [dropped]] if (
            0 <= at == end - 1 and axis == dropped and step in ([], [[1]])
        ):
            index = f"index_{at}"
            graph.store(index, np.array(at, np.int64))
            inputs = [cut.input[0], index]
            squeeze.CopyFrom(
                onnx.helper.make_node("Gather", inputs, squeeze.output, squeeze.name, axis=axis)
            )


def _take_apart(graph: Graph, gather: onnx.NodeProto) -> None:
    """Read the one thing that was stacked in place of taking it out of the stack again."""
    stack = graph.maker(gather.input[0])
    if stack is None or stack.op_type != "Unsqueeze":
        return
    (axis,) = (item.i for item in gather.attribute if item.name == "axis")
    where = stack.input[1], gather.input[1]
    if all(map(graph.is_constant, where)) and axis > 0:
        axes, index = (graph.constant(name).tolist() for name in where)
        if axes == [axis] and index in (0, -1):
            _bypass(graph, gather, stack.input[0])


def _shapes(model: onnx.ModelProto) -> dict[str, list[int]]:
    """Return the shapes that are known but for the batch, which is -1, as a reshape's is."""
    inferred = onnx.shape_inference.infer_shapes(model).graph
    found = {}
    for value in (*inferred.input, *inferred.value_info):
        sizes = value.type.tensor_type.shape.dim
        if sizes and not sizes[0].HasField("dim_value"):
            found[value.name] = [-1, *(size.dim_value for size in sizes[1:])]
    return found


def _is_plain(graph: Graph, node: onnx.NodeProto) -> bool:
    """Whether a reshape says all sizes but the first, so that it can be applied to any view."""
    if not graph.is_constant(node.input[1]):
        return False
    first, *others = graph.constant(node.input[1]).tolist()
    return first == -1 and all(size > 0 for size in others)


def _source(graph: Graph, tensor: str) -> str:
    """Return the tensor of which this one is a view."""
    maker = graph.maker(tensor)
    while maker is not None and maker.op_type in _VIEWS:
        tensor = maker.input[0]
        maker = graph.maker(tensor)
    return tensor


def _bypass(graph: Graph, node: onnx.NodeProto, source: str) -> None:
    """Let the users of a node's output read its source; outputs of the graph stay."""
    for user in graph.users(node.output[0]):
        names = [source if name == node.output[0] else name for name in user.input]
        user.input[:] = names
