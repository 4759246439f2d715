from __future__ import annotations

import pytest

from steerstream import Draining, Expiring, Pace, Shedding, SkipReason, TicketIssued, Validity, wire
from steerstream.checksum import command_checksum
from steerstream.testing import Reply, Skip
from steerstream.testing.answers import FakeAnswers, notice_response
from steerstream.v1 import frame_pb2, session_pb2

FRAME = frame_pb2.Frame(sequence_number=7, capture_time_ns=11)


def test_a_command_echoes_its_frame_and_is_sealed():
    reply = Reply(0.1, None, -0.5, validity=Validity.WARMING_UP, age_ms=3.0)
    command = FakeAnswers("s").answer(FRAME, reply, latency_ms=2.0).command
    assert (command.sequence_number, command.capture_time_ns) == (7, 11)
    assert (command.limited.steering_wheel_angle_rad, command.limited.steering_torque_nm) == (
        0.1,
        -0.5,
    )
    assert not command.limited.HasField("speed_mps")
    assert (command.validity, command.age_ms, command.timings.total_us) == (2, 5.0, 2000)
    assert command.checksum == command_checksum("s", command)


def test_a_damaged_command_has_another_checksum():
    command = FakeAnswers("s").answer(FRAME, Reply(is_damaged=True), latency_ms=0.0).command
    assert command.checksum != command_checksum("s", command)


def test_every_answer_counts_but_a_stuck_one_and_a_reset_begins_an_epoch():
    answers, counters = FakeAnswers("s"), []
    for action in (Reply(), Skip(), Reply(), Reply(is_stuck=True)):
        answer = answers.answer(FRAME, action, latency_ms=0.0)
        if answer.WhichOneof("message") == "command":
            counters.append(answer.command.alive_counter)
    assert counters == [1, 3, 3]
    answers.reset(session_pb2.Reset())
    command = answers.answer(FRAME, Reply(), latency_ms=0.0).command
    assert (command.state_epoch, command.step_count, command.alive_counter) == (1, 1, 4)
    answers.reset(session_pb2.Reset(count=3))
    assert answers.answer(FRAME, Reply(), latency_ms=0.0).command.state_epoch == 4


def test_a_skip_says_why():
    skip = Skip(SkipReason.OVERLOADED, "too many")
    skipped = FakeAnswers("s").answer(FRAME, skip, latency_ms=0.0).skipped
    assert (skipped.sequence_number, skipped.reason) == (7, SkipReason.OVERLOADED)
    assert skipped.detail == "too many"


@pytest.mark.parametrize(
    "notice",
    [Draining(5), Expiring(6), Shedding(7, 8), Pace(80.5, 3.5), TicketIssued(b"sealed", 9, 10)],
)
def test_a_notice_arrives_as_it_was_sent(notice):
    assert wire.notice(notice_response(notice).notice) == notice
