from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import math
import time
from typing import Any, cast
from unittest.mock import AsyncMock

import grpc
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import steerstream
import steerstream.testing
from steerstream import (
    Action,
    AnswerTimeout,
    BadRequest,
    Command,
    Draining,
    ErrorReason,
    Expiring,
    FramePolicy,
    Pace,
    ProtocolError,
    ServerDraining,
    SessionClosed,
    SessionEnded,
    SessionExpired,
    SessionLost,
    SessionProtocolError,
    Shedding,
    Skipped,
    SkipReason,
    TicketIssued,
    Validity,
    wire,
)
from steerstream import session as session_module
from steerstream.failures import RpcFailed
from steerstream.guard import Guard, GuardReason
from steerstream.session import MAX_IN_FLIGHT, MAX_UNREAD, default_timeout_s, max_silence_s
from steerstream.testing import Drop, Fail, FakeServer, FakeTransport, Reply, Skip, VirtualClock
from steerstream.testing.answers import notice_response
from steerstream.v1 import drive_service_pb2, drive_service_pb2_grpc, session_pb2
from tests.steerstream.wired import serving, serving_with

JPEG = b"\xff\xd8 a picture"


async def send_for_ever(session, picture: bytes) -> None:
    while True:
        await session.send_frame(picture)


async def send_until_it_waits(session, in_flight: int) -> None:
    """Send frames until so many have no answer, and then try to send more."""

    sending = asyncio.create_task(send_for_ever(session, JPEG))
    async with asyncio.timeout(10):
        while session.frames_in_flight < in_flight:  # noqa: ASYNC110 - nothing to wait for
            await asyncio.sleep(0)
    for _ in range(100):
        await asyncio.sleep(0)
    sending.cancel()
    await asyncio.wait([sending])


@contextlib.asynccontextmanager
async def session_with(script=None, *, policy=FramePolicy.LATEST, clock=None, **options):
    server = FakeServer(script or (lambda frame: Reply()), clock=clock, **options)
    settings = {"clock": clock.now_ns} if clock else {}
    async with (
        steerstream.connect("fake", transport=server.transport(), **settings) as client,
        client.open_session(vehicle_id="car", frame_policy=policy) as session,
    ):
        yield session, server


async def test_each_frame_gets_its_command():
    async with session_with(lambda f: Reply(f.sequence_number / 10)) as (session, _):
        for number in range(3):
            assert await session.send_frame(JPEG) == number
        await session.finish()
        angles = {
            answer.sequence_number: answer.limited.steering_wheel_angle_rad
            async for answer in session
        }
    assert angles == {0: 0.0, 1: 0.1, 2: 0.2}


async def test_a_request_waits_for_its_own_answer_and_the_iterator_does_not_repeat_it():
    async with session_with() as (session, _):
        await session.send_frame(JPEG)
        command = await session.request(JPEG)
        assert command.sequence_number == 1
        await session.finish()
        assert [answer.sequence_number async for answer in session] == [0]


async def test_requests_at_once_each_get_their_own():
    async with session_with(lambda f: Reply(f.sequence_number)) as (session, _):
        answers = await asyncio.gather(*(session.request(JPEG) for _ in range(20)))
    assert [answer.limited.steering_wheel_angle_rad for answer in answers] == list(range(20))


async def test_round_trip_is_exact_on_a_virtual_clock():
    clock = VirtualClock()
    async with session_with(lambda f: Reply(latency_ms=30), clock=clock) as (session, _):
        command = await session.request(JPEG)
        assert command.round_trip_ms == 30.0
        assert session.safe_command().action is Action.FOLLOW
        clock.advance(150)
        assert session.safe_command().action is Action.HOLD
        clock.advance(1000)
        assert session.safe_command().action is Action.RELEASE


async def test_the_frame_carries_what_was_said_of_it():
    async with session_with() as (session, server):
        await session.request(JPEG, sequence_number=41, capture_time_ns=77, vehicle_speed_mps=12.5)
        frame = server.received[-1].frame
    assert (frame.sequence_number, frame.capture_time_ns) == (41, 77)
    assert frame.vehicle_speed_mps == 12.5
    assert frame.jpeg == JPEG


async def test_a_frame_says_how_many_answers_were_taken_before_it():
    taken = []

    def script(frame):
        taken.append(frame.answers_taken)
        return Reply() if frame.sequence_number % 2 else Skip(SkipReason.LATE)

    async with session_with(script) as (session, _):
        for _ in range(4):
            await session.request(JPEG)
    assert taken == [0, 1, 2, 3]


