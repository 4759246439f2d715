"""The server's sense of its own lateness; a pure function of what it is told.

A frame is stamped when the event loop reads it. Where other processes take the cores, the loop
reads late, every stamp is late with it, and all measured times look well. So two signs count:

- frames that the server missed: LATE, or superseded although they had waited for half their budget;
- how late the event loop's own timers fire. A frame that arrives while the loop does not turn waits
  for it unseen; one that waits for more than half its budget cannot be counted on.

Both are shares of the frames, over a window that is longer than one stall.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from typing import NamedTuple

from steerstream_service.admission.rate_meter import FrameCounts

WINDOW_NS = 2_000_000_000
"""Lateness is judged over this time: one stall is not a slow server."""
_OFTEN = 0.01
"""With more than this share of frames missed, a server is late: less than half of the vehicles at
20 Hz miss one of the 40 frames in a window. One stall goes by before anything is done."""
_MANY = 0.25
"""With this share of sessions missing frames, the server is the cause and not the sessions."""


class _Review(NamedTuple):
    at_ns: int
    passed_ns: int
    frames: int
    missed: int
    affected: float
    lag_ns: int


class Lateness:
    """Judges whether the server keeps up, whatever keeps it from that.

    Attributes:
        missed: estimated share of frames that the server missed lately.
        is_late: whether that is too much.
        lasts: whether the server has been late for longer than one stall would make it look.
    """

    def __init__(self) -> None:
        self.missed = 0.0
        self.is_late = False
        self.lasts = False
        self._at_ns: int | None = None
        self._late_since_ns = 0
        # Bounded by the window: a review comes every half second, and older ones leave.
        self._reviews: deque[_Review] = deque()

    def update(
        self, now_ns: int, counts: Sequence[FrameCounts], lags_ns: Sequence[int], budget_ns: int
    ) -> None:
        """Take what happened since the last call; to be called a few times a second.

        Args:
            now_ns: time of the monotonic clock.
            counts: of the sessions that keep to their rates, and of no others.
            lags_ns: how late timers of the event loop fired.
            budget_ns: the budget that three of four sessions have at least, or less.
        """
        passed_ns = 0 if self._at_ns is None else now_ns - self._at_ns
        self._at_ns = now_ns
        affected = sum(count.missed > _OFTEN * count.frames for count in counts)
        self._reviews.append(
            _Review(
                now_ns,
                passed_ns,
                sum(count.frames for count in counts),
                sum(count.missed for count in counts),
                affected / max(1, len(counts)),
                # Frames come at any time: those of the first part of a lag wait for too long.
                sum(max(0, lag_ns - budget_ns // 2) for lag_ns in lags_ns),
            )
        )
        while now_ns - self._reviews[0].at_ns >= WINDOW_NS:
            self._reviews.popleft()
        self._judge(now_ns)

    def _judge(self, now_ns: int) -> None:
        frames = sum(review.frames for review in self._reviews)
        missed = sum(review.missed for review in self._reviews) / max(1, frames)
        if max(review.affected for review in self._reviews) < _MANY:
            missed = 0.0
        passed_ns = sum(review.passed_ns for review in self._reviews)
        unseen = sum(review.lag_ns for review in self._reviews) / max(1, passed_ns)
        self.missed = min(1.0, max(missed, unseen))
        was_late, self.is_late = self.is_late, self.missed > _OFTEN
        if not was_late:
            self._late_since_ns = now_ns
        self.lasts = self.is_late and now_ns - self._late_since_ns >= WINDOW_NS
