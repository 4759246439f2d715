from __future__ import annotations

import dataclasses
import math
import platform
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from steerstream import (
    Action,
    ControlValues,
    Draining,
    Expiring,
    Horizon,
    HorizonStep,
    Limit,
    Pace,
    Shedding,
    TicketIssued,
    wire,
)
from steerstream.guard import GuardReason, SafeCommand
from steerstream.recording import messages, topics
from steerstream.v1 import frame_pb2
from tests.steerstream.values import COMMAND, SKIPPED

TIME_NS = 1_700_000_000_123_456_789

JPEG = frame_pb2.Frame(sequence_number=3, capture_time_ns=5, jpeg=b"jpeg", vehicle_speed_mps=-1.5)
JPEG.view_applied.bottom_px = 12
RGB = frame_pb2.Frame(
    sequence_number=3, rgb8=frame_pb2.Rgb8Image(width_px=2, height_px=1, pixels=b"rgbrgb")
)
NV12 = frame_pb2.Frame(
    nv12=frame_pb2.Nv12Image(width_px=2, height_px=2, planes=b"yyyyuv", full_range=True)
)


def made(make) -> Callable[..., list[tuple[str, Any]]]:
    """The same function, with messages whose fields nobody checks."""
    return lambda *given: list(make(*given))


@pytest.mark.parametrize("sent", [JPEG, RGB, NV12], ids=["jpeg", "rgb8", "nv12"])
def test_a_frame_is_put_together_again_as_it_was_sent(sent):
    before = sent.SerializeToString()
    (_, picture), (topic, rest) = made(messages.frame)(sent, TIME_NS)
    assert topic == topics.FRAME
    assert picture.data not in rest.SerializeToString()
    assert messages.whole_frame(rest, picture.data) == sent
    assert sent.SerializeToString() == before


def test_a_picture_is_one_that_other_programs_show():
    (topic, picture), _ = made(messages.frame)(JPEG, TIME_NS)
    assert topic == topics.CAMERA
    assert (picture.format, picture.data) == ("jpeg", b"jpeg")
    assert picture.timestamp.ToNanoseconds() == TIME_NS
    (topic, picture), _ = made(messages.frame)(RGB, TIME_NS)
    assert topic == topics.CAMERA_RAW
    assert (picture.encoding, picture.width, picture.height, picture.step) == ("rgb8", 2, 1, 6)
    (_, picture), _ = made(messages.frame)(NV12, TIME_NS)
    assert (picture.encoding, picture.step) == ("nv12", 2)


def test_a_frame_without_a_picture_is_recorded_all_the_same():
    assert [topic for topic, _ in made(messages.frame)(frame_pb2.Frame(), TIME_NS)] == [
        topics.FRAME
    ]


def test_a_command_is_read_back_as_it_came():
    raw = ControlValues(0.25, None, -1.0, 0.1, None, 0.2)
    steps = (HorizonStep(50, ControlValues(0.1)), HorizonStep(100, ControlValues(0.2)))
    command = dataclasses.replace(
        COMMAND,
        raw=raw,
        active_limits=(Limit.STEERING_RATE, Limit.SPEED),
        state_epoch=2,
        step_count=9,
        horizon=Horizon(steps, ControlValues(0.3, None, None, 0.01)),
    )
    message = messages.command(command)
    times = {"sent_ns": command.sent_ns, "received_ns": command.received_ns}
    # The checksum is of the session's id too, which the recording's is not.
    assert wire.command("", message, **times) == dataclasses.replace(command, checksum_ok=False)


def test_an_answer_has_its_verdict_beside_it():
    (topic, _), (beside, verdict) = made(messages.answer)(COMMAND, (GuardReason.ROUND_TRIP,))
    assert (topic, beside) == (topics.COMMAND, topics.VERDICT)
    assert (verdict.round_trip_ms, list(verdict.reasons)) == (8.0, ["ROUND_TRIP"])


@pytest.mark.parametrize("held", [None, COMMAND])
def test_a_skip_is_read_back_as_it_came(held):
    skipped = dataclasses.replace(SKIPPED, detail="why", held=held)
    (topic, message), _ = made(messages.answer)(skipped, ())
    times = {"sent_ns": skipped.sent_ns, "received_ns": skipped.received_ns}
    again = wire.skipped("", message, **times)
    assert topic == topics.SKIPPED
    assert (again.reason, again.detail) == (skipped.reason, "why")
    assert (again.held is None) == (held is None)


@pytest.mark.parametrize(
    "notice", [Draining(5), Expiring(6), Shedding(7, 8), Pace(100.0, 20.0), TicketIssued(b"", 3, 4)]
)
def test_a_notice_is_read_back_as_it_came(notice):
    [(topic, message)] = made(messages.notice)(notice)
    assert topic == topics.NOTICE
    assert wire.notice(message) == notice


def test_a_tickets_bytes_are_not_recorded():
    [(_, message)] = made(messages.notice)(TicketIssued(b"a key to the session", 3, 4))
    assert b"a key" not in message.SerializeToString()


def test_what_the_guard_told_has_no_value_where_there_is_none():
    told = SafeCommand(Action.RELEASE, None, None, None, math.inf, (GuardReason.NO_COMMAND,))
    [(topic, message)] = made(messages.safe_command)(told)
    assert topic == topics.SAFE_COMMAND
    assert not message.HasField("speed_mps")
    assert math.isinf(message.age_ms)
    assert list(message.reasons) == ["NO_COMMAND"]


def test_a_processor_without_a_list_of_processors_is_what_python_knows(monkeypatch):
    assert isinstance(messages.processor(), str)
    monkeypatch.setattr(Path, "read_text", _fails)
    monkeypatch.setattr(platform, "processor", lambda: "6502")
    assert messages.processor() == "6502"


def _fails(*args, **options):
    raise FileNotFoundError
