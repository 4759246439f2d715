"""A network between vehicles and a server that can be lost without a word."""

from __future__ import annotations

import asyncio
import contextlib
from types import TracebackType
from typing import Self

_CHUNK_BYTES = 64 * 1024


class Relay:
    """Carries bytes between clients and a server; an asynchronous context manager.

    Args:
        target: the server, HOST:PORT.

    Attributes:
        address: HOST:PORT, to be used in the server's place.
    """

    def __init__(self, target: str) -> None:
        self._host, _, self._port = target.rpartition(":")
        self._is_cut = False
        self._carrying: set[asyncio.Task[None]] = set()
        self.address = ""

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        self.address = f"127.0.0.1:{self._server.sockets[0].getsockname()[1]}"
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._server.close()
        for task in self._carrying:
            task.cancel()
        if self._carrying:
            await asyncio.wait(self._carrying)

    def cut(self) -> None:
        """Swallow every byte from now on, and leave all connections open.

        New ones are taken and lead nowhere, as behind a firewall that drops what it does not know.
        """
        self._is_cut = True

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None, "asyncio runs each connection in a task"  # noqa: S101 - own process
        self._carrying.add(task)
        task.add_done_callback(self._carrying.discard)
        # Streams of asyncio report a connection's task that was cancelled as an error.
        quiet = contextlib.suppress(OSError, asyncio.CancelledError)
        with quiet, contextlib.ExitStack() as stack:
            stack.callback(writer.close)
            onward_reader, onward_writer = await asyncio.open_connection(self._host, self._port)
            stack.callback(onward_writer.close)
            both = [self._carry(reader, onward_writer), self._carry(onward_reader, writer)]
            await asyncio.gather(*both)

    async def _carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(_CHUNK_BYTES):
            if not self._is_cut:
                writer.write(data)
                await writer.drain()
        if self._is_cut:
            # The end is swallowed too.
            await asyncio.get_running_loop().create_future()
        writer.close()
