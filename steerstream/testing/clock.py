"""Where a fake server takes its time from."""

from __future__ import annotations

import asyncio
import time
from typing import Protocol


class FakeClock(Protocol):
    """Where a fake server takes its time from."""

    def now_ns(self) -> int:
        """Return a monotonic time in nanoseconds."""

    async def sleep_until(self, due_ns: int) -> None:
        """Return when it is time."""


class RealClock:
    """The machine's own clock; latencies are waited for."""

    def now_ns(self) -> int:
        """Return the machine's monotonic time in nanoseconds."""
        return time.monotonic_ns()

    async def sleep_until(self, due_ns: int) -> None:
        """Wait until the time has come."""
        await asyncio.sleep(max(0, due_ns - self.now_ns()) / 1e9)


class VirtualClock:
    """A clock that stands still until it is advanced, or jumps to a time that is waited for.

    Args:
        start_ns: its first time, in nanoseconds.
    """

    def __init__(self, start_ns: int = 1_000_000_000) -> None:
        self._now_ns = start_ns

    def now_ns(self) -> int:
        """Return the virtual time in nanoseconds."""
        return self._now_ns

    def advance(self, milliseconds: float) -> None:
        """Let time pass."""
        self._now_ns += round(milliseconds * 1e6)

    async def sleep_until(self, due_ns: int) -> None:
        """Jump to the time, if it has not come yet."""
        await asyncio.sleep(0)
        self._now_ns = max(self._now_ns, due_ns)
