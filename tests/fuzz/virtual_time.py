"""Time that passes when nothing else is left to do, so that no test waits for it.

Everything that runs in it must run on the event loop's thread: then the same seed gives the same
history, on every machine.
"""

from __future__ import annotations

import asyncio
import contextlib
import selectors
import time
from collections.abc import Iterator
from unittest import mock

_TICK_NS = 1_000
"""What passes between two looks at the clock."""
_STUCK_S = 60.0
"""Real seconds without an event and without a timer: nothing will ever happen."""


class VirtualTime(selectors.DefaultSelector):
    """The clock, and the selector of an event loop that goes on at once to its next timer."""

    def __init__(self) -> None:
        super().__init__()
        self._now_ns = 1_000_000_000

    def now_ns(self) -> int:
        """Return nanoseconds; takes the place of `time.monotonic_ns`."""
        self._now_ns += _TICK_NS
        return self._now_ns

    def now_s(self) -> float:
        """Return seconds; takes the place of `time.monotonic`."""
        return self.now_ns() / 1e9

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        """Return the events that are there; without any, let the time pass until the timer."""
        events = super().select(_STUCK_S if timeout is None else 0)
        if not events and timeout is None:
            raise RuntimeError("nothing is left that could happen: a task waits for ever")
        if not events and timeout:
            self._now_ns += round(timeout * 1e9)
        return events


@contextlib.contextmanager
def virtual_time() -> Iterator[asyncio.Runner]:
    """Give a runner in whose coroutines time is virtual."""
    clock = VirtualTime()
    with (
        mock.patch.object(time, "monotonic_ns", clock.now_ns),
        mock.patch.object(time, "monotonic", clock.now_s),
        # What a picture took decides how fast its session is read.
        mock.patch.object(time, "thread_time_ns", clock.now_ns),
        mock.patch.object(time, "process_time_ns", clock.now_ns),
        asyncio.Runner(loop_factory=lambda: asyncio.SelectorEventLoop(clock)) as runner,
    ):
        yield runner
