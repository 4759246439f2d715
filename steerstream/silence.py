"""A bound for what waits for another side that may never say anything more."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from types import TracebackType

_LOOKS = 8
"""Looks in a row without news before that is too long. A machine that stood still costs one of
them, and what came in that time is read before the next."""
_MS = 1_000_000


class Silence:
    """An asynchronous context manager that ends its block where no news come for too long.

    It raises TimeoutError then, and `was_too_long` tells it from others.

    Args:
        limit_s: how long no news may come while some are owed, in seconds.
        heard: returns how many came until now, or None where none are owed.
    """

    def __init__(self, limit_s: float, heard: Callable[[], int | None]) -> None:
        self._period_s = limit_s / _LOOKS
        self._heard = heard
        self._before: int | None = None
        self._next_look: asyncio.TimerHandle | None = None
        self._looks_left = _LOOKS
        self._timeout = asyncio.timeout(None)

    async def __aenter__(self) -> None:
        await self._timeout.__aenter__()
        self._look()

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._next_look is not None:
            self._next_look.cancel()
        await self._timeout.__aexit__(exc_type, exc, traceback)

    @property
    def was_too_long(self) -> bool:
        """Whether the block was ended because no news came."""
        return self._timeout.expired()

    def _look(self) -> None:
        heard = self._heard()
        is_silent = heard is not None and heard == self._before
        self._looks_left = self._looks_left - 1 if is_silent else _LOOKS
        self._before = heard
        loop = asyncio.get_running_loop()
        if self._looks_left:
            self._next_look = loop.call_later(self._period_s, self._look)
        else:
            self._timeout.reschedule(loop.time())


class AnswerSilence:
    """For how long frames have waited without any answer, as far as the client has looked.

    Times are of the client's clock. It has none of its own, and waits for nothing.
    """

    def __init__(self) -> None:
        self._limit_ns = self._heard_ns = self._looked_ns = self._counted_ns = 0
        self.lasts_ms = 0.0
        """How long it lasts by the clock, at the last look."""

    def begin(self, limit_ns: int, now_ns: int) -> None:
        """Begin to listen to a server, which is silent when nothing came for the limit."""
        self._limit_ns = limit_ns
        self.heard(now_ns)

    def heard(self, now_ns: int) -> None:
        """An answer came."""
        self._heard_ns = now_ns

    @property
    def next_look_s(self) -> float:
        """When to look again, in seconds."""
        left_ns = max(self._limit_ns - self._counted_ns, _MS)
        return min(left_ns, self._limit_ns // _LOOKS) / 1e9

    def look(self, now_ns: int, waits_since_ns: int | None) -> float:
        """Return how much of the limit has passed, 1 for all of it.

        Args:
            now_ns: the time.
            waits_since_ns: when the oldest frame without an answer was sent; None for none.
        """
        passed_ns, self._looked_ns = now_ns - self._looked_ns, now_ns
        if waits_since_ns is None:
            self._counted_ns = 0
            return 0.0
        lasts_ns = now_ns - max(self._heard_ns, waits_since_ns)
        # A client that stood still has yet to read what came in that time.
        counted_ns = self._counted_ns + min(passed_ns, self._limit_ns // _LOOKS)
        self._counted_ns = min(counted_ns, lasts_ns)
        self.lasts_ms = lasts_ns / 1e6
        return self._counted_ns / self._limit_ns
