"""The news of one server, while it is there and while it is not."""

from __future__ import annotations

import asyncio
import contextlib
import socket

import grpc
import pytest

from steerstream.errors import BadRequest
from steerstream.transport import Tls
from steerstream.v1 import watch_pb2
from steerstream.watch import feed as feed_module
from steerstream.watch.feed import Feed
from tests.steerstream.certificates import make_certificate
from tests.steerstream.watch.scripted import WAIT_S, command, scripted, session, snapshot


@contextlib.asynccontextmanager
async def following(target, **credentials):
    """A feed that runs, and what waits until something holds of its figures."""
    changed = asyncio.Event()
    feed = Feed(target, **credentials, on_news=changed.set)

    async def until(is_right):
        async with asyncio.timeout(WAIT_S):
            while not is_right(feed.figures()):
                changed.clear()
                await changed.wait()
        return feed.figures()

    running = asyncio.create_task(feed.run())
    try:
        yield feed, until
    finally:
        running.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await running


async def test_a_server_is_live_once_it_speaks():
    async with scripted() as server, following(server.address) as (feed, until):
        assert feed.figures()["link"] == "connecting"
        assert not feed.is_live
        server.snapshots.put_nowait(snapshot(1000, [session()]))
        found = await until(lambda figures: figures["link"] == "live")
        assert (found["target"], found["up_ms"], found["why"]) == (server.address, 1000, "")
        assert [row["vehicle"] for row in feed.sessions] == ["car-1"]
        assert len(feed.history) == 1
        assert feed.is_live


async def test_a_server_that_stops_speaking_is_silent(monkeypatch):
    async with scripted() as server, following(server.address) as (feed, until):
        server.snapshots.put_nowait(snapshot())
        await until(lambda figures: figures["link"] == "live")
        monkeypatch.setattr(feed_module, "_SILENT_S", 0.0)
        assert feed.figures()["link"] == "silent"
        assert not feed.is_live


async def test_why_a_server_says_nothing_is_told_once_until_it_speaks(monkeypatch):
    monkeypatch.setattr(feed_module, "_PAUSE_S", 0.0)
    told: list[str] = []
    async with scripted() as server:
        server.refusal = grpc.StatusCode.UNIMPLEMENTED
        async with following(server.address, on_gone=told.append) as (_, until):
            await until(lambda figures: "--admin-listen" in figures["why"])
            server.refusal = grpc.StatusCode.RESOURCE_EXHAUSTED
            await until(lambda figures: "by others" in figures["why"])
            server.refusal = None
            server.snapshots.put_nowait(snapshot())
            await until(lambda figures: figures["link"] == "live")
    assert [line.split()[:2] for line in told[:2]] == [
        [server.address, "shows"],
        [server.address, "is"],
    ]
    assert len(told) <= 3, "one more at most, as the server ended"


async def test_a_server_that_dies_is_gone_and_comes_back(monkeypatch):
    monkeypatch.setattr(feed_module, "_PAUSE_S", 0.01)
    async with contextlib.AsyncExitStack() as ending:
        async with scripted() as server:
            address = server.address
            feed, until = await ending.enter_async_context(following(address))
            server.snapshots.put_nowait(snapshot(1000, [session()]))
            await until(lambda figures: figures["link"] == "live")
        found = await until(lambda figures: "refuses" in figures["why"])
        assert found["link"] == "gone"
        assert "nobody listens there" in found["why"]
        assert found["up_ms"] == 1000, "what was known last is still shown"
        assert feed.sessions
        async with scripted(address) as server:
            server.snapshots.put_nowait(snapshot(100))
            found = await until(lambda figures: figures["link"] == "live")
            assert (found["up_ms"], found["why"], feed.sessions) == (100, "", [])


async def test_why_a_server_shows_nothing_is_said():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        async with following(f"127.0.0.1:{taken.getsockname()[1]}") as (_, until):
            found = await until(lambda figures: "refuses the connection" in figures["why"])
            assert found["link"] == "gone"


@pytest.mark.parametrize(
    ("code", "text"),
    [
        (grpc.StatusCode.UNIMPLEMENTED, "--admin-listen"),
        (grpc.StatusCode.RESOURCE_EXHAUSTED, "watched by others"),
        (grpc.StatusCode.PERMISSION_DENIED, "says: scripted"),
    ],
)
async def test_a_refusal_says_what_to_do(code, text):
    async with scripted() as server:
        server.refusal = code
        async with following(server.address) as (_, until):
            found = await until(lambda figures: text in figures["why"])
            assert found["link"] == "gone"


async def test_a_token_that_is_lost_costs_the_news_and_not_the_page():
    tokens = iter(["first"])

    def token():
        try:
            return next(tokens)
        except StopIteration:
            raise BadRequest("the token's file is gone") from None

    async with scripted() as server:
        server.refusal = grpc.StatusCode.UNAUTHENTICATED
        async with following(server.address, token=token) as (_, until):
            await until(lambda figures: "says: scripted" in figures["why"])
            found = await until(lambda figures: "not asked" in figures["why"])
            assert found["why"] == "was not asked: the token's file is gone"


async def test_a_server_that_speaks_tls_is_watched_and_an_untrusted_one_is_named(tmp_path):
    key, certificate = make_certificate(tmp_path)
    credentials = grpc.ssl_server_credentials([(key.read_bytes(), certificate.read_bytes())])
    async with scripted(credentials=credentials) as server:
        target = server.address.replace("127.0.0.1", "localhost")
        async with following(target, tls=Tls(ca_file=certificate)) as (_, until):
            server.snapshots.put_nowait(snapshot())
            await until(lambda figures: figures["link"] == "live")
        async with following(target, tls=Tls()) as (_, until):
            await until(lambda figures: "not trusted" in figures["why"])


async def test_a_session_is_followed_to_its_end():
    async with scripted() as server, following(server.address) as (feed, _):
        server.closeups.put_nowait(watch_pb2.WatchSessionResponse(answers=[command()]))
        server.closeups.put_nowait(watch_pb2.WatchSessionResponse(ended_by="client"))
        found = [message async for message in feed.session("s1")]
        assert server.asked == ["s1"]
        assert [len(message.answers) for message in found] == [1, 0]
        assert found[-1].ended_by == "client"


async def test_a_session_that_may_not_be_watched_raises():
    async with scripted() as server, following(server.address) as (feed, _):
        server.refusal = grpc.StatusCode.NOT_FOUND
        with pytest.raises(grpc.aio.AioRpcError):
            await anext(feed.session("s1"))
