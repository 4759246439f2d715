"""The worst moments of a drive: where the steering was most wrong, each place only once."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.float32]

MOMENTS = 20
APART_S = 1.0
"""Between two moments: neighbouring frames are wrong for one reason."""


class Moment(NamedTuple):
    """One frame of a recording, with angles at the steering wheel.

    Attributes:
        frame: its place in the recording.
        truth_rad: the label.
        predicted_rad: what the network said.
        stddev_rad: how far it expected to be off.
    """

    frame: int
    truth_rad: float
    predicted_rad: float
    stddev_rad: float

    @property
    def error_rad(self) -> float:
        """The prediction minus the truth."""
        return self.predicted_rad - self.truth_rad


def worst_moments(
    truth_rad: FloatArray, predicted_rad: FloatArray, stddev_rad: FloatArray, rate_hz: float
) -> list[Moment]:
    """Return at most `MOMENTS` moments, the worst first, at least `APART_S` apart.

    Args:
        truth_rad: [N], NaN where a frame has no label; such a frame is no moment.
        predicted_rad: [N].
        stddev_rad: [N].
        rate_hz: frames a second.
    """
    errors = np.abs(predicted_rad - truth_rad)
    known = np.flatnonzero(np.isfinite(errors))
    ranked = known[np.argsort(-errors[known], kind="stable")].tolist()
    apart = round(APART_S * rate_hz)
    places = list(_far_apart(ranked, apart))[:MOMENTS]
    angles = np.stack((truth_rad, predicted_rad, stddev_rad), axis=1)
    return [Moment(at, *angles[at].tolist()) for at in places]


def share_of_error(moments: Sequence[Moment], errors: FloatArray, rate_hz: float) -> float:
    """Return the share of all squared error that lies within half a second of the moments.

    Args:
        moments: of one drive.
        errors: [N] of that drive, NaN where unknown.
        rate_hz: frames a second.
    """
    squares = np.nan_to_num(np.square(errors))
    near = np.zeros(len(squares), np.bool_)
    half = round(APART_S * rate_hz / 2)
    for moment in moments:
        near[max(0, moment.frame - half) : moment.frame + half + 1] = True
    total = float(squares.sum())
    return float(squares[near].sum()) / total if total else 0.0


def _far_apart(ranked: Sequence[int], apart: int) -> Iterator[int]:
    taken: list[int] = []
    for at in ranked:
        if all(abs(at - other) >= apart for other in taken):
            taken.append(at)
            yield at
