from __future__ import annotations

import io
import json

import pytest

from steerstream import Action, ControlValues, FramePolicy, SkipReason
from steerstream.drive import report
from steerstream.drive.progress import Progress, progress_line
from steerstream.drive.tally import Tally
from steerstream.testing import FakeServer
from steerstream.v1 import drive_service_pb2, session_pb2
from steerstream.wire import session_info
from tests.steerstream.values import command, skipped

INFO = session_info(
    drive_service_pb2.DriveResponse(
        opened=FakeServer().open(session_pb2.OpenSession(frame_policy=FramePolicy.EVERY))
    )
)


def filled() -> Tally:
    tally = Tally(budget_ms=50.0)
    truth = ControlValues(steering_wheel_angle_rad=0.3)
    for number, (angle, latency_ms) in enumerate([(0.3, 8.0), (0.1, 60.0), (0.5, 20.0)]):
        tally.sent()
        values = ControlValues(angle, 10.0, 0.0)
        answer = command(number, 0, received_ms=latency_ms, raw=values, limited=values)
        tally.answered(answer, due_ns=0, truth=truth, action=Action.FOLLOW)
    tally.sent()
    late = skipped(3, 0, SkipReason.LATE)
    tally.answered(late, due_ns=0, truth=truth, action=Action.HOLD)
    tally.sent()
    return tally


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


def test_progress_tells_how_far_and_what_is_said_now():
    truth = ControlValues(steering_wheel_angle_rad=0.1)
    line = progress_line(filled(), command(4, 0), truth, 10, 2.0)
    assert "[########        ] 5/10" in line
    assert "truth" in line
    assert "VALID" in line
    assert "skipped 1" in line
    assert "skipped: LATE" in progress_line(filled(), skipped(4, 0), None, None, 2.0)


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_a_terminal_gets_one_line_that_is_taken_away_again(monkeypatch):
    terminal, times = Terminal(), iter([0.0, 1.0, 1.01, 2.0])
    monkeypatch.setattr("time.monotonic", lambda: next(times))
    progress = Progress(10, terminal)
    for _ in range(3):
        progress.update(filled(), command(4, 0), None)
    progress.close()
    assert terminal.getvalue().count("\r") == 4
    assert "\n" not in terminal.getvalue()


def test_a_log_gets_a_line_now_and_then(monkeypatch):
    log, times = io.StringIO(), iter([0.0, 1.0, 6.0, 7.0])
    monkeypatch.setattr("time.monotonic", lambda: next(times))
    progress = Progress(10, log)
    for _ in range(3):
        progress.update(filled(), command(4, 0), None)
    progress.close()
    assert log.getvalue().count("\n") == 1
