"""Shapes that are there already are not made again; every other node stays."""

from __future__ import annotations

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper

from model_export.export.simplify import simplify


def model(shape: list[int]) -> onnx.ModelProto:
    """A frame [N, 2, 3] gets a dimension, is reshaped, and is squared."""
    nodes = [
        helper.make_node("Unsqueeze", ["x", "axis"], ["a"], "first"),
        helper.make_node("Reshape", ["a", "shape"], ["b"], "second"),
        helper.make_node("Mul", ["b", "b"], ["y"], "third"),
    ]
    stored = {"axis": np.array([1], np.int64), "shape": np.array(shape, np.int64)}
    graph = helper.make_graph(
        nodes,
        "graph",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", 2, 3])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
        [numpy_helper.from_array(values, name) for name, values in stored.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)


def operators(found: onnx.ModelProto) -> list[str]:
    return [node.op_type for node in found.graph.node]


def squared(found: onnx.ModelProto) -> np.ndarray:
    session = onnxruntime.InferenceSession(found.SerializeToString())
    return session.run(None, {"x": np.arange(12, dtype=np.float32).reshape(2, 2, 3)})[0]


def test_a_dimension_that_comes_and_goes_is_dropped():
    before, after = model([-1, 2, 3]), model([-1, 2, 3])
    simplify(after)
    assert operators(after) == ["Mul"]
    assert [item.name for item in after.graph.initializer] == []
    np.testing.assert_array_equal(squared(after), squared(before))


def test_another_shape_is_made_in_one_step():
    before, after = model([-1, 6]), model([-1, 6])
    simplify(after)
    assert operators(after) == ["Reshape", "Mul"]
    np.testing.assert_array_equal(squared(after), squared(before))


def test_a_reshape_over_the_batch_is_left_alone():
    before, after = model([4, -1]), model([4, -1])
    simplify(after)
    assert operators(after) == operators(before)
    np.testing.assert_array_equal(squared(after), squared(before))