async def test_a_skip_is_an_answer_too():
    async with session_with([Skip(SkipReason.UNDECODABLE, "no JPEG")]) as (session, _):
        answer = await session.request(JPEG)
    assert isinstance(answer, Skipped)
    assert (answer.reason, answer.detail) == (SkipReason.UNDECODABLE, "no JPEG")


async def test_reset_starts_a_new_epoch_between_the_frames_around_it():
    async with session_with() as (session, _):
        before = await session.request(JPEG)
        await session.reset()
        after = await session.request(JPEG)
    assert (before.state_epoch, after.state_epoch) == (0, 1)


async def test_resets_in_a_row_are_sent_as_one_message():
    async with session_with() as (session, server):
        await session.send_resets(1024)
        answer = await session.request(JPEG)
        assert answer.state_epoch == 1024
        for count in (0, 1025):
            with pytest.raises(BadRequest, match="count"):
                await session.send_resets(count)
    assert sum(request.HasField("reset") for request in server.received) == 1


async def test_a_frame_waits_until_it_is_welcome_to_a_full_server(monkeypatch):
    clock, waits = VirtualClock(), []

    async def waited(_tasks, *, timeout, return_when):  # noqa: ASYNC109 - as asyncio.wait
        waits.append(round(1e3 * timeout))
        clock.advance(1e3 * timeout)
        await asyncio.sleep(0)

    async with session_with([Pace(200.0, 150.0), Reply(latency_ms=0)], clock=clock) as (session, _):
        await session.request(JPEG)
        monkeypatch.setattr(asyncio, "wait", waited)
        for _ in range(3):
            await session.request(JPEG)
        monkeypatch.undo()
    assert waits == [150, 200, 200]


async def test_a_frame_that_waits_to_be_welcome_goes_once_the_pace_has_ended():
    async with session_with([Pace(9000.0, 9000.0), Reply()]) as (session, _):
        await session.request(JPEG)
        waiting = asyncio.create_task(session.send_frame(JPEG))
        await asyncio.sleep(0)
        session._take_notice(notice_response(Pace(0.0, 0.0)).notice)
        for _ in range(50):
            await asyncio.sleep(0)
        assert waiting.done()


async def test_no_news_of_the_pace_make_a_frame_wait_for_longer_than_it_was_to(monkeypatch):
    clock, waits = VirtualClock(), []

    async def waited(_futures, *, timeout, return_when):  # noqa: ASYNC109 - as asyncio.wait
        waits.append(round(1e3 * timeout))
        clock.advance(8000 if len(waits) == 1 else 1e3 * timeout)
        for pace in (Pace(0.0, 0.0), Pace(9000.0, 9000.0)) if len(waits) == 1 else ():
            session._take_notice(notice_response(pace).notice)

    script = [Pace(9000.0, 9000.0), Reply(latency_ms=0)]
    async with session_with(script, clock=clock) as (session, _):
        await session.request(JPEG)
        monkeypatch.setattr(asyncio, "wait", waited)
        await session.request(JPEG)
        monkeypatch.undo()
    assert waits == [9000, 1000]


class Generous(FakeServer):
    """A server that grants 50 ms, whatever was asked for."""

    def open(self, opening):
        granted = super().open(opening)
        granted.granted_budget_ms = 50.0
        return granted


async def test_a_server_that_grants_more_time_than_was_asked_for_breaks_the_contract():
    """The client's own timeouts go by it."""
    server = Generous()
    async with steerstream.connect("fake", transport=server.transport()) as client:
        with pytest.raises(ProtocolError, match="granted_budget_ms"):
            await client.open_session(vehicle_id="car", budget_ms=49)
        for budget_ms in (50, None):
            session = await client.open_session(vehicle_id="car", budget_ms=budget_ms)
            assert session.info.granted_budget_ms == 50


def test_a_request_waits_for_a_minute_or_its_budget_whatever_the_server_s_idle_timeout():
    granted = Generous().open(session_pb2.OpenSession(frame_policy=session_pb2.FRAME_POLICY_EVERY))
    granted.limits.idle_timeout_ms = 2**32 - 1
    bounds = Guard().bounds
    for budget_ms, waits_s in ((50.0, 60.0), (90_000.0, 90.0)):
        granted.granted_budget_ms = budget_ms
        info = wire.session_info(drive_service_pb2.DriveResponse(opened=granted))
        assert default_timeout_s(info, bounds) == waits_s


