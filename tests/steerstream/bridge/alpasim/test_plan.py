from __future__ import annotations

import math

import pytest

from steerstream.bridge.alpasim.plan import Target, roll_out

NOW_US = 5_000_000


def test_a_plan_begins_now_and_reaches_far_past_the_simulator_s_step():
    times = [p.time_us for p in roll_out(NOW_US, 10.0, [Target(0, 0.0, 10.0)], query_us=NOW_US)]
    assert times[0] == NOW_US
    assert times[-1] == NOW_US + 2_000_000
    assert times == sorted(set(times))
    slow = roll_out(NOW_US, 10.0, [Target(0, 0.0, 10.0)], query_us=NOW_US + 3_000_000)
    assert slow[-1].time_us == NOW_US + 6_000_000


def test_a_plan_keeps_the_speed_and_turns_left_with_a_positive_angle():
    last = roll_out(NOW_US, 10.0, [Target(0, 0.148, 10.0)], query_us=NOW_US)[-1]
    radius = 2.85 / math.tan(0.01)
    assert last.yaw_rad == pytest.approx(20.0 / radius)
    assert last.x_m == pytest.approx(radius * math.sin(20.0 / radius), rel=1e-4)
    assert last.y_m == pytest.approx(radius * (1 - math.cos(20.0 / radius)), rel=1e-3)


def test_a_plan_gains_and_loses_speed_within_comfort_and_ends_standing():
    faster = roll_out(NOW_US, 0.0, [Target(0, 0.0, 30.0)], query_us=NOW_US)
    assert faster[-1].x_m - faster[-2].x_m == pytest.approx(4.0 * 0.05)
    stop = roll_out(NOW_US, 4.0, [Target(0, 0.0, 0.0)], query_us=NOW_US)
    assert stop[-1].x_m == stop[-10].x_m == pytest.approx(2.0, abs=0.2)


@pytest.mark.parametrize("query_us", [2**62, -(2**62)])
def test_a_plan_is_bounded_whatever_the_simulator_s_clock_says(query_us):
    plan = roll_out(NOW_US, 10.0, [Target(0, 0.0, 10.0)], query_us=query_us)
    assert 40 < len(plan) <= 60 * 20 + 1


def test_a_target_acts_from_its_time_on():
    targets = [Target(0, 0.0, 10.0), Target(NOW_US + 200_000, 0.148, 10.0)]
    plan = roll_out(NOW_US, 10.0, targets, query_us=NOW_US)
    assert [point.time_us for point in plan if point.yaw_rad == 0.0][-1] == NOW_US + 200_000
    late = roll_out(NOW_US, 10.0, [Target(NOW_US + 1, 0.148, 10.0)], query_us=NOW_US)
    assert late[1].yaw_rad > 0.0
