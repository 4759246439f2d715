from __future__ import annotations

import asyncio

import grpc
import pytest

import steerstream
from steerstream import (
    Camera,
    ConnectionFailed,
    ErrorReason,
    FramePolicy,
    ProtocolError,
    ServerDraining,
    SessionRefused,
    SteerstreamError,
    UnknownModel,
)
from steerstream.testing import Fail, FakeServer, FakeTransport


async def test_served_models_are_described():
    server = FakeServer(models=("small", "large"))
    async with steerstream.connect("fake", transport=server.transport()) as client:
        served = await client.describe_models()
    assert [model.name for model in served.models] == ["small", "large"]
    assert served.default_model == "small"
    assert served.limits.max_sessions == 64


async def test_a_session_says_what_was_granted():
    server = FakeServer(models=("small", "large"))
    async with (
        steerstream.connect("fake", transport=server.transport()) as client,
        client.open_session(
            vehicle_id="car-7",
            model="large",
            budget_ms=20.0,
            frame_policy=FramePolicy.EVERY,
            camera=Camera(640, 480),
            ticket=b"sealed",
        ) as session,
    ):
        info = session.info
        opening = server.received[0].open
    assert (info.model.name, info.granted_budget_ms) == ("large", 20.0)
    assert (info.frame_policy, info.resumed) == (FramePolicy.EVERY, True)
    assert (opening.vehicle_id, opening.camera.width_px) == ("car-7", 640)


async def test_two_sessions_on_one_connection_are_two_sessions():
    server = FakeServer()
    async with (
        steerstream.connect("fake", transport=server.transport()) as client,
        client.open_session(vehicle_id="a") as first,
        client.open_session(vehicle_id="b") as second,
    ):
        assert first.info.session_id != second.info.session_id


@pytest.mark.parametrize(
    ("refusal", "kind"),
    [
        (
            Fail(
                grpc.StatusCode.RESOURCE_EXHAUSTED,
                "full",
                ErrorReason.TOO_MANY_SESSIONS,
                retry_after_s=1.5,
            ),
            SessionRefused,
        ),
        (Fail(grpc.StatusCode.UNAVAILABLE, "stopping", ErrorReason.DRAINING), ServerDraining),
        (Fail(), ConnectionFailed),
    ],
)
async def test_a_refused_session_says_why_and_leaves_no_task(refusal, kind):
    before = asyncio.all_tasks()
    server = FakeServer(refuse=refusal)
    async with steerstream.connect("fake", transport=server.transport()) as client:
        with pytest.raises(kind) as caught:
            async with client.open_session(vehicle_id="car"):
                pytest.fail("the session must not open")
    assert (caught.value.reason, caught.value.retry_after_s) == (
        refusal.reason,
        refusal.retry_after_s,
    )
    assert asyncio.all_tasks() == before


async def test_an_unknown_model_is_refused_by_name():
    async with steerstream.connect("fake", transport=FakeServer().transport()) as client:
        with pytest.raises(UnknownModel, match="'nosuch'"):
            async with client.open_session(vehicle_id="car", model="nosuch"):
                pytest.fail("the session must not open")


async def test_a_server_that_never_opens_is_given_up():
    transport = FakeTransport(FakeServer())

    async def silent():
        stream = await FakeTransport.drive(transport)
        stream.send = lambda request: asyncio.sleep(0)
        return stream

    transport.drive = silent
    async with steerstream.connect("fake", transport=transport, timeout_s=0.02) as client:
        with pytest.raises(ConnectionFailed, match=r"did not open the session within 0\.02 s"):
            async with client.open_session(vehicle_id="car"):
                pytest.fail("the session must not open")


async def test_a_stream_that_ends_without_opening_breaks_the_contract():
    transport = FakeTransport(FakeServer())

    async def ending():
        stream = await FakeTransport.drive(transport)
        await stream.finish()
        return stream

    transport.drive = ending
    async with steerstream.connect("fake", transport=transport) as client:
        with pytest.raises(ProtocolError, match="without opening"):
            async with client.open_session(vehicle_id="car"):
                pytest.fail("the session must not open")


async def test_a_client_must_be_entered():
    client = steerstream.connect("fake", transport=FakeServer().transport())
    with pytest.raises(SteerstreamError, match="async with"):
        await client.describe_models()