async def test_a_frame_that_waits_to_be_welcome_learns_that_the_session_ended():
    hour_ms = 3_600_000
    script = [Pace(hour_ms, hour_ms), Reply()]
    async with session_with(script, idle_timeout_ms=hour_ms) as (session, _):
        await session.request(JPEG)
        waiting = asyncio.create_task(session.send_frame(JPEG))
        await asyncio.sleep(0)
        await session.aclose()
        async with asyncio.timeout(60):
            with pytest.raises(SessionClosed):
                await waiting


@pytest.mark.parametrize("pace", [Pace(10_001.0, 0.0), Pace(5_000.0, 10_001.0)])
async def test_a_pace_with_which_the_session_would_expire_breaks_the_contract(pace):
    async with session_with([pace, Reply()]) as (session, _):
        with pytest.raises(SessionProtocolError, match="ends sessions after 10000 ms without one"):
            await session.request(JPEG)


async def test_a_server_that_names_no_idle_timeout_is_held_to_the_default_one():
    script = [Pace(10_000.0, 0.0), Reply(), Pace(10_001.0, 0.0), Reply()]
    async with session_with(script, idle_timeout_ms=0) as (session, _):
        assert isinstance(await session.request(JPEG), Command)
        with pytest.raises(SessionProtocolError, match="ends sessions after 10000 ms without one"):
            await session.request(JPEG)


async def test_a_frame_that_waits_to_be_welcome_does_not_wait_for_a_server_to_end_the_session(
    monkeypatch,
):
    hour_ms = 3_600_000
    monkeypatch.setattr(session_module, "CLOSE_TIMEOUT_S", hour_ms / 1e3)
    script = [Pace(hour_ms, hour_ms), Reply()]
    async with session_with(script, idle_timeout_ms=hour_ms) as (session, _):
        await session.request(JPEG)
        waiting = asyncio.create_task(session.send_frame(JPEG))
        await asyncio.sleep(0)
        monkeypatch.setattr(session._stream, "finish", AsyncMock())
        closing = asyncio.create_task(session.aclose())
        async with asyncio.timeout(60):
            with pytest.raises(SessionClosed):
                await waiting
        assert not closing.done()
        await session._stream.abort()
        await closing


async def test_a_session_that_its_vehicle_closed_is_followed_no_more():
    clock = VirtualClock()
    async with session_with([Reply(0.3)], clock=clock) as (session, _):
        await session.request(JPEG)
        assert session.safe_command().action is Action.FOLLOW
        await session.aclose()
        safe = session.safe_command()
        assert (safe.action, safe.steering_wheel_angle_rad) == (Action.RELEASE, None)
        assert safe.reasons == (GuardReason.CLOSED,)
        await session.aclose()
        await session.finish()
        assert await anext(session, None) is None
        assert session.guard.safe_command(clock.now_ns()).action is Action.FOLLOW, (
            "a guard that the vehicle goes on with has the last command until it is too old"
        )


@pytest.mark.parametrize("waits", ["request", "room", "write", "iterator"])
async def test_closing_ends_what_waits_at_once_though_the_server_hangs(monkeypatch, waits):
    hour_s = 3600.0
    monkeypatch.setattr(session_module, "CLOSE_TIMEOUT_S", hour_s)
    async with session_with(lambda frame: Drop()) as (session, _):

        async def hangs(*_: object) -> None:
            await asyncio.Event().wait()

        monkeypatch.setattr(session._stream, "finish", hangs)
        if waits == "room":
            for _ in range(MAX_IN_FLIGHT):
                await session.send_frame(JPEG)
        if waits == "write":
            monkeypatch.setattr(session._stream, "send", hangs)
        calls = {
            "request": lambda: session.request(JPEG, timeout_s=hour_s),
            "iterator": lambda: anext(session, None),
        }
        waiting = asyncio.create_task(calls.get(waits, lambda: session.send_frame(JPEG))())
        await asyncio.sleep(0.001)
        closing = asyncio.create_task(session.aclose())
        async with asyncio.timeout(60):
            if waits == "iterator":
                assert await waiting is None
            else:
                with pytest.raises(SessionClosed):
                    await waiting
        assert not closing.done()
        closing.cancel()
        monkeypatch.setattr(session_module, "CLOSE_TIMEOUT_S", 0.0)


