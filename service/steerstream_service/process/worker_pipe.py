"""The line between a supervisor and each of its workers: two words, and its end.

A worker says `ready ADDRESS` when its networks are warm and its socket listens. It is told
`serve` when all workers are that far, and then opens for sessions. A line that ends tells either
side that the other one is gone.
"""

from __future__ import annotations

import asyncio
import socket
from typing import Self

_READY, _SERVE = "ready", "serve"


class Line:
    """One end of the line.

    Args:
        reader: what the other end says.
        writer: to the other end.
    """

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    @classmethod
    async def over(cls, end: socket.socket) -> Self:
        """Take one end of a socket pair."""
        return cls(*await asyncio.open_unix_connection(sock=end))

    async def say_ready(self, address: str) -> None:
        """A worker listens, and its networks are warm."""
        await self._say(f"{_READY} {address}")

    async def say_serve(self) -> None:
        """All workers are ready."""
        await self._say(_SERVE)

    async def ready(self) -> str | None:
        """Wait until a worker is ready; return its address, or None where it is gone."""
        word, _, address = (await self._heard()).partition(" ")
        return address if word == _READY else None

    async def serve(self) -> bool:
        """Wait to be told to serve; return False where the supervisor is gone."""
        return await self._heard() == _SERVE

    async def ended(self) -> None:
        """Wait until the other end is gone."""
        while await self._heard():
            pass

    def close(self) -> None:
        """End the line."""
        self._writer.close()

    async def _say(self, text: str) -> None:
        self._writer.write(f"{text}\n".encode())
        try:
            await self._writer.drain()
        except ConnectionError:
            # Whoever reads from this line finds its end.
            return

    async def _heard(self) -> str:
        try:
            return (await self._reader.readline()).decode().rstrip("\n")
        except ConnectionError:
            return ""
