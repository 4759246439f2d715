"""A session over several scripted servers: what it sends, keeps, says and lets the vehicle do."""

from __future__ import annotations

import asyncio
import dataclasses
import gc
import logging
import math
import re
import warnings
from typing import Any

import grpc
import numpy as np
import pytest

import steerstream
import steerstream.blocking
from steerstream import (
    AccessDenied,
    Action,
    AnswerTimeout,
    BadRequest,
    Command,
    ConnectionFailed,
    Draining,
    DriveState,
    Encoding,
    ErrorReason,
    FramePolicy,
    GuardReason,
    HandOver,
    MissingExtra,
    Pace,
    SessionClosed,
    SessionLost,
    SessionRefused,
    SessionTakenOver,
    Shedding,
    Skipped,
    SkipReason,
    SteerstreamError,
    TicketIssued,
    TokenExpired,
    UnknownModel,
    Validity,
    drive_session,
)
from steerstream.leg import Leg
from steerstream.observer import SessionObserver
from steerstream.testing import Drop, Fail, FakeServer, Reply, Skip, VirtualClock
from steerstream.testing.answers import notice_response
from tests.steerstream import views

LIMIT_S = 30.0
FAST = HandOver(attempt_timeout_s=0.3, give_up_after_s=0.3)
Code = grpc.StatusCode


class Fleet:
    """Fake servers by name.

    Those that are down refuse the connection, deaf ones read no frame, and chatty ones send notices
    alone, which are counted.
    """

    def __init__(self, **servers: FakeServer) -> None:
        self.servers = servers
        self.down: set[str] = set()
        self.asked: list[str] = []
        self.slow: asyncio.Event | None = None
        self.broken: SteerstreamError | None = None
        self.answers_come_first = False
        self.deaf: set[str] = set()
        self.chatty: set[str] = set()
        self.notices = 0
        self.may_receive: dict[str, asyncio.Semaphore] = {}
        self.changes: list[steerstream.SessionChange] = []
        self.clock = next(iter(servers.values())).clock

    def transport(self, name):
        self.asked.append(name)
        return _Transport(self, name)

    def connect(self, **options):
        return steerstream.connect(
            list(self.servers), transport=self.transport, clock=self.clock.now_ns, **options
        )

    def session(self, client, **options):
        fields = {"vehicle_id": "car", "on_change": self.changes.append, "hand_over": FAST}
        return client.drive_session(**{**fields, **options})

    @property
    def states(self):
        return [change.state.value for change in self.changes]

    def frames(self, name):
        """Number of each frame that a server got, with a star where it was replayed."""
        return [
            f"{request.frame.sequence_number}{'*' * request.frame.replayed}"
            for request in self.servers[name].received
            if request.HasField("frame")
        ]

    def openings(self, name):
        return [item.open for item in self.servers[name].received if item.HasField("open")]


class _Transport:
    def __init__(self, fleet, name):
        self._fleet, self._name = fleet, name
        self._inner = fleet.servers[name].transport()

    async def connect(self, *, timeout_s, wait_for_server):
        if self._name in self._fleet.down:
            raise ConnectionFailed(f"{self._name} is down")
        if self._fleet.slow is not None and self._name == "b":
            await self._fleet.slow.wait()

    async def drive(self):
        if self._fleet.broken is not None:
            raise self._fleet.broken
        stream = await self._inner.drive()
        if self._fleet.answers_come_first:
            stream.send = _returning_late(stream.send)
        if self._name in self._fleet.chatty:
            stream.receive = self._of_notices_alone(stream.receive)
        if self._name in self._fleet.may_receive:
            stream.receive = _once_it_may(stream.receive, self._fleet.may_receive[self._name])
        if self._name in self._fleet.deaf:
            stream.send = _of_openings_alone(stream.send)
        return stream

    def _of_notices_alone(self, receive):
        is_open = False

        async def of_notices_alone():
            nonlocal is_open
            if not is_open:
                is_open = True
                return await receive()
            await asyncio.sleep(0.05)
            self._fleet.notices += 1
            return notice_response(ticket)

        return of_notices_alone

    def __getattr__(self, name):
        return getattr(self._inner, name)


def _returning_late(send):
    async def returning_late(request):
        await send(request)
        for _ in range(20):
            await asyncio.sleep(0)

    return returning_late


def _once_it_may(receive, may_receive):
    async def once_it_may():
        response = await receive()
        await may_receive.acquire()
        return response

    return once_it_may


def _of_openings_alone(send):
    async def of_openings_alone(request):
        if not request.HasField("open"):
            await asyncio.Event().wait()
        await send(request)

    return of_openings_alone


class Strict(FakeServer):
    """A server whose keys open no ticket."""

    def open(self, opening):
        if opening.ticket:
            raise Fail(Code.INVALID_ARGUMENT, "unknown key", reason=ErrorReason.BAD_TICKET).error()
        return super().open(opening)


def scripted(script, **options):
    """A server whose script is a function of the frame's number."""
    return FakeServer(lambda frame: script(frame.sequence_number), **options)


async def until(condition):
    async with asyncio.timeout(LIMIT_S):
        while not condition():  # noqa: ASYNC110 - nothing else tells
            await asyncio.sleep(0)


@pytest.fixture(autouse=True)
def _bounded(request):
    request.node.add_marker(pytest.mark.timeout(LIMIT_S))


ticket = TicketIssued(b"sealed", 1, 60_000)


def dies_at(number, *before):
    """Reply, with a ticket after frame 1, until the server dies at a frame."""

    def script(at):
        if at >= number:
            return [*before, Fail()]
        return [Reply(), ticket] if at == 1 else Reply()

    return scripted(script)


async def test_a_request_is_answered_by_another_server_where_its_own_dies():
    fleet = Fleet(a=dies_at(4), b=FakeServer())
    async with fleet.connect() as client, fleet.session(client) as session:
        assert session.state is DriveState.DRIVING
        answers = [await session.request(b"picture") for _ in range(6)]
        assert all(isinstance(answer, Command) for answer in answers)
        assert [answer.sequence_number for answer in answers] == list(range(6))
        assert session.info.resumed
    assert fleet.openings("b")[0].ticket == b"sealed"
    assert fleet.frames("b") == ["2*", "3*", "4", "5"], "those that the ticket has not seen"
    assert fleet.states == ["driving", "resuming", "driving", "closed"]
    assert [change.with_state for change in fleet.changes] == [True, None, True, None]
    assert "died" in fleet.changes[1].reason


async def test_a_replayed_frame_says_of_its_delay_what_it_said_the_first_time():
    """So the answers after a hand-over are those of an unbroken drive."""
    servers = {"a": dies_at(4), "b": FakeServer()}
    for server in servers.values():
        server.max_act_in_ms = 250.0
    fleet = Fleet(**servers)
    async with fleet.connect() as client, fleet.session(client) as session:
        for number in range(5):
            await session.request(b"picture", act_in_ms=10.0 * number)
    stated = {
        request.frame.sequence_number: request.frame.act_in_ms
        for request in fleet.servers["b"].received
        if request.HasField("frame")
    }
    assert stated == {2: 20.0, 3: 30.0, 4: 40.0}


@pytest.mark.parametrize(
    "code", [Code.UNAVAILABLE, Code.INTERNAL, Code.CANCELLED, Code.UNKNOWN, Code.ABORTED]
)
async def test_whatever_a_proxy_makes_of_a_dead_server_is_a_loss(code):
    fleet = Fleet(a=scripted(lambda at: Fail(code) if at else Reply()), b=FakeServer())
    async with fleet.connect() as client, fleet.session(client) as session:
        for number in range(3):
            assert (await session.request(b"picture")).sequence_number == number
    assert fleet.frames("b") == ["0*", "1", "2"], "without a ticket, from the beginning"
    assert fleet.changes[2].with_state


async def test_without_answers_the_server_is_left_by_the_client_s_own_clock():
    clock = VirtualClock()
    silent = scripted(lambda at: Drop() if at >= 2 else Reply(), clock=clock)
    fleet = Fleet(a=silent, b=FakeServer(clock=clock))
    async with fleet.connect() as client, fleet.session(client) as session:
        for _ in range(2):
            await session.request(b"picture")
            clock.advance(50)
        for _ in range(3):
            await session.send_frame(b"picture")
            await until(lambda: len(fleet.frames("a")) == session.frames_in_flight + 2)
            asks_for(session, clock, 50)
        assert session.state is DriveState.DEGRADED
        assert session.change.reason == "answers are missing"
        asks_for(session, clock, 60)
        safe = session.safe_command()
        assert session.state is DriveState.RESUMING
        assert (safe.action, safe.reasons[-1]) == (Action.HOLD, GuardReason.RESUMING)
        got = [await anext(session) for _ in range(3)]
        assert [answer.sequence_number for answer in got] == [2, 3, 4]
    # Under LATEST the newest alone is to be answered in time; those before it bring the state on.
    assert fleet.frames("b") == ["0*", "1*", "2*", "3*", "4"]


