"""Which capture times can be true: the vehicle's clock as a session's frames show it.

The limits, the gap rule and a network's interval input all count the time between captures. A clock
in the wrong unit, or one wrong stamp, would make them wrong without a word. Three faults are found:

- *A clock that stands still.* For half a second the captures have been less than a fiftieth as far
  apart as the arrivals: microseconds, milliseconds or a counter instead of nanoseconds. Steering
  would be limited to the rate of that clock, and hardly move.
- *A step back.* A frame cannot have been captured before an earlier one.
- *A step ahead* by ten seconds more than passed between the arrivals, which no live camera makes.

Vehicles are live; they use LATEST. Under EVERY a simulator or a replay sets the pace, and captures
may be much closer together or farther apart than arrivals. So a step ahead is never refused there,
and a clock stands still only if its captures are also less than a millisecond apart. A replayed
frame arrives long after its capture: nothing is a step ahead of it.

After a step, frames are refused until three in a row have gone on from it. Then the clock was set,
and the session follows it. So one wrong stamp costs a few frames at most, and never the session.
"""

from __future__ import annotations

from steerstream_service.domain import SkipReason

_STILL_RATIO = 50
"""A clock in the wrong unit is off by 100 (.NET's ticks), 1,000 or more. A simulator under LATEST
may be ten times slower than real time."""
_STILL_FRAMES = 10
_STILL_NS = 500_000_000
"""Both together bridge a network's jitter: it delays frames and then delivers many at once."""
_PAUSE_NS = 1_000_000_000
"""After a longer pause between arrivals, comparing begins again: a simulator was stopped."""
_SHORTEST_STEP_NS = 1_000_000
"""Between captures at the highest rate that a session may state, 1,000 Hz."""
_AHEAD_NS = 10_000_000_000
"""Far above any delay of a network that a session survives."""
_CONFIRMED_BY = 3
"""Frames in a row, the first included, that confirm a step of the clock: 0.15 s at 20 Hz."""

Refusal = tuple[SkipReason, str]


class CaptureClock:
    """Judges the capture times of one session's frames, in the order of their arrival.

    Args:
        is_live: whether frames come from a camera as time passes; else captures may be any time
            apart.
    """

    def __init__(self, *, is_live: bool) -> None:
        self._is_live = is_live
        self._is_first = True
        # The frame before this one, and the last one that was no wrong step; the first sets both.
        self._last_capture_ns: int
        self._last_arrived_ns: int
        self._good_capture_ns: int
        self._good_arrived_ns: int
        self._good_is_replayed: bool
        self._in_a_row = 0
        """Frames that go on from a step that was refused, the first included."""
        # Where the comparison of captures and arrivals began, and what it found the last time.
        self._began_capture_ns: int
        self._began_arrived_ns: int
        self._frames: int
        self._stands_still = False

    def refusal(
        self, capture_ns: int, arrived_ns: int, *, is_replayed: bool = False
    ) -> Refusal | None:
        """Return why a frame's capture time cannot be true; None where it can.

        Args:
            capture_ns: the frame's capture time, on the vehicle's clock.
            arrived_ns: when the frame arrived, on the server's monotonic clock.
            is_replayed: whether an earlier session of the vehicle had it already.
        """
        if self._is_first:
            self._is_first = False
            self._begin(capture_ns, arrived_ns)
            self._good_capture_ns, self._good_arrived_ns = capture_ns, arrived_ns
            self._good_is_replayed = is_replayed
            self._last_capture_ns, self._last_arrived_ns = capture_ns, arrived_ns
            return None
        self._frames += 1
        if self._frames >= _STILL_FRAMES or arrived_ns - self._last_arrived_ns > _PAUSE_NS:
            self._compare(capture_ns, arrived_ns)
        ahead_ns = capture_ns - self._good_capture_ns
        passed_ns = arrived_ns - self._good_arrived_ns
        if self._good_is_replayed:
            passed_ns = max(passed_ns, ahead_ns)
        found = None
        if self._is_step(ahead_ns, passed_ns) and not self._is_confirmed(capture_ns, arrived_ns):
            found = self._wrong_step(ahead_ns, passed_ns)
        self._last_capture_ns, self._last_arrived_ns = capture_ns, arrived_ns
        if found is not None:
            return found
        self._good_capture_ns, self._good_arrived_ns = capture_ns, arrived_ns
        self._good_is_replayed = is_replayed
        return _standing_still(capture_ns) if self._stands_still else None

    def _is_step(self, ahead_ns: int, passed_ns: int) -> bool:
        """Whether a clock was set between two frames, this far apart by their captures and here."""
        return ahead_ns <= 0 or (self._is_live and ahead_ns - passed_ns > _AHEAD_NS)

    def _is_confirmed(self, capture_ns: int, arrived_ns: int) -> bool:
        """Whether enough frames have gone on from a step, this one included."""
        ahead_ns = capture_ns - self._last_capture_ns
        if self._is_step(ahead_ns, arrived_ns - self._last_arrived_ns):
            self._in_a_row = 0
        self._in_a_row += 1
        return self._in_a_row >= _CONFIRMED_BY

    def _wrong_step(self, ahead_ns: int, passed_ns: int) -> Refusal:
        if ahead_ns <= 0:
            text = f"capture_time_ns must be above {self._good_capture_ns}, the last one"
            return SkipReason.OUT_OF_ORDER, text
        text = (
            f"capture_time_ns stepped ahead by {(ahead_ns - passed_ns) / 1e9:.0f} s; send the time "
            "of one monotonic clock, in nanoseconds"
        )
        return SkipReason.CAPTURE_TIME, text

    def _compare(self, capture_ns: int, arrived_ns: int) -> None:
        """Compare how far captures and arrivals have come over the last half second."""
        if arrived_ns - self._last_arrived_ns <= _PAUSE_NS:
            passed_ns = arrived_ns - self._began_arrived_ns
            if passed_ns < _STILL_NS:
                return
            ahead_ns = capture_ns - self._began_capture_ns
            self._stands_still = 0 <= ahead_ns * _STILL_RATIO < passed_ns and (
                self._is_live or ahead_ns < self._frames * _SHORTEST_STEP_NS
            )
        self._begin(capture_ns, arrived_ns)

    def _begin(self, capture_ns: int, arrived_ns: int) -> None:
        self._began_capture_ns, self._began_arrived_ns = capture_ns, arrived_ns
        self._frames = 0


def _standing_still(capture_ns: int) -> Refusal:
    text = (
        f"capture_time_ns {capture_ns} stands nearly still while frames arrive; send the time of "
        "one monotonic clock, in nanoseconds"
    )
    return SkipReason.CAPTURE_TIME, text