@pytest.mark.parametrize("send", ["hangs", "fails"])
async def test_a_session_may_be_closed_twice_while_a_frame_is_being_sent(monkeypatch, send):
    async with session_with() as (session, _):

        async def sending(_: object) -> None:
            if send == "fails":  # and the reader has yet to learn why
                raise RpcFailed(grpc.StatusCode.UNAVAILABLE, "Socket closed")
            await asyncio.Event().wait()

        monkeypatch.setattr(session._stream, "send", sending)
        waiting = asyncio.create_task(session.send_frame(JPEG))
        await asyncio.sleep(0.001)
        await asyncio.gather(session.aclose(), session.aclose())
        with pytest.raises(SessionClosed):
            await waiting


async def test_notices_come_by_the_iterator_and_stay_at_hand():
    ticket = TicketIssued(b"sealed", 0, 60_000)
    news = [Draining(500), Expiring(900), Shedding(100, 2000), ticket]
    async with session_with([*news, Reply()]) as (session, _):
        assert isinstance(await session.request(JPEG), Command)
        await session.finish()
        assert [answer async for answer in session] == news
        assert session.draining == Draining(500)
        assert session.shedding == Shedding(100, 2000)
        assert session.ticket == ticket


async def test_a_pace_is_told_at_its_beginning_and_at_its_end(caplog):
    script = [Pace(1, 1), Reply(), Pace(2, 2), Reply(), Pace(0, 0), Reply()]
    async with session_with(script) as (session, _):
        for _ in range(3):
            await session.request(JPEG)
    assert [(record.levelname, record.getMessage()) for record in caplog.records] == [
        ("WARNING", "session fake-1: the server is full; frames wait"),
        ("WARNING", "session fake-1: the server has room again"),
    ]


async def test_the_latest_command_is_the_newest_undamaged_one_that_is_young_enough():
    clock = VirtualClock()
    script = [
        Reply(0.1, latency_ms=10),
        Reply(0.2, latency_ms=10, is_damaged=True),
        Reply(0.3, latency_ms=10, validity=Validity.FALLBACK),
    ]
    async with session_with(script, clock=clock) as (session, _):
        assert session.latest_command(max_age_ms=1e9) is None
        for _ in script:
            await session.request(JPEG)
        latest = session.latest_command(max_age_ms=30)
        assert latest is not None
        assert latest.limited.steering_wheel_angle_rad == 0.1
        assert session.latest_command(max_age_ms=29) is None


async def test_a_frame_without_an_answer_times_out_and_the_session_lives():
    async with session_with([Drop(), Reply()]) as (session, _):
        with pytest.raises(AnswerTimeout, match=r"0\.02 s"):
            await session.request(JPEG, timeout_s=0.02)
        assert session.frames_in_flight == 1
        assert isinstance(await session.request(JPEG), Command)


async def test_a_cancelled_request_leaves_the_session_usable():
    async with session_with([Drop(), Reply()]) as (session, _):
        waiting = asyncio.create_task(session.request(JPEG))
        await asyncio.sleep(0)
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        assert session.frames_in_flight == 1
        assert (await session.request(JPEG)).sequence_number == 1


async def test_a_clock_of_seconds_is_refused():
    """By it, every command would look fresh."""
    server = FakeServer()
    async with (
        steerstream.connect(
            "fake", transport=server.transport(), clock=cast(Any, time.monotonic)
        ) as client,
        client.open_session(vehicle_id="car") as session,
    ):
        with pytest.raises(BadRequest, match="the clock's time must be a whole number"):
            await session.request(JPEG, capture_time_ns=1)
        assert session.frames_in_flight == 0


