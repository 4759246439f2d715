"""Shapes that are there already are not made again; every other node stays."""

from __future__ import annotations

import numpy as np
import onnx
import onnxruntime
import pytest
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


def outcome(found: onnx.ModelProto) -> np.ndarray:
    session = onnxruntime.InferenceSession(found.SerializeToString())
    return session.run(None, {"x": np.arange(12, dtype=np.float32).reshape(2, 2, 3)})[0]


def test_a_dimension_that_comes_and_goes_is_dropped():
    before, after = model([-1, 2, 3]), model([-1, 2, 3])
    simplify(after)
    assert operators(after) == ["Mul"]
    assert [item.name for item in after.graph.initializer] == []
    np.testing.assert_array_equal(outcome(after), outcome(before))


def test_another_shape_is_made_in_one_step():
    before, after = model([-1, 6]), model([-1, 6])
    simplify(after)
    assert operators(after) == ["Reshape", "Mul"]
    np.testing.assert_array_equal(outcome(after), outcome(before))


def test_a_reshape_over_the_batch_is_left_alone():
    before, after = model([4, -1]), model([4, -1])
    simplify(after)
    assert operators(after) == operators(before)
    np.testing.assert_array_equal(outcome(after), outcome(before))


def one_of(start: int, end: int, dropped: int) -> onnx.ModelProto:
    """Columns of a frame [N, 2, 3] are cut out, and a dimension is dropped."""
    nodes = [
        helper.make_node("Slice", ["x", "start", "end", "axis"], ["a"], "first"),
        helper.make_node("Squeeze", ["a", "dropped"], ["y"], "second"),
    ]
    stored = {"start": start, "end": end, "axis": 2, "dropped": dropped}
    graph = helper.make_graph(
        nodes,
        "graph",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", 2, 3])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
        [numpy_helper.from_array(np.array([at], np.int64), name) for name, at in stored.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)


def test_one_value_of_a_dimension_is_taken_in_one_step():
    before, after = one_of(1, 2, dropped=2), one_of(1, 2, dropped=2)
    simplify(after)
    assert operators(after) == ["Gather"]
    np.testing.assert_array_equal(outcome(after), outcome(before))


@pytest.mark.parametrize(("start", "end", "dropped"), [(0, 2, 2), (-2, -1, 2), (0, 1, 0)])
def test_other_cuts_are_left_alone(start: int, end: int, dropped: int):
    found = one_of(start, end, dropped)
    simplify(found)
    assert operators(found) == ["Slice", "Squeeze"]
