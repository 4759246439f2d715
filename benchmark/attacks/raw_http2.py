"""Just enough HTTP/2 (RFC 9113) to send parts of headers and messages, as no gRPC library does."""

from __future__ import annotations

import asyncio
import contextlib
import struct
from collections import defaultdict
from types import TracebackType
from typing import Self

from benchmark.loadgen.drive_rpc import METHOD

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
DATA, HEADERS, RST_STREAM, SETTINGS, PING, WINDOW_UPDATE = 0x0, 0x1, 0x3, 0x4, 0x6, 0x8
END_HEADERS, END_STREAM, ACK = 0x4, 0x1, 0x1
_INITIAL_WINDOW_SIZE = 0x4
_CANCEL = struct.pack(">I", 0x8)
_WINDOW = 65_535
_LARGEST_FRAME = 16_384
_STREAM = 1


def frame(kind: int, flags: int, stream: int, payload: bytes) -> bytes:
    """Return a frame.

    Args:
        kind: its type, such as `HEADERS`.
        flags: such as `END_HEADERS`.
        stream: 0 for the connection.
        payload: at most 16,384 bytes.
    """
    length = struct.pack(">I", len(payload))[1:]
    return length + bytes([kind, flags]) + struct.pack(">I", stream) + payload


def call_headers(authority: str, path: str = METHOD) -> bytes:
    """Return the block of headers that begins a gRPC call, without compression (RFC 7541)."""
    post, http = b"\x83", b"\x86"
    named = _literal(b"\x04", path.encode()) + _literal(b"\x01", authority.encode())
    for name, value in ((b"content-type", b"application/grpc"), (b"te", b"trailers")):
        named += _literal(b"\x00" + bytes([len(name)]) + name, value)
    return post + http + named


def _literal(name: bytes, value: bytes) -> bytes:
    assert len(value) < 127, "longer strings take more than one byte of length"  # noqa: S101
    return name + bytes([len(value)]) + value


def message(content: bytes, length: int | None = None) -> bytes:
    """Return a gRPC message: its content behind a length, which need not be the true one."""
    return struct.pack(">BI", 0, len(content) if length is None else length) + content


def cancelled_calls(block: bytes, first: int, count: int) -> bytes:
    """Return calls that end as soon as they have begun.

    Args:
        block: headers that begin each.
        first: stream of the first one, an odd number.
        count: how many there are, two numbers apart.
    """
    return b"".join(
        frame(HEADERS, END_HEADERS, stream, block) + frame(RST_STREAM, 0, stream, _CANCEL)
        for stream in range(first, first + 2 * count, 2)
    )


class RawConnection:
    """A connection with one call on it, and an asynchronous context manager.

    Args:
        address: HOST:PORT.
        window: bytes that the server may send on the call; it gets no more.
    """

    def __init__(self, address: str, window: int = _WINDOW) -> None:
        self._address = address
        self._window = window
        self._may_send = defaultdict[int, int](lambda: _WINDOW)
        self._changed = asyncio.Event()

    async def __aenter__(self) -> Self:
        """Connect.

        Raises:
            OSError: the server does not accept the connection.
        """
        host, _, port = self._address.rpartition(":")
        self._reader, self._writer = await asyncio.open_connection(host, int(port))
        settings = struct.pack(">HI", _INITIAL_WINDOW_SIZE, self._window)
        self._writer.write(PREFACE + frame(SETTINGS, 0, 0, settings))
        self._answering = asyncio.create_task(self._answer())
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._answering.cancel()
        self._writer.transport.abort()
        await asyncio.wait([self._answering])

    async def send_headers(self, block: bytes, *, ends: bool = True) -> None:
        """Send a block of headers, or a part that says that more follows."""
        self._writer.write(frame(HEADERS, END_HEADERS if ends else 0, _STREAM, block))
        await self._writer.drain()

    async def send_data(self, data: bytes, *, ends: bool = False) -> None:
        """Send a part of the call's messages as fast as the server's flow control lets it.

        Args:
            data: the part.
            ends: whether it is the last one.
        """
        while data:
            room = min(self._may_send[0], self._may_send[_STREAM], _LARGEST_FRAME)
            if room <= 0:
                self._changed.clear()
                await self._changed.wait()
                continue
            part, data = data[:room], data[room:]
            for stream in (0, _STREAM):
                self._may_send[stream] -= len(part)
            flags = END_STREAM if ends and not data else 0
            self._writer.write(frame(DATA, flags, _STREAM, part))
            await self._writer.drain()

    async def send_raw(self, data: bytes) -> None:
        """Send bytes as they are."""
        self._writer.write(data)
        await self._writer.drain()

    async def _answer(self) -> None:
        """Acknowledge settings and pings and count windows until the connection ends."""
        with contextlib.suppress(asyncio.IncompleteReadError, OSError):
            while True:
                head = await self._reader.readexactly(9)
                length, kind, flags = int.from_bytes(head[:3]), head[3], head[4]
                stream = int.from_bytes(head[5:])
                payload = await self._reader.readexactly(length)
                if kind in {SETTINGS, PING} and not flags & ACK:
                    echo = payload if kind == PING else b""
                    self._writer.write(frame(kind, ACK, 0, echo))
                if kind == WINDOW_UPDATE:
                    self._may_send[stream] += int.from_bytes(payload)
                    self._changed.set()
