"""How late the event loop is, by its own timers: where it is starved, its frames are late too."""

from __future__ import annotations

import asyncio
import time

from steerstream_service.telemetry.observer import Observer

_EVERY_NS = 25_000_000
"""Between two timers: half the budget of a camera at 20 Hz, so that each stall beyond it is seen; a
timer costs 0.05 % of a core."""
_ROUNDING_NS = 1_000_000
"""uvloop's timers have whole milliseconds."""


class LoopLag:
    """Measures all the time how late timers fire. It belongs to the event loop's thread.

    Args:
        observer: is told of every timer.
    """

    def __init__(self, observer: Observer) -> None:
        self._observer = observer
        self._timer: asyncio.TimerHandle | None = None
        self._due_ns = 0
        # Bounded by the review that takes them twice a second.
        self._lags_ns: list[int] = []

    def start(self) -> None:
        """Begin to measure."""
        self._due_ns = time.monotonic_ns() + _EVERY_NS
        self._timer = asyncio.get_running_loop().call_at(self._due_ns / 1e9, self._fire)

    def stop(self) -> None:
        """End it."""
        if self._timer is not None:
            self._timer.cancel()

    def take(self) -> list[int]:
        """Return how late timers fired since the last call, in nanoseconds."""
        lags_ns, self._lags_ns = self._lags_ns, []
        return lags_ns

    def _fire(self) -> None:
        lag_ns = max(0, time.monotonic_ns() - self._due_ns - _ROUNDING_NS)
        self._lags_ns.append(lag_ns)
        self._observer.lagged(lag_ns)
        self.start()
