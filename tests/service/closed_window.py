"""A client that opens sessions over HTTP/2 by hand and never lets the server send an answer.

It grants each stream a window of nothing, as a client does whose process has stopped. No library
does that on purpose, so the few frames of HTTP/2 that it takes are written here.
"""

from __future__ import annotations

import asyncio
import struct
from typing import Any

from steerstream.v1 import drive_service_pb2, session_pb2

_DATA, _HEADERS, _RST_STREAM, _SETTINGS, _PING = 0, 1, 3, 4, 6
_END_HEADERS = 4
_ACK = 1
_INITIAL_WINDOW_SIZE = 4


def http2_frame(kind: int, flags: int, stream: int, payload: bytes = b"") -> bytes:
    head = struct.pack(">I", len(payload))[1:] + bytes([kind, flags]) + struct.pack(">I", stream)
    return head + payload


def call_headers(path: str) -> bytes:
    """The block of headers that begins a call."""
    headers = {
        ":method": "POST",
        ":scheme": "http",
        ":path": path,
        ":authority": "test",
        "content-type": "application/grpc",
        "te": "trailers",
    }
    return b"".join(
        # Literal header fields without indexing: lengths below 127, no Huffman code.
        bytes([0, len(name)]) + name.encode() + bytes([len(value)]) + value.encode()
        for name, value in headers.items()
    )


HELLO = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + http2_frame(_SETTINGS, 0, 0)
"""How a connection begins that grants the usual windows."""


class ClosedWindow:
    """One connection with any number of streams, none of which may be sent data."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer
        self._next_stream = 1
        self.ended: set[int] = set()
        """Streams that the server has ended with a status or a reset."""
        self._reading = asyncio.create_task(self._read())

    @classmethod
    async def connect(cls, address: str) -> ClosedWindow:
        host, port = address.rsplit(":", 1)
        reader, writer = await asyncio.open_connection(host, int(port))
        writer.write(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")
        client = cls(reader, writer)
        client._frame(_SETTINGS, 0, 0, struct.pack(">HI", _INITIAL_WINDOW_SIZE, 0))
        return client

    def open(self, **opening: Any) -> int:
        """Open a session on a new stream; returns the stream's number."""
        stream, self._next_stream = self._next_stream, self._next_stream + 2
        block = call_headers("/steerstream.v1.DriveService/Drive")
        self._frame(_HEADERS, _END_HEADERS, stream, block)
        message = drive_service_pb2.DriveRequest(open=session_pb2.OpenSession(**opening))
        data = message.SerializeToString()
        self._frame(_DATA, 0, stream, struct.pack(">BI", 0, len(data)) + data)
        return stream

    async def closed(self) -> None:
        """Wait until the server has ended the connection."""
        await asyncio.wait([self._reading])

    async def close(self) -> None:
        self._reading.cancel()
        self._writer.close()
        await asyncio.gather(self._reading, return_exceptions=True)

    def _frame(self, kind: int, flags: int, stream: int, payload: bytes = b"") -> None:
        self._writer.write(http2_frame(kind, flags, stream, payload))

    async def _read(self) -> None:
        while True:
            head = await self._reader.readexactly(9)
            size, kind, flags = int.from_bytes(head[:3]), head[3], head[4]
            stream = int.from_bytes(head[5:])
            payload = await self._reader.readexactly(size)
            if kind == _SETTINGS and not flags & _ACK:
                self._frame(_SETTINGS, _ACK, 0)
            elif kind == _PING and not flags & _ACK:
                self._frame(_PING, _ACK, 0, payload)
            elif kind == _RST_STREAM or (kind == _HEADERS and flags & 1):
                self.ended.add(stream)
