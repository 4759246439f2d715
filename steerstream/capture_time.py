"""Capture times against the client's own clock: whether they can be true.

Where both clocks run alike, sending time minus capture time is a constant plus the frame's delay.
The constant is unknown, for the clocks may start anywhere; its changes are delays, or mistakes.
"""

from __future__ import annotations

MAX_AHEAD_NS = 5_000_000_000
"""A later frame may be this much fresher than the first: a camera may begin with pictures that have
waited in its buffers."""

_MAX_DRIFT = 1e-3
"""Clocks of a camera and its computer drift apart by a fifth of this at most, 200 ppm."""

_WINDOW_NS = 2_000_000_000
"""How long the least delay is remembered; clocks drift apart by less than a millisecond in it."""


class CaptureLead:
    """How far capture times have run ahead of sending since the first frame."""

    def __init__(self) -> None:
        self._first: tuple[int, int] | None = None

    def ahead_ns(self, capture_time_ns: int, sent_ns: int) -> int:
        """Return by how much more capture time has passed than is possible, beyond the first."""
        if self._first is None:
            return 0
        first_capture_ns, first_sent_ns = self._first
        elapsed_ns = sent_ns - first_sent_ns
        return capture_time_ns - first_capture_ns - elapsed_ns - round(elapsed_ns * _MAX_DRIFT)

    def begin(self, capture_time_ns: int, sent_ns: int) -> None:
        """Note the first frame; later ones change nothing."""
        self._first = self._first or (capture_time_ns, sent_ns)


class CaptureDelay:
    """How much longer than others a frame took from its capture to its sending.

    A frame was taken at least as long before it was sent as its difference of both times is greater
    than the least of the last seconds. Times in another unit, or from a counter, seem to stand
    still, so that their frames seem to be older and older.
    """

    def __init__(self) -> None:
        self._began_ns: int | None = None
        self._least = self._least_before = 0

    def lag_ns(self, capture_time_ns: int, sent_ns: int) -> int:
        """Note a frame, and return its delay beyond the least one, in nanoseconds."""
        difference = sent_ns - capture_time_ns
        if self._began_ns is None:
            self._began_ns, self._least, self._least_before = sent_ns, difference, difference
        elif sent_ns - self._began_ns > _WINDOW_NS:
            self._began_ns, self._least, self._least_before = sent_ns, difference, self._least
        self._least = min(self._least, difference)
        return difference - min(self._least, self._least_before)
