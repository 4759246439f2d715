"""The deadlines of all streams on one timer of the event loop.

A frame that is answered in time costs one entry of a heap. The timer is set to the earliest
deadline that still counts, and rings once a budget or so for the whole server, however many streams
there are; a timer for each frame would wake the event loop for each.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from heapq import heappop, heappush
from itertools import count

from steerstream_service.domain import NEVER_NS

_ROUNDING_NS = 500_000
"""uvloop rounds a timer to whole milliseconds; one that rang early would ring over and over."""


class Alarm:
    """Calls the watches back by their times. All of it belongs to the event loop's thread."""

    def __init__(self) -> None:
        # Bounded: a watch has one entry that counts, and those that an earlier one has replaced.
        self._heap: list[tuple[int, int, Watch]] = []
        self._numbers = count()
        self._timer: asyncio.TimerHandle | None = None
        self._timer_ns = NEVER_NS

    def watch(self, look: Callable[[int], int]) -> Watch:
        """Return a new watch, with no time set.

        Args:
            look: called with the present time by the time that is set, or before; it returns when
                it wants to be called next, later than now, or `NEVER_NS`. It must not raise.
        """
        return Watch(self, look)

    def push(self, when_ns: int, watch: Watch) -> None:
        """For `Watch` alone."""
        heappush(self._heap, (when_ns, next(self._numbers), watch))
        if when_ns < self._timer_ns:
            self._set(when_ns)

    def _ring(self) -> None:
        """Look at the earliest, as long as what it waits for has gone or moved."""
        now_ns = time.monotonic_ns()
        while self._heap:
            when_ns, _, watch = self._heap[0]
            next_ns = watch.ask(when_ns, now_ns)
            if next_ns == when_ns:
                break
            heappop(self._heap)
            if next_ns < NEVER_NS:
                heappush(self._heap, (next_ns, next(self._numbers), watch))
        self._set(self._heap[0][0] if self._heap else NEVER_NS)

    def _set(self, when_ns: int) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer_ns = when_ns
        self._timer = None
        if when_ns < NEVER_NS:
            loop = asyncio.get_running_loop()
            self._timer = loop.call_at((when_ns + _ROUNDING_NS) / 1e9, self._ring)


class Watch:
    """One stream's place in the alarm."""

    __slots__ = ("_alarm", "_look", "_when_ns")

    def __init__(self, alarm: Alarm, look: Callable[[int], int]) -> None:
        self._alarm = alarm
        self._look: Callable[[int], int] | None = look
        self._when_ns = NEVER_NS

    def by(self, when_ns: int) -> None:
        """Be called by this time at the latest."""
        if when_ns < self._when_ns:
            self._when_ns = when_ns
            self._alarm.push(when_ns, self)

    def stop(self) -> None:
        """Be called no more."""
        self._look = None

    def ask(self, when_ns: int, now_ns: int) -> int:
        """For `Alarm` alone: when the entry of this time wants to be looked at next."""
        if when_ns != self._when_ns:
            return NEVER_NS
        self._when_ns = NEVER_NS if self._look is None else self._look(now_ns)
        return self._when_ns
