"""Small bundles with known behaviour, written with onnx.helper: the real file format, no training.

The pictures are 8x16. `x` is the mean colour, [N, 3] from 0 to 1. The recurrent bundle is
`h' = tanh(0.8 h + x)`; its angle is the sum of `h'` less 1.5, its speed 10 `h'[0]`, and its
torque `h'[1] - h'[2]`. The timed bundle is the same with `20 interval_s x` for `x`, which at
20 Hz is the same; its angle's standard deviation is 0.1 + interval_s, its torque's 2 `h'[0]`.
The acting bundle is the timed one whose angle is `act_in_s` more.
"""

from __future__ import annotations

import dataclasses
import hashlib
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from steerstream_bundle import loading
from steerstream_bundle.contract import (
    METADATA_KEY,
    SPEED,
    STEERING_TORQUE,
    STEERING_WHEEL_ANGLE,
    Contract,
    Crop,
    FrameInput,
    GapRule,
    Horizon,
    HorizonOutput,
    Output,
    Provenance,
    Score,
    StateKind,
    StateTensor,
)

HEIGHT_PX, WIDTH_PX = 8, 16
HIDDEN = StateTensor(input="h", output="h_next", shape=(3,), kind=StateKind.RECURRENT)
RING = StateTensor(
    input="ring",
    output="ring_next",
    shape=(4, 3),
    kind=StateKind.FEATURE_RING,
    initial=tuple(index / 100 for index in range(12)),
)
ANGLE = Output(
    head=STEERING_WHEEL_ANGLE,
    tensor="angle",
    unit="rad",
    minimum=-8.0,
    maximum=8.0,
    training_mean=0.0,
)
SPEED_OUT = Output(
    head=SPEED, tensor="speed", unit="m/s", minimum=-5.0, maximum=60.0, training_mean=10.0
)
TORQUE = Output(
    head=STEERING_TORQUE, tensor="torque", unit="Nm", minimum=-20.0, maximum=20.0, training_mean=0.0
)


def contract(**changes: Any) -> Contract:
    """The recurrent bundle's contract, with changes."""
    base = Contract(
        name="tiny",
        frame=FrameInput(tensor="frames", height_px=HEIGHT_PX, width_px=WIDTH_PX, crop=Crop()),
        state=(HIDDEN,),
        outputs=(ANGLE, SPEED_OUT, TORQUE),
        rate_hz=20.0,
        gap=GapRule(reset_after_ms=300),
        warm_up_steps=2,
        limits_profile="passenger_car",
    )
    return dataclasses.replace(base, **changes)


def recurrent(path: Path, **changes: Any) -> Path:
    """Write the recurrent bundle."""
    nodes = [*mean_colour(), *hidden(), *heads("h_next")]
    return write(path, contract(**changes), nodes)


def reduced(whole: Path, ratios: Sequence[float] = (1.001,), **changes: Any) -> Path:
    """Write the 8-bit bundle beside a recurrent one; it computes the same.

    Args:
        whole: the FP32 bundle.
        ratios: what its record says of its error, source by source.
        **changes: of its provenance; and `contract`, in place of the recurrent bundle's.
    """
    of = changes.pop("contract", contract())
    scores = tuple(
        Score(source=f"source {at}", head=STEERING_WHEEL_ANGLE, frames=9, rmse=0.1, ratio=ratio)
        for at, ratio in enumerate(ratios)
    )
    digest = hashlib.sha256(whole.read_bytes()).hexdigest()
    about = {"precision": "int8", "reduced_from": digest, "scores": scores} | changes
    promised = dataclasses.replace(of, provenance=Provenance(**about))
    nodes = [*mean_colour(), *hidden(), *heads("h_next")]
    return write(loading.reduced_path(whole, "int8"), promised, nodes)


def stateless(path: Path, **changes: Any) -> Path:
    """Write a bundle without state: the heads read the mean colour."""
    nodes = [*mean_colour(), *heads("x")]
    return write(path, contract(**{"name": "stateless", "state": (), **changes}), nodes)


def timed(path: Path, **changes: Any) -> Path:
    """Write a bundle that takes the interval and says how sure it is of angle and torque.

    The angle's standard deviation is NaN for pictures with red above 0.9.
    """
    return write(path, timed_contract(**changes), _timed_nodes(heads("h_next")))


