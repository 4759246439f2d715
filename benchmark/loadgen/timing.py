"""The clock of all loads: when frames are due, and which of them count."""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Coroutine, Iterable
from dataclasses import dataclass
from typing import Any, TypeVar

NS_PER_S = 1e9
NS_PER_MS = 1e6

Result = TypeVar("Result")


@dataclass(frozen=True, slots=True)
class Window:
    """The time that is measured, in nanoseconds of the monotonic clock."""

    begin_ns: int
    end_ns: int

    @classmethod
    def after(cls, delay_s: float, seconds: float) -> Window:
        """Return a window of some seconds that begins after a delay from now."""
        begin_ns = time.monotonic_ns() + round(delay_s * NS_PER_S)
        return cls(begin_ns, begin_ns + round(seconds * NS_PER_S))

    def holds(self, moment_ns: int) -> bool:
        """Return whether a moment lies in the window."""
        return self.begin_ns <= moment_ns < self.end_ns


@dataclass(frozen=True, slots=True)
class Camera:
    """Ticks at its rate whether or not anybody takes its frames.

    Attributes:
        rate_hz: frames a second.
        phase: of its first tick, as a share of the period, 0 to 1.
    """

    rate_hz: float
    phase: float

    def tick_after(self, moment_ns: float) -> int:
        """Return the number of the first tick at or after a moment."""
        return math.ceil(moment_ns * self.rate_hz / NS_PER_S - self.phase)

    def due_ns(self, tick: int) -> int:
        """Return when a tick is due, in nanoseconds of the monotonic clock."""
        return round((tick + self.phase) / self.rate_hz * NS_PER_S)


def seconds_until(moment_ns: float) -> float:
    """Return the seconds until a moment of the monotonic clock; 0 if it has passed."""
    return max(0.0, (moment_ns - time.monotonic_ns()) / NS_PER_S)


async def until(moment_ns: float) -> None:
    """Wait for a moment of the monotonic clock."""
    if delay_s := seconds_until(moment_ns):
        await asyncio.sleep(delay_s)


async def together(work: Iterable[Coroutine[Any, Any, Result]]) -> list[Result]:
    """Run coroutines at once and return their results; the first error ends the others too."""
    tasks = [asyncio.ensure_future(each) for each in work]
    try:
        return await asyncio.gather(*tasks)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
