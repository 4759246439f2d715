"""A network whose outputs say exactly which frames its state has seen, and in which order.

Its state is two hashes and a count, and a ring of the last two pictures, which go into the hashes:
all whole numbers that float32 holds exactly. A frame that is lost, seen twice, seen in another
order, with another interval, by another session's state or with another ring gives other outputs
from then on. `fold` is the same in plain Python.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import cv2
import numpy as np

from steerstream_bundle import pictures, providers
from steerstream_bundle.contract import (
    SPEED,
    STEERING_TORQUE,
    STEERING_WHEEL_ANGLE,
    Contract,
    Crop,
    FrameInput,
    GapRule,
    Output,
    StateKind,
    StateTensor,
)
from steerstream_bundle.runtime import Memory

HEIGHT_PX, WIDTH_PX = 8, 16
PERIOD_MS = 50
RESET_AFTER_MS = 300
WARM_UP_STEPS = 3
RING_LENGTH = 2
_P, _Q = 1_048_573, 1_048_571

CONTRACT = Contract(
    name="hashing",
    frame=FrameInput(tensor="frames", height_px=HEIGHT_PX, width_px=WIDTH_PX, crop=Crop()),
    state=(
        StateTensor(input="h", output="h_next", shape=(3,), kind=StateKind.RECURRENT),
        StateTensor(
            input="ring", output="ring_next", shape=(RING_LENGTH,), kind=StateKind.FRAME_RING
        ),
    ),
    outputs=(
        Output(
            head=STEERING_WHEEL_ANGLE,
            tensor="angle",
            unit="rad",
            minimum=-8.0,
            maximum=8.0,
            training_mean=0.0,
        ),
        Output(
            head=SPEED, tensor="speed", unit="m/s", minimum=-5.0, maximum=60.0, training_mean=10.0
        ),
        Output(
            head=STEERING_TORQUE,
            tensor="torque",
            unit="Nm",
            minimum=-20.0,
            maximum=20.0,
            training_mean=0.0,
        ),
    ),
    rate_hz=1000 / PERIOD_MS,
    gap=GapRule(reset_after_ms=RESET_AFTER_MS),
    warm_up_steps=WARM_UP_STEPS,
    limits_profile="passenger_car",
    interval_tensor="interval_s",
)


class State(NamedTuple):
    """The state of one session."""

    first: int = 0
    second: int = 0
    steps: int = 0
    older: int = 0
    newer: int = 0


def fold(state: State, picture: int, interval_ms: int) -> State:
    """Return the state after one more frame."""
    return State(
        (state.first * 257 + picture * 7 + state.older * 5 + interval_ms * 3 + 1) % _P,
        (state.second * 263 + picture * 11 + state.newer * 13 + interval_ms + 5) % _Q,
        state.steps + 1,
        state.newer,
        picture,
    )


def outputs(state: State) -> tuple[float, float, float]:
    """Return angle, speed and torque; every state has others."""
    return (
        state.first / 262_144 - 2.0,
        state.second / 65_536,
        (state.steps % 128) / 32 - 2.0,
    )


class Picture(NamedTuple):
    """A picture as it is sent, and the number that the network sees in it."""

    raw: np.ndarray
    jpeg: bytes
    number: int
    jpeg_number: int


def _picture(level: int) -> Picture:
    # Twice the network's size: tickets may come every four frames for so many bytes.
    raw = np.full((2 * HEIGHT_PX, 2 * WIDTH_PX, 3), level, np.uint8)
    done, data = cv2.imencode(".jpg", raw)
    assert done
    decoded = pictures.to_input(pictures.JpegImage(data.tobytes()), CONTRACT.frame, 1_000_000)
    return Picture(raw, data.tobytes(), level, int(decoded[0, 0, 0]))


PICTURES = [_picture(level) for level in range(0, 250, 2)]


def _array(memory: Memory) -> np.ndarray:
    dtype = np.dtype(memory.dtype)
    count = int(np.prod(memory.shape))
    buffer: Any = (ctypes.c_char * (count * dtype.itemsize)).from_address(memory.address)
    return np.frombuffer(buffer, dtype).reshape(memory.shape)


class HashingGraph:
    """The network over bound memory; each run takes the time that `spend` gives it."""

    def __init__(
        self,
        inputs: Mapping[str, Memory],
        results: Mapping[str, Memory],
        spend: Callable[[int], None],
    ) -> None:
        self._frames = _array(inputs["frames"])[:, 0, 0, 0]
        self._intervals = _array(inputs["interval_s"])
        self._old = [_array(inputs[name]) for name in ("h", "ring")]
        self._new = [_array(results[name]) for name in ("h_next", "ring_next")]
        self._values = [_array(results[name]) for name in ("angle", "speed", "torque")]
        self._spend = spend

    def run(self) -> None:
        size = len(self._frames)
        self._spend(size)
        states = np.concatenate(self._old, axis=1).astype(np.int64).tolist()
        rows = zip(states, self._frames.tolist(), self._intervals.tolist(), strict=True)
        for at, (state, number, interval_s) in enumerate(rows):
            new = fold(State(*state), number, round(1e3 * interval_s))
            self._new[0][at], self._new[1][at] = new[:3], new[3:]
            for values, value in zip(self._values, outputs(new), strict=True):
                values[at] = value


class HashingBundle:
    """What the server needs of a bundle, with the hashing network in it.

    Args:
        spend: takes the size of a batch, and lets the time of its step pass; it may raise
            `StepError`.
    """

    sha256 = "0" * 64
    precision = "f32"
    reason = "simulated"
    contract = CONTRACT

    def __init__(self, spend: Callable[[int], None]) -> None:
        self._spend = spend
        self.runtime: Any = self

    provider = providers.CPU
    pads_batches = False

    def bind(
        self, inputs: Mapping[str, Memory], results: Mapping[str, Memory], _options: object = None
    ) -> HashingGraph:
        return HashingGraph(inputs, results, self._spend)

    def step(
        self, frames: np.ndarray, state: Sequence[np.ndarray], _interval_s: object = None
    ) -> tuple[list[np.ndarray], list[np.ndarray]]:
        """Run once without bound memory; the warm-up looks at the shapes alone."""
        size = len(frames)
        state = [np.zeros((size, *pair.shape), np.float32) for pair in CONTRACT.state]
        return [np.zeros(size, np.float32) for _ in range(3)], state