def acting(path: Path, **changes: Any) -> Path:
    """Write the timed bundle, with `act_in_s` added to its angle."""
    said = [
        *heads("h_next", angle="angle_at_once"),
        helper.make_node("Add", ["angle_at_once", "act_in_s"], ["angle"]),
    ]
    return write(path, acting_contract(**changes), _timed_nodes(said))


def acting_contract(**changes: Any) -> Contract:
    """The acting bundle's contract, with changes."""
    acts = {"act_in_tensor": "act_in_s", "max_act_in_s": 0.25, "default_act_in_s": 0.05}
    return timed_contract(**{"name": "acting", **acts, **changes})


def _timed_nodes(said: list[onnx.NodeProto]) -> list[onnx.NodeProto]:
    return [
        *mean_colour("x_of_one_period"),
        helper.make_node("Unsqueeze", ["interval_s", "one"], ["interval_column"]),
        helper.make_node("Mul", ["interval_column", "rate"], ["periods"]),
        helper.make_node("Mul", ["x_of_one_period", "periods"], ["x"]),
        *hidden(),
        *said,
        *_red_above("0.9", of="x_of_one_period"),
        helper.make_node("Add", ["interval_s", "0.1"], ["sane"]),
        helper.make_node("Where", ["is_red", "nan", "sane"], ["angle_stddev"]),
        helper.make_node("Gather", ["h_next", "head_0"], ["h_0"], axis=1),
        helper.make_node("Add", ["h_0", "h_0"], ["torque_stddev"]),
    ]


def timed_contract(**changes: Any) -> Contract:
    """The timed bundle's contract, with changes."""
    outputs = (
        dataclasses.replace(ANGLE, stddev_tensor="angle_stddev"),
        SPEED_OUT,
        dataclasses.replace(TORQUE, stddev_tensor="torque_stddev"),
    )
    timing = {"name": "timed", "outputs": outputs, "interval_tensor": "interval_s"}
    return contract(**{**timing, **changes})


HORIZON = Horizon(
    steps=3,
    spacing_ms=50,
    outputs=(
        HorizonOutput(
            head=STEERING_WHEEL_ANGLE,
            tensor="angle_ahead",
            stddev_tensor="angle_ahead_stddev",
        ),
        HorizonOutput(head=SPEED, tensor="speed_ahead"),
    ),
)


def horizon(path: Path) -> Path:
    """Write a recurrent bundle with a horizon: 0.1 rad more in each step, and the same speed.

    The standard deviation of the last step's angle is 0.1 + `h'[0]`.
    """
    nodes = [
        *mean_colour(),
        *hidden(),
        *heads("h_next"),
        helper.make_node("Unsqueeze", ["angle", "one"], ["angle_column"]),
        helper.make_node("Add", ["angle_column", "ahead"], ["angle_ahead"]),
        helper.make_node("Unsqueeze", ["speed", "one"], ["speed_column"]),
        helper.make_node("Concat", ["speed_column"] * 3, ["speed_ahead"], axis=1),
        helper.make_node("Gather", ["h_next", "head_0"], ["h_0"], axis=1),
        helper.make_node("Add", ["h_0", "0.1"], ["angle_ahead_stddev"]),
    ]
    return write(path, contract(name="horizon", horizon=HORIZON), nodes)


def ring(path: Path) -> Path:
    """Write a bundle whose state is the last four mean colours; the heads read their mean."""
    nodes = [
        *mean_colour(),
        helper.make_node("Slice", ["ring", "one", "big", "one"], ["kept"]),
        helper.make_node("Unsqueeze", ["x", "one"], ["newest"]),
        helper.make_node("Concat", ["kept", "newest"], ["ring_next"], axis=1),
        helper.make_node("ReduceMean", ["ring_next", "one"], ["mean"], keepdims=0),
        *heads("mean"),
    ]
    return write(path, contract(name="ring", state=(RING,)), nodes)