WRONG_OPTIONS = [
    ({"vehicle_speed_mps": "12.5"}, "vehicle_speed_mps must be a number"),
    ({"vehicle_speed_mps": math.nan}, "vehicle_speed_mps must be finite, -150 to 150, not nan"),
    ({"vehicle_speed_mps": math.inf}, "vehicle_speed_mps must be finite"),
    ({"vehicle_speed_mps": 200}, "vehicle_speed_mps must be finite, -150 to 150, not 200"),
    ({"sequence_number": 1.0}, "sequence_number must be a whole number"),
    ({"sequence_number": "1"}, "sequence_number must be a whole number"),
    ({"capture_time_ns": 1e9}, "capture_time_ns must be a whole number"),
    ({"capture_time_ns": -1}, "capture_time_ns must be"),
    ({"encoding": "jpeg"}, "encoding must be Encoding"),
    ({"view": "whole"}, "view must be ViewUse"),
    ({"jpeg_quality": 0}, "jpeg_quality must be 1 to 100"),
    ({"jpeg_quality": "best"}, "jpeg_quality must be a whole number"),
    ({"image": "picture.jpg"}, "a picture must be the bytes of a JPEG file.*not str"),
    ({"image": 5}, "not int"),
    ({"image": None}, "not NoneType"),
]


@pytest.mark.parametrize(("options", "message"), WRONG_OPTIONS)
@pytest.mark.parametrize("call", ["send_frame", "request"])
async def test_a_wrong_value_of_one_frame_is_refused_by_name_before_anything_changes(
    call, options, message
):
    async with session_with() as (session, server):
        for _ in range(MAX_IN_FLIGHT + 1):
            with pytest.raises(BadRequest, match=message):
                await getattr(session, call)(**{"image": JPEG, **options})
        assert session.frames_in_flight == 0
        assert len(server.received) == 1
        assert (await session.request(JPEG)).sequence_number == 0


@pytest.mark.parametrize("call", ["send_frame", "request"])
async def test_a_misspelt_option_is_refused(call):
    async with session_with() as (session, server):
        with pytest.raises(TypeError, match=r"no option vehicle_speed; it has .*vehicle_speed_mps"):
            await getattr(session, call)(JPEG, vehicle_speed=3)
        assert session.frames_in_flight == 0
        assert len(server.received) == 1


@pytest.mark.parametrize("timeout_s", ["5", math.nan, -1])
async def test_a_timeout_that_is_none_is_refused(timeout_s):
    async with session_with() as (session, server):
        with pytest.raises(BadRequest, match="timeout_s must be"):
            await session.request(JPEG, timeout_s=timeout_s)
        with pytest.raises(BadRequest, match="max_age_ms must be a number"):
            session.latest_command(max_age_ms=None)
        assert len(server.received) == 1


@pytest.mark.parametrize(
    ("policy", "waited"), [(FramePolicy.LATEST, r"0\.04 s"), (FramePolicy.EVERY, r"0\.02 s")]
)
async def test_how_long_a_request_waits_follows_from_the_budget_and_the_policy(policy, waited):
    server = FakeServer(lambda frame: Drop(), idle_timeout_ms=20)
    async with (
        steerstream.connect("fake", transport=server.transport()) as client,
        client.open_session(
            vehicle_id="car",
            budget_ms=30,
            frame_policy=policy,
            guard=steerstream.Guard(steerstream.Bounds(max_age_ms=10, max_hold_ms=10)),
        ) as session,
    ):
        with pytest.raises(AnswerTimeout, match=waited):
            await session.request(JPEG)


@pytest.mark.parametrize(
    ("options", "is_live"),
    [
        ({}, True),
        ({"live": False}, False),
        ({"frame_policy": FramePolicy.EVERY}, False),
        ({"frame_policy": FramePolicy.EVERY, "live": True}, True),
    ],
)
async def test_capture_times_must_run_as_the_clock_does_where_the_session_is_live(options, is_live):
    server = FakeServer()
    async with (
        steerstream.connect("fake", transport=server.transport()) as client,
        client.open_session(vehicle_id="car", **options) as session,
    ):
        await session.request(JPEG, capture_time_ns=1)
        if is_live:
            with pytest.raises(BadRequest, match="live=False"):
                await session.request(JPEG, capture_time_ns=3600 * 10**9)
            assert session.frames_in_flight == 0
        else:
            assert isinstance(await session.request(JPEG, capture_time_ns=3600 * 10**9), Command)
            assert session.safe_command().action is Action.FOLLOW


async def test_one_guard_holds_between_two_sessions():
    server, guard = FakeServer(lambda frame: Reply(0.1)), steerstream.Guard()
    async with steerstream.connect("fake", transport=server.transport()) as client:
        async with client.open_session(vehicle_id="car", guard=guard) as session:
            await session.request(JPEG)
        async with client.open_session(vehicle_id="car", guard=guard) as session:
            between = session.safe_command()
            assert (between.action, between.steering_wheel_angle_rad) == (Action.HOLD, 0.1)
            await session.request(JPEG)
            assert session.safe_command().action is Action.FOLLOW


