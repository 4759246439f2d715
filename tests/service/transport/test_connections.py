"""Connections that do nothing end, and there are no more of them than the setting says."""

from __future__ import annotations

import asyncio
import contextlib

import numpy as np
import pytest

from steerstream_service.process import server
from tests.service import bundles
from tests.service.closed_window import HELLO, call_headers, http2_frame
from tests.service.vehicle import running

GREY = np.full((8, 16, 3), 100, np.uint8)
HEADERS, RST_STREAM, SETTINGS, PING, CONTINUATION = 1, 3, 4, 6, 9
ACK, END_HEADERS = 1, 4
BLOCK = call_headers("/steerstream.v1.DriveService/Drive")


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    return bundles.recurrent(tmp_path_factory.mktemp("bundles") / "tiny.onnx")


async def connect(address):
    host, port = address.rsplit(":", 1)
    return await asyncio.open_connection(host, int(port))


async def ends(reader):
    """Whether the server ends a connection."""
    async with asyncio.timeout(60):
        with contextlib.suppress(ConnectionError):
            while await reader.read(65_536):
                pass
    return True


async def test_a_connection_that_does_not_agree_to_the_servers_settings_ends(tiny, monkeypatch):
    """Until it does, gRPC holds it to no bound on headers; it may have a call open."""
    monkeypatch.setattr(server, "_STRANGERS", [("grpc.http2.settings_timeout", 500)])
    async with running(tiny, open_timeout_s=600.0) as run:
        reader, writer = await connect(run.address)
        writer.write(HELLO + http2_frame(HEADERS, END_HEADERS, 1, BLOCK))
        assert await ends(reader)
        writer.close()


@pytest.mark.parametrize(
    "said",
    [
        b"",
        HELLO[:10],
        HELLO,
        HELLO + http2_frame(HEADERS, END_HEADERS, 1, BLOCK)[:5],
        HELLO + http2_frame(HEADERS, 0, 1, BLOCK[:20]),
    ],
    ids=["nothing", "half a preface", "settings", "half a frame's head", "half the headers"],
)
async def test_a_connection_without_a_call_ends(tiny, said, monkeypatch):
    """Not one that drives: its call is open."""
    short = {"grpc.server_handshake_timeout_ms": 500, "grpc.max_connection_idle_ms": 500}
    options = [(name, short.get(name, value)) for name, value in server._STRANGERS]
    monkeypatch.setattr(server, "_STRANGERS", options)
    async with running(tiny) as run:
        vehicle = await run.vehicle()
        reader, writer = await connect(run.address)
        writer.write(said)
        assert await ends(reader)
        writer.close()
        assert (await vehicle.drive(GREY)).step_count == 1


async def test_a_connection_beyond_the_bound_is_closed_and_the_others_stay(tiny):
    async with running(tiny, max_connections=16) as run:
        vehicle = await run.vehicle()
        others = [await connect(run.address) for _ in range(16)]
        reads = [asyncio.create_task(ends(reader)) for reader, _ in others]
        done, waiting = await asyncio.wait(reads, timeout=60, return_when=asyncio.FIRST_COMPLETED)
        assert len(done) == 1, "one of 17"
        assert (await vehicle.drive(GREY)).step_count == 1
        for _, writer in others:
            writer.close()
        await asyncio.gather(*waiting, return_exceptions=True)
        async with asyncio.timeout(60):
            while not await _opens(run):
                pass


async def _opens(run):
    """Whether a vehicle gets in, once gRPC has noticed that the others are gone."""
    vehicle = await run.vehicle()
    return (await vehicle.drive(GREY)).step_count == 1


async def test_pings_are_answered_however_many_and_beside_vehicles(tiny):
    """To end a connection for them took seconds, in which gRPC read nothing of any other."""
    count = 20_000
    async with running(tiny) as run:
        vehicle = await run.vehicle()
        reader, writer = await connect(run.address)
        # The connection has a call, or it would end for having none.
        writer.write(HELLO + http2_frame(SETTINGS, ACK, 0))
        writer.write(http2_frame(HEADERS, END_HEADERS, 1, BLOCK))
        writer.write(http2_frame(PING, 0, 0, bytes(8)) * count)
        async with asyncio.timeout(60):
            for _ in range(count):
                head = await frame_of(reader, PING)
                assert head[4] == ACK
        writer.close()
        assert (await vehicle.drive(GREY)).step_count == 1


async def test_headers_beyond_the_bound_cost_their_call(tiny):
    long = b"".join(b"\0\x04%04d\x64" % number + b"y" * 100 for number in range(200))
    async with running(tiny, open_timeout_s=600.0) as run:
        reader, writer = await connect(run.address)
        writer.write(HELLO + http2_frame(SETTINGS, ACK, 0))
        # gRPC keeps to its bound from then on.
        await frame_of(reader, SETTINGS)
        writer.write(http2_frame(HEADERS, 0, 1, BLOCK + long[:10_000]))
        writer.write(http2_frame(CONTINUATION, END_HEADERS, 1, long[10_000:]))
        await call_ends(reader)
        writer.close()
        assert (await (await run.vehicle()).drive(GREY)).step_count == 1


async def frame_of(reader, kind):
    while True:
        head = await reader.readexactly(9)
        await reader.readexactly(int.from_bytes(head[:3]))
        if head[3] == kind:
            return head


async def call_ends(reader):
    """Read frames until one ends the call: trailers, or a reset."""
    async with asyncio.timeout(60):
        while True:
            head = await reader.readexactly(9)
            await reader.readexactly(int.from_bytes(head[:3]))
            is_end = head[3] == RST_STREAM or (head[3] == HEADERS and head[4] & 1)
            if is_end and int.from_bytes(head[5:]) == 1:
                return
