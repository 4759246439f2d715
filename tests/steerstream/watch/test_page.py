"""The live page over HTTP: what it serves, to whom, and how much at once."""

from __future__ import annotations

import asyncio
import contextlib
import re
import socket
from importlib import resources

import aiohttp
import pytest

from steerstream.watch import hub as hub_module
from steerstream.watch import page
from steerstream.watch.hub import Hub
from steerstream.watch.place import Place
from tests.steerstream.watch.scripted import WAIT_S

FREE = Place("127.0.0.1", 0)
STATIC = resources.files("steerstream.watch") / "static"


@contextlib.asynccontextmanager
async def served(place=FREE):
    """The page's place, and a client of HTTP."""
    hub = Hub(["127.0.0.1:1"])
    async with page.serve(hub, place) as taken, aiohttp.ClientSession() as client:
        yield taken, client


@pytest.mark.parametrize(
    ("path", "kind", "begins"),
    [
        ("", "text/html", "<!doctype html>"),
        ("watch.css", "text/css", "/*"),
        ("watch.js", "text/javascript", "//"),
    ],
)
async def test_three_files_and_nothing_that_they_load_from_elsewhere(path, kind, begins):
    async with served() as (place, client), client.get(place.url + path) as answer:
        text = await answer.text()
        assert (answer.status, answer.content_type, answer.charset) == (200, kind, "utf-8")
        assert text.startswith(begins)
        assert not re.search(r"https?://|@import|url\(", text)


async def test_headers_that_keep_others_out():
    async with served() as (place, client):
        for path in ("", "watch.js", "nothing", "events"):
            async with client.get(place.url + path) as answer:
                policy = answer.headers["Content-Security-Policy"]
                assert "default-src 'none'; script-src 'self'" in policy
                assert "unsafe" not in policy
                assert "trusted-types 'none'" in policy
                assert "frame-ancestors 'none'" in policy
                assert answer.headers["X-Content-Type-Options"] == "nosniff"
                assert answer.headers["Cache-Control"] == "no-store"
                assert answer.headers["Cross-Origin-Resource-Policy"] == "same-origin"
                assert "Access-Control-Allow-Origin" not in answer.headers


def test_the_page_makes_no_markup_of_what_it_is_told():
    script = (STATIC / "watch.js").read_text()
    html = (STATIC / "watch.html").read_text()
    for way in (
        "innerHTML",
        "outerHTML",
        "insertAdjacentHTML",
        "document.write",
        "eval(",
        "new Function",
    ):
        assert way not in script
    assert not re.search(r"<script(?! src=\"watch\.js\" defer></script>)", html)
    assert not re.search(r"\son\w+=|style=", html)


async def test_other_paths_and_methods_are_refused():
    async with served() as (place, client):
        for path in ("nothing", "../../etc/passwd", "static/watch.js"):
            async with client.get(place.url + path) as answer:
                assert answer.status == 404
        async with client.post(place.url, data=b"x") as answer:
            assert answer.status == 405


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("127.0.0.1:8080", 200),
        ("localhost", 200),
        ("[::1]:8080", 200),
        ("10.1.2.3:9", 200),
        (socket.gethostname(), 200),
        ("attacker.example", 421),
        ("127.0.0.1.attacker.example:8080", 421),
        ("", 421),
    ],
)
async def test_a_name_that_others_can_point_here_gets_nothing(host, status):
    """DNS rebinding: a page elsewhere whose name leads to this machine reads nothing."""
    async with served() as (place, client):
        for path in ("", "events"):
            async with client.get(place.url + path, headers={"Host": host}) as answer:
                assert answer.status == status


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"Sec-Fetch-Site": "same-origin", "Sec-Fetch-Mode": "cors"}, 200),
        ({"Sec-Fetch-Site": "none", "Sec-Fetch-Mode": "navigate"}, 200),
        ({"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate"}, 200),
        ({"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "cors"}, 421),
        ({"Sec-Fetch-Site": "same-site", "Sec-Fetch-Mode": "no-cors"}, 421),
    ],
)
async def test_scripts_of_other_pages_get_nothing(headers, status):
    async with (
        served() as (place, client),
        client.get(f"{place.url}events", headers=headers) as answer,
    ):
        assert answer.status == status


async def test_events_come_as_a_stream_that_browsers_take_up_again():
    async with (
        served() as (place, client),
        client.get(f"{place.url}events?vehicle=a%20b") as answer,
    ):
        assert answer.content_type == "text/event-stream"
        assert await _event(answer) == ["retry: 1000"]
        kinds = {(await _event(answer))[0] for _ in range(3)}
        assert kinds == {"event: history", "event: state", "event: vehicle"}


async def _event(answer):
    async with asyncio.timeout(WAIT_S):
        data = await answer.content.readuntil(b"\n\n")
    return data.decode().rstrip("\n").split("\n")


async def test_a_page_too_many_is_told_so_and_comes_back_later(monkeypatch):
    monkeypatch.setattr(hub_module, "MOST_VIEWERS", 1)
    async with served() as (place, client), client.get(f"{place.url}events") as first:
        await _event(first)
        await _event(first)
        async with client.get(f"{place.url}events") as second:
            assert await _event(second) == ["retry: 1000"]
            assert await _event(second) == [
                "retry: 5000",
                "event: full",
                "data: 1 pages are open, and no more are served; close one",
            ]
            assert await second.content.read() == b""


async def test_connections_beyond_the_bound_are_closed(monkeypatch):
    monkeypatch.setattr(page, "_MOST_CONNECTIONS", 3)
    async with served() as (place, _):
        opened = [await asyncio.open_connection(*place) for _ in range(3)]
        for _, writer in opened:
            writer.write(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
        for reader, _ in opened:
            assert (await reader.readline()).startswith(b"HTTP/1.1 200")
        reader, writer = await asyncio.open_connection(*place)
        assert await asyncio.wait_for(reader.read(), WAIT_S) == b""
        for _, each in (*opened, (reader, writer)):
            each.close()


async def test_a_page_that_takes_nothing_leaves_its_place(monkeypatch):
    monkeypatch.setattr(page, "_PATIENCE_S", 0.05)
    hub = Hub(["127.0.0.1:1"])
    async with page.serve(hub, FREE) as place:
        reader, writer = await asyncio.open_connection(*place)
        writer.write(b"GET /events HTTP/1.1\r\nHost: localhost\r\n\r\n")
        await reader.readline()
        async with asyncio.timeout(WAIT_S):
            while hub._viewers:
                for viewer in hub._viewers:
                    viewer.tell(b": " + bytes(100_000) + b"\n\n")
                await asyncio.sleep(0.001)
        writer.close()


async def test_a_taken_address_is_named():
    with socket.create_server(("127.0.0.1", 0)) as other:
        place = Place(*other.getsockname())
        with pytest.raises(page.CannotListenError, match="choose another --listen"):
            async with page.serve(Hub(["127.0.0.1:1"]), place):
                pass