@pytest.mark.parametrize(
    ("fail", "kind"),
    [
        (Fail(), SessionLost),
        (Fail(grpc.StatusCode.DEADLINE_EXCEEDED, reason=ErrorReason.IDLE), SessionExpired),
        (Fail(grpc.StatusCode.UNAVAILABLE, reason=ErrorReason.DRAINING), ServerDraining),
    ],
)
async def test_a_lost_session_says_so_to_everybody(fail, kind):
    async with session_with([Drop(), fail]) as (session, _):
        waiting = asyncio.create_task(session.request(JPEG))
        await asyncio.sleep(0)
        reading = asyncio.create_task(anext(session))
        with pytest.raises(kind):
            await session.request(JPEG)
        for task in (waiting, reading):
            with pytest.raises(kind):
                await task
        with pytest.raises(kind):
            await session.send_frame(JPEG)
        with pytest.raises(kind):
            await session.reset()


async def test_answers_before_the_loss_are_still_read():
    async with session_with([Reply(), Fail()]) as (session, _):
        await session.send_frame(JPEG)
        await session.send_frame(JPEG)
        assert isinstance(await anext(session), Command)
        with pytest.raises(SessionLost):
            await anext(session)


async def test_after_its_end_a_session_is_closed():
    async with session_with() as (session, _):
        pass
    with pytest.raises(SessionClosed):
        await session.send_frame(JPEG)
    with pytest.raises(StopAsyncIteration):
        await anext(session)


async def test_closing_wakes_all_waiting_calls():
    async with session_with(lambda f: Drop()) as (session, _):
        waiting = asyncio.create_task(session.request(JPEG))
        reading = asyncio.create_task(anext(session, None))
        await asyncio.sleep(0)
        await session.aclose()
        with pytest.raises(SessionClosed):
            await waiting
        assert await reading is None


async def test_a_session_leaves_no_task_behind():
    before = asyncio.all_tasks()
    async with session_with() as (session, _):
        await session.request(JPEG)
    assert asyncio.all_tasks() == before


async def test_a_session_that_is_broken_off_leaves_no_task_behind():
    before = asyncio.all_tasks()

    async def drive() -> None:
        async with session_with(lambda f: Drop()) as (session, _):
            await session.send_frame(JPEG)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await drive()
    assert asyncio.all_tasks() == before


async def test_frames_in_flight_are_bounded():
    async with session_with(lambda f: Drop()) as (session, server):
        await send_until_it_waits(session, MAX_IN_FLIGHT)
        assert session.frames_in_flight == MAX_IN_FLIGHT
        assert len(server.received) == 1 + MAX_IN_FLIGHT


async def test_under_every_no_more_are_in_flight_than_may_wait_in_the_server():
    waiting = FakeServer(lambda f: Drop())
    waiting.limits.max_waiting_frames = 5
    async with (
        steerstream.connect("fake", transport=waiting.transport()) as client,
        client.open_session(vehicle_id="car", frame_policy=FramePolicy.EVERY) as session,
    ):
        await send_until_it_waits(session, 5)
        assert session.frames_in_flight == 5


@pytest.fixture
def short_silence(monkeypatch):
    """Let sessions be lost after 50 ms without an answer, in place of six or fifteen seconds."""
    monkeypatch.setattr(session_module, "max_silence_s", lambda info, bounds: 0.05)


@pytest.mark.usefixtures("short_silence")
@pytest.mark.parametrize("policy", FramePolicy)
async def test_a_server_that_answers_nothing_is_lost_and_the_guard_releases(policy):
    async with (
        serving(FakeServer(lambda frame: Drop())) as (target, _),
        steerstream.connect(target) as client,
        client.open_session(vehicle_id="car", frame_policy=policy) as session,
        asyncio.timeout(60),
    ):
        with pytest.raises(SessionLost, match=r"answered none of \d+ frames for 0\.05 s; open a"):
            await send_for_ever(session, JPEG)
        with pytest.raises(SessionLost, match="answered none of"):
            await anext(session)
        assert session.safe_command().action is Action.RELEASE
        assert session.frames_in_flight == 0


