"""What a network is told of when its command acts: measured, stated, or nothing."""

from __future__ import annotations

import contextlib
import logging
import math

import pytest

import steerstream
from steerstream import ActingDelay, BadRequest, FramePolicy, Validity
from steerstream.acting_delay import DelayMeter, age_ns
from steerstream.testing import FakeServer, Reply, Skip, VirtualClock

JPEG = b"\xff\xd8 a picture"
MS = 1_000_000


def meter(*, live: bool = True, **known) -> DelayMeter:
    return DelayMeter(ActingDelay(**known), live=live)


def answered(found: DelayMeter, taken_ms: float, *, age_ms: float = 0.0, max_ms: float = 250.0):
    sent_ns = 10_000 * MS
    found.answered(
        capture_time_ns=sent_ns - round(age_ms * MS),
        sent_ns=sent_ns,
        received_ns=sent_ns + round(taken_ms * MS),
        max_ms=max_ms,
    )


def test_the_mean_of_the_last_answers_is_stated():
    found = meter()
    assert found.stated_ms(None, 250.0) == 0.0
    answered(found, 40.0, age_ms=20.0)
    assert found.stated_ms(None, 250.0) == pytest.approx(60.0)
    for taken_ms in (50.0, 150.0) * 200:
        answered(found, taken_ms)
    assert found.stated_ms(None, 250.0) == pytest.approx(100.0, abs=6.0)


def test_a_lasting_change_is_followed_within_a_second():
    found = meter()
    answered(found, 20.0)
    for _ in range(20):
        answered(found, 120.0)
    assert (found.stated_ms(None, 250.0) or 0.0) > 105.0


def test_one_late_answer_says_little():
    found = meter()
    answered(found, 50.0)
    answered(found, 5_000.0)
    assert found.stated_ms(None, 250.0) == pytest.approx(70.0)


def test_what_the_vehicle_knows_of_camera_and_actuator_is_added():
    found = meter(camera_ms=30.0, actuator_ms=60.0)
    assert found.stated_ms(None, 250.0) == 90.0
    answered(found, 25.0)
    assert found.stated_ms(None, 250.0) == pytest.approx(115.0)
    # The command is meant to be applied when it is measured to come.
    assert found.to_apply_ms(115.0, 0, 250.0) == pytest.approx(25.0)
    assert found.to_apply_ms(115.0, 5 * MS, 250.0) == pytest.approx(20.0)
    assert found.to_apply_ms(None, 0, 250.0) == 0.0
    assert found.to_apply_ms(50.0, 0, 250.0) == 0.0


def test_no_more_is_stated_than_was_trained_and_that_is_said_once(caplog):
    found = meter(actuator_ms=100.0)
    answered(found, 200.0)
    with caplog.at_level(logging.WARNING, "steerstream"):
        assert found.stated_ms(None, 250.0) == 250.0
        assert found.stated_ms(None, 250.0) == 250.0
    (line,) = caplog.messages
    assert line.startswith("commands act 300 ms after their pictures, and the network was trained")


@pytest.mark.parametrize(
    ("known", "live", "asked_ms", "max_ms", "stated_ms"),
    [
        ({}, True, None, 0.0, None),
        ({"fixed_ms": 80.0}, True, None, 0.0, None),
        ({"fixed_ms": 80.0}, True, None, 250.0, 80.0),
        ({"fixed_ms": 80.0}, False, None, 250.0, 80.0),
        ({"fixed_ms": 0.0, "actuator_ms": 50.0}, True, None, 250.0, 0.0),
        ({"actuator_ms": 50.0}, False, None, 250.0, None),
        ({"fixed_ms": 80.0}, True, 10.0, 250.0, 10.0),
        ({}, False, 10.0, 0.0, 10.0),
    ],
)
def test_what_is_asked_for_goes_before_what_is_fixed_before_what_is_measured(
    known, live, asked_ms, max_ms, stated_ms
):
    found = meter(live=live, **known)
    answered(found, 30.0, max_ms=max_ms)
    assert found.stated_ms(asked_ms, max_ms) == stated_ms


