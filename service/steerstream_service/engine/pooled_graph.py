"""A bundle's graph with its sessions' state inside: it reads and writes the rows of a pool.

The graph of a bundle takes a batch's state and returns the new one. The graph made here takes the
numbers of rows instead, and the pool itself as an input that is also an output. Bound to one place
in memory, the pool is changed where it lies: only frames and row numbers go in, and only answers
come out.

A pool has two rows more than there are slots: the *sentinel*, where unwanted rows are written, and
the *initial* row, from which sessions begin.

Needs the package `onnx`, which only the `gpu` and `train` extras install.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from steerstream_bundle.contract import Contract, StateTensor
from steerstream_bundle.errors import BundleError
from steerstream_bundle.runtime import Array

SOURCES, TARGETS, ANSWERS = "pool.sources", "pool.targets", "pool.answers"
"""Rows to read, int64 [N]; rows to write, int64 [N]; and float32 [N, values + 1]: the contract's
`values`, and 1 where the row's new state was written, else 0."""
EXTRA_ROWS = 2
"""The sentinel and, after it, the initial row."""

_OLDEST_OPSET = 13
"""In which the axes of Unsqueeze and ReduceSum became inputs."""


def pool_input(pair: StateTensor) -> str:
    """Return the name of a state tensor's pool, float32 [slots + 2, *shape], as an input."""
    return f"pool.{pair.input}"


def pool_output(pair: StateTensor) -> str:
    """Return the name of the same pool as an output."""
    return f"{pool_input(pair)}.next"


def answer_columns(contract: Contract) -> int:
    """Return how many numbers a frame's answer has: its values, and whether it is fit."""
    return sum(value.size for value in contract.values) + 1


def build(model: bytes, contract: Contract, slots: int) -> bytes:
    """Return the ONNX file of a bundle's graph with its pool inside.

    Args:
        model: the bundle's ONNX file.
        contract: its contract.
        slots: sessions at once.

    Raises:
        BundleError: the graph is of an opset before 13.
    """
    proto = onnx.load_from_string(model)
    opset = next(item.version for item in proto.opset_import if item.domain in {"", "ai.onnx"})
    if opset < _OLDEST_OPSET:
        raise BundleError(f"opset {opset} is too old to run on a GPU; export the bundle again")
    graph = proto.graph
    rows = slots + EXTRA_ROWS
    made = helper.make_graph(
        [*_gather(contract), *graph.node, *_fit(contract), *_scatter(contract), *_answer()],
        graph.name,
        _inputs(contract, rows),
        _outputs(contract, rows),
        [*graph.initializer, *_constants(sentinel=slots)],
    )
    made.sparse_initializer.extend(graph.sparse_initializer)
    proto.graph.CopyFrom(made)
    data: bytes = proto.SerializeToString()
    return data


def _inputs(contract: Contract, rows: int) -> list[onnx.ValueInfoProto]:
    frame = contract.frame
    value = helper.make_tensor_value_info
    return [
        value(frame.tensor, TensorProto.UINT8, ["N", *frame.shape]),
        *(value(item.tensor, TensorProto.FLOAT, ["N"]) for item in contract.time_inputs),
        value(SOURCES, TensorProto.INT64, ["N"]),
        value(TARGETS, TensorProto.INT64, ["N"]),
        *(
            value(pool_input(pair), TensorProto.FLOAT, [rows, *pair.shape])
            for pair in contract.state
        ),
    ]


def _outputs(contract: Contract, rows: int) -> list[onnx.ValueInfoProto]:
    value = helper.make_tensor_value_info
    return [
        value(ANSWERS, TensorProto.FLOAT, ["N", answer_columns(contract)]),
        *(
            value(pool_output(pair), TensorProto.FLOAT, [rows, *pair.shape])
            for pair in contract.state
        ),
    ]


def _constants(*, sentinel: int) -> list[onnx.TensorProto]:
    values: dict[str, Array] = {
        "pool.sentinel": np.array(sentinel, np.int64),
        "pool.axis_1": np.array([1], np.int64),
        "pool.flat": np.array([0, -1], np.int64),
        "pool.zero": np.array(0, np.float32),
        "pool.infinity": np.array(math.inf, np.float32),
    }
    return [numpy_helper.from_array(array, name) for name, array in values.items()]


def _gather(contract: Contract) -> Iterator[onnx.NodeProto]:
    for pair in contract.state:
        yield helper.make_node("Gather", [pool_input(pair), SOURCES], [pair.input], axis=0)


def _fit(contract: Contract) -> Iterator[onnx.NodeProto]:
    """Find the rows whose new state is all numbers: x - x is 0 for these, and only for these."""
    columns = []
    for value in contract.values:
        columns.append(value.name if value.shape else f"pool.{value.name}")
        if not value.shape:
            yield helper.make_node("Unsqueeze", [value.name, "pool.axis_1"], columns[-1:])
    yield helper.make_node("Concat", columns, ["pool.values"], axis=1)
    # Never true. It ties the writing of the state to the outputs: a step that fails writes nothing.
    yield helper.make_node("Greater", ["pool.values", "pool.infinity"], ["pool.never"])
    yield helper.make_node("Cast", ["pool.never"], ["pool.nought"], to=TensorProto.FLOAT)
    for pair in contract.state:
        name = f"pool.{pair.output}"
        yield helper.make_node("Reshape", [pair.output, "pool.flat"], [f"{name}.flat"])
        yield helper.make_node("Sub", [f"{name}.flat", f"{name}.flat"], [f"{name}.nought"])
    noughts = ["pool.nought", *(f"pool.{pair.output}.nought" for pair in contract.state)]
    yield helper.make_node("Concat", noughts, ["pool.noughts"], axis=1)
    yield helper.make_node("ReduceSum", ["pool.noughts", "pool.axis_1"], ["pool.sum"], keepdims=1)
    yield helper.make_node("Equal", ["pool.sum", "pool.zero"], ["pool.fit"])


def _scatter(contract: Contract) -> Iterator[onnx.NodeProto]:
    """Write the new rows, those that are not fit to the sentinel."""
    yield helper.make_node("Unsqueeze", [TARGETS, "pool.axis_1"], ["pool.wanted"])
    yield helper.make_node("Where", ["pool.fit", "pool.wanted", "pool.sentinel"], ["pool.rows"])
    for pair in contract.state:
        yield helper.make_node(
            "ScatterND", [pool_input(pair), "pool.rows", pair.output], [pool_output(pair)]
        )


def _answer() -> Iterator[onnx.NodeProto]:
    yield helper.make_node("Cast", ["pool.fit"], ["pool.fit_as_number"], to=TensorProto.FLOAT)
    yield helper.make_node("Concat", ["pool.values", "pool.fit_as_number"], [ANSWERS], axis=1)