class Paralysed(drive_service_pb2_grpc.DriveServiceServicer):
    """Opens the session, and then neither reads nor says anything, nor ends."""

    async def DescribeModels(self, request, context):  # noqa: N802 - the contract's name
        return FakeServer().describe()

    async def Drive(self, requests, context):  # noqa: N802 - the contract's name
        stream = await FakeServer().transport().drive()
        await stream.send(await anext(aiter(requests)))
        yield await stream.receive()
        await asyncio.Event().wait()


@pytest.mark.usefixtures("short_silence")
async def test_a_server_that_reads_nothing_is_lost():
    async with (
        serving_with(Paralysed()) as (target, _),
        steerstream.connect(target) as client,
        client.open_session(vehicle_id="car") as session,
        asyncio.timeout(60),
    ):
        # 64 MB are far more than HTTP/2 sends before they are read.
        with pytest.raises(SessionLost, match="answered none of"):
            await send_for_ever(session, JPEG + bytes(1_000_000))


class EndlessTransport(FakeTransport):
    """To a server that takes no notice of the end of what the client sends."""

    async def drive(self):
        stream = await super().drive()

        async def finish() -> None:
            pass

        stream.finish = finish
        return stream


@pytest.mark.usefixtures("short_silence")
async def test_a_server_that_does_not_end_a_finished_session_is_lost():
    async with (
        steerstream.connect("fake", transport=EndlessTransport(FakeServer())) as client,
        client.open_session(vehicle_id="car") as session,
        asyncio.timeout(60),
    ):
        await session.send_frame(JPEG)
        assert isinstance(await anext(session), Command)
        await session.finish()
        with pytest.raises(SessionLost, match=r"did not end the session for 0\.05 s"):
            await anext(session)


@pytest.mark.usefixtures("short_silence")
async def test_a_session_without_frames_waits_for_nothing():
    async with session_with() as (session, _):
        for _ in range(2):
            await asyncio.sleep(0.15)
            assert isinstance(await session.request(JPEG), Command)


@pytest.mark.parametrize(
    ("policy", "budget_ms", "seconds"),
    [
        (FramePolicy.LATEST, 50, 6.05),
        (FramePolicy.EVERY, 50, 15.0),
        (FramePolicy.EVERY, 20_000, 25.0),
    ],
)
async def test_how_long_a_server_may_be_silent_follows_from_the_budget_and_the_policy(
    policy, budget_ms, seconds
):
    async with session_with(policy=policy) as (session, _):
        info = dataclasses.replace(session.info, granted_budget_ms=budget_ms)
        assert max_silence_s(info, session.guard.bounds) == pytest.approx(seconds)


async def test_under_latest_unread_answers_are_bounded_and_the_oldest_go():
    async with session_with() as (session, _):
        for _ in range(MAX_UNREAD + 50):
            await session.send_frame(JPEG)
            await asyncio.sleep(0)
        await session.finish()
        numbers = [answer.sequence_number async for answer in session]
        assert session.dropped_answers >= 49
        assert numbers == list(range(session.dropped_answers, MAX_UNREAD + 50))


@pytest.mark.usefixtures("short_silence")
async def test_under_every_no_answer_is_lost_however_slowly_they_are_read():
    async with session_with(policy=FramePolicy.EVERY) as (session, _):

        async def send_all() -> None:
            for _ in range(MAX_UNREAD + 200):
                await session.send_frame(JPEG)
            await session.finish()

        sending = asyncio.create_task(send_all())
        for _ in range(10 * MAX_UNREAD):
            await asyncio.sleep(0)
        await asyncio.sleep(0.15)  # that nobody reads is no silence of the server
        assert not sending.done()
        numbers = [answer.sequence_number async for answer in session]
        await sending
    assert numbers == list(range(MAX_UNREAD + 200))


async def test_a_server_that_answers_what_was_not_asked_has_broken_the_contract():
    class Confused(FakeServer):
        def reactions(self, frame):
            frame.sequence_number += 5
            return super().reactions(frame)

    server = Confused()
    async with (
        steerstream.connect("fake", transport=server.transport()) as client,
        client.open_session(vehicle_id="car") as session,
    ):
        with pytest.raises(ProtocolError, match="frame 5"):
            await session.request(JPEG)


class Odd(FakeServer):
    """A server whose answers are changed on their way, by a function of the response."""

    def __init__(self, change) -> None:
        super().__init__()
        self._change = change

    def transport(self):
        made = super().transport()
        begin = made.drive

        async def drive():
            stream = await begin()
            receive = stream.receive

            async def changed():
                response = await receive()
                if response is not None and response.WhichOneof("message") == "command":
                    self._change(response)
                return response

            cast(Any, stream).receive = changed
            return stream

        cast(Any, made).drive = drive
        return made


