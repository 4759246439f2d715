from __future__ import annotations

import json

import pytest

from steerstream import Action
from steerstream.drive import report
from steerstream.drive.tally import Tally
from steerstream.testing import FakeServer
from steerstream.v1 import drive_service_pb2, session_pb2
from steerstream.wire import session_info
from tests.steerstream.drive.tallies import filled
from tests.steerstream.values import command

INFO = session_info(
    drive_service_pb2.DriveResponse(
        opened=FakeServer().open(
            session_pb2.OpenSession(frame_policy=session_pb2.FRAME_POLICY_EVERY)
        )
    )
)


def test_a_tally_counts_every_frame_once():
    tally = filled()
    assert (tally.frames, tally.commands, tally.unanswered) == (5, 3, 1)
    assert tally.skips == {"LATE": 1}
    # One late, one skipped, one without an answer.
    assert tally.over_budget == 3


def test_latency_counts_from_when_a_frame_was_due():
    tally = Tally(50.0)
    answer = command(0, sent_ms=30.0, received_ms=40.0)
    assert tally.answered(answer, due_ns=10_000_000, truth=None, action=Action.FOLLOW) == 30.0


def test_errors_are_counted_for_labelled_heads_alone():
    error = filled().heads["steering_wheel_angle"]
    assert error.frames == 3
    assert error.rmse == pytest.approx((0.08 / 3) ** 0.5)
    assert error.mae == pytest.approx(0.4 / 3)
    assert error.rmse_zero == pytest.approx(0.3)
    assert filled().heads["speed"].frames == 0


def test_the_result_is_json_with_none_for_what_was_not_measured():
    result = report.as_json(filled(), INFO, source="frames", elapsed_s=1.0)
    assert json.loads(json.dumps(result, allow_nan=False)) == result
    assert result["latency_ms"]["server_infer"]["p50"] == pytest.approx(3.0, rel=0.01)
    assert list(result["heads"]) == ["steering_wheel_angle"]
    assert result["guard"] == {"follow": 3, "hold": 1, "release": 0}
    empty = report.as_json(Tally(50.0), INFO, source="frames", elapsed_s=0.0)
    assert empty["latency_ms"]["round_trip"]["p50"] is None


def test_the_table_names_reasons_and_heads():
    table = report.as_table(filled(), INFO, elapsed_s=1.0)
    assert "LATE 1" in table
    assert "steering_wheel_angle, rad" in table
    assert "unanswered" in table
    assert "p99.9" in table
    assert "against labels" not in report.as_table(Tally(50.0), INFO, elapsed_s=1.0)