def remembering(path: Path) -> Path:
    """Write a recurrent bundle whose state moves by the mean of the last four mean colours."""
    nodes = [
        *mean_colour("colour"),
        helper.make_node("Slice", ["ring", "one", "big", "one"], ["kept"]),
        helper.make_node("Unsqueeze", ["colour", "one"], ["newest"]),
        helper.make_node("Concat", ["kept", "newest"], ["ring_next"], axis=1),
        helper.make_node("ReduceMean", ["ring_next", "one"], ["x"], keepdims=0),
        *hidden(),
        *heads("h_next"),
    ]
    return write(path, contract(name="remembering", state=(HIDDEN, RING)), nodes)


def endless(path: Path) -> Path:
    """Write a recurrent bundle that calls its state a ring, which it is not."""
    state = dataclasses.replace(HIDDEN, kind=StateKind.FEATURE_RING)
    return write(
        path,
        contract(name="endless", state=(state,)),
        [*mean_colour(), *hidden(), *heads("h_next")],
    )


def feedback(path: Path) -> Path:
    """Write a bundle whose state is its last answer: the heads read the mean colour and it."""
    nodes = [
        *mean_colour(),
        helper.make_node("Mul", ["y", "0.1"], ["remembered"]),
        helper.make_node("Add", ["x", "remembered"], ["seen"]),
        *heads("seen"),
        helper.make_node("Identity", ["heads"], ["y_next"]),
    ]
    last = StateTensor(input="y", output="y_next", shape=(3,), kind=StateKind.FEEDBACK)
    return write(path, contract(name="feedback", state=(last,)), nodes)


def nan_output(path: Path) -> Path:
    """Write a recurrent bundle whose angle is NaN for pictures with red above 0.9."""
    nodes = [
        *mean_colour(),
        *hidden(),
        *heads("h_next", angle="angle_sane"),
        *_red_above("0.9"),
        helper.make_node("Where", ["is_red", "nan", "angle_sane"], ["angle"]),
    ]
    return write(path, contract(name="nan_output"), nodes)


def nan_state(path: Path) -> Path:
    """Write a recurrent bundle whose state becomes NaN with pictures with red above 0.9."""
    nodes = [
        *mean_colour(),
        *hidden(state="h_sane"),
        *heads("h_sane"),
        *_red_above("0.9"),
        helper.make_node("Unsqueeze", ["is_red", "one"], ["is_red_column"]),
        helper.make_node("Where", ["is_red_column", "nan", "h_sane"], ["h_next"]),
    ]
    return write(path, contract(name="nan_state"), nodes)


def failing(path: Path) -> Path:
    """Write a recurrent bundle whose step fails where a picture of the batch has red above 0.9."""
    nodes = [
        *mean_colour(),
        *hidden(),
        *heads("h_next", angle="angle_sane"),
        *_red_above("0.9"),
        helper.make_node("Cast", ["is_red"], ["index_one"], to=TensorProto.INT64),
        helper.make_node("Mul", ["index_one", "big"], ["index"]),
        helper.make_node("Gather", ["one_float", "index"], ["factor"], axis=0),
        helper.make_node("Mul", ["angle_sane", "factor"], ["angle"]),
    ]
    return write(path, contract(name="failing"), nodes)


def write(path: Path, promised: Contract, nodes: list[onnx.NodeProto], **tensors: Any) -> Path:
    """Write a bundle of a contract and the nodes that (should) keep it."""
    frame = promised.frame
    inputs = [_value(frame.tensor, TensorProto.UINT8, frame.shape)]
    inputs += [_value(item.tensor, TensorProto.FLOAT, ()) for item in promised.time_inputs]
    inputs += [_value(pair.input, TensorProto.FLOAT, pair.shape) for pair in promised.state]
    outputs = [_value(value.name, TensorProto.FLOAT, value.shape) for value in promised.values]
    outputs += [_value(pair.output, TensorProto.FLOAT, pair.shape) for pair in promised.state]
    graph = helper.make_graph(
        nodes,
        "tiny",
        tensors.get("inputs", inputs),
        tensors.get("outputs", outputs),
        _constants(),
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10)
    metadata = tensors.get("metadata", {METADATA_KEY: promised.to_json()})
    helper.set_model_props(model, metadata)
    path.write_bytes(model.SerializeToString())
    return path