@pytest.mark.parametrize("number", [5, 255, 256, 2**31 - 1, -1, -(2**31)])
async def test_a_validity_of_a_newer_server_is_read_as_unspecified_and_not_followed(number):
    def change(response):
        response.command.validity = number

    async with (
        steerstream.connect("fake", transport=Odd(change).transport()) as client,
        client.open_session(vehicle_id="car") as session,
    ):
        for _ in range(2):
            answer = await session.request(JPEG)
            assert answer.validity is Validity.UNSPECIFIED
            assert session.safe_command().action is Action.RELEASE


async def test_whatever_goes_wrong_with_an_answer_ends_the_session_as_a_broken_contract(
    monkeypatch,
):
    def broken(*_args, **_options):
        raise RuntimeError("odd answer")

    monkeypatch.setattr("steerstream.wire.command", broken)
    async with (
        steerstream.connect("fake", transport=FakeServer().transport()) as client,
        client.open_session(vehicle_id="car") as session,
    ):
        with pytest.raises(SessionProtocolError, match="odd answer"):
            await session.request(JPEG, timeout_s=30)
        with pytest.raises(SessionProtocolError, match="odd answer"):
            await anext(session)
        with pytest.raises(SessionProtocolError, match="odd answer"):
            await session.send_frame(JPEG)
        await session.aclose()


async def test_the_guard_sees_every_answer():
    script = [Reply(0.1), Reply(0.2, is_stuck=True), Reply(0.3)]
    async with session_with(script) as (session, _):
        await session.request(JPEG)
        await session.request(JPEG)
        stuck = session.safe_command()
        assert (stuck.action, stuck.steering_wheel_angle_rad) == (Action.HOLD, 0.1)


async def test_an_unknown_kind_of_answer_is_passed_over():
    class Newer(FakeServer):
        def transport(self):
            return _Chatty(self)

    async with (
        steerstream.connect("fake", transport=Newer().transport()) as client,
        client.open_session(vehicle_id="car") as session,
    ):
        assert isinstance(await session.request(JPEG), Command)


class _Chatty(steerstream.testing.FakeTransport):
    async def drive(self):
        stream = await super().drive()
        inner = stream.receive
        said: list[drive_service_pb2.DriveResponse | None] = []

        async def receive():
            if len(said) == 1:
                said.append(drive_service_pb2.DriveResponse())
                return said[-1]
            said.append(await inner())
            return said[-1]

        stream.receive = receive
        return stream


STEPS = ["send", "request", "read", "cancel", "finish", "close session", "close client", "turn"]


@settings(deadline=None)
@given(
    script=st.lists(st.sampled_from([Reply(), Skip(), Drop(), Fail(), Draining(5)]), max_size=20),
    steps=st.lists(st.sampled_from(STEPS), max_size=40),
    policy=st.sampled_from(FramePolicy),
)
def test_in_whatever_order_things_are_closed_and_cancelled_nothing_hangs_or_is_left(
    script, steps, policy
):
    async def history() -> None:
        server, before = FakeServer([*script, Reply()]), asyncio.all_tasks()
        client = await steerstream.connect("fake", transport=server.transport())
        session = await client.open_session(vehicle_id="car", frame_policy=policy)
        calls = {
            "send": lambda: session.send_frame(JPEG),
            "request": lambda: session.request(JPEG, timeout_s=60),
            "read": lambda: anext(session, None),
            "finish": session.finish,
            "close session": session.aclose,
            "close client": client.aclose,
        }
        tasks: list[asyncio.Task] = []

        async def call(step: str) -> None:
            with contextlib.suppress(SessionEnded):
                await calls[step]()

        for step in steps:
            if step == "turn":
                await asyncio.sleep(0)
            elif step == "cancel":
                for task in tasks:
                    task.cancel()
            else:
                tasks.append(asyncio.create_task(call(step)))
        async with asyncio.timeout(30):
            await client.aclose()
            found = await asyncio.gather(*tasks, return_exceptions=True)
        assert all(error is None or isinstance(error, asyncio.CancelledError) for error in found)
        assert session.frames_in_flight == 0
        assert asyncio.all_tasks() == before

    asyncio.run(history())
