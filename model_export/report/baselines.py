"""Baselines on a real trace: predictors that get the other true labels and see no road.

How the wheel is held and turned, and how fast the vehicle is, say much about the torque; the wheel
says something about the speed. A straight line through the training drives shows how much.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from model_export.config import HEADS
from model_export.data import udacity_traces
from model_export.data.labels import read_labels
from model_export.data.recording import Span, spans
from steerstream_bundle.contract import SPEED, STEERING_TORQUE, STEERING_WHEEL_ANGLE

FloatArray = npt.NDArray[np.float64]

_ANGLE, _SPEED, _TORQUE = map(HEADS.index, (STEERING_WHEEL_ANGLE, SPEED, STEERING_TORQUE))


def linear_rmse(
    data: Path, labels: npt.NDArray[np.float32], parts: Sequence[Span]
) -> dict[str, float]:
    """Return the RMSE of the linear predictors of speed and torque over a real trace.

    Torque is predicted from angle, its rate and speed; speed from the sizes of angle and rate, as
    bends to the left and to the right are driven alike.

    Args:
        data: folder of the driving data; the predictors are fitted to its training drives.
        labels: [N, 3], all three heads, at the rate of the training drives.
        parts: its unbroken sequences.

    Raises:
        DataError: a training drive is missing or malformed.
    """
    tables = [
        read_labels(data / udacity_traces.FOLDER / f"{name}.csv")
        for name in udacity_traces.DRIVES["train"]
    ]
    known = _told((table.labels, spans(table.starts)) for table in tables)
    asked = _told([(labels, parts)])
    return {
        head: _rmse_of_line(seen(known), known[:, column], seen(asked), asked[:, column])
        for head, column, seen in (
            (SPEED, _SPEED, _of_speed),
            (STEERING_TORQUE, _TORQUE, _of_torque),
        )
    }


def _told(traces: Iterable[tuple[npt.NDArray[np.float32], Sequence[Span]]]) -> FloatArray:
    """Return labels and the angle's change from frame to frame, [N, 4], of all sequences."""
    found = []
    for labels, parts in traces:
        for part in parts:
            rows = labels[part.first : part.last].astype(np.float64)
            if len(rows) > 1:
                found.append(np.column_stack((rows, np.gradient(rows[:, _ANGLE]))))
    return np.concatenate(found)


def _of_torque(told: FloatArray) -> FloatArray:
    return np.column_stack((np.ones(len(told)), told[:, [_ANGLE, -1, _SPEED]]))


def _of_speed(told: FloatArray) -> FloatArray:
    return np.column_stack((np.ones(len(told)), np.abs(told[:, [_ANGLE, -1]])))


def _rmse_of_line(
    seen: FloatArray, truth: FloatArray, seen_later: FloatArray, truth_later: FloatArray
) -> float:
    weights, *_ = np.linalg.lstsq(seen, truth, rcond=None)
    return float(np.sqrt(np.mean(np.square(seen_later @ weights - truth_later))))
