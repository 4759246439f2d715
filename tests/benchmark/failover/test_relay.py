"""The relay carries bytes both ways, and swallows them once it is cut."""

from __future__ import annotations

import asyncio
import contextlib

import pytest

from benchmark.failover.relay import Relay


@contextlib.asynccontextmanager
async def echo():
    """A server that sends back what comes; yields its address."""

    async def answer(reader, writer):
        while data := await reader.read(100):
            writer.write(data)
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    async with server:
        yield f"127.0.0.1:{server.sockets[0].getsockname()[1]}"


async def connected(address):
    host, _, port = address.rpartition(":")
    return await asyncio.open_connection(host, port)


async def test_bytes_and_the_end_go_through():
    async with echo() as target, Relay(target) as relay:
        reader, writer = await connected(relay.address)
        writer.write(b"to and fro")
        assert await reader.readexactly(10) == b"to and fro"
        writer.write_eof()
        assert await reader.read() == b""
        writer.close()


async def test_a_cut_relay_leaves_connections_open_and_says_nothing():
    async with echo() as target, Relay(target) as relay:
        old_reader, old_writer = await connected(relay.address)
        old_writer.write(b"before")
        assert await old_reader.readexactly(6) == b"before"
        relay.cut()
        new_reader, new_writer = await connected(relay.address)
        for reader, writer in ((old_reader, old_writer), (new_reader, new_writer)):
            writer.write(b"after")
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.2):
                    await reader.read(1)
            writer.close()


async def test_a_server_that_is_not_there_ends_the_connection():
    async with echo() as target:
        pass
    async with Relay(target) as relay:
        reader, writer = await connected(relay.address)
        assert await reader.read() == b""
        writer.close()
