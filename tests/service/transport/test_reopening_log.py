"""A vehicle that opens session after session is in the log, and no crowd of them fills it."""

from __future__ import annotations

import grpc
import pytest

from steerstream_service.transport.reopening_log import MANY, MOST_VEHICLES, WINDOW_S, Reopenings
from tests.service import bundles
from tests.service.transport.line_windows import ended_by_hand, lines_of
from tests.service.vehicle import running


@pytest.fixture
def lines(caplog):
    return lines_of(caplog, "vehicle_comes_and_goes")


@pytest.fixture
def window_is_over(monkeypatch):
    """Ends the window when it is called, in place of a minute later."""
    return ended_by_hand(monkeypatch, WINDOW_S)


def test_one_line_tells_of_all_vehicles_that_came_and_went_and_of_the_worst(lines, window_is_over):
    noted = Reopenings()
    for number in range(MANY):
        noted.ended("car-1", "cancelled")
        noted.ended("car-2", "client" if number else "taken_over")
    noted.ended("car-2", "client")
    noted.ended("car-3", "client")
    assert lines() == []
    window_is_over()
    assert lines() == [
        {
            "vehicles": 2,
            "vehicle_id": "car-2",
            "sessions": MANY + 1,
            "within_s": WINDOW_S,
            "ended_by": {"taken_over": 1, "client": MANY},
        }
    ]


def test_vehicles_that_leave_at_times_are_no_line(lines, window_is_over):
    noted = Reopenings()
    for _ in range(3):
        for _ in range(MANY - 1):
            noted.ended("car-1", "client")
        window_is_over()
    assert lines() == []


def test_a_crowd_of_names_is_counted_up_to_a_bound(lines, window_is_over):
    noted = Reopenings()
    for number in range(MOST_VEHICLES + 10):
        for _ in range(MANY):
            noted.ended(f"car-{number}", "client")
    window_is_over()
    assert [line["vehicles"] for line in lines()] == [MOST_VEHICLES]


async def test_a_server_tells_of_a_vehicle_that_came_and_went_before_it_stopped(lines, tmp_path):
    async with running(bundles.recurrent(tmp_path / "tiny.onnx")) as run:
        for _ in range(MANY):
            vehicle = await run.vehicle(vehicle_id="car-7")
            assert await vehicle.done() is grpc.StatusCode.OK
    assert [(line["vehicle_id"], line["sessions"]) for line in lines()] == [("car-7", MANY)]
