"""What a server says as figures for the page."""

from __future__ import annotations

import json
import math

import pytest

from steerstream.v1 import command_pb2, drive_service_pb2, session_pb2, watch_pb2
from steerstream.watch.figures import (
    HISTORY_POINTS,
    ServerFigures,
    answer_figures,
    description_figures,
)
from tests.steerstream.watch.scripted import command, session, snapshot

STAGES = [
    {"stage": name, "p50_us": 1000 * at, "p99_us": 2000 * at, "max_us": 3000 * at}
    for at, name in enumerate(("queue", "decode", "infer", "total"), 1)
]


def test_a_server_as_figures():
    message = snapshot(load=0.25, refusals=3, stages=STAGES, shows_pictures=True)
    server, sessions = ServerFigures().take(message)
    assert server["status"] == "SERVING"
    assert (server["load"], server["refusals"], server["pictures"]) == (0.25, 3, True)
    assert server["models"][0]["precision"] == "f32"
    assert server["point"] == [1000, 0.25, 0.0, 0, 1.0, 2.0, 3.0, 4.0, 8.0]
    assert sessions == []


def test_rates_are_of_the_last_two_seconds():
    figures = ServerFigures()
    for up_ms in range(0, 5001, 200):
        # Nothing for three seconds, then 20 a second.
        answers = max(0, (up_ms - 3000) * 20 // 1000)
        server, [row] = figures.take(
            snapshot(up_ms, [session(open_ms=up_ms, answers=answers)], answers=answers)
        )
    assert server["rate_hz"] == pytest.approx(20)
    assert row["rate_hz"] == pytest.approx(20)
    assert (row["precision"], row["stated_hz"]) == ("f32", 20)


def test_a_session_that_opened_just_now_has_a_rate_since_then():
    figures = ServerFigures()
    figures.take(snapshot(1000))
    _, [row] = figures.take(snapshot(2000, [session(open_ms=500, answers=10)]))
    assert row["rate_hz"] == pytest.approx(20)


def test_misses_are_of_the_last_minute_and_trouble_of_the_last_seconds():
    figures = ServerFigures()
    figures.take(snapshot(0, [session(open_ms=0, misses=5)], answers=100, misses=5))
    server, [row] = figures.take(
        snapshot(1000, [session(open_ms=1000, misses=6, held=1)], answers=200, misses=6)
    )
    assert (server["misses"], server["miss_share"]) == (1, 0.01)
    assert (row["misses"], row["trouble"]) == (6, 2)
    server, [row] = figures.take(
        snapshot(70_000, [session(open_ms=70_000, misses=6, held=1)], answers=300, misses=6)
    )
    assert (server["misses"], server["miss_share"]) == (0, 0.0)
    assert (row["misses"], row["trouble"]) == (6, 0)


def test_the_course_has_gaps_where_nothing_was_answered_and_is_bounded():
    figures = ServerFigures()
    for at in range(HISTORY_POINTS + 10):
        figures.take(snapshot(200 * at))
    assert len(figures.history) == HISTORY_POINTS
    assert figures.history[-1][4:] == [None] * 5


def test_another_process_in_the_servers_place_begins_again():
    figures = ServerFigures()
    figures.take(snapshot(90_000, [session(answers=1000)], answers=1000, misses=50))
    server, [row] = figures.take(snapshot(100, [session(open_ms=100, answers=2)], answers=2))
    assert (server["misses"], server["rate_hz"]) == (0, 0.0)
    assert row["rate_hz"] == 0.0
    assert len(figures.history) == 1


def test_endings_say_how_long_ago():
    ending = watch_pb2.SessionEnding(
        session_id="s1", vehicle_id="car", ended_by="cancelled", ended_ms=400
    )
    server, _ = ServerFigures().take(snapshot(1000, endings=[ending]))
    assert server["endings"] == [
        {"session": "s1", "vehicle": "car", "by": "cancelled", "ago_ms": 600}
    ]


def test_a_command_as_figures():
    found = answer_figures(command(active_limits=[command_pb2.LIMIT_SPEED]))
    assert (found["sequence_number"], found["capture_ms"]) == (7, 2.5)
    assert (found["skip"], found["validity"]) == (None, "VALID")
    assert found["raw"] == [0.2, None, None]
    assert found["limited"] == [0.1, 10.0, None]
    assert found["stddev"] == [0.01, None, None]
    assert found["limits"] == ["SPEED"]
    assert found["stages_ms"] == [0.1, 0.2, 0.3, 0.7]


def test_a_horizon_as_figures():
    steps = [
        command_pb2.HorizonStep(
            after_ms=50 * at, limited=command_pb2.ControlValues(steering_wheel_angle_rad=0.1 * at)
        )
        for at in (1, 2)
    ]
    found = answer_figures(command(horizon=command_pb2.Horizon(steps=steps)))
    assert found["horizon"] == [[50, 0.1, None], [100, 0.2, None]]
    assert answer_figures(command())["horizon"] == []


def test_a_skip_as_figures_with_the_command_that_it_holds():
    held = command(validity=command_pb2.VALIDITY_VALID, age_ms=30.0).command
    skipped = command_pb2.FrameSkipped(
        sequence_number=9,
        capture_time_ns=5_000_000,
        reason=command_pb2.SKIP_REASON_LATE,
        detail="why",
        held=held,
    )
    found = answer_figures(drive_service_pb2.DriveResponse(skipped=skipped))
    assert (found["sequence_number"], found["capture_ms"]) == (9, 5.0)
    assert (found["skip"], found["detail"], found["validity"]) == ("LATE", "why", "HELD")
    assert (found["limited"][0], found["age_ms"]) == (0.1, 30.0)


def test_numbers_that_json_lacks_are_no_values():
    raw = command_pb2.ControlValues(steering_wheel_angle_rad=math.nan, speed_mps=math.inf)
    found = answer_figures(command(raw=raw, age_ms=math.nan))
    assert (found["raw"], found["age_ms"]) == ([None, None, None], None)
    json.dumps(found, allow_nan=False)


def test_names_of_a_newer_server_stay_numbers():
    server, _ = ServerFigures().take(snapshot(status=99))
    assert server["status"] == "99"


def test_a_description_as_figures():
    camera = {"width_px": 640, "height_px": 480, "horizontal_fov_deg": 18.0, "mount_height_m": 1.5}
    found = description_figures(
        watch_pb2.SessionDescription(
            budget_ms=50,
            wheelbase_m=2.5,
            steering_ratio=15,
            camera=session_pb2.CameraDescription(**camera),  # type: ignore[arg-type]
        )
    )
    assert found["camera"] == {**camera, "horizon_fraction": 0.0}
    assert (found["budget_ms"], found["wheelbase_m"], found["steering_ratio"]) == (50, 2.5, 15)
