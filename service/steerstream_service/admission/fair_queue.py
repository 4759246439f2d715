"""Gives turns at something that takes a while, in rounds: in each, everybody has one."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Hashable


class CrowdedError(Exception):
    """Too many wait for a turn already."""


class FairQueue:
    """One turn at a time; to be used on the event loop's thread.

    Whoever asks many times waits for itself: others wait for one turn of each before them.

    Args:
        most: of those who wait. Beyond that the one who came last is refused, of whoever has most.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._is_taken = False
        # Who waits, in the order of their next turns.
        self._waiting: dict[Hashable, deque[asyncio.Future[None]]] = {}

    async def take(self, whose: Hashable) -> None:
        """Wait for a turn, to be given back.

        Args:
            whose: who has one turn in a round.

        Raises:
            CrowdedError: too many wait.
        """
        if not self._is_taken:
            self._is_taken = True
            return
        self._make_room(whose)
        turn = asyncio.get_running_loop().create_future()
        self._waiting.setdefault(whose, deque()).append(turn)
        try:
            await turn
        except asyncio.CancelledError:
            if turn.cancelled():
                self._leave(whose, turn)
            elif turn.exception() is None:
                self.give_back()  # It came together with the cancellation.
            raise

    def give_back(self) -> None:
        """Let the next one have the turn."""
        while self._waiting:
            whose = next(iter(self._waiting))
            own = self._waiting.pop(whose)
            turn = own.popleft()
            if own:
                self._waiting[whose] = own
            if not turn.done():  # It is where whoever waited was cancelled just now.
                turn.set_result(None)
                return
        self._is_taken = False

    def _make_room(self, whose: Hashable) -> None:
        if sum(map(len, self._waiting.values())) < self._most:
            return
        fullest = max(self._waiting, key=lambda one: len(self._waiting[one]))
        if len(self._waiting[fullest]) <= len(self._waiting.get(whose, ())) + 1:
            raise CrowdedError
        turn = self._waiting[fullest].pop()
        if not turn.done():
            turn.set_exception(CrowdedError())

    def _leave(self, whose: Hashable, turn: asyncio.Future[None]) -> None:
        own = self._waiting.get(whose, deque())
        if turn in own:
            own.remove(turn)
            if not own:
                del self._waiting[whose]
