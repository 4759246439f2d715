from __future__ import annotations

import json

import pytest

from steerstream.drive import report
from steerstream.drive.tally import Tally
from steerstream.testing import FakeServer
from steerstream.v1 import drive_service_pb2, session_pb2
from steerstream.wire import session_info
from tests.steerstream.drive.tallies import filled

INFO = session_info(
    drive_service_pb2.DriveResponse(
        opened=FakeServer().open(
            session_pb2.OpenSession(frame_policy=session_pb2.FRAME_POLICY_EVERY)
        )
    )
)


def test_the_result_is_json_with_none_for_what_was_not_measured():
    result = report.as_json(filled(), INFO, source="frames", elapsed_s=1.0)
    assert json.loads(json.dumps(result, allow_nan=False)) == result
    assert result["latency_ms"]["server_infer"]["p50"] == pytest.approx(3.0, rel=0.01)
    assert list(result["heads"]) == ["steering_wheel_angle"]
    assert result["guard"] == {"follow": 3, "hold": 1, "release": 0}
    empty = report.as_json(Tally(50.0), INFO, source="frames", elapsed_s=0.0)
    assert empty["latency_ms"]["round_trip"]["p50"] is None


def test_the_table_says_what_was_sent_a_frame_and_a_second():
    tally = filled()
    tally.sent_bytes = 6_200 * tally.frames
    table = report.as_table(tally, INFO, elapsed_s=tally.frames / 20)
    assert "sent             6.2  kB a frame, 124.0 kB/s" in table
    assert "-  kB a frame, - kB/s" in report.as_table(Tally(50.0), INFO, elapsed_s=0.0)


def test_pictures_that_a_full_server_did_not_get_are_counted():
    tally = filled()
    assert "passed over" not in report.as_table(tally, INFO, elapsed_s=1.0)
    tally.passed_over = 7
    assert "passed over        7  the server is full" in report.as_table(tally, INFO, elapsed_s=1.0)
    assert report.as_json(tally, INFO, source="film", elapsed_s=1.0)["passed_over"] == 7


def test_the_table_names_reasons_and_heads():
    table = report.as_table(filled(), INFO, elapsed_s=1.0)
    assert "LATE 1" in table
    assert "steering_wheel_angle, rad" in table
    assert "unanswered" in table
    assert "p99.9" in table
    assert "against labels" not in report.as_table(Tally(50.0), INFO, elapsed_s=1.0)
