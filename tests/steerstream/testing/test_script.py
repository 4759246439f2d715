from __future__ import annotations

import grpc

from steerstream import Draining, ErrorReason, SkipReason
from steerstream.testing import Drop, Fail, Reply, Skip
from steerstream.testing.script import reactions
from steerstream.v1 import frame_pb2

FRAME = frame_pb2.Frame(sequence_number=3)


def test_a_list_goes_on_with_its_last_action():
    play = reactions([Drop(), Reply(0.1)])
    assert [play(FRAME) for _ in range(3)] == [[Drop()], [Reply(0.1)], [Reply(0.1)]]


def test_an_empty_list_answers_every_frame():
    assert reactions([])(FRAME) == [Reply()]


def test_notices_are_sent_with_the_action_after_them():
    play = reactions([Draining(5), Reply(0.1), Draining(1)])
    assert play(FRAME) == [Draining(5), Reply(0.1)]
    assert play(FRAME) == [Draining(1), Reply(0.1)]
    assert play(FRAME) == [Reply(0.1)]


def test_a_function_gives_one_action_or_several():
    assert reactions(lambda frame: Reply(float(frame.sequence_number)))(FRAME) == [Reply(3.0)]
    assert reactions(lambda frame: (Drop(), Skip(SkipReason.LATE)))(FRAME) == [
        Drop(),
        Skip(SkipReason.LATE),
    ]


def test_a_failure_is_what_a_transport_raises():
    error = Fail(grpc.StatusCode.ABORTED, "gone", ErrorReason.SHED, retry_after_s=2.0).error()
    assert (error.code, error.message) == (grpc.StatusCode.ABORTED, "gone")
    assert (error.reason, error.retry_after_s) == (ErrorReason.SHED, 2.0)
