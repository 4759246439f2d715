"""How a session keeps to the rate that it stated, and how many of its frames come late.

The stated rate is a promise: the server's load is forecast from it. What a session sends beyond it
is welcome while there is room, and costs nobody else anything when there is none.
"""

from __future__ import annotations

from typing import NamedTuple

_MARGIN = 1.25
"""A camera may run this much above its stated rate: 25 Hz for 20."""
_BURST_FRAMES = 8
"""Frames that may come at once: what a network holds up for 0.3 s at 25 Hz."""
_OFTEN = 0.02
"""Share of late frames from which a session is worse off than one that a stall hit."""


class Conduct(NamedTuple):
    """A session's frames over a time: within its rate, beyond it, and late."""

    within: int
    surplus: int
    late: int

    @property
    def keeps_promise(self) -> bool:
        """Whether it sent frames, and none beyond its rate."""
        return self.within > 0 and not self.surplus

    @property
    def is_often_late(self) -> bool:
        """Whether many of its frames came too late."""
        return self.late > _OFTEN * (self.within + self.surplus)


class Pace:
    """Tells a session's frames within its rate from surplus ones (GCRA, ITU-T I.371).

    Args:
        rate_hz: the stated rate.
    """

    __slots__ = ("_burst_ns", "_due_ns", "_interval_ns", "_late", "_surplus", "_within")

    def __init__(self, rate_hz: float) -> None:
        self._interval_ns = round(1e9 / (_MARGIN * rate_hz))
        self._burst_ns = (_BURST_FRAMES - 1) * self._interval_ns
        self._due_ns = 0
        self._within = self._surplus = self._late = 0

    def take(self, now_ns: int) -> int:
        """Count a frame.

        Returns:
            0 for a frame within the rate; for a surplus one nanoseconds until the next is within.
        """
        ahead_ns = self._due_ns - now_ns
        if ahead_ns > self._burst_ns:
            self._surplus += 1
            return ahead_ns - self._burst_ns
        self._due_ns = max(self._due_ns, now_ns) + self._interval_ns
        self._within += 1
        return 0

    def late(self) -> None:
        """Count a frame that no step could answer within its budget."""
        self._late += 1

    def review(self) -> Conduct:
        """Return what was counted since the last review."""
        conduct = Conduct(self._within, self._surplus, self._late)
        self._within = self._surplus = self._late = 0
        return conduct
