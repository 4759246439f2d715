from __future__ import annotations

import grpc
import pytest

import steerstream
from steerstream import ErrorReason, FramePolicy, SessionRefused, SteerstreamError
from steerstream.failures import RpcFailed
from steerstream.testing import Drop, Fail, FakeServer, Reply, VirtualClock
from steerstream.testing.server import MAX_REMEMBERED
from steerstream.v1 import session_pb2

JPEG = b"\xff\xd8 a picture"


def test_it_opens_what_is_asked_for_and_fills_in_what_is_not():
    server = FakeServer(models=("small", "large"))
    first = server.open(session_pb2.OpenSession())
    assert (first.model.name, first.granted_budget_ms) == ("small", 50.0)
    assert (first.frame_policy, first.resumed) == (FramePolicy.LATEST, False)
    asked = session_pb2.OpenSession(model="large", budget_ms=20.0, ticket=b"sealed")
    second = server.open(asked)
    assert (second.model.name, second.granted_budget_ms) == ("large", 20.0)
    assert second.resumed
    assert first.session_id != second.session_id


def test_it_refuses_an_unknown_model_as_a_server_does():
    with pytest.raises(RpcFailed) as caught:
        FakeServer().open(session_pb2.OpenSession(model="nosuch"))
    assert caught.value.code is grpc.StatusCode.NOT_FOUND
    assert caught.value.reason is ErrorReason.UNKNOWN_MODEL


async def test_it_refuses_every_session_where_that_is_its_script():
    server = FakeServer(refuse=Fail(grpc.StatusCode.RESOURCE_EXHAUSTED, "full"))
    async with steerstream.connect("fake", transport=server.transport()) as client:
        with pytest.raises(SessionRefused, match="full"):
            await client.open_session(vehicle_id="car")


async def test_it_remembers_the_last_requests_and_no_more():
    server = FakeServer()
    async with (
        steerstream.connect("fake", transport=server.transport()) as client,
        client.open_session(vehicle_id="car") as session,
    ):
        for _ in range(MAX_REMEMBERED + 3):
            await session.request(JPEG)
    numbers = [request.frame.sequence_number for request in server.received]
    assert numbers == list(range(3, MAX_REMEMBERED + 3))


async def test_answers_come_when_they_are_due_and_not_in_the_order_of_their_frames():
    clock = VirtualClock()
    server = FakeServer([Reply(0.1, latency_ms=30), Reply(0.2)], latency_ms=10, clock=clock)
    async with (
        steerstream.connect("fake", transport=server.transport(), clock=clock.now_ns) as client,
        client.open_session(vehicle_id="car") as session,
    ):
        await session.send_frame(JPEG)
        await session.send_frame(JPEG)
        await session.finish()
        found = [
            (answer.sequence_number, answer.round_trip_ms)
            async for answer in session
            if isinstance(answer, steerstream.Command)
        ]
    assert found == [(1, 10.0), (0, 30.0)]


async def test_closing_its_connection_ends_every_session_on_it():
    transport = FakeServer(lambda frame: Drop()).transport()
    client = await steerstream.connect("fake", transport=transport)
    session = await client.open_session(vehicle_id="car")
    await transport.close()
    with pytest.raises(SteerstreamError):
        await session.request(JPEG)
    await client.aclose()
