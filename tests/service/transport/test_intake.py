"""Turns to read large messages, in virtual time."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from unittest import mock

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from steerstream.v1 import drive_service_pb2, frame_pb2, session_pb2
from steerstream_service.errors import BadTicketError, InvalidFieldError
from steerstream_service.session.ticket import MAX_TICKET_BYTES
from steerstream_service.transport import intake as intake_module
from steerstream_service.transport.intake import Intake, Reader

MS = 1_000_000
MB = 1024 * 1024
OPEN = drive_service_pb2.DriveRequest(
    open=session_pb2.OpenSession(vehicle_id="car")
).SerializeToString()


def picture(size_bytes):
    frame = frame_pb2.Frame(sequence_number=1, jpeg=bytes(size_bytes))
    return drive_service_pb2.DriveRequest(frame=frame).SerializeToString()


SMALL, LARGE = picture(100_000), picture(2 * MB)


class Time:
    """The clock and the timers of the intake."""

    def __init__(self):
        self.now_ns = 10**12
        self._timers = []

    def monotonic_ns(self):
        return self.now_ns

    def call_later(self, seconds, callback):
        timer = SimpleNamespace(due_ns=self.now_ns + round(1e9 * seconds), callback=callback)
        timer.cancel = lambda: setattr(timer, "callback", lambda: None)
        self._timers.append(timer)
        return timer

    async def pass_ms(self, duration_ms):
        """Let time pass, and all that happens in it happen."""
        end_ns = self.now_ns + duration_ms * MS
        await _settled()
        while timers := [timer for timer in self._timers if timer.due_ns <= end_ns]:
            timer = min(timers, key=lambda timer: timer.due_ns)
            self.now_ns = max(self.now_ns, timer.due_ns)
            self._timers.remove(timer)
            timer.callback()
            await _settled()
        self.now_ns = end_ns


async def _settled():
    for _ in range(200):
        await asyncio.sleep(0)


class Stream:
    """A stream whose messages are all read, at once or when it has its turns."""

    def __init__(self, intake):
        self._messages = asyncio.Queue()
        self.reader = Reader(SimpleNamespace(read=self._messages.get), intake)
        self.read = 0
        self.granted_bytes = None
        self.task = asyncio.create_task(self._read())
        self.sends(OPEN)

    def sends(self, *messages):
        for message in messages:
            self._messages.put_nowait(message)

    async def _read(self):
        await self.reader.opening()
        self.read += 1
        while True:
            await self.reader.read()
            self.read += 1
            if self.granted_bytes:
                self.reader.grant(self.granted_bytes)


@pytest.fixture
async def time(monkeypatch):
    time = Time()
    monkeypatch.setattr(intake_module, "time", time)
    monkeypatch.setattr(asyncio.get_running_loop(), "call_later", time.call_later)
    return time


@pytest.fixture
async def streams(time):
    """Make streams that have sent an open, and perhaps more."""
    made, intake = [], Intake()

    def make(count, *messages):
        new = [Stream(intake) for _ in range(count)]
        for stream in new:
            stream.sends(*messages)
        made.extend(new)
        return new

    yield make
    for stream in made:
        stream.task.cancel()
    await asyncio.gather(*(stream.task for stream in made), return_exceptions=True)
    await time.pass_ms(1000)
    assert not intake._is_waited_for


async def test_a_crowd_of_vehicles_with_small_pictures_is_read_at_once(streams, time):
    crowd = streams(64, SMALL, SMALL)
    await time.pass_ms(0)
    assert [stream.read for stream in crowd] == [3] * 64


async def test_a_crowd_with_large_pictures_is_read_at_a_pace_and_all_of_it_is_read(streams, time):
    crowd = streams(64, LARGE)
    await time.pass_ms(0)
    at_once = sum(stream.read == 2 for stream in crowd)
    assert 1 <= at_once <= 9, "what is there at once is half of a budget's work"
    await time.pass_ms(100)
    assert sum(stream.read == 2 for stream in crowd) - at_once <= 7, "128 MiB a second"
    await time.pass_ms(2500)
    assert [stream.read for stream in crowd] == [2] * 64


async def test_a_stream_of_large_messages_waits_for_its_turns_and_one_of_small_ones_does_not(
    streams, time
):
    (car,) = streams(1, SMALL)
    (large,) = streams(1, *[LARGE] * 20)
    await time.pass_ms(0)
    assert large.read < 9
    car.sends(*[SMALL] * 50)
    await time.pass_ms(0)
    assert car.read == 52
    assert large.read < 9
    await time.pass_ms(1000)
    assert large.read == 21


async def test_large_messages_that_the_server_granted_need_no_turns_and_cost_none(streams, time):
    (camera,) = streams(1)
    camera.granted_bytes = 2 * MB
    camera.sends(*[LARGE] * 100)
    await time.pass_ms(0)
    assert camera.read == 101
    (newcomer,) = streams(1, SMALL)
    await time.pass_ms(0)
    assert newcomer.read == 2


async def test_a_grant_is_for_the_size_that_was_granted_until_it_is_taken_back(streams, time):
    """Small pictures earn no large messages, whether those are pictures or anything else."""
    (padded, camera) = streams(2)
    padded.granted_bytes, camera.granted_bytes = 100_000, 2 * MB
    padded.sends(*[SMALL, LARGE] * 20)
    await time.pass_ms(0)
    assert padded.read < 14
    await time.pass_ms(1000)
    assert padded.read == 41
    camera.sends(LARGE)
    await time.pass_ms(1000)
    camera.granted_bytes = None
    camera.reader.take_grant_back()
    camera.sends(*[LARGE] * 20)
    await time.pass_ms(0)
    assert camera.read < 10


async def test_a_stream_that_was_large_once_has_turns_from_then_on(streams, time):
    """Otherwise a crowd that sends small ones between would come in step."""
    (stream,) = streams(1, LARGE, *[SMALL, LARGE] * 20)
    await time.pass_ms(0)
    assert stream.read < 12


async def test_what_was_expected_and_does_not_come_is_given_back(streams, time):
    """Sessions that open and send nothing keep nobody waiting once they are gone."""
    silent = streams(200)
    await time.pass_ms(0)
    for stream in silent:
        stream.task.cancel()
    await _settled()
    (car,) = streams(1, SMALL)
    await time.pass_ms(0)
    assert car.read == 2


@given(
    st.lists(
        st.tuples(
            st.sampled_from([0, 0, 0, 7, 70]),
            st.sampled_from(["first frame", "frame", "settle"]),
            st.integers(1, 8),
            st.sampled_from([0.0, 0.5, 1.0]),
        ),
        min_size=20,
        max_size=60,
    )
)
@settings(max_examples=30, deadline=None)
def test_in_no_time_more_is_let_through_than_promised(steps):
    """However turns are taken and settled: what was worked off is not given back."""
    clock, through = Time(), []

    async def take(intake, size_bytes, *, is_new):
        payment = await intake.turn(size_bytes, is_new=is_new)
        through.append([clock.now_ns, size_bytes, payment])

    async def run():
        intake, tasks = Intake(), []
        with mock.patch.object(asyncio.get_running_loop(), "call_later", clock.call_later):
            for wait_ms, action, size, share in steps:
                await clock.pass_ms(wait_ms)
                unsettled = [turn for turn in through if turn[2]]
                if action != "settle":
                    taking = take(intake, size * MB, is_new=action == "first frame")
                    tasks.append(asyncio.create_task(taking))
                elif unsettled:
                    turn = unsettled[size % len(unsettled)]
                    payment, turn[1], turn[2] = turn[2], round(share * turn[1]), None
                    intake.settle(payment, turn[1])
            await clock.pass_ms(10_000)
            await asyncio.gather(*tasks)

    with mock.patch.object(intake_module, "time", clock):
        asyncio.run(run())
    for first, (begin_ns, _, _) in enumerate(through):
        total = 0
        for end_ns, size_bytes, _ in through[first:]:
            assert total <= 8 * MB + 128 * MB * (end_ns - begin_ns) / 1e9 + 1000
            total += size_bytes


async def test_sessions_open_at_once_and_wait_for_a_bounded_time_for_what_nobody_expected(
    streams, time
):
    hostile = streams(64, SMALL)
    await time.pass_ms(0)
    for stream in hostile:
        stream.sends(LARGE)
    await time.pass_ms(0)
    assert {stream.read for stream in hostile} == {3}, "they were waited for already"
    (car,) = streams(1, SMALL)
    await time.pass_ms(200)
    assert car.read == 1
    await time.pass_ms(100)
    assert car.read == 2


async def test_first_frames_and_others_have_turns_alternately(streams, time):
    (known,) = streams(1, *[LARGE] * 10)
    await time.pass_ms(1000)
    crowd = streams(64, LARGE)
    known.sends(*[LARGE] * 4)
    await time.pass_ms(300)
    assert known.read == 15, "though the crowd was first"
    assert 10 < sum(stream.read == 2 for stream in crowd) < 64


async def test_a_stream_that_ends_while_it_waits_keeps_no_turn(streams, time):
    streams(8, LARGE)
    *leaving, staying = streams(8, LARGE)
    await time.pass_ms(0)
    for stream in leaving:
        stream.task.cancel()
    await time.pass_ms(300)
    assert staying.read == 2


async def test_an_opening_with_the_largest_ticket_that_servers_issue_is_taken():
    opening = drive_service_pb2.DriveRequest(
        open=session_pb2.OpenSession(vehicle_id="x" * 128, ticket=bytes(MAX_TICKET_BYTES))
    )

    async def read():
        return opening.SerializeToString()

    assert await Reader(SimpleNamespace(read=read), Intake()).opening() == opening


async def test_openings_of_megabytes_and_bytes_that_are_no_message_are_refused():
    async def garbage():
        return b"\xff\xff"

    async def closed():
        return object()

    async def large():
        return LARGE

    with pytest.raises(BadTicketError, match="may have 1,310,720; open without the ticket"):
        await Reader(SimpleNamespace(read=large), Intake()).opening()
    with pytest.raises(InvalidFieldError, match="no message of this method"):
        await Reader(SimpleNamespace(read=garbage), Intake()).read()
    with pytest.raises(InvalidFieldError, match="no message of this method"):
        await Reader(SimpleNamespace(read=garbage), Intake()).opening()
    assert await Reader(SimpleNamespace(read=closed), Intake()).read() is None
    assert await Reader(SimpleNamespace(read=closed), Intake()).opening() is None
