"""Latency traces: after how long the answer to each picture arrives, or that the picture is lost.

A trace is stated as a distribution, or recorded; either is drawn for each drive from a seed, so a
drive can be repeated.
"""

from __future__ import annotations

import csv
import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from steerstream.arguments import finite_number
from steerstream.errors import BadRequest, MediaError
from steerstream.extras import command_needs

ROUND_TRIP = "round_trip_ms"
"""The column of a recorded trace; an empty cell is a picture without an answer."""

Delay = float | None
"""Milliseconds from a picture to its answer; None for a picture that is lost on its way."""

_LONGEST_MS = 60_000.0
"""No drive waits longer: an answer that comes after it is as good as lost."""


class Latency(Protocol):
    """Says when the answers of a drive arrive."""

    @property
    def typical_ms(self) -> float:
        """The delay that is expected."""

    def draw(self, frames: int, rate_hz: float, seed: Sequence[int]) -> Sequence[Delay]:
        """Return the delay of each picture of a drive.

        Args:
            frames: how many pictures are taken.
            rate_hz: pictures a second.
            seed: of the drive; another one draws other delays.
        """

    def summary(self) -> dict[str, object]:
        """Return what it is, for the report."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StatedLatency:
    """A distribution: a delay, jitter around it, and loss, each picture on its own or in bursts.

    Attributes:
        delay_ms: the mean.
        jitter_ms: delays are spread evenly so far to either side of it; an answer never overtakes
            the one before, so where this is more than half a period, they come later on average.
        loss: share of pictures that are lost, less than 1.
        burst_ms: mean length of a burst of losses, by the model of Gilbert and Elliott, which loses
            all pictures of its bad state and none of its good one; 0 for each picture on its own.

    A value that is no number or makes no sense raises BadRequest.
    """

    delay_ms: float = 0.0
    jitter_ms: float = 0.0
    loss: float = 0.0
    burst_ms: float = 0.0

    def __post_init__(self) -> None:
        for name in ("delay_ms", "jitter_ms"):
            finite_number(name, getattr(self, name), low=0.0, high=_LONGEST_MS)
        finite_number("burst_ms", self.burst_ms, low=0.0)
        if finite_number("loss", self.loss, low=0.0, high=1.0) == 1.0:
            raise BadRequest("loss must be less than 1: nothing would drive")

    @property
    def typical_ms(self) -> float:
        """The delay that is expected."""
        return self.delay_ms

    def draw(self, frames: int, rate_hz: float, seed: Sequence[int]) -> list[Delay]:
        """Return the delay of each picture of a drive.

        Args:
            frames: how many pictures are taken.
            rate_hz: pictures a second.
            seed: of the drive; another one draws other delays.
        """
        rng = np.random.default_rng([*seed, 11])
        spread = rng.uniform(-self.jitter_ms, self.jitter_ms, frames)
        lost = self._lost(rng.random(frames), rate_hz)
        return [
            None if is_lost else max(0.0, self.delay_ms + float(off))
            for off, is_lost in zip(spread, lost, strict=True)
        ]

    def summary(self) -> dict[str, object]:
        """Return what it is, for the report."""
        return {
            "delay_ms": self.delay_ms,
            "jitter_ms": self.jitter_ms,
            "loss": self.loss,
            "burst_ms": self.burst_ms,
        }

    def _lost(self, chances: NDArray[np.float64], rate_hz: float) -> list[bool]:
        # A chain of two states. Left with `recovers`, the bad one lasts `1 / recovers` pictures in
        # the mean; entered with `fails`, it holds the stated share of all pictures.
        recovers = 1.0 - self.loss
        if self.burst_ms:
            recovers = min(recovers, 1e3 / (self.burst_ms * rate_hz))
        fails = recovers * self.loss / (1.0 - self.loss)
        lost, is_bad = [], False
        for chance in chances:
            is_bad = chance >= recovers if is_bad else chance < fails
            lost.append(bool(is_bad))
        return lost


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordedLatency:
    """Round trips of a real link, in their order; each drive begins at another place of them.

    Attributes:
        name: of the file.
        delays: of one picture after the other.
    """

    name: str
    delays: tuple[Delay, ...]

    @property
    def typical_ms(self) -> float:
        """The median of those that were answered."""
        return statistics.median(delay for delay in self.delays if delay is not None)

    def draw(self, frames: int, rate_hz: float, seed: Sequence[int]) -> list[Delay]:  # noqa: ARG002 - as recorded
        """Return the delay of each picture of a drive; the trace is gone round if it is too short.

        Args:
            frames: how many pictures are taken.
            rate_hz: pictures a second; a trace is of pictures, however fast they come.
            seed: of the drive.
        """
        first = int(np.random.default_rng([*seed, 11]).integers(len(self.delays)))
        return [self.delays[(first + at) % len(self.delays)] for at in range(frames)]

    def summary(self) -> dict[str, object]:
        """Return what it is, for the report."""
        answered = sorted(delay for delay in self.delays if delay is not None)
        return {
            "trace": self.name,
            "pictures": len(self.delays),
            "median_ms": round(self.typical_ms, 3),
            "p99_ms": round(answered[math.ceil(0.99 * len(answered)) - 1], 3),
            "loss": round(1.0 - len(answered) / len(self.delays), 5),
        }


def read_trace(path: Path) -> RecordedLatency:
    """Read a recorded trace: a CSV file, or a flight recording of `steerstream drive --record`.

    In a recording a picture counts as lost where it has no answer, or one without a command.

    Args:
        path: a file with a column `round_trip_ms`, or the recording's file or folder.

    Raises:
        MediaError: it cannot be read, or has no round trip.
    """
    delays = _of_table(path) if path.suffix == ".csv" else _of_recording(path)
    if all(delay is None for delay in delays):
        raise MediaError(f"{path}: has no round trip of an answered picture")
    return RecordedLatency(name=path.name, delays=tuple(delays))


def _of_table(path: Path) -> list[Delay]:
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            rows = csv.DictReader(file)
            if ROUND_TRIP not in (rows.fieldnames or ()):
                raise MediaError(f"{path}: has no column {ROUND_TRIP}")
            return [_delay(path, number, row[ROUND_TRIP]) for number, row in enumerate(rows, 2)]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise MediaError(f"{path}: {error}") from error


def _delay(path: Path, line: int, text: str | None) -> Delay:
    if not text or not text.strip():
        return None
    try:
        delay_ms = float(text)
    except ValueError:
        delay_ms = math.nan
    if not 0.0 <= delay_ms <= _LONGEST_MS:
        raise MediaError(
            f"{path}:{line}: {ROUND_TRIP} is milliseconds from 0 to {_LONGEST_MS:g}, or empty for "
            f"a picture without an answer, not {text!r}"
        )
    return delay_ms


def _of_recording(path: Path) -> list[Delay]:
    with command_needs("steerstream simulate --latency-trace", "record"):
        from steerstream.recording import topics  # noqa: PLC0415
        from steerstream.recording.reader import recordings  # noqa: PLC0415
    delays: list[Delay] = []
    for recording in recordings([path]):
        waiting: dict[int, int] = {}
        for topic, message, _ in recording.messages():
            if topic == topics.FRAME:
                waiting[message.sequence_number] = len(delays)
                delays.append(None)
            elif topic == topics.SKIPPED:
                waiting.pop(message.sequence_number, None)
            elif topic == topics.VERDICT:
                place = waiting.pop(message.sequence_number, None)
                if place is not None:
                    delays[place] = _recorded(recording.name, message.round_trip_ms)
    return delays


def _recorded(name: str, round_trip_ms: float) -> Delay:
    if not round_trip_ms >= 0.0:
        raise MediaError(f"{name}: is damaged: a round trip of {round_trip_ms:g} ms")
    return round_trip_ms if round_trip_ms <= _LONGEST_MS else None
