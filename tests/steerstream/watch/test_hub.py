"""News of servers shared out among pages."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import json

import grpc
import pytest

from steerstream.errors import BadRequest
from steerstream.v1 import watch_pb2
from steerstream.watch import hub as hub_module
from steerstream.watch.hub import MOST_CLOSEUPS, MOST_VIEWERS, Hub, TooManyViewersError, Viewer
from tests.steerstream.watch.scripted import WAIT_S, command, scripted, session, snapshot

ABOUT = watch_pb2.WatchSessionResponse(
    description=watch_pb2.SessionDescription(vehicle_id="car-1", budget_ms=50)
)


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    monkeypatch.setattr(hub_module, "_EVERY_S", 0.02)
    monkeypatch.setattr(hub_module, "_LOOK_AGAIN_S", 0.01)


@contextlib.asynccontextmanager
async def running(*targets, token=None):
    hub = Hub(targets, token=token)
    task = asyncio.create_task(hub.run())
    try:
        yield hub
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


def parsed(part):
    """The events of what is sent at once."""
    for event in part.decode().split("\n\n")[:-1]:
        kind, data = event.split("\n")
        text = data.removeprefix("data: ")
        name = kind.removeprefix("event: ")
        yield name, json.loads(text)


async def until(events, wanted, is_right=lambda _: True):
    """The first event of a kind for which something holds."""
    async with asyncio.timeout(WAIT_S):
        async for part in events:
            for kind, data in parsed(part):
                if kind == wanted and is_right(data):
                    return data
    raise AssertionError("the events ended before")


async def test_a_page_gets_the_course_and_the_state_at_once():
    async with running("127.0.0.1:1") as hub:
        with hub.viewer("") as viewer:
            events = viewer.events()
            first = dict(parsed(await anext(events)))
            assert first["history"] == {"127.0.0.1:1": []}
            assert first["state"]["servers"][0]["link"] == "connecting"


async def test_all_pages_get_what_changes():
    async with scripted() as server, running(server.address) as hub:
        with hub.viewer("") as one, hub.viewer("") as other:
            server.snapshots.put_nowait(snapshot(1000, [session()]))
            for viewer in (one, other):
                found = await until(viewer.events(), "state", lambda data: data["sessions"])
                [row] = found["sessions"]
                assert (row["vehicle"], row["target"], row["is_live"]) == (
                    "car-1",
                    server.address,
                    True,
                )


async def test_a_page_hears_something_even_if_nothing_changes():
    async with running("127.0.0.1:1") as hub:
        with hub.viewer("") as viewer:
            events = viewer.events()
            for _ in range(3):
                await until(events, "state")


async def test_no_more_pages_are_served_than_there_are_places():
    async with running("127.0.0.1:1") as hub:
        with contextlib.ExitStack() as pages:
            for _ in range(MOST_VIEWERS):
                pages.enter_context(hub.viewer(""))
            with pytest.raises(TooManyViewersError, match="16 pages are open"), hub.viewer(""):
                pass
        with hub.viewer(""):
            pass


async def test_a_vehicle_in_full():
    async with scripted() as server, running(server.address) as hub:
        with hub.viewer("car-1") as viewer:
            events = viewer.events()
            away = await until(events, "vehicle")
            assert (away["vehicle"], away["state"]) == ("car-1", "away")
            server.snapshots.put_nowait(snapshot(1000, [session("s1")]))
            server.closeups.put_nowait(ABOUT)
            here = await until(events, "vehicle", lambda data: data["state"] == "here")
            assert (here["session"], here["target"], here["budget_ms"]) == (
                "s1",
                server.address,
                50,
            )
            server.closeups.put_nowait(watch_pb2.WatchSessionResponse(answers=[command()] * 2))
            answers = await until(events, "answers")
            assert [answer["sequence_number"] for answer in answers] == [7, 7]
            picture = watch_pb2.SampledPicture(sequence_number=7, jpeg=b"\xff\xd8\n\n picture")
            server.closeups.put_nowait(watch_pb2.WatchSessionResponse(picture=picture))
            shown = await until(events, "picture")
            assert base64.b64decode(shown["jpeg"]) == picture.jpeg
            assert shown["view"] is None
            server.closeups.put_nowait(watch_pb2.WatchSessionResponse(ended_by="cancelled"))
            ended = await until(events, "vehicle")
            assert (ended["state"], ended["by"]) == ("ended", "cancelled")


async def test_a_vehicle_is_followed_to_its_newest_session():
    async with scripted() as old, scripted() as new, running(old.address, new.address) as hub:
        with hub.viewer("car-1") as viewer:
            events = viewer.events()
            old.snapshots.put_nowait(snapshot(9000, [session("s1", open_ms=9000)]))
            old.closeups.put_nowait(ABOUT)
            await until(events, "vehicle", lambda data: data.get("session") == "s1")
            new.snapshots.put_nowait(snapshot(9000, [session("s2", open_ms=100)]))
            await until(events, "state", lambda data: len(data["sessions"]) == 2)
            old.closeups.put_nowait(watch_pb2.WatchSessionResponse(ended_by="server_stopped"))
            new.closeups.put_nowait(ABOUT)
            found = await until(events, "vehicle", lambda data: data.get("session") == "s2")
            assert found["target"] == new.address


async def test_a_second_page_of_a_vehicle_asks_the_server_nothing():
    async with scripted() as server, running(server.address) as hub:
        with hub.viewer("car-1") as first:
            server.snapshots.put_nowait(snapshot(1000, [session()]))
            server.closeups.put_nowait(ABOUT)
            await until(first.events(), "vehicle", lambda data: data["state"] == "here")
            with hub.viewer("car-1") as second:
                found = await until(second.events(), "vehicle")
                assert found["state"] == "here"
        assert server.asked == ["s1"]


async def test_no_more_vehicles_are_shown_in_full_than_a_server_allows():
    async with running("127.0.0.1:1") as hub:
        with contextlib.ExitStack() as pages:
            for at in range(MOST_CLOSEUPS):
                pages.enter_context(hub.viewer(f"car-{at}"))
            viewer = pages.enter_context(hub.viewer("one too many"))
            found = await until(viewer.events(), "vehicle")
            assert (found["state"], found["vehicle"]) == ("lost", "one too many")
        with hub.viewer("one too many") as viewer:
            assert (await until(viewer.events(), "vehicle"))["state"] == "away"


async def test_a_server_that_refuses_a_closeup_says_why():
    async with scripted() as server, running(server.address) as hub:
        with hub.viewer("car-1") as viewer:
            server.snapshots.put_nowait(snapshot(1000, [session()]))
            events = viewer.events()
            await until(events, "state", lambda data: data["sessions"])
            server.refusal = grpc.StatusCode.RESOURCE_EXHAUSTED
            server.closeups.put_nowait(watch_pb2.WatchSessionResponse(ended_by="client"))
            found = await until(events, "vehicle", lambda data: data["state"] == "lost")
            assert found["why"] == "scripted"


async def test_a_vehicle_whose_server_dies_is_lost():
    async with contextlib.AsyncExitStack() as ending:
        async with scripted() as server:
            hub = await ending.enter_async_context(running(server.address))
            viewer = ending.enter_context(hub.viewer("car-1"))
            server.snapshots.put_nowait(snapshot(1000, [session()]))
            server.closeups.put_nowait(ABOUT)
            events = viewer.events()
            await until(events, "vehicle", lambda data: data["state"] == "here")
        found = await until(events, "vehicle", lambda data: data["state"] == "ended")
        assert found["by"] == "the server is gone"


@pytest.mark.parametrize(
    "news",
    [
        {"load": float("nan")},
        {"sessions": [session(budget_ms=float("inf"), rate_hz=float("nan"))]},
        {"stages": [{"stage": "total", "p50_us": 1}]},
        {"stages": [{"stage": "another"}]},
        {"up_ms": 2**64 - 1},
        {"sessions": [session(open_ms=2**64 - 1)]},
    ],
)
async def test_what_a_server_says_wrongly_costs_no_page_its_other_servers(news):
    async with scripted() as odd, scripted() as good, running(odd.address, good.address) as hub:
        with hub.viewer("") as viewer:
            events = viewer.events()
            odd.snapshots.put_nowait(snapshot(**news))
            await until(events, "state", lambda data: data["servers"][0]["link"] == "live")
            good.snapshots.put_nowait(snapshot(1000, [session()]))
            await until(events, "state", lambda data: data["servers"][1]["link"] == "live")


async def test_a_closeup_goes_on_once_the_token_is_there_again():
    texts = ["first", None, None]

    def token():
        text = texts.pop(0) if texts else "again"
        if text is None:
            raise BadRequest("the token's file is gone")
        return text

    async with scripted() as server, running(server.address, token=token) as hub:
        server.snapshots.put_nowait(snapshot(1000, [session()]))
        with hub.viewer("car-1") as viewer:
            events = viewer.events()
            lost = await until(events, "vehicle", lambda data: data["state"] == "lost")
            assert lost["why"] == "the token's file is gone"
            server.closeups.put_nowait(ABOUT)
            await until(events, "vehicle", lambda data: data["state"] == "here")


async def test_a_page_that_stands_still_gets_the_newest_of_everything():
    viewer = Viewer("car-1")
    for at in range(100):
        viewer.tell(f"event: {at}\n\n".encode())
        viewer.show(state=f"state: {at}\n\n".encode(), picture=f"picture: {at}\n\n".encode())
    events = [*(await anext(viewer.events())).decode().split("\n\n")[:-1]]
    assert events == [*(f"event: {at}" for at in range(68, 100)), "state: 99", "picture: 99"]


async def test_hostile_names_stay_inside_of_their_event():
    name = '</script><img src=x onerror=alert(1)> "\\'
    async with scripted() as server, running(server.address) as hub:
        with hub.viewer("") as viewer:
            server.snapshots.put_nowait(snapshot(1000, [session(vehicle_id=name)]))
            found = await until(viewer.events(), "state", lambda data: data["sessions"])
            assert found["sessions"][0]["vehicle"] == name
