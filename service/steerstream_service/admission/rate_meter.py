"""Counts a session's frames: within its stated rate, above it, and late.

The server forecasts its load from stated rates. Surplus frames, those above the rate, are served
while there is room; on a busy server they are refused, so that they cost other sessions nothing.
"""

from __future__ import annotations

from typing import NamedTuple

_MARGIN = 1.25
"""A camera may run this much above its stated rate: at 25 Hz instead of 20."""
_BURST_FRAMES = 8
"""Frames that may arrive at once: what a network delays by 0.3 s at 25 Hz."""
_GIVEN_UP = 1 / 7
"""Work of a frame that the server gives up: it was received, and its skip is sent."""


class FrameCounts(NamedTuple):
    """What a session did since the last review.

    Attributes:
        within: frames within its rate.
        surplus: frames above it.
        late: frames that were answered LATE.
        commands: frames that were answered with a command.
        resets: resets of its state.
        overdue: frames that were superseded after half their budget.
        undecoded: those of the late frames that were given up before they were decoded.
        held_up: those of the late frames that waited for their client to take its answers, or for
            others that it sent with them.
    """

    within: int
    surplus: int
    late: int
    commands: int = 0
    resets: int = 0
    overdue: int = 0
    undecoded: int = 0
    held_up: int = 0

    @property
    def frames(self) -> int:
        """Frames that came."""
        return self.within + self.surplus

    @property
    def missed(self) -> int:
        """Frames that got no command in time because the server was slow."""
        return self.late - self.held_up + self.overdue

    @property
    def given_up(self) -> int:
        """Frames that the server had no time for, of a session that keeps to its rate.

        Those of a flood are not counted here, so that it does not make frames look cheap.
        """
        return 0 if self.surplus else self.undecoded + self.overdue

    @property
    def work(self) -> float:
        """How many whole frames took as much work as this session's."""
        return self._whole + _GIVEN_UP * self.given_up

    @property
    def others(self) -> int:
        """Resets, and frames that were refused, or that a newer one superseded at once."""
        return self.frames - self._whole - self.given_up + self.resets

    @property
    def _whole(self) -> int:
        """Frames that took, or may have taken, the work of a whole frame."""
        return self.commands + self.late - self.undecoded

    @property
    def keeps_promise(self) -> bool:
        """Whether the session sent frames, and none above its rate."""
        return self.within > 0 and not self.surplus


class RateMeter:
    """Tells frames within a rate from surplus ones (GCRA, ITU-T I.371).

    Args:
        rate_hz: the stated rate.
    """

    __slots__ = (
        "_burst_ns",
        "_commands",
        "_due_ns",
        "_held_up",
        "_interval_ns",
        "_late",
        "_overdue",
        "_resets",
        "_surplus",
        "_undecoded",
        "_within",
    )

    def __init__(self, rate_hz: float) -> None:
        self._interval_ns = round(1e9 / (_MARGIN * rate_hz))
        self._burst_ns = (_BURST_FRAMES - 1) * self._interval_ns
        self._due_ns = 0
        self._begin()

    def take(self, now_ns: int, weight: float = 1.0) -> int:
        """Count a frame.

        Args:
            now_ns: when it came.
            weight: for how many frames it counts.

        Returns:
            0 for a frame within the rate; for a surplus one, nanoseconds until the next would be
            within it.
        """
        ahead_ns = self._due_ns - now_ns
        if ahead_ns > self._burst_ns:
            self._surplus += 1
            return ahead_ns - self._burst_ns
        self._due_ns = max(self._due_ns, now_ns) + round(weight * self._interval_ns)
        self._within += 1
        return 0

    def is_ahead(self, now_ns: int) -> bool:
        """Whether frames come in a bunch, though within the rate."""
        return self._due_ns - now_ns > 2 * self._interval_ns

    def count_late(self, *, was_decoded: bool, held_up: bool = False) -> None:
        """Count a frame that was answered LATE.

        Args:
            was_decoded: whether its picture was decoded first.
            held_up: whether it waited for its client to take its answers, or for others of its own.
        """
        self._late += 1
        self._undecoded += not was_decoded
        self._held_up += held_up

    def count_overdue(self) -> None:
        """Count a frame that was superseded after half its budget."""
        self._overdue += 1

    def count_command(self) -> None:
        """Count a frame that was answered with a command."""
        self._commands += 1

    def count_reset(self) -> None:
        """Count a reset."""
        self._resets += 1

    def review(self) -> FrameCounts:
        """Return the counts since the last review, and begin again."""
        counts = FrameCounts(
            self._within,
            self._surplus,
            self._late,
            self._commands,
            self._resets,
            self._overdue,
            self._undecoded,
            self._held_up,
        )
        self._begin()
        return counts

    def _begin(self) -> None:
        self._within = self._surplus = self._late = self._commands = self._resets = 0
        self._overdue = self._undecoded = self._held_up = 0
