"""What its guard has a vehicle do over a drive: for how long, and how often it lets go."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass

from steerstream import Action, GuardReason, SafeCommand
from steerstream_simulation.scoring import Score


@dataclass(slots=True)
class GuardTimes:
    """How long the vehicle did what its guard said, in seconds; waiting for a first command apart.

    Attributes:
        followed_s: it followed a command.
        predicted_s: it followed what a command's horizon said comes next.
        held_s: it held a command that was too old, or lost its like.
        released_s: it was to let go, and kept the last values, because nobody sits in it; the score
            counts that its driver took over.
    """

    followed_s: float = 0.0
    predicted_s: float = 0.0
    held_s: float = 0.0
    released_s: float = 0.0

    def add(self, safe: SafeCommand, seconds: float) -> None:
        """Count some time under one safe command."""
        if safe.action is Action.RELEASE:
            self.released_s += seconds
        elif safe.action is Action.HOLD:
            self.held_s += seconds
        elif GuardReason.PREDICTED in safe.reasons:
            self.predicted_s += seconds
        else:
            self.followed_s += seconds

    def summary(self) -> dict[str, float]:
        """Return the times by name and unit."""
        return {name: round(value, 3) for name, value in dataclasses.asdict(self).items()}


class GuardCount:
    """Counts each safe command until the next one, and in the score each time the guard lets go.

    The wait for the first command counts as letting go only once it is longer than a command is
    held.

    Args:
        score: of the drive.
        times: told how long the vehicle does what its guard says.
        max_hold_ms: how long the guard holds a command.
        clock: the drive's, in nanoseconds.
    """

    def __init__(
        self, score: Score, times: GuardTimes, *, max_hold_ms: float, clock: Callable[[], int]
    ) -> None:
        self._score, self._times, self._clock = score, times, clock
        self._max_hold_ms = max_hold_ms
        self._begun_ns: int | None = None
        self._since_ns = 0
        self._safe: SafeCommand | None = None

    def told(self, safe: SafeCommand) -> None:
        """Count what the vehicle does from now on."""
        self.end()
        self._since_ns = self._clock()
        if self._begun_ns is None:
            self._begun_ns = self._since_ns
        waited_ms = (self._since_ns - self._begun_ns) / 1e6
        is_waiting = GuardReason.NO_COMMAND in safe.reasons and waited_ms <= self._max_hold_ms
        self._score.release(safe.action is Action.RELEASE and not is_waiting)
        self._safe = None if is_waiting else safe

    def end(self) -> None:
        """Count the last safe command until now."""
        if self._safe is not None:
            self._times.add(self._safe, (self._clock() - self._since_ns) / 1e9)
            self._safe = None
