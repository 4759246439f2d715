"""A connection that gRPC holds is ended from below it, and no other."""

from __future__ import annotations

import asyncio
import contextlib

import pytest

from steerstream_service.transport.hang_up import hang_up


@contextlib.asynccontextmanager
async def connections(host, count):
    """The server's and the clients' ends of some connections."""
    accepted = []

    async def accept(reader, writer):
        accepted.append((reader, writer))

    async with await asyncio.start_server(accept, host, 0) as server:
        port = server.sockets[0].getsockname()[1]
        clients = [await asyncio.open_connection(host, port) for _ in range(count)]
        while len(accepted) < count:  # noqa: ASYNC110 - nothing else tells
            await asyncio.sleep(0.005)
        yield accepted, clients
        for _, writer in [*accepted, *clients]:
            writer.close()
            with contextlib.suppress(ConnectionError):
                await writer.wait_closed()


@pytest.mark.parametrize(
    ("host", "name"),
    [("127.0.0.1", "ipv4:127.0.0.1:{}"), ("::1", "ipv6:[::1]:{}"), ("::1", "ipv6:%5B::1%5D:{}")],
)
async def test_the_connection_of_that_name_ends_and_the_others_go_on(host, name):
    async with connections(host, 3) as (accepted, clients):
        port = clients[1][1].get_extra_info("sockname")[1]
        assert hang_up(name.format(port))
        async with asyncio.timeout(60):
            assert await clients[1][0].read() == b""
        for (reader, _), (_, writer) in ((clients[0], accepted[0]), (clients[2], accepted[2])):
            writer.write(b"still here")
            async with asyncio.timeout(60):
                assert await reader.readexactly(10) == b"still here"


@pytest.mark.parametrize("name", ["ipv4:127.0.0.1:1", "unix:", "unix:/tmp/x", "", "ipv4:host"])
def test_a_name_that_leads_nowhere_ends_nothing(name):
    assert not hang_up(name)
