from __future__ import annotations

import threading

import pytest

import steerstream.blocking
from steerstream import (
    Action,
    Command,
    ConnectionFailed,
    Draining,
    FramePolicy,
    SessionLost,
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


def test_methods_keep_their_documentation():
    assert "Send a frame" in steerstream.blocking.Session.send_frame.__doc__
    assert "HOST:PORT" in steerstream.blocking.connect.__doc__