def expected(pictures: np.ndarray, h: np.ndarray | None = None) -> np.ndarray:
    """What the recurrent bundle answers to pictures [T, 8, 16, 3] of one session: [T, 3]."""
    h = np.zeros(3) if h is None else h
    rows = []
    for x in pictures.mean(axis=(1, 2)) / 255:
        h = np.tanh(0.8 * h + x)
        rows.append([h.sum() - 1.5, 10 * h[0], h[1] - h[2]])
    return np.asarray(rows)


def expected_timed(
    pictures: np.ndarray,
    intervals_s: Sequence[float] | np.ndarray,
    act_in_s: float | Sequence[float] | np.ndarray = 0.0,
) -> np.ndarray:
    """What the timed bundle answers, values and standard deviations in its order: [T, 5].

    With `act_in_s`, what the acting one answers.
    """
    h, rows = np.zeros(3), []
    for x, interval_s in zip(pictures.mean(axis=(1, 2)) / 255, intervals_s, strict=True):
        h = np.tanh(0.8 * h + 20 * interval_s * x)
        rows.append([h.sum() - 1.5, 10 * h[0], h[1] - h[2], 0.1 + interval_s, 2 * h[0]])
    answers = np.asarray(rows)
    answers[:, 0] += act_in_s
    return answers


def value(name: str, kind: int, shape: tuple[int | str, ...]) -> onnx.ValueInfoProto:
    """A graph's input or output, with its batch."""
    return helper.make_tensor_value_info(name, kind, list(shape))


def constant_node(name: str) -> onnx.NodeProto:
    """A node that gives what would have been an input: one black picture, or a state of zeros."""
    value = {"frames": np.zeros((1, HEIGHT_PX, WIDTH_PX, 3), np.uint8)}.get(
        name, np.zeros((1, 3), np.float32)
    )
    return helper.make_node("Constant", [], [name], value=numpy_helper.from_array(value))


def _value(name: str, kind: int, shape: tuple[int, ...]) -> onnx.ValueInfoProto:
    return value(name, kind, ("N", *shape))


def _constants() -> list[onnx.TensorProto]:
    constants = {
        "spatial": np.array([1, 2], np.int64),
        "one": np.array([1], np.int64),
        "one_float": np.array([1.0], np.float32),
        "big": np.array([1000], np.int64),
        "scale": np.array(1 / 255, np.float32),
        "decay": np.array(0.8, np.float32),
        "rate": np.array(20, np.float32),
        "0.1": np.array(0.1, np.float32),
        "0.9": np.array(0.9, np.float32),
        "ahead": np.array([0.1, 0.2, 0.3], np.float32),
        "nan": np.array(math.nan, np.float32),
        "mix": np.array([[1, 10, 0], [1, 0, 1], [1, 0, -1]], np.float32),
        "bias": np.array([-1.5, 0, 0], np.float32),
        **{f"head_{index}": np.array(index, np.int64) for index in range(3)},
    }
    return [numpy_helper.from_array(np.asarray(array), name) for name, array in constants.items()]


def mean_colour(name: str = "x") -> list[onnx.NodeProto]:
    return [
        helper.make_node("Cast", ["frames"], ["pixels"], to=TensorProto.FLOAT),
        helper.make_node("ReduceMean", ["pixels", "spatial"], ["mean_255"], keepdims=0),
        helper.make_node("Mul", ["mean_255", "scale"], [name]),
    ]


def hidden(state: str = "h_next") -> list[onnx.NodeProto]:
    return [
        helper.make_node("Mul", ["h", "decay"], ["decayed"]),
        helper.make_node("Add", ["decayed", "x"], ["moved"]),
        helper.make_node("Tanh", ["moved"], [state]),
    ]


def heads(features: str, angle: str = "angle") -> list[onnx.NodeProto]:
    return [
        helper.make_node("MatMul", [features, "mix"], ["mixed"]),
        helper.make_node("Add", ["mixed", "bias"], ["heads"]),
        *(
            helper.make_node("Gather", ["heads", f"head_{index}"], [name], axis=1)
            for index, name in enumerate((angle, "speed", "torque"))
        ),
    ]


def _red_above(threshold: str, of: str = "x") -> list[onnx.NodeProto]:
    return [
        helper.make_node("Gather", [of, "head_0"], ["red"], axis=1),
        helper.make_node("Greater", ["red", threshold], ["is_red"]),
    ]
