"""The deadlines of all streams on one timer of the event loop.

A frame that is answered in time costs one entry of a heap. The timer is set to the earliest
deadline that still counts, and fires about once a budget for the whole server, however many streams
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
"""uvloop rounds a timer to whole milliseconds; one that fired early would fire over and over."""


class DeadlineTimer:
    """Calls streams back by their deadlines. It belongs to the event loop's thread."""

    def __init__(self) -> None:
        # Bounded: a deadline has one entry that counts, and those that an earlier one has replaced.
        self._heap: list[tuple[int, int, Deadline]] = []
        self._numbers = count()
        self._timer: asyncio.TimerHandle | None = None
        self._timer_ns = NEVER_NS

    def deadline(self, check: Callable[[int], int]) -> Deadline:
        """Return a deadline that is not set yet.

        Args:
            check: called with the present time at the deadline or before; it returns when to call
                it next, later than now, or `NEVER_NS`. It must not raise.
        """
        return Deadline(self, check)

    def push(self, when_ns: int, deadline: Deadline) -> None:
        """For `Deadline` alone."""
        heappush(self._heap, (when_ns, next(self._numbers), deadline))
        if when_ns < self._timer_ns:
            self._set(when_ns)

    def _fire(self) -> None:
        """Check the earliest deadlines, as long as they have gone or moved."""
        now_ns = time.monotonic_ns()
        while self._heap:
            when_ns, _, deadline = self._heap[0]
            next_ns = deadline.next_after(when_ns, now_ns)
            if next_ns == when_ns:
                break
            heappop(self._heap)
            if next_ns < NEVER_NS:
                heappush(self._heap, (next_ns, next(self._numbers), deadline))
        self._set(self._heap[0][0] if self._heap else NEVER_NS)

    def _set(self, when_ns: int) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer_ns = when_ns
        self._timer = None
        if when_ns < NEVER_NS:
            loop = asyncio.get_running_loop()
            self._timer = loop.call_at((when_ns + _ROUNDING_NS) / 1e9, self._fire)


class Deadline:
    """The next deadline of one stream."""

    __slots__ = ("_check", "_timer", "_when_ns")

    def __init__(self, timer: DeadlineTimer, check: Callable[[int], int]) -> None:
        self._timer = timer
        self._check: Callable[[int], int] | None = check
        self._when_ns = NEVER_NS

    def set(self, when_ns: int) -> None:
        """Be called by this time at the latest; only an earlier time than before counts."""
        if when_ns < self._when_ns:
            self._when_ns = when_ns
            self._timer.push(when_ns, self)

    def cancel(self) -> None:
        """Be called no more."""
        self._check = None

    def next_after(self, when_ns: int, now_ns: int) -> int:
        """For `DeadlineTimer` alone: check an entry, and return the time of the next one."""
        if when_ns != self._when_ns:
            return NEVER_NS
        self._when_ns = NEVER_NS if self._check is None else self._check(now_ns)
        return self._when_ns