def asks_for(session, clock, time_ms):
    """Ask the guard every 10 ms, as a vehicle does."""
    for _ in range(time_ms // 10):
        clock.advance(10)
        session.safe_command()


async def test_a_client_that_stood_still_reads_what_came_before_it_judges_the_server():
    clock = VirtualClock()
    fleet = Fleet(a=FakeServer(clock=clock))
    async with fleet.connect() as client, fleet.session(client) as session:
        for _ in range(3):
            await session.request(b"picture")
            clock.advance(50)
            await session.send_frame(b"picture")
            clock.advance(5_000)
            session.safe_command()
            await until(lambda: not session.frames_in_flight)
    assert fleet.states == ["driving", "closed"]


async def test_under_every_all_that_were_not_answered_are_sent_as_new_frames():
    fleet = Fleet(a=scripted(lambda at: Drop() if at >= 2 else Reply()), b=FakeServer())
    async with (
        fleet.connect() as client,
        fleet.session(client, frame_policy=FramePolicy.EVERY, budget_ms=10) as session,
    ):
        for _ in range(2):
            await session.request(b"picture")
        for _ in range(3):
            await session.send_frame(b"picture")
        got = [await anext(session) for _ in range(3)]
        assert [answer.sequence_number for answer in got] == [2, 3, 4]
    assert fleet.frames("b") == ["0*", "1*", "2", "3", "4"]


@pytest.mark.parametrize("notice", [Draining(60_000), Shedding(60_000, 500)])
async def test_a_server_that_ends_the_session_is_left_before_it_does(notice):
    fleet = Fleet(a=scripted(lambda at: [notice, Reply()] if at == 2 else Reply()), b=FakeServer())
    async with fleet.connect() as client, fleet.session(client) as session:
        for _ in range(3):
            await session.request(b"picture")
        await until(lambda: session.state is DriveState.DRIVING and len(fleet.states) == 3)
        assert session.safe_command().action is Action.FOLLOW, "nothing is held"
        await session.request(b"picture")
        assert session.safe_command().action is Action.FOLLOW
    assert fleet.states == ["driving", "degraded", "driving", "closed"]
    assert fleet.frames("a") == ["0", "1", "2"]
    assert fleet.frames("b") == ["0*", "1*", "2*", "3"]


OF_NO_USE = {
    "failed": Skip(SkipReason.FAILED),
    "damaged": Reply(is_damaged=True),
    "held": Reply(validity=Validity.HELD),
    "fallback": Reply(validity=Validity.FALLBACK),
    "not finite": Reply(math.nan),
}


@pytest.mark.parametrize("kind", OF_NO_USE)
async def test_a_server_whose_answers_are_of_no_use_is_left_for_another(kind):
    useless = scripted(lambda at: Reply() if at < 3 else OF_NO_USE[kind])
    fleet = Fleet(a=useless, b=FakeServer())
    async with fleet.connect() as client, fleet.session(client, hand_over=PATIENT) as session:
        for _ in range(22):
            await session.request(b"picture")
        assert session.state is DriveState.DRIVING
        await session.request(b"picture")
        await until(lambda: session.change.target == "b" and len(fleet.states) == 3)
        await session.request(b"picture")
        assert session.safe_command().action is Action.FOLLOW
    assert fleet.states == ["driving", "degraded", "driving", "closed"]


async def test_with_answers_of_no_use_the_only_server_is_kept():
    fleet = Fleet(a=scripted(lambda at: Skip(SkipReason.FAILED)))
    async with fleet.connect() as client, fleet.session(client, hand_over=PATIENT) as session:
        for _ in range(50):
            await session.request(b"picture")
    assert fleet.states == ["driving", "closed"]


@pytest.mark.parametrize("reason", [SkipReason.UNDECODABLE, SkipReason.LATE])
async def test_skips_that_another_server_would_give_too_leave_no_server(reason):
    fleet = Fleet(a=scripted(lambda at: Skip(reason)), b=FakeServer())
    async with fleet.connect() as client, fleet.session(client, hand_over=PATIENT) as session:
        for _ in range(50):
            await session.request(b"picture")
    assert fleet.states == ["driving", "closed"]


async def test_an_attempt_is_not_drawn_out_by_notices():
    """A server that answers nothing has its time once, whatever else it says."""
    fleet = Fleet(a=dies_at(4), b=scripted(lambda at: Drop()), c=FakeServer())
    fleet.chatty.add("b")
    async with fleet.connect() as client, fleet.session(client) as session:
        for number in range(6):
            answer = await session.request(b"picture", timeout_s=LIMIT_S / 3)
            assert answer.sequence_number == number
    assert fleet.frames("c")[:3] == ["2*", "3*", "4"]
    assert 1 <= fleet.notices <= 20, "0.3 s of one each 0.05 s"


async def test_until_the_next_server_is_there_the_old_one_drives():
    fleet = Fleet(
        a=scripted(lambda at: [Draining(60_000), Reply()] if at == 1 else Reply()), b=FakeServer()
    )
    fleet.down.add("b")
    draining = Fail(Code.UNAVAILABLE, "it stops", reason=ErrorReason.DRAINING)
    async with fleet.connect() as client, fleet.session(client) as session:
        for _ in range(6):
            assert isinstance(await session.request(b"picture"), Command)
            fleet.servers["a"].refuse = draining
            await asyncio.sleep(0)
        assert session.state is DriveState.DEGRADED
        assert fleet.frames("a")[-1] == "5"
        fleet.down.clear()
        await until(lambda: session.state is DriveState.DRIVING)
        await session.request(b"picture")
        assert fleet.frames("b")[-1] == "6"


async def test_a_ticket_that_comes_while_another_server_opens_takes_none_of_its_frames():
    def script(at):
        return [Draining(60_000), Reply()] if at == 2 else [Reply(), TicketIssued(b"late", at, 1)]

    fleet = Fleet(a=scripted(script), b=FakeServer())
    fleet.slow = asyncio.Event()
    async with fleet.connect() as client, fleet.session(client) as session:
        for _ in range(4):
            await session.request(b"picture")
        await until(lambda: "b" in fleet.asked)
        await session.request(b"picture")
        fleet.slow.set()
        await until(lambda: session.state is DriveState.DRIVING)
        await session.request(b"picture")
    assert fleet.openings("b")[0].ticket == b"late"
    seen = int(fleet.frames("b")[0].rstrip("*"))
    assert fleet.frames("b") == [f"{number}*" for number in range(seen, 5)] + ["5"]
    assert seen <= 3, "the ticket with which it opened is older than the newest"


async def test_a_ticket_that_is_refused_ends_in_a_fresh_session_that_the_guard_knows_of():
    fleet = Fleet(a=dies_at(4), b=Strict())
    async with fleet.connect() as client, fleet.session(client) as session:
        for _ in range(4):
            await session.request(b"picture")
        await session.send_frame(b"picture")
        await until(lambda: fleet.states[-1] == "driving" and len(fleet.states) == 3)
        assert not session.info.resumed
        assert not session.change.with_state
        await anext(session)
    assert [bool(opening.ticket) for opening in fleet.openings("b")] == [True, False]
    assert fleet.frames("b")[-1] == "4"


async def test_the_frames_of_a_ticket_without_rings_are_played_again_from_its_first():
    def script(at):
        if at >= 6:
            return Fail()
        return [Reply(), TicketIssued(b"sealed", 4, 60_000, replay_from=2)] if at == 4 else Reply()

    fleet = Fleet(a=scripted(script), b=FakeServer())
    async with fleet.connect() as client, fleet.session(client) as session:
        for _ in range(7):
            await session.request(b"picture")
    assert fleet.frames("b") == ["2*", "3*", "4*", "5*", "6"]
    assert [opening.ticket for opening in fleet.openings("b")] == [b"sealed"]
    assert all(opening.replays_rings for name in "ab" for opening in fleet.openings(name))


async def test_a_ticket_whose_rings_cannot_be_made_again_ends_in_a_fresh_session():
    refusal = Fail(Code.INVALID_ARGUMENT, "not stepped", reason=ErrorReason.BAD_TICKET)
    tickets = []

    def second(at):
        return refusal if tickets.pop() else Reply()

    class Once(FakeServer):
        def open(self, opening):
            tickets[:] = [False] * 20 + [bool(opening.ticket)]
            return super().open(opening)

    fleet = Fleet(a=dies_at(4), b=Once(lambda frame: second(frame.sequence_number)))
    async with fleet.connect() as client, fleet.session(client) as session:
        for _ in range(5):
            await session.request(b"picture")
        assert session.state is DriveState.DRIVING
        assert not session.change.with_state
    assert [bool(opening.ticket) for opening in fleet.openings("b")] == [True, False]


async def test_a_ticket_that_a_driving_server_finds_of_no_use_ends_in_a_fresh_session():
    refusal = Fail(Code.INVALID_ARGUMENT, "not in the rings", reason=ErrorReason.BAD_TICKET)
    resumed = []

    class Late(FakeServer):
        def open(self, opening):
            resumed.append(bool(opening.ticket))
            return super().open(opening)

    late = Late(lambda frame: refusal if resumed[-1] and not frame.replayed else Reply())
    fleet = Fleet(a=dies_at(4), b=late)
    async with fleet.connect() as client, fleet.session(client) as session:
        for number in range(6):
            assert (await session.request(b"picture")).sequence_number == number
            fleet.down.update({"a"} if number == 3 else ())
        assert session.state is DriveState.DRIVING
        assert not session.change.with_state
    assert resumed == [True, False]


async def test_a_server_that_finds_a_ticket_of_no_use_where_there_was_none_ends_the_session():
    refusal = Fail(Code.INVALID_ARGUMENT, "strange", reason=ErrorReason.BAD_TICKET)
    fleet = Fleet(a=scripted(lambda at: refusal if at == 1 else Reply()), b=FakeServer())
    async with fleet.connect() as client, fleet.session(client) as session:
        await session.request(b"picture")
        with pytest.raises(BadRequest, match="strange"):
            await session.request(b"picture")


def drains_at(number, **before):
    """Reply, with a ticket after frame 1, and drain with a frame."""
    first = TicketIssued(b"sealed", 1, 60_000, **before)
    others = {1: [Reply(), first], number: [Draining(60_000), Reply()]}
    return lambda at: others.get(at, Reply())


@pytest.mark.parametrize("replay_from", [None, 0])
async def test_a_server_whose_frames_are_let_go_of_while_it_opens_is_opened_again(replay_from):
    """It would wait for frames that nobody has, or go on without them."""
    fleet = Fleet(a=scripted(drains_at(2, replay_from=replay_from)), b=FakeServer())
    fleet.slow = asyncio.Event()
    little = dataclasses.replace(FAST, max_kept_bytes=2_000)
    async with fleet.connect() as client, fleet.session(client, hand_over=little) as session:
        for _ in range(3):
            await session.request(bytes(500))
        fleet.servers["a"].refuse = Fail(reason=ErrorReason.DRAINING)
        await until(lambda: "b" in fleet.asked)
        while session.ticket is not None:
            await session.request(bytes(500))
        fleet.slow.set()
        await until(lambda: fleet.states[-1] == "driving")
        assert not session.change.with_state
        await session.request(bytes(500))
    assert [opening.ticket for opening in fleet.openings("b")] == [b"sealed", b""]
    assert int(fleet.frames("b")[0].strip("*")) >= 3, "those before it are gone"


async def test_after_a_fresh_session_no_ticket_of_the_one_before_is_used():
    """Its state is none of what the vehicle was told since."""

    def first(at):
        newer = [Reply(), TicketIssued(b"newer", 3, 60_000)]
        return newer if at == 3 else drains_at(2)(at)

    dying = Strict(lambda frame: Fail() if frame.sequence_number == 5 else Reply())
    fleet = Fleet(a=scripted(first), b=dying, c=FakeServer())
    fleet.slow = asyncio.Event()
    async with fleet.connect() as client, fleet.session(client) as session:
        for _ in range(3):
            await session.request(b"picture")
        await until(lambda: "b" in fleet.asked)
        await session.request(b"picture")
        fleet.slow.set()
        await until(lambda: fleet.states[-1] == "driving")
        for _ in range(3):
            await session.request(b"picture")
        assert (session.change.target, session.change.with_state) == ("c", False)
    assert [opening.ticket for opening in fleet.openings("c")] == [b""]


async def test_a_server_that_refuses_without_a_reason_is_left_for_another():
    strange = FakeServer(refuse=Fail(Code.INVALID_ARGUMENT, "no such header"))
    fleet = Fleet(a=dies_at(2), b=strange, c=FakeServer())
    async with fleet.connect() as client, fleet.session(client) as session:
        for _ in range(4):
            await session.request(b"picture")
        assert session.change.target == "c"


@pytest.mark.parametrize("broken", ["_supervise", "_watch", "_read", "_feed", "_renew"])
async def test_a_fault_of_the_client_ends_the_session_in_a_typed_error(monkeypatch, broken):
    async def fault(_session, *_leg):
        await asyncio.sleep(0)
        raise RuntimeError("a fault")

    monkeypatch.setattr(drive_session.DriveSession, broken, fault)
    fleet = Fleet(a=FakeServer())
    async with fleet.connect() as client, fleet.session(client) as session:
        with pytest.raises(SessionLost, match="a fault of the client") as caught:
            await anext(session)
        assert isinstance(caught.value.__cause__, RuntimeError)
        assert session.state is DriveState.LOST


async def test_a_change_gives_no_advice_to_do_what_the_session_does_by_itself():
    fleet = Fleet(a=dies_at(2), b=FakeServer())
    async with fleet.connect() as client, fleet.session(client) as session:
        for _ in range(4):
            await session.request(b"picture")
    resuming = next(change for change in fleet.changes if change.state is DriveState.RESUMING)
    assert resuming.reason == "the fake server died"


async def test_what_happens_to_a_session_is_logged_once_and_its_end_well_as_a_recovery(caplog):
    caplog.set_level(logging.INFO, "steerstream")
    fleet = Fleet(a=dies_at(2), b=FakeServer())
    async with fleet.connect() as client, fleet.session(client, hand_over=PATIENT) as session:
        for _ in range(4):
            await session.request(b"picture")
    said = [
        (record.levelname, record.getMessage())
        for record in caplog.records
        if record.name == "steerstream.drive_session"
    ]
    assert said == [
        ("INFO", "drive session driving at a: it was opened"),
        ("WARNING", "drive session resuming at a: the fake server died"),
        ("WARNING", "drive session driving at b: resumed after: the fake server died"),
        ("INFO", "drive session closed: the vehicle closed it"),
    ]
    assert [change.reason for change in fleet.changes] == [
        text.partition(": ")[2] for _, text in said
    ]
    others = [record for record in caplog.records if record.name != "steerstream.drive_session"]
    assert {record.levelname for record in others} == {"INFO"}
    assert "open a new session" not in caplog.text, "it does so by itself"


async def test_a_fresh_state_is_told_in_the_reason(caplog):
    fleet = Fleet(a=dies_at(4), b=Strict())
    async with fleet.connect() as client, fleet.session(client, hand_over=PATIENT) as session:
        for _ in range(5):
            await session.request(b"picture")
        assert session.change.reason == "begun afresh after: the fake server died"
    assert "b takes no ticket: unknown key" in caplog.messages


async def test_what_a_server_answers_again_and_again_is_logged_once(caplog):
    caplog.set_level(logging.DEBUG, "steerstream")
    fleet = Fleet(a=scripted(lambda at: [Draining(60_000), Reply()] if at == 1 else Reply()))
    async with fleet.connect() as client, fleet.session(client, hand_over=PATIENT) as session:
        fleet.servers["a"].refuse = Fail(Code.UNAVAILABLE, "it stops", ErrorReason.DRAINING)
        await session.request(b"picture")
        await session.request(b"picture")
        await until(lambda: len(fleet.asked) == 6)
    said = [(record.levelname, record.getMessage()) for record in caplog.records]
    told = [level for level, text in said if "a does not take the session: it stops" in text]
    assert told[:3] == ["INFO", "DEBUG", "DEBUG"]
    assert "INFO" not in told[1:]
    assert [level for level, text in said if text == "connected to a"][:3] == [
        "INFO",
        "DEBUG",
        "DEBUG",
    ]


async def test_a_frame_that_comes_while_the_one_before_is_being_sent_is_sent_as_well():
    fleet = Fleet(a=FakeServer())
    fleet.answers_come_first = True
    async with fleet.connect() as client, fleet.session(client) as session:
        for number in range(5):
            answer = await session.request(b"picture", timeout_s=LIMIT_S / 10)
            assert answer.sequence_number == number
    assert len(fleet.openings("a")) == 1, "no silence has sent it"


async def test_resets_stay_between_the_frames_around_them():
    fleet = Fleet(a=scripted(lambda at: Fail() if at >= 3 else Reply()), b=FakeServer())
    async with fleet.connect() as client, fleet.session(client) as session:
        for number in range(5):
            if number in (1, 3):
                await session.reset()
            answer = await session.request(b"picture")
            assert (answer.state_epoch, answer.step_count) == {
                0: (0, 1),
                1: (1, 1),
                2: (1, 2),
                3: (2, 1),
                4: (2, 2),
            }[number]


async def test_a_frame_that_was_skipped_is_not_played_again():
    fleet = Fleet(
        a=scripted(lambda at: Fail() if at >= 3 else Skip() if at == 1 else Reply()),
        b=FakeServer(),
    )
    async with fleet.connect() as client, fleet.session(client) as session:
        answers = [await session.request(b"picture") for _ in range(4)]
        assert isinstance(answers[1], Skipped)
    assert fleet.frames("b") == ["0*", "2*", "3"]


async def test_no_more_frames_are_played_again_at_once_than_may_wait_there():
    silent = scripted(lambda at: Drop())
    silent.limits.max_waiting_frames = 2
    fleet = Fleet(a=scripted(lambda at: Fail() if at >= 5 else Reply()), b=silent, c=FakeServer())
    async with fleet.connect() as client, fleet.session(client) as session:
        for _ in range(6):
            await session.request(b"picture", timeout_s=LIMIT_S)
    assert fleet.frames("b") == ["0*", "1*"]
    assert fleet.frames("c") == ["0*", "1*", "2*", "3*", "4*", "5"]


async def test_a_server_that_skips_a_replayed_frame_is_not_taken():
    fleet = Fleet(
        a=scripted(lambda at: Fail() if at >= 3 else Reply()),
        b=scripted(lambda at: Skip() if at == 1 else Reply()),
        c=FakeServer(),
    )
    async with fleet.connect() as client, fleet.session(client) as session:
        answers = [await session.request(b"picture") for _ in range(4)]
        assert [answer.step_count for answer in answers] == [1, 2, 3, 4]
        assert session.change.target == "c"


async def test_a_server_that_cannot_keep_the_budget_is_passed_over():
    slow = FakeServer(
        refuse=Fail(Code.FAILED_PRECONDITION, "too small", ErrorReason.BUDGET_TOO_SMALL)
    )
    fleet = Fleet(a=scripted(lambda at: Fail() if at >= 2 else Reply()), b=slow, c=FakeServer())
    async with fleet.connect() as client, fleet.session(client) as session:
        for _ in range(3):
            assert isinstance(await session.request(b"picture"), Command)
        assert session.change.target == "c"


async def test_frames_beyond_what_may_be_kept_are_still_answered():
    fleet = Fleet(a=scripted(lambda at: Fail() if at >= 1 else Reply()), b=FakeServer())
    fleet.down |= {"b"}
    little = HandOver(give_up_after_s=LIMIT_S, max_kept_bytes=1_000)
    async with fleet.connect() as client, fleet.session(client, hand_over=little) as session:
        await session.request(bytes(500))
        fleet.down |= {"a"}
        for _ in range(5):
            await session.send_frame(bytes(500))
        fleet.down.discard("b")
        await until(lambda: session.frames_in_flight == 0)
        assert not session.change.with_state
    assert [name.strip("*") for name in fleet.frames("b")] == ["1", "2", "3", "4", "5"]


async def test_a_refusal_s_hint_is_obeyed_and_the_next_server_asked():
    full = FakeServer(
        refuse=Fail(
            Code.RESOURCE_EXHAUSTED,
            "full",
            reason=ErrorReason.TOO_MANY_SESSIONS,
            retry_after_s=3600.0,
        )
    )
    fleet = Fleet(a=dies_at(1), b=full, c=scripted(lambda at: Fail() if at >= 3 else Reply()))
    async with fleet.connect() as client, fleet.session(client) as session:
        await session.request(b"picture")
        await session.request(b"picture")
        assert fleet.asked[1:] == ["a", "b", "c"]
        fleet.down |= {"a", "c"}
        await session.request(b"picture")
        with pytest.raises(SessionLost):
            await session.request(b"picture", timeout_s=LIMIT_S)
    assert "b" not in fleet.asked[4:], "it asked for an hour"


async def test_it_is_given_up_after_its_time_and_says_why(caplog):
    fleet = Fleet(a=dies_at(1), b=FakeServer())
    fleet.down.add("b")
    why = r"no server took the session for 0\.3 s; the last one said: [ab] is down"
    async with fleet.connect() as client, fleet.session(client) as session:
        await session.request(b"picture")
        fleet.down.add("a")
        with pytest.raises(SessionLost, match=why) as caught:
            await session.request(b"picture", timeout_s=LIMIT_S)
        assert isinstance(caught.value.__cause__, ConnectionFailed)
        assert session.state is DriveState.LOST
        assert session.safe_command().reasons == (GuardReason.LOST,)
        with pytest.raises(SessionLost):
            await session.send_frame(b"picture")
        with pytest.raises(SessionLost):
            await session.reset()
        with pytest.raises(SessionLost):
            await anext(session)
    assert fleet.states == ["driving", "resuming", "lost"]
    [said] = [record for record in caplog.records if record.levelno == logging.ERROR]
    assert re.search(why, said.getMessage())


async def test_it_says_what_a_server_said_that_answered_and_not_that_another_is_down():
    full = FakeServer()
    fleet = Fleet(a=dies_at(1), b=full)
    async with fleet.connect() as client, fleet.session(client) as session:
        await session.request(b"picture")
        fleet.down.add("a")
        full.refuse = Fail(
            Code.RESOURCE_EXHAUSTED,
            "all 1 sessions are taken",
            reason=ErrorReason.TOO_MANY_SESSIONS,
        )
        with pytest.raises(SessionLost, match="all 1 sessions are taken") as caught:
            await session.request(b"picture", timeout_s=LIMIT_S)
        assert caught.value.reason is ErrorReason.TOO_MANY_SESSIONS


async def test_one_that_its_vehicle_closed_is_followed_no_more():
    fleet = Fleet(a=FakeServer(clock=VirtualClock()))
    async with fleet.connect() as client, fleet.session(client) as session:
        await session.request(b"picture")
        assert session.safe_command().action is Action.FOLLOW
        await session.aclose()
        safe = session.safe_command()
        assert (safe.action, safe.reasons) == (Action.RELEASE, (GuardReason.CLOSED,))


async def test_one_that_is_lost_is_followed_no_more():
    taken_over = scripted(lambda at: TAKEN_OVER if at else Reply(), clock=VirtualClock())
    fleet = Fleet(a=taken_over)
    async with fleet.connect() as client, fleet.session(client) as session:
        await session.request(b"picture")
        assert session.safe_command().action is Action.FOLLOW
        with pytest.raises(SessionTakenOver):
            await session.request(b"picture", timeout_s=LIMIT_S)
        lost = session.safe_command()
        assert (lost.action, lost.reasons) == (Action.RELEASE, (GuardReason.LOST,))
    assert session.safe_command() == lost, "closing it says nothing new"


async def test_one_that_is_closed_without_a_server_does_not_say_that_it_goes_on():
    fleet = Fleet(a=dies_at(1))
    async with fleet.connect() as client, fleet.session(client, hand_over=PATIENT) as session:
        await session.request(b"picture")
        fleet.down.add("a")
        await session.send_frame(b"picture")
        await until(lambda: session.state is DriveState.RESUMING)
        assert GuardReason.RESUMING in session.safe_command().reasons
    assert session.safe_command().reasons == (GuardReason.CLOSED,)


async def test_one_that_is_finished_without_a_server_ends_its_iterator_with_the_loss():
    fleet = Fleet(a=dies_at(1))
    async with fleet.connect() as client, fleet.session(client) as session:
        await session.request(b"picture")
        fleet.down.add("a")
        await session.send_frame(b"picture")
        await session.finish()
        with pytest.raises(SessionLost, match="no server took the session"):
            await anext(session)


async def test_what_no_other_server_could_mend_ends_an_open_session_as_a_loss():
    fleet = Fleet(a=dies_at(1))
    async with fleet.connect() as client, fleet.session(client) as session:
        await session.request(b"picture")
        fleet.broken = MissingExtra("install it")
        with pytest.raises(SessionLost, match="the session cannot go on: install it") as caught:
            await session.request(b"picture", timeout_s=LIMIT_S)
    assert caught.value.__cause__ is fleet.broken


def warming_up(times):
    """A server that takes the opening after so many."""

    class WarmingUp(FakeServer):
        def open(self, opening):
            nonlocal times
            if times:
                times -= 1
                raise FULL.error()
            return super().open(opening)

    return WarmingUp()


FULL = Fail(
    Code.RESOURCE_EXHAUSTED,
    "the server is warming up; try again later",
    reason=ErrorReason.TOO_MANY_SESSIONS,
)


async def test_the_first_opening_waits_for_a_server_that_warms_up_where_that_was_asked_for():
    fleet = Fleet(a=warming_up(3))
    async with fleet.connect() as client:
        with pytest.raises(SessionRefused):
            await fleet.session(client, hand_over=PATIENT)
    async with (
        fleet.connect(wait_for_server=True, timeout_s=LIMIT_S) as client,
        fleet.session(client, hand_over=PATIENT) as session,
    ):
        await session.request(b"picture")
    assert len(fleet.openings("a")) == 4


async def test_the_first_opening_waits_where_one_of_the_servers_may_yet_take_it():
    unknown = Fail(Code.NOT_FOUND, "no such model", reason=ErrorReason.UNKNOWN_MODEL)
    fleet = Fleet(a=warming_up(2), b=FakeServer(refuse=unknown))
    async with (
        fleet.connect(wait_for_server=True, timeout_s=LIMIT_S) as client,
        fleet.session(client, hand_over=PATIENT) as session,
    ):
        await session.request(b"picture")
    fleet = Fleet(b=FakeServer(refuse=unknown))
    async with fleet.connect(wait_for_server=True, timeout_s=LIMIT_S) as client:
        with pytest.raises(UnknownModel):
            await fleet.session(client, hand_over=PATIENT)
    assert len(fleet.openings("b")) == 1


async def test_the_first_opening_waits_no_longer_than_it_may():
    fleet = Fleet(a=warming_up(1000))
    async with fleet.connect(wait_for_server=True, timeout_s=0.0) as client:
        with pytest.raises(SessionRefused, match="warming up"):
            await fleet.session(client, hand_over=PATIENT)
    assert len(fleet.openings("a")) == 1


async def test_it_comes_back_to_the_only_server():
    dead = iter([True])
    server = scripted(lambda at: Fail() if at == 2 and next(dead, False) else Reply())
    fleet = Fleet(a=server)
    async with fleet.connect() as client, fleet.session(client) as session:
        for number in range(4):
            assert (await session.request(b"picture")).sequence_number == number
    assert len(fleet.openings("a")) == 2


async def test_after_an_outage_the_first_round_over_the_servers_goes_on(monkeypatch):
    fleet = Fleet(a=dies_at(4), b=FakeServer())
    rounds = []

    def pause_s():
        rounds.append(list(fleet.asked))
        if len(rounds) == 5:
            fleet.down.clear()
        return 0.0

    monkeypatch.setattr(drive_session, "pauses_s", lambda: pause_s)
    async with fleet.connect() as client, fleet.session(client) as session:
        for _ in range(4):
            await session.request(b"picture")
        fleet.down |= {"a", "b"}
        answer = await session.request(b"picture", timeout_s=LIMIT_S)
        assert answer.sequence_number == 4
    assert len(rounds) == 5
    assert fleet.openings("b")[0].ticket == ticket.ticket
    assert fleet.states == ["driving", "resuming", "driving", "closed"]


async def test_a_server_that_dies_while_frames_are_played_again_is_left_as_well():
    fleet = Fleet(a=dies_at(4), b=scripted(lambda at: Fail()), c=FakeServer())
    async with fleet.connect() as client, fleet.session(client) as session:
        for number in range(6):
            assert (await session.request(b"picture")).sequence_number == number
    assert fleet.frames("c")[:3] == ["2*", "3*", "4"]


async def test_a_server_that_does_not_answer_replayed_frames_is_left_as_well():
    fleet = Fleet(a=dies_at(4), b=scripted(lambda at: Drop()), c=FakeServer())
    async with fleet.connect() as client, fleet.session(client) as session:
        for number in range(6):
            answer = await session.request(b"picture", timeout_s=LIMIT_S)
            assert answer.sequence_number == number
    assert fleet.frames("c")[:3] == ["2*", "3*", "4"]


async def test_a_server_that_does_not_read_replayed_frames_is_left_as_well():
    fleet = Fleet(a=dies_at(4), b=FakeServer(), c=FakeServer())
    fleet.deaf.add("b")
    async with fleet.connect() as client, fleet.session(client) as session:
        for number in range(6):
            answer = await session.request(b"picture", timeout_s=LIMIT_S)
            assert answer.sequence_number == number
    assert fleet.frames("c")[:3] == ["2*", "3*", "4"]


async def test_resets_in_a_row_are_one_message():
    """A server reads ten such messages a second, and the frames behind them would wait for it."""
    fleet = Fleet(a=FakeServer())
    patient = HandOver(attempt_timeout_s=LIMIT_S, give_up_after_s=LIMIT_S)
    async with fleet.connect() as client, fleet.session(client, hand_over=patient) as session:
        await session.request(b"picture")
        fleet.down.add("a")
        await session._leg.session._stream.abort()
        await until(lambda: session.state is DriveState.RESUMING)
        for _ in range(65):  # one more than may wait: the first is skipped
            await session.reset()
            await session.send_frame(b"picture")
        answers = [await anext(session)]
        fleet.down.clear()
        answers += [await anext(session) for _ in range(64)]
    assert isinstance(answers[0], Skipped)
    assert [answer.state_epoch for answer in answers[1:]] == list(range(2, 66))
    resets = [item.reset.count for item in fleet.servers["a"].received if item.HasField("reset")]
    assert resets == [2, *[1] * 63]


HOUR_MS = 3_600_000
SLOW = Pace(HOUR_MS, HOUR_MS)


def paced(script, **options):
    return FakeServer(script, idle_timeout_ms=HOUR_MS, **options)


async def test_a_frame_that_is_not_welcome_yet_waits_before_it_is_sent_and_is_no_silence():
    """Frames that were taken and waited for their turn would be answered too late, all of them."""
    fleet = Fleet(a=paced([SLOW, Reply()]))
    async with fleet.connect() as client, fleet.session(client) as session:
        await session.request(b"picture")
        waiting = asyncio.create_task(session.send_frame(b"picture"))
        await asyncio.sleep(0.3)  # longer than a silence
        assert not waiting.done()
        assert 0 < session.welcome_in_s <= HOUR_MS / 1e3
        assert session.frames_in_flight == 0
        assert fleet.states == ["driving"]
        await session.aclose()
        with pytest.raises(SessionClosed):
            await waiting


async def test_a_frame_that_is_not_welcome_to_a_server_that_dies_goes_to_the_next_one():
    fleet = Fleet(a=paced([SLOW, Reply()]), b=FakeServer())
    async with fleet.connect() as client, fleet.session(client) as session:
        await session.request(b"picture")
        fleet.down.add("b")
        waiting = asyncio.create_task(session.request(b"picture", timeout_s=LIMIT_S))
        await asyncio.sleep(0)
        await session._leg.session._stream.abort()
        await until(lambda: session.state is DriveState.RESUMING)
        fleet.down.clear()
        assert (await waiting).sequence_number == 1
        assert session.change.target == "b"


def slows_at(number, **options):
    """Reply, with a ticket after frame 1 and a pace far too slow after another one."""

    def script(frame):
        notices: dict[int, list[Any]] = {1: [ticket], number: [SLOW]}
        return [Reply(), *notices.get(frame.sequence_number, [])]

    return paced(script, **options)


async def test_a_server_that_lets_frames_wait_longer_than_the_guard_holds_is_left():
    clock = VirtualClock()
    fleet = Fleet(a=slows_at(3, clock=clock), b=FakeServer(clock=clock))
    async with fleet.connect() as client, fleet.session(client) as session:
        for number in range(6):
            answer = await session.request(b"picture", timeout_s=LIMIT_S)
            assert answer.sequence_number == number
            if number == 3:
                await until(lambda: session.welcome_in_s)
        assert session.safe_command().action is Action.FOLLOW, "nothing is held"
    assert fleet.openings("b")[0].ticket == b"sealed"
    assert fleet.frames("a") == ["0", "1", "2", "3"]
    assert fleet.frames("b") == ["2*", "3*", "4", "5"]
    assert fleet.states == ["driving", "degraded", "driving", "closed"]
    assert [change.with_state for change in fleet.changes] == [True, None, True, None]


async def test_of_two_full_servers_none_is_left_for_the_other_again():
    fleet = Fleet(a=slows_at(3), b=slows_at(3))
    async with fleet.connect() as client, fleet.session(client) as session:
        for _ in range(4):
            await session.request(b"picture")
        await until(lambda: session.welcome_in_s)
        waiting = asyncio.create_task(session.send_frame(b"picture"))
        await until(lambda: session.change.target == "b")
        await asyncio.sleep(0.3)  # longer than a look around takes
        assert not waiting.done()
        waiting.cancel()
        await asyncio.wait([waiting])
    assert [len(fleet.openings(name)) for name in "ab"] == [1, 1]
    assert fleet.states == ["driving", "degraded", "driving", "closed"]


async def test_a_server_that_welcomes_frames_in_time_again_is_kept():
    brisk = steerstream.Guard(steerstream.Bounds(max_age_ms=1.0, max_hold_ms=20.0))
    notices = {0: [Pace(30.0, 30.0)], 2: [Pace(0.0, 0.0)]}
    clock = VirtualClock()
    full_for_a_while = scripted(lambda at: [*notices.get(at, []), Reply()], clock=clock)
    fleet = Fleet(a=full_for_a_while, b=FakeServer(clock=clock))
    fleet.down.add("b")
    async with fleet.connect() as client, fleet.session(client, guard=brisk) as session:
        for _ in range(2):
            await session.request(b"picture", timeout_s=LIMIT_S)
        assert session.state is DriveState.DEGRADED, "an answer alone changes nothing"
        for _ in range(2):
            await session.request(b"picture", timeout_s=LIMIT_S)
        fleet.down.clear()
        for _ in range(3):
            await session.request(b"picture", timeout_s=LIMIT_S)
            await asyncio.sleep(0.05)
    assert "b" in fleet.asked
    assert fleet.openings("b") == []
    assert fleet.states == ["driving", "degraded", "driving", "closed"]


async def test_frames_are_played_again_whatever_the_pace():
    slow_at_once = iter([[SLOW, Reply()]])
    fleet = Fleet(a=dies_at(4), b=paced(lambda frame: next(slow_at_once, Reply())))
    async with fleet.connect() as client, fleet.session(client) as session:
        for number in range(5):
            answer = await session.request(b"picture", timeout_s=LIMIT_S)
            assert answer.sequence_number == number
    assert fleet.frames("b")[:3] == ["2*", "3*", "4"]


async def test_a_session_that_expired_goes_on_with_the_next_frame():
    expired = iter([Fail(Code.DEADLINE_EXCEEDED, "no frame came", reason=ErrorReason.IDLE)])
    fleet = Fleet(a=scripted(lambda at: [Reply(), *expired] if at == 1 else Reply()))
    async with fleet.connect() as client, fleet.session(client) as session:
        await session.request(b"picture")
        await session.request(b"picture")
        await until(lambda: session.state is DriveState.RESUMING)
        await asyncio.sleep(0.05)
        assert len(fleet.openings("a")) == 1, "nobody wants it"
        assert (await session.request(b"picture")).sequence_number == 2
    assert len(fleet.openings("a")) == 2


async def test_a_session_that_expired_long_ago_has_all_its_time_to_find_a_server(monkeypatch):
    rounds = []

    def pause_s():
        rounds.append(session.state)
        if len(rounds) == 3:
            fleet.down.clear()
        return 0.0

    monkeypatch.setattr(drive_session, "pauses_s", lambda: pause_s)
    expired = iter([Fail(Code.DEADLINE_EXCEEDED, "no frame came", reason=ErrorReason.IDLE)])
    fleet = Fleet(a=scripted(lambda at: [Reply(), *expired]))
    patient = HandOver(give_up_after_s=60.0)
    async with fleet.connect() as client, fleet.session(client, hand_over=patient) as session:
        await session.request(b"picture")
        await until(lambda: session.state is DriveState.RESUMING)
        session._without_since_s -= 3600.0
        fleet.down.add("a")
        answer = await session.request(b"picture", timeout_s=LIMIT_S)
        assert answer.sequence_number == 1
    assert len(rounds) == 3


async def test_a_message_that_no_server_takes_ends_it():
    bad = Fail(Code.INVALID_ARGUMENT, "frame.x", reason=ErrorReason.INVALID_FIELD)
    fleet = Fleet(a=scripted(lambda at: bad), b=FakeServer())
    async with fleet.connect() as client, fleet.session(client) as session:
        with pytest.raises(BadRequest, match=r"frame\.x"):
            await session.request(b"picture", timeout_s=LIMIT_S)
    assert fleet.openings("b") == []


TAKEN_OVER = Fail(Code.ABORTED, "a newer session", reason=ErrorReason.TAKEN_OVER)


async def test_two_programs_under_one_name_do_not_take_the_session_from_each_other_for_ever():
    fleet = Fleet(a=scripted(lambda at: TAKEN_OVER), b=FakeServer())
    async with fleet.connect() as client, fleet.session(client) as session:
        with pytest.raises(SessionTakenOver):
            await session.request(b"picture", timeout_s=LIMIT_S)
    assert session.state is DriveState.LOST
    assert fleet.openings("b") == []


async def test_a_session_whose_place_its_own_next_one_took_goes_on():
    def script(at):
        return [Draining(60_000), Reply()] if at == 0 else TAKEN_OVER

    fleet = Fleet(a=scripted(script), b=FakeServer())
    fleet.slow = asyncio.Event()
    async with fleet.connect() as client, fleet.session(client) as session:
        await session.request(b"picture")
        await until(lambda: "b" in fleet.asked)
        await session.send_frame(b"picture")
        await until(lambda: session.state is DriveState.RESUMING)
        fleet.slow.set()
        await until(lambda: session.state is DriveState.DRIVING)
        assert isinstance(await session.request(b"picture"), Command)
    assert len(fleet.openings("b")) == 1


@pytest.mark.parametrize(
    ("refusal", "error"),
    [
        (Fail(Code.RESOURCE_EXHAUSTED, "full"), SessionRefused),
        (Fail(Code.NOT_FOUND, "no model"), UnknownModel),
        (Fail(Code.UNAVAILABLE, "gone"), ConnectionFailed),
        (Fail(Code.INVALID_ARGUMENT, "vehicle_id"), BadRequest),
    ],
)
async def test_where_no_server_opens_it_the_last_one_s_reason_is_raised_and_nothing_else_told(
    refusal, error, caplog
):
    caplog.set_level(logging.INFO, "steerstream")
    observer = Ends()
    fleet = Fleet(a=FakeServer(refuse=refusal), b=FakeServer(refuse=refusal))
    async with fleet.connect() as client:
        with pytest.raises(error):
            await fleet.session(client, observer=observer)
    await asyncio.sleep(0)
    assert (fleet.states, observer.errors) == ([], [])
    assert "closed" not in caplog.text, "no vehicle closed it"


class Ends(SessionObserver):
    def __init__(self):
        self.errors = []

    def ended(self, error):
        self.errors.append(error)


async def test_one_whose_client_is_closed_while_it_opens_is_not_opened():
    fleet = Fleet(b=FakeServer())
    async with fleet.connect() as client:
        fleet.slow = asyncio.Event()
        opening = asyncio.create_task(fleet.session(client, hand_over=PATIENT).__aenter__())
        await until(lambda: len(fleet.asked) == 2)
        await client.aclose()
        fleet.slow.set()
        with pytest.raises(SessionClosed):
            await opening
    await asyncio.sleep(0)
    assert fleet.states == []
    assert fleet.openings("b") == []


async def test_closing_it_ends_everything_that_waits():
    fleet = Fleet(a=scripted(lambda at: Drop()))
    async with fleet.connect() as client:
        session = await fleet.session(client)
        waiting = asyncio.create_task(session.request(b"picture"))
        await until(lambda: fleet.frames("a"))
        await session.aclose()
        with pytest.raises(SessionClosed):
            await waiting
        with pytest.raises(SessionClosed):
            await session.send_frame(b"picture")
        assert [answer async for answer in session] == []
        await session.aclose()


async def test_closing_the_client_closes_it():
    fleet = Fleet(a=FakeServer())
    async with fleet.connect() as client:
        session = await fleet.session(client)
    assert session.state is DriveState.CLOSED


async def test_it_ends_after_the_last_answer_where_it_was_finished():
    fleet = Fleet(a=FakeServer())
    async with fleet.connect() as client, fleet.session(client) as session:
        for _ in range(3):
            await session.send_frame(b"picture")
        await session.finish()
        assert [answer.sequence_number async for answer in session] == [0, 1, 2]
        with pytest.raises(SessionClosed):
            await session.send_frame(b"picture")


async def test_one_that_is_finished_and_answered_leaves_its_server_and_tells_of_no_trouble(caplog):
    caplog.set_level(logging.INFO, "steerstream")
    fleet = Fleet(a=scripted(lambda at: [Reply(), Draining(60_000)]), b=FakeServer())
    async with fleet.connect() as client, fleet.session(client, hand_over=PATIENT) as session:
        sending = asyncio.create_task(session.send_frame(b"picture"))
        await asyncio.gather(sending, session.finish())
        answers = [answer async for answer in session]
        assert [answer.sequence_number for answer in answers] == [0]
        await until(lambda: re.search("session fake-.* ended$", caplog.text, re.MULTILINE))
        assert fleet.states == ["driving"]
    await asyncio.sleep(0)
    assert fleet.states == ["driving", "closed"]
    assert fleet.openings("b") == []


async def test_one_that_is_finished_while_it_changes_its_server_looks_for_none_any_more():
    fleet = Fleet(a=scripted(lambda at: [Draining(60_000), Reply()]), b=FakeServer())
    fleet.slow = asyncio.Event()
    async with fleet.connect() as client, fleet.session(client, hand_over=PATIENT) as session:
        await session.request(b"picture")
        await until(lambda: "b" in fleet.asked)
        await session.finish()
        assert [answer async for answer in session if isinstance(answer, Command)] == []
        fleet.slow.set()
        for _ in range(100):
            await asyncio.sleep(0)
        assert fleet.states == ["driving", "degraded"]
    assert fleet.openings("b") == []


async def test_an_answer_that_does_not_come_in_time_leaves_it_alive():
    fleet = Fleet(a=scripted(lambda at: Drop() if at == 0 else Reply()))
    slow = HandOver(missing_answers=1000)
    async with fleet.connect() as client, fleet.session(client, hand_over=slow) as session:
        with pytest.raises(AnswerTimeout, match=r"within 0\.01 s; hold, and go on$"):
            await session.request(b"picture", timeout_s=0.01)
        assert isinstance(await session.request(b"picture"), Command)


async def test_while_no_server_answers_the_oldest_frames_make_room():
    fleet = Fleet(a=scripted(lambda at: Fail()), b=FakeServer())
    fleet.down |= {"b"}
    patient = HandOver(give_up_after_s=LIMIT_S)
    async with fleet.connect() as client, fleet.session(client, hand_over=patient) as session:
        fleet.down |= {"a"}
        for _ in range(80):
            await session.send_frame(b"picture")
        assert session.frames_in_flight == 64
        safe = session.safe_command()
        fleet.down.discard("b")
        answers = [await anext(session) for _ in range(80)]
    assert safe.action is Action.RELEASE
    assert [answer.sequence_number for answer in answers] == list(range(80))
    skips = [answer for answer in answers if isinstance(answer, Skipped)]
    assert [skip.sequence_number for skip in skips] == list(range(16))
    assert {skip.reason for skip in skips} == {SkipReason.SUPERSEDED}
    assert fleet.frames("b")[-1] == "79"


async def passes():
    """Let everything happen that is due now."""
    for _ in range(50):
        await asyncio.sleep(0)


PATIENT = HandOver(missing_answers=1000, attempt_timeout_s=LIMIT_S, give_up_after_s=LIMIT_S)


async def resumed_after_an_outage(fleet, session, answers_a_frame):
    """Drive, lose the server for 80 frames, and go on at b while more come; returns how many."""
    for _ in range(3):
        await session.request(b"picture")
    fleet.down |= {"a", "b"}
    for _ in range(80):
        await session.send_frame(b"picture")
    assert session.state is DriveState.RESUMING
    fleet.down.discard("b")
    await until(lambda: fleet.frames("b"))
    for sent in range(83, 400):
        for _ in range(answers_a_frame):
            fleet.may_receive["b"].release()
        await passes()
        if session.state is DriveState.DRIVING:
            return sent
        await session.send_frame(b"picture")
    raise AssertionError("the session was not resumed")


async def all_answers(fleet, session, sent):
    """Return the answers of all frames after the first three, in the frames' order."""
    for _ in range(sent):
        fleet.may_receive["b"].release()
    answers = [await anext(session) for _ in range(3, sent)]
    return sorted(answers, key=lambda answer: answer.sequence_number)


def skipped(answers):
    return [answer.sequence_number for answer in answers if isinstance(answer, Skipped)]


async def test_frames_that_come_while_64_are_played_again_push_none_out_that_was_sent():
    fleet = Fleet(a=scripted(lambda at: Fail() if at >= 3 else Reply()), b=FakeServer())
    fleet.may_receive["b"] = asyncio.Semaphore(1)
    async with fleet.connect() as client, fleet.session(client, hand_over=PATIENT) as session:
        sent = await resumed_after_an_outage(fleet, session, answers_a_frame=4)
        answers = await all_answers(fleet, session, sent)
        assert session.change.with_state
    assert [answer.sequence_number for answer in answers] == list(range(3, sent))
    assert sent > 83 + 10, "frames came while others were played again"
    assert skipped(answers) == list(range(3, 19)), "of the outage, and none that came after it"
    assert len(fleet.openings("b")) == 1
    assert fleet.states == ["driving", "resuming", "driving", "closed"]


async def test_where_frames_come_as_fast_as_they_are_played_again_the_rest_is_skipped():
    far = FakeServer()
    far.limits.max_waiting_frames = 1
    fleet = Fleet(a=scripted(lambda at: Fail() if at >= 3 else Reply()), b=far)
    fleet.may_receive["b"] = asyncio.Semaphore(1)
    async with fleet.connect() as client, fleet.session(client, hand_over=PATIENT) as session:
        sent = await resumed_after_an_outage(fleet, session, answers_a_frame=1)
        assert sent < 83 + 30, "one lap, and not as long as the drive"
        answers = await all_answers(fleet, session, sent)
    assert [answer.sequence_number for answer in answers] == list(range(3, sent))
    assert {answer.reason for answer in answers if isinstance(answer, Skipped)} == {
        SkipReason.SUPERSEDED
    }
    assert fleet.frames("b")[-1] == str(sent - 1)
    assert len(fleet.openings("b")) == 1


@pytest.mark.parametrize("how", [[Fail()], [Draining(60_000), Reply()]], ids=["dies", "drains"])
async def test_a_round_trip_longer_than_from_frame_to_frame_puts_no_hand_over_off(how):
    """There is a frame under way at any time then, so nothing may wait until there is none."""
    fleet = Fleet(a=scripted(lambda at: how if at >= 3 else Reply()), b=FakeServer())
    fleet.may_receive["b"] = asyncio.Semaphore(1)
    async with fleet.connect() as client, fleet.session(client, hand_over=PATIENT) as session:
        for _ in range(3):
            await session.request(b"picture")
        await session.send_frame(b"picture")
        await until(lambda: len(fleet.frames("b")) >= 3)
        for _ in range(20):
            await session.send_frame(b"picture")
            await passes()
            fleet.may_receive["b"].release()
            await passes()
        assert (session.state, session.change.target) == (DriveState.DRIVING, "b")
        assert session.change.with_state
        for _ in range(30):
            fleet.may_receive["b"].release()


async def test_after_five_servers_of_another_state_the_session_goes_on_without_its_own(monkeypatch):
    monkeypatch.setattr(drive_session, "pauses_s", lambda: lambda: 0.0)
    fleet = Fleet(
        a=scripted(lambda at: Fail() if at >= 3 else Reply()),
        b=scripted(lambda at: Skip() if at == 1 else Reply()),
    )
    async with fleet.connect() as client, fleet.session(client, hand_over=PATIENT) as session:
        for _ in range(3):
            await session.request(b"picture")
        fleet.down.add("a")
        answer = await session.request(b"picture", timeout_s=LIMIT_S)
        assert isinstance(answer, Command)
        assert not session.change.with_state
    assert len(fleet.openings("b")) == 6
    assert fleet.frames("b")[-1] == "3"


def test_the_blocking_client_has_it_too():
    server = FakeServer()
    with (
        steerstream.blocking.connect("a", transport=server.transport()) as client,
        client.drive_session(vehicle_id="car") as session,
    ):
        assert isinstance(session.request(b"picture"), Command)
        assert session.state is DriveState.DRIVING
        assert session.change.target == "a"
        assert session.kept_bytes > 0
        assert session.safe_command().action is Action.FOLLOW


def test_a_wrong_hand_over_is_refused():
    wrong: Any = 5
    with pytest.raises(BadRequest, match="hand_over must be HandOver"):
        steerstream.connect("a", transport=FakeServer().transport()).drive_session(
            vehicle_id="car", hand_over=wrong
        )


@pytest.mark.parametrize("targets", [[], ["a", "a"]])
def test_servers_have_different_names(targets):
    with pytest.raises(BadRequest, match="several different ones"):
        steerstream.connect(targets)


# Views.

VIEW = views.VIEW
WIDER = dataclasses.replace(VIEW, width_px=400)
PICTURE = np.zeros((96, 640, 3), np.uint8)


def views_of(fleet, name):
    """Columns of each picture that a server got."""
    return [
        request.frame.rgb8.width_px
        for request in fleet.servers[name].received
        if request.HasField("frame")
    ]


async def test_frames_are_played_again_to_a_server_that_wants_the_same_view():
    fleet = Fleet(a=dies_at(4), b=FakeServer(view=VIEW))
    fleet.servers["a"].view = VIEW
    async with fleet.connect() as client, fleet.session(client) as session:
        for _ in range(6):
            assert isinstance(await session.request(PICTURE, encoding=Encoding.RGB8), Command)
    assert fleet.frames("b") == ["2*", "3*", "4", "5"]
    assert views_of(fleet, "b") == [200] * 4
    assert fleet.changes[2].with_state


@pytest.mark.parametrize("other", [None, WIDER])
async def test_a_server_that_wants_another_view_begins_afresh(other):
    """Its network would see another part of the road in the frames that were kept."""
    fleet = Fleet(a=dies_at(4), b=FakeServer(view=other))
    fleet.servers["a"].view = VIEW
    async with fleet.connect() as client, fleet.session(client) as session:
        answers = [await session.request(PICTURE, encoding=Encoding.RGB8) for _ in range(6)]
    assert [isinstance(answer, Command) for answer in answers] == [*[True] * 4, False, True]
    assert answers[4].reason is SkipReason.UNDECODABLE
    assert "wants to see another part" in answers[4].detail
    assert fleet.frames("b") == ["5"]
    assert views_of(fleet, "b") == [400 if other else 640]
    assert not fleet.changes[2].with_state
    assert [item.WhichOneof("message") for item in fleet.servers["b"].received] == [
        "open",
        "reset",
        "frame",
    ]


async def test_whole_pictures_are_played_again_to_any_server():
    fleet = Fleet(a=dies_at(4), b=FakeServer(view=WIDER))
    async with fleet.connect() as client, fleet.session(client) as session:
        for _ in range(6):
            assert isinstance(await session.request(PICTURE, encoding=Encoding.RGB8), Command)
    assert views_of(fleet, "b") == [640, 640, 640, 400]
    assert fleet.changes[2].with_state


async def test_frames_that_wait_for_a_server_of_another_view_are_each_skipped():
    fleet = Fleet(a=scripted(lambda at: Drop() if at < 3 else Fail()), b=FakeServer(view=WIDER))
    fleet.servers["a"].view = VIEW
    async with fleet.connect() as client, fleet.session(client) as session:
        for _ in range(4):
            await session.send_frame(PICTURE, encoding=Encoding.RGB8)
        answers = [await anext(session) for _ in range(4)]
        await session.request(PICTURE, encoding=Encoding.RGB8)
        sent_bytes = session.sent_bytes
    assert [answer.sequence_number for answer in answers] == [0, 1, 2, 3]
    assert {answer.reason for answer in answers} == {SkipReason.UNDECODABLE}
    assert fleet.frames("b") == ["4"]
    received = [*fleet.servers["a"].received, *fleet.servers["b"].received]
    assert sent_bytes == sum(item.ByteSize() for item in received if item.HasField("frame"))


async def test_a_session_that_is_closed_at_once_leaves_no_work_that_never_ran():
    fleet = Fleet(a=FakeServer())
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        async with fleet.connect() as client, fleet.session(client):
            pass
        gc.collect()
    assert [str(warning.message) for warning in told] == []


ODD = Fail(Code.INVALID_ARGUMENT, "open.camera cannot", reason=ErrorReason.INVALID_FIELD)


async def test_a_server_whose_network_cannot_use_the_camera_ends_no_session():
    """The first server took the same opening, so it is that one server's word."""
    fleet = Fleet(a=dies_at(3), b=FakeServer(refuse=ODD), c=FakeServer())
    async with fleet.connect() as client, fleet.session(client) as session:
        answers = [await session.request(b"picture") for _ in range(5)]
        assert [answer.sequence_number for answer in answers] == list(range(5))
    assert len(fleet.openings("b")) == len(fleet.openings("c")) == 1


async def test_where_no_other_server_takes_the_session_its_last_word_is_told():
    fleet = Fleet(a=dies_at(3), b=FakeServer(refuse=ODD))
    async with fleet.connect() as client, fleet.session(client) as session:
        for _ in range(3):
            await session.request(b"picture")
        fleet.down.add("a")
        with pytest.raises(SessionLost, match=r"camera cannot|is down") as caught:
            await session.request(b"picture")
        assert isinstance(caught.value.__cause__, BadRequest | ConnectionFailed)
    assert fleet.openings("b")


async def test_an_opening_that_no_server_has_taken_yet_is_wrong_at_once():
    fleet = Fleet(a=FakeServer(refuse=ODD), b=FakeServer())
    async with fleet.connect() as client:
        with pytest.raises(BadRequest, match="camera cannot"):
            await fleet.session(client)


async def test_where_an_error_ends_the_block_nothing_is_waited_for(monkeypatch):
    """As at a plain session: the vehicle's program has something better to do."""
    ends = []
    closed = Leg.close

    async def noted(leg, *, is_clean):
        ends.append(is_clean)
        await closed(leg, is_clean=is_clean)

    monkeypatch.setattr(Leg, "close", noted)
    fleet = Fleet(a=FakeServer())
    async with fleet.connect() as client:
        with pytest.raises(ValueError, match="the drive"):
            await _broken_block(fleet, client)
        async with fleet.session(client) as session:
            await session.request(b"picture")
    assert ends == [False, True]


async def _broken_block(fleet, client):
    async with fleet.session(client):
        raise ValueError("the drive")


async def test_a_token_of_a_day_is_renewed_a_minute_before_its_end(monkeypatch):
    slept = []

    async def sleep(seconds):
        slept.append(seconds)

    fleet = Fleet(a=Issuer(86_400_000, 0), b=FakeServer())
    async with fleet.connect() as client, fleet.session(client) as session:
        leg = session._leg
        monkeypatch.setattr(asyncio, "sleep", sleep)
        await session._renew(leg)
        monkeypatch.undo()
        assert slept[0] == 86_400 - 60
        await until(lambda: session.change.target == "b" and session.state is DriveState.DRIVING)


# Tokens, which expire while a session drives.


class Issuer(FakeServer):
    """A server that says of each session how long its token is valid."""

    def __init__(self, *valid_for_ms: int, script=lambda _frame: Reply()) -> None:
        super().__init__(script)
        self._valid_for_ms = list(valid_for_ms)

    def open(self, opening):
        opened = super().open(opening)
        opened.limits.token_valid_for_ms = self._valid_for_ms.pop(0) if self._valid_for_ms else 0
        return opened


async def requests(session, is_enough):
    async with asyncio.timeout(LIMIT_S):
        while not is_enough():
            yield await session.request(b"picture")
            await asyncio.sleep(0.001)


@pytest.mark.parametrize("names", ["a", "ab"])
async def test_a_session_is_opened_with_a_new_token_while_the_old_one_is_valid(monkeypatch, names):
    monkeypatch.setattr(drive_session, "_TOKEN_TRIED_S", 0.001)
    fleet = Fleet(**{name: Issuer(20) if name == "a" else Issuer() for name in names})
    openings = lambda: sum(len(fleet.openings(name)) for name in names)  # noqa: E731
    async with fleet.connect() as client, fleet.session(client) as session:
        answers = [answer async for answer in requests(session, lambda: openings() == 2)]
        await until(lambda: session.state is DriveState.DRIVING)
        answers.append(await session.request(b"picture"))
        assert [answer.sequence_number for answer in answers] == list(range(len(answers)))
        assert all(isinstance(answer, Command) for answer in answers)
    assert fleet.states == ["driving", "degraded", "driving", "closed"], "nothing was held"
    assert fleet.changes[1].reason == "the token expires soon"
    assert fleet.changes[2].reason == "the token was renewed"
    assert fleet.asked[-1] == names[-1], "another server where there is one"


async def test_where_there_is_no_new_token_yet_it_is_tried_a_few_times(monkeypatch):
    """Each opening with the old token leaves a tenth of what was left."""
    monkeypatch.setattr(drive_session, "_TOKEN_TRIED_S", 0.01)
    fleet = Fleet(a=Issuer(200, 20, 2))
    async with fleet.connect() as client, fleet.session(client) as session:
        await until(lambda: len(fleet.openings("a")) == 3)
        await until(lambda: session.state is DriveState.DRIVING)
        renewal = session._leg.tasks[-1]
        await until(renewal.done)
        assert len(fleet.openings("a")) == 3, "so little is left that the end is waited for"


@pytest.mark.parametrize(
    ("valid_for_ms", "reason"), [(0, "the token was renewed"), (10, "no newer token is given yet")]
)
async def test_a_renewal_with_one_server_is_not_told_as_another_program(
    monkeypatch, caplog, valid_for_ms, reason
):
    """The server ends the session whose place the next one takes, while that catches up."""

    async def taken_over_first(next_leg):
        leg.session._error = SessionTakenOver("end the other program")
        await leg.session._stream.abort()
        await until(lambda: session.state is DriveState.RESUMING)
        await catch_up(next_leg)

    monkeypatch.setattr(drive_session, "_TOKEN_TRIED_S", 0.05)
    caplog.set_level(logging.INFO, "steerstream")
    fleet = Fleet(a=Issuer(100, valid_for_ms))
    async with fleet.connect() as client, fleet.session(client) as session:
        leg, catch_up = session._leg, session._catch_up
        monkeypatch.setattr(session, "_catch_up", taken_over_first)
        await until(lambda: len(fleet.states) == 4)
    assert fleet.states == ["driving", "degraded", "resuming", "driving", "closed"]
    expected = ["the token expires soon", "the token expires soon", reason]
    assert [change.reason for change in fleet.changes[1:4]] == expected
    assert "the vehicle's next one goes on" in caplog.text
    assert "other program" not in caplog.text


EXPIRED = Fail(Code.UNAUTHENTICATED, "the token has expired", reason=ErrorReason.TOKEN_EXPIRED)


async def test_a_session_whose_token_has_expired_goes_on_by_its_ticket():
    opened = []

    def script(frame):
        if frame.sequence_number == 3 and len(fleet.openings("a")) == 1:
            return EXPIRED
        return [Reply(), ticket] if frame.sequence_number == 1 else Reply()

    fleet = Fleet(a=FakeServer(script))
    async with fleet.connect() as client, fleet.session(client) as session:
        answers = [await session.request(b"picture") for _ in range(5)]
        assert [answer.sequence_number for answer in answers] == list(range(5))
        opened = fleet.openings("a")
    assert [item.ticket for item in opened] == [b"", b"sealed"]
    assert fleet.states == ["driving", "resuming", "driving", "closed"]
    assert fleet.changes[2].with_state


async def test_where_only_the_expired_token_is_given_the_session_is_lost_after_its_time():
    fleet = Fleet(a=FakeServer(lambda _frame: EXPIRED))
    async with fleet.connect() as client, fleet.session(client) as session:
        fleet.servers["a"].refuse = Fail(
            Code.UNAUTHENTICATED, "the token cannot be used", reason=ErrorReason.UNAUTHENTICATED
        )
        with pytest.raises(SessionLost, match="the token cannot be used") as caught:
            await session.request(b"picture", timeout_s=LIMIT_S)
        assert isinstance(caught.value.__cause__, AccessDenied)
        assert caught.value.reason is ErrorReason.UNAUTHENTICATED
        assert caught.value.code is Code.UNAUTHENTICATED
        assert session.state is DriveState.LOST
        with pytest.raises(SessionLost):
            await session.send_frame(b"picture")
    assert fleet.states == ["driving", "resuming", "lost"]


async def test_a_plain_session_says_that_its_token_has_expired():
    server = FakeServer(lambda _frame: EXPIRED)
    async with (
        steerstream.connect("a:1", transport=server.transport()) as client,
        client.open_session(vehicle_id="car") as session,
    ):
        with pytest.raises(TokenExpired, match="open a new session with a new token"):
            await session.request(b"picture")


async def test_a_file_of_the_token_that_is_being_replaced_costs_no_session():
    fleet = Fleet(a=scripted(lambda at: [Draining(60_000), Reply()] if at == 0 else Reply()))
    fleet.servers["b"] = FakeServer()
    async with fleet.connect() as client, fleet.session(client) as session:
        fleet.broken = BadRequest("cannot read the token")
        await session.request(b"picture")
        await until(lambda: len(fleet.asked) >= 5)
        assert isinstance(await session.request(b"picture"), Command)
        fleet.broken = None
        fleet.down.add("a")
        await until(lambda: session.state is DriveState.DRIVING)
    assert fleet.states == ["driving", "degraded", "driving", "closed"]


async def test_a_file_of_the_token_that_is_missing_at_the_start_is_said_at_once():
    fleet = Fleet(a=FakeServer())
    fleet.broken = BadRequest("cannot read the token")
    async with fleet.connect() as client:
        with pytest.raises(BadRequest, match="cannot read the token"):
            await fleet.session(client)
