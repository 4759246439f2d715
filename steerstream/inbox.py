"""Answers that wait until the user of a session reads them."""

from __future__ import annotations

import asyncio
import collections

from steerstream.answers import Answer, Command, Notice, Skipped


class Inbox:
    """A bounded queue between the reader of a stream and the user of its session.

    When it is full, the session's frame policy decides. Under LATEST the oldest answer is dropped
    and counted. Under EVERY `put` waits, so that the stream is not read and gRPC's flow control
    slows the server down. Of each kind of notice only the newest is kept, so `put_notice` never
    waits.

    Args:
        capacity: answers that may wait.
        drop_oldest: whether a full queue drops its oldest answer; otherwise `put` waits.
    """

    def __init__(self, capacity: int, *, drop_oldest: bool) -> None:
        self._capacity = capacity
        self._drop_oldest = drop_oldest
        self._answers: collections.deque[Answer] = collections.deque()
        self._notices: dict[type[Notice], Notice] = {}
        self._changed = asyncio.Event()
        self._is_closed = False
        self.dropped = 0

    async def put(self, answer: Command | Skipped) -> None:
        """Add an answer; waits for room where none may be dropped."""
        while len(self._answers) >= self._capacity and not self._is_closed:
            if self._drop_oldest:
                self._answers.popleft()
                self.dropped += 1
            else:
                await self._change()
        self.put_now(answer)

    def put_now(self, answer: Command | Skipped) -> None:
        """Add an answer, even to a full queue."""
        self._answers.append(answer)
        self._changed.set()

    def put_notice(self, notice: Notice) -> None:
        """Add a notice in place of an unread one of its kind."""
        self._notices[type(notice)] = notice
        self._changed.set()

    def close(self) -> None:
        """Say that nothing more comes; what waits can still be read."""
        self._is_closed = True
        self._changed.set()

    async def get(self) -> Answer | None:
        """Return the next notice or answer, or None when all were read and nothing more comes."""
        while not (self._answers or self._notices):
            if self._is_closed:
                return None
            await self._change()
        self._changed.set()
        if self._notices:
            return self._notices.pop(next(iter(self._notices)))
        return self._answers.popleft()

    async def _change(self) -> None:
        self._changed.clear()
        await self._changed.wait()
