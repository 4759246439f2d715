"""The pipe between a supervisor and a worker.

A worker sends `ready ADDRESS` when its networks are warm and its socket listens. The supervisor
sends `serve` when all workers are ready, and the worker then opens for sessions; `hurry` ends its
drain at once. From `ready` on, the worker's event loop sends `alive` once a second. Either side
learns from the end of the pipe that the other process has ended.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Awaitable, Callable
from typing import Self

_READY, _SERVE, _HURRY, _ALIVE = "ready", "serve", "hurry", "alive"
_ALIVE_EVERY_S = 1.0
_MOST_SILENCES = 15
"""Seconds one after another, each without a message, after which a worker counts as stuck. Counting
them instead of one long time keeps a machine that was suspended from losing all its workers."""


class WorkerPipe:
    """One end of the pipe.

    Args:
        reader: for messages from the other end.
        writer: for messages to the other end.
    """

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer
        self._tasks: list[asyncio.Task[None]] = []

    @classmethod
    async def over(cls, end: socket.socket) -> Self:
        """Use one end of a socket pair."""
        return cls(*await asyncio.open_unix_connection(sock=end))

    async def say_ready(self, address: str) -> None:
        """Tell the supervisor that the networks are warm and the socket listens."""
        await self._say(f"{_READY} {address}")
        self._tasks.append(asyncio.create_task(self._beat()))

    async def say_serve(self) -> None:
        """Tell the worker that all workers are ready."""
        await self._say(_SERVE)

    async def say_hurry(self) -> None:
        """Tell the worker to end its drain at once."""
        await self._say(_HURRY)

    async def ready(self) -> str | None:
        """Wait until the worker is ready; return its address, or None if it has ended."""
        word, _, address = (await self._heard()).partition(" ")
        return address if word == _READY else None

    async def stuck(self) -> bool:
        """Wait until a worker that was ready is silent for too long; return False if it ended."""
        silences = 0
        while silences < _MOST_SILENCES:
            try:
                async with asyncio.timeout(_ALIVE_EVERY_S):
                    if not await self._heard():
                        return False
                silences = 0
            except TimeoutError:
                silences += 1
        return True

    def start_obeying(
        self,
        serve: Callable[[], Awaitable[None]],
        hurry: Callable[[], None],
        stop: Callable[[], None],
    ) -> None:
        """Do what the supervisor says, until `close`.

        Args:
            serve: opens for sessions.
            hurry: ends the drain at once.
            stop: stops the server; the supervisor has ended, and nothing else would.
        """
        self._tasks.append(asyncio.create_task(self._obey(serve, hurry, stop)))

    def close(self) -> None:
        """Close this end."""
        for task in self._tasks:
            task.cancel()
        self._writer.close()

    async def _beat(self) -> None:
        while True:
            await asyncio.sleep(_ALIVE_EVERY_S)
            await self._say(_ALIVE)

    async def _obey(
        self,
        serve: Callable[[], Awaitable[None]],
        hurry: Callable[[], None],
        stop: Callable[[], None],
    ) -> None:
        while word := await self._heard():
            if word == _SERVE:
                await serve()
            elif word == _HURRY:
                hurry()
        stop()

    async def _say(self, text: str) -> None:
        self._writer.write(f"{text}\n".encode())
        try:
            await self._writer.drain()
        except ConnectionError:
            # The other process has ended; reading from the pipe says so.
            return

    async def _heard(self) -> str:
        try:
            return (await self._reader.readline()).decode().rstrip("\n")
        except ConnectionError:
            return ""
