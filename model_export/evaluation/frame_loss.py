"""Frames that a network is not shown: lost ones, and those between the ticks of a slower camera."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from model_export.data.labels import LabelTable
from model_export.errors import DataError, OptionError

BoolArray = npt.NDArray[np.bool_]

MAX_DROP = 0.9
_RATE_TOLERANCE = 1.01
"""A recording's rate is measured: a request for 20 Hz fits a recording of 19.9 Hz."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FrameLoss:
    """How many of a recording's frames are lost.

    Attributes:
        drop: probability that a frame is lost, 0 to 0.9, each on its own.
        rate_hz: frames a second before any is lost; None for the recording's.
        seed: which frames are lost.

    Raises:
        OptionError: a value is out of its range.
    """

    drop: float = 0.0
    rate_hz: float | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        if not 0 <= self.drop <= MAX_DROP:
            raise OptionError(f"--drop must be from 0 to {MAX_DROP}, is {self.drop:g}")
        if self.rate_hz is not None and not self.rate_hz > 0:
            raise OptionError(f"--rate must be above 0 Hz, is {self.rate_hz:g}")
        if self.seed < 0:
            raise OptionError(f"--seed must not be negative, is {self.seed}")

    def __bool__(self) -> bool:
        """Whether any frame may be lost."""
        return self.drop > 0 or self.rate_hz is not None

    def shown(self, table: LabelTable) -> BoolArray:
        """Return which frames [N] are shown.

        The first after each of the table's breaks always is: a vehicle's session begins with it,
        and there is an output to hold for every frame.

        Raises:
            DataError: the recording has fewer frames a second than are asked for.
        """
        shown = np.random.default_rng(self.seed).random(len(table.frame_ids)) >= self.drop
        if self.rate_hz is not None:
            shown &= _at_rate(table, self.rate_hz)
        return shown | table.starts


def _at_rate(table: LabelTable, rate_hz: float) -> BoolArray:
    """Return the frames nearest to the ticks of a rate; the ticks start again after each break."""
    recorded_ns = _period_ns(table)
    if rate_hz > _RATE_TOLERANCE * 1e9 / recorded_ns:
        raise DataError(
            f"--rate must be at most the recording's {1e9 / recorded_ns:.1f} Hz, is {rate_hz:g}"
        )
    shown = np.zeros(len(table.frame_ids), np.bool_)
    due_ns = 0.0
    for row, (time_ns, starts) in enumerate(zip(table.frame_ids, table.starts, strict=True)):
        if starts:
            due_ns = float(time_ns)
        nearest_until_ns = time_ns + recorded_ns / 2
        shown[row] = due_ns <= nearest_until_ns
        while due_ns <= nearest_until_ns:
            due_ns += 1e9 / rate_hz
    return shown


def _period_ns(table: LabelTable) -> float:
    """Return the median time between two frames that follow each other."""
    periods_ns = np.diff(table.frame_ids)[~table.starts[1:]]
    if not periods_ns.size:
        raise DataError("--rate needs a recording in which frames follow each other")
    return float(np.median(periods_ns))
