from __future__ import annotations

import asyncio
import concurrent.futures
import os
import subprocess
import sys
import threading

import pytest

import steerstream.blocking
from steerstream import (
    Action,
    Command,
    ConnectionFailed,
    Draining,
    DriveState,
    FramePolicy,
    GuardReason,
    SessionChange,
    SessionClosed,
    SessionEnded,
    SessionLost,
    SteerstreamError,
    UnknownModel,
)
from steerstream.testing import Drop, Fail, FakeServer, Reply

JPEG = b"\xff\xd8 a picture"


def loop_threads() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name == "steerstream"]


@pytest.fixture(autouse=True)
def _no_thread_is_left():
    yield
    assert loop_threads() == []


def connect(server: FakeServer) -> steerstream.blocking.Client:
    return steerstream.blocking.connect("fake", transport=server.transport())


def test_a_drive_without_async():
    server = FakeServer(lambda frame: [Draining(5), Reply(frame.sequence_number / 10)])
    with connect(server) as client:
        assert client.describe_models().default_model == "fake"
        with client.open_session(vehicle_id="car", frame_policy=FramePolicy.EVERY) as session:
            assert session.info.frame_policy is FramePolicy.EVERY
            command = session.request(JPEG)
            assert isinstance(command, Command)
            assert session.safe_command().action is Action.FOLLOW
            assert session.latest_command(max_age_ms=1000) == command
            session.reset()
            assert session.send_frame(JPEG) == 1
            session.finish()
            answers = list(session)
    assert [a.state_epoch for a in answers if isinstance(a, Command)] == [1]
    assert session.draining == Draining(5)


def test_errors_are_the_same():
    with (
        connect(FakeServer()) as client,
        pytest.raises(UnknownModel),
        client.open_session(vehicle_id="car", model="nosuch"),
    ):
        pytest.fail("the session must not open")
    with (
        connect(FakeServer([Fail()])) as client,
        client.open_session(vehicle_id="car") as session,
        pytest.raises(SessionLost),
    ):
        session.request(JPEG)


def test_a_connection_that_fails_leaves_no_thread():
    with (
        pytest.raises(ConnectionFailed),
        steerstream.blocking.connect("localhost:1"),
    ):
        pytest.fail("nothing listens there")


@pytest.mark.parametrize("error", [ZeroDivisionError, KeyboardInterrupt])
def test_an_error_in_the_block_passes_through_and_ends_the_session(error):
    def drive() -> None:
        with (
            connect(FakeServer(lambda frame: Drop())) as client,
            client.open_session(vehicle_id="car") as session,
        ):
            session.send_frame(JPEG)
            raise error

    with pytest.raises(error):
        drive()


def in_thread(function) -> concurrent.futures.Future:
    """Call a function in a thread that does not keep a failed test from ending."""
    future = concurrent.futures.Future()

    def call() -> None:
        try:
            future.set_result(function())
        except BaseException as error:  # noqa: BLE001 - the future raises it
            future.set_exception(error)

    threading.Thread(target=call, daemon=True).start()
    return future


@pytest.mark.parametrize("call", ["request", "next", "send"])
def test_closing_the_client_wakes_a_thread_that_waits_in_it(call):
    """A frame has no answer, so that every call waits for ever."""
    server = FakeServer(lambda frame: Drop())
    server.limits.max_waiting_frames = 1
    client = connect(server)
    session = client.open_session(vehicle_id="car", frame_policy=FramePolicy.EVERY)
    session.send_frame(JPEG)
    calls = {
        "request": lambda: session.request(JPEG, timeout_s=60),
        "next": lambda: next(iter(session)),
        "send": lambda: session.send_frame(JPEG),
    }
    waiting = in_thread(calls[call])
    assert not waiting.done()
    client.close()
    with pytest.raises((SessionEnded, StopIteration)):
        waiting.result(30)


@pytest.mark.parametrize("kind", ["open_session", "drive_session"])
def test_closing_the_client_ends_a_request_as_closed(kind):
    server = FakeServer(lambda frame: Drop())
    client = connect(server)
    session = getattr(client, kind)(vehicle_id="car")
    waiting = in_thread(lambda: session.request(JPEG, timeout_s=60))
    while not session.frames_in_flight:
        assert not waiting.done()
    client.close()
    with pytest.raises(SessionClosed):
        waiting.result(30)


def test_closing_lets_what_the_event_loop_still_does_end_by_itself(monkeypatch):
    """An event of gRPC that comes after its loop is closed is a fault in another client's loop."""
    monkeypatch.setattr(steerstream.blocking, "_LEFT_OVER_S", 3600.0)
    ended = []

    async def begin() -> None:
        async def left_over() -> None:
            for _ in range(100):
                await asyncio.sleep(0)
            ended.append(True)

        kept.append(asyncio.create_task(left_over()))

    kept: list[asyncio.Task[None]] = []
    client = connect(FakeServer())
    client._thread.run(begin())
    client.close()
    assert ended == [True]


