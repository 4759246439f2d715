"""Times of a link, counted from when each frame was due."""

from __future__ import annotations

import asyncio

import pytest

import steerstream
from steerstream import Command, FramePolicy, SessionLost
from steerstream.link.times import LinkTimes, measure, picture_of
from steerstream.testing import Fail, FakeServer, Reply, Skip


@pytest.mark.parametrize("kilobytes", [0.001, 8, 80])
def test_a_picture_has_about_the_bytes_that_were_asked_for(kilobytes):
    picture = picture_of(kilobytes)
    assert picture.dtype == "uint8"
    assert picture.nbytes == pytest.approx(1000 * kilobytes, abs=192)


async def run(script, **options):
    server = FakeServer(script)
    async with (
        steerstream.connect("fake", transport=server.transport()) as client,
        client.open_session(vehicle_id="car", frame_policy=FramePolicy.EVERY) as session,
    ):
        options = {"frames": 5, "rate_hz": 1000, "budget_ms": 1e6, **options}
        return await measure(session, picture_of(1), **options)


async def test_every_frame_is_sent_and_every_command_counts():
    times = await run(lambda frame: Reply(0.1) if frame.sequence_number else Skip())
    assert (times.frames, times.link.count, times.in_budget) == (5, 4, 4)
    assert times.as_json()["commands"] == 4
    assert times.bytes_per_frame == 960


async def test_a_frame_that_takes_longer_than_the_budget_has_missed_it():
    assert (await run(lambda frame: Reply(0.1), budget_ms=1e-6)).in_budget == 0


async def test_a_run_can_be_stopped():
    stop = asyncio.Event()
    stop.set()
    assert (await run(lambda frame: Reply(0.1), stop=stop)).frames == 0


async def test_a_session_that_is_lost_ends_the_run():
    with pytest.raises(SessionLost):
        await run(lambda frame: Fail())


async def test_the_link_s_time_is_what_the_server_did_not_take():
    server = FakeServer([Reply(0.1)])
    async with (
        steerstream.connect("fake", transport=server.transport()) as client,
        client.open_session(vehicle_id="car") as session,
    ):
        command = await session.request(picture_of(1))
    assert isinstance(command, Command)
    times = LinkTimes(1)
    times.add(command, command.received_ns - 30_000_000, 29.0)
    assert times.round_trip.max_ms == pytest.approx(30)
    assert times.server.max_ms == command.timings.total_us / 1e3
    assert times.link.max_ms == pytest.approx(30 - command.timings.total_us / 1e3)
    assert times.in_budget == 0
