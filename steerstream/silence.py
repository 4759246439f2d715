"""A bound for what waits for another side that may never say anything more."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from types import TracebackType

_LOOKS = 8
"""Looks in a row without news before that is too long. A machine that stood still costs one of
them, and what came in that time is read before the next."""


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