def test_a_thread_that_drives_on_after_the_block_is_told():
    with connect(FakeServer()) as client, client.open_session(vehicle_id="car") as session:
        driven = threading.Event()

        def drive() -> None:
            while True:
                session.request(JPEG, timeout_s=60)
                driven.set()

        driving = in_thread(drive)
        assert driven.wait(30)
    with pytest.raises(SessionEnded):
        driving.result(30)


@pytest.mark.parametrize("is_client_first", [False, True])
def test_closing_in_any_order_and_twice_does_nothing_more(is_client_first):
    client = connect(FakeServer())
    session = client.open_session(vehicle_id="car")
    for closed in (client, session) if is_client_first else (session, client):
        closed.close()
        closed.close()


def test_a_call_after_the_end_is_an_error_that_says_so():
    with connect(FakeServer()) as client, client.open_session(vehicle_id="car") as session:
        pass
    uses = [
        client.describe_models,
        lambda: client.open_session(vehicle_id="car"),
        lambda: session.send_frame(JPEG),
        lambda: session.request(JPEG),
        session.reset,
        lambda: next(iter(session)),
    ]
    for use in uses:
        with pytest.raises(SessionClosed, match="the client is closed"):
            use()


@pytest.mark.parametrize("kind", ["open_session", "drive_session"])
def test_after_the_client_is_closed_actuators_are_told_to_let_go(kind):
    with connect(FakeServer()) as client:
        session = getattr(client, kind)(vehicle_id="car")
        session.request(JPEG)
        assert session.safe_command().action is Action.FOLLOW
    safe = session.safe_command()
    assert (safe.action, safe.reasons[0]) == (Action.RELEASE, GuardReason.CLOSED)
    session.finish()


def test_a_callback_may_look_and_is_told_at_once_where_it_would_wait_for_itself():
    server = FakeServer()
    seen, errors, told = [], [], threading.Event()

    def on_change(change: SessionChange) -> None:
        if change.state is not DriveState.CLOSED:
            return
        seen.append((session.state, session.info.model.name, session.safe_command().action))
        calls = [
            session.reset,
            session.finish,
            session.close,
            client.close,
            client.describe_models,
            lambda: session.request(JPEG),
            lambda: next(iter(session)),
            lambda: client.open_session(vehicle_id="bus"),
        ]
        for call in calls:
            try:
                call()
            except Exception as error:  # noqa: BLE001 - each is looked at below
                errors.append(error)
        told.set()

    client = connect(server)
    session = client.drive_session(vehicle_id="car", on_change=on_change)
    in_thread(session.close)
    assert told.wait(30)
    assert seen == [(DriveState.CLOSED, "fake", Action.RELEASE)]
    assert [type(error) for error in errors] == [SteerstreamError] * 8
    assert all("on_change and other callbacks" in str(error) for error in errors)
    assert client.describe_models().default_model == "fake"
    client.close()


def test_a_process_ends_while_a_thread_still_drives():
    program = """
import threading, steerstream.blocking
from steerstream.testing import Drop, FakeServer
client = steerstream.blocking.connect("fake", transport=FakeServer(lambda f: Drop()).transport())
session = client.open_session(vehicle_id="car")
waits = threading.Thread(target=lambda: next(iter(session), None))
waits.start()
client.close()
waits.join()
"""
    subprocess.run([sys.executable, "-c", program], check=True, timeout=60)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
def test_after_a_fork_every_call_of_the_child_says_so_at_once():
    """The child has the client's locks and sockets, and not the thread that serves them."""
    program = """
import os, signal, steerstream, steerstream.blocking
from steerstream.testing import FakeServer
client = steerstream.blocking.connect("fake", transport=FakeServer().transport())
session = client.open_session(vehicle_id="car")
child = os.fork()
if child == 0:
    signal.alarm(30)  # ends the child where a call hangs
    calls = [session.safe_command, session.close, client.describe_models, client.close,
             lambda: session.request(b"jpeg"), lambda: next(iter(session)),
             lambda: client.open_session(vehicle_id="car")]
    for call in calls:
        try:
            call()
        except steerstream.SteerstreamError as error:
            assert "fork" in str(error), error
        else:
            os._exit(1)
    os._exit(0)
_, status = os.waitpid(child, 0)
assert session.request(b"jpeg").sequence_number == 0
client.close()
raise SystemExit(os.waitstatus_to_exitcode(status))
"""
    done = subprocess.run(
        [sys.executable, "-W", "error::RuntimeWarning", "-W", "ignore::DeprecationWarning",
         "-c", program],
        capture_output=True, text=True, timeout=90, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "")


def test_methods_keep_their_documentation():
    assert "Send a frame" in (steerstream.blocking.Session.send_frame.__doc__ or "")
    assert "HOST:PORT" in (steerstream.blocking.connect.__doc__ or "")