def test_a_capture_time_of_another_clock_says_nothing_of_the_picture_s_age():
    assert age_ns(900 * MS, 1_000 * MS) == 100 * MS
    assert age_ns(1_001 * MS, 1_000 * MS) == 0
    assert age_ns(0, 1_001 * MS) == 0


@pytest.mark.parametrize("name", ["fixed_ms", "camera_ms", "actuator_ms"])
@pytest.mark.parametrize("value", [-1.0, 10_001.0, math.nan, "1"])
def test_a_time_that_cannot_be_true_is_refused(name, value):
    with pytest.raises(BadRequest, match=name):
        ActingDelay(**{name: value})


@contextlib.asynccontextmanager
async def driving(script=lambda _frame: Reply(), *, drive=False, max_act_in_ms=250.0, **options):
    clock = VirtualClock()
    server = FakeServer(script, latency_ms=40.0, clock=clock, max_act_in_ms=max_act_in_ms)
    async with steerstream.connect(
        "fake", transport=server.transport(), clock=clock.now_ns
    ) as client:
        opens = client.drive_session if drive else client.open_session
        async with opens(vehicle_id="car", **options) as session:
            yield session, server, clock


def stated(server) -> list[float | None]:
    frames = [request.frame for request in server.received if request.HasField("frame")]
    return [frame.act_in_ms if frame.HasField("act_in_ms") else None for frame in frames]


@pytest.mark.parametrize("drive", [False, True])
async def test_a_live_session_states_what_it_measures(drive):
    async with driving(drive=drive) as (session, server, clock):
        for _ in range(3):
            await session.request(JPEG, capture_time_ns=clock.now_ns() - 10 * MS)
            clock.advance(50)
        assert session.act_in_ms == pytest.approx(50.0)
        await session.request(JPEG, act_in_ms=7.0)
    assert stated(server) == [0.0, pytest.approx(50.0), pytest.approx(50.0), 7.0]


async def test_held_and_skipped_answers_measure_nothing():
    reactions = [Reply(validity=Validity.HELD, latency_ms=90.0), Skip(latency_ms=90.0), Reply()]
    script = iter([*reactions, Reply()])
    async with driving(lambda _frame: next(script)) as (session, server, _):
        for _ in range(4):
            await session.request(JPEG)
    assert stated(server) == [0.0, 0.0, 0.0, pytest.approx(40.0)]


@pytest.mark.parametrize("drive", [False, True])
@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"frame_policy": FramePolicy.EVERY}, [None, None]),
        ({"live": False}, [None, None]),
        ({"acting": ActingDelay(fixed_ms=0.0)}, [0.0, 0.0]),
        ({"acting": ActingDelay(fixed_ms=90.0), "frame_policy": FramePolicy.EVERY}, [90.0, 90.0]),
    ],
)
async def test_lock_step_states_only_what_it_was_told(drive, options, expected):
    async with driving(drive=drive, **options) as (session, server, _):
        for _ in range(2):
            await session.request(JPEG)
    assert stated(server) == expected


async def test_a_network_that_is_not_told_is_told_nothing():
    async with driving(max_act_in_ms=0.0) as (session, server, _):
        await session.request(JPEG)
        await session.request(JPEG)
        assert session.act_in_ms is None
    assert stated(server) == [None, None]


async def test_an_acting_delay_must_be_one():
    server = FakeServer()
    async with steerstream.connect("fake", transport=server.transport()) as client:
        with pytest.raises(BadRequest, match="acting must be ActingDelay"):
            await client.open_session(vehicle_id="car", acting=50.0)  # type: ignore[arg-type]
        async with client.open_session(vehicle_id="car") as session:
            with pytest.raises(BadRequest, match="act_in_ms must be finite, 0 to 10000"):
                await session.send_frame(JPEG, act_in_ms=-1.0)
