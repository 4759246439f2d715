"""Limits hold at every boundary, act alike to the left and the right, and acting twice is once."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from steerstream_service.domain import ControlValues, Limit
from steerstream_service.session import vehicle_limits
from steerstream_service.session.vehicle_limits import PROFILES, Previous
from tests.service import bundles

CAR = PROFILES["passenger_car"]
FRAME_S = 0.05

angles = st.floats(-20, 20)
speeds = st.floats(-10, 80)
torques = st.floats(-20, 20)
values = st.builds(ControlValues, st.none() | angles, st.none() | speeds, st.none() | torques)
limited_values = st.builds(
    ControlValues,
    st.floats(-2 * math.pi, 2 * math.pi),
    st.floats(0, 36),
    st.floats(-3, 3),
)
histories = st.none() | st.builds(Previous, limited_values, st.floats(0.001, 1))
measured = st.none() | st.floats(-10, 60)


def apply(raw, *, speed=None, previous=None):
    return vehicle_limits.apply(raw, CAR, vehicle_speed_mps=speed, previous=previous)


def angle_after(angle, *, speed, last=None, interval_s=FRAME_S):
    previous = None if last is None else Previous(ControlValues(last), interval_s)
    limited, acted = apply(ControlValues(angle), speed=speed, previous=previous)
    return limited.steering_wheel_angle_rad, acted


@given(values, measured, histories)
def test_acting_twice_is_acting_once(raw, speed, previous):
    once, _ = apply(raw, speed=speed, previous=previous)
    twice, acted = apply(once, speed=speed, previous=previous)
    assert twice == once
    if previous is None:
        assert acted == ()


@given(values, measured, histories)
def test_values_stay_within_the_bounds(raw, speed, previous):
    limited, _ = apply(raw, speed=speed, previous=previous)
    angle, torque = limited.steering_wheel_angle_rad, limited.steering_torque_nm
    if limited.speed_mps is not None:
        assert 0 <= limited.speed_mps <= CAR.max_speed_mps
    if torque is not None:
        assert abs(torque) <= CAR.max_steering_torque_nm
    if angle is not None:
        assert abs(angle) <= CAR.max_steering_wheel_angle_rad
        judged_at = abs(speed) if speed is not None else limited.speed_mps
        if judged_at is not None:
            acceleration = (
                angle / vehicle_limits.steering_per_curvature(judged_at, CAR) * judged_at**2
            )
            assert abs(acceleration) <= CAR.max_lateral_acceleration_mps2 * (1 + 1e-9)


@given(values, measured, histories)
def test_the_list_names_what_changed(raw, speed, previous):
    limited, acted = apply(raw, speed=speed, previous=previous)
    steering = {
        Limit.STEERING_ANGLE,
        Limit.STEERING_RATE,
        Limit.LATERAL_ACCELERATION,
        Limit.LATERAL_JERK,
    }
    changed = limited.steering_wheel_angle_rad != raw.steering_wheel_angle_rad
    assert changed <= bool(steering & set(acted))
    assert (limited.speed_mps != raw.speed_mps) <= bool(
        {Limit.SPEED, Limit.ACCELERATION} & {*acted}
    )
    assert len(set(acted)) == len(acted)


@given(values, measured, histories)
def test_left_mirrors_right(raw, speed, previous):
    def mirrored(item):
        flip = {
            name: None if getattr(item, name) is None else -getattr(item, name)
            for name in ("steering_wheel_angle_rad", "steering_torque_nm")
        }
        return replace(item, **flip)

    there, acted = apply(raw, speed=speed, previous=previous)
    other = None if previous is None else replace(previous, values=mirrored(previous.values))
    back, acted_mirrored = apply(mirrored(raw), speed=speed, previous=other)
    assert mirrored(back) == there
    assert acted == acted_mirrored


@given(limited_values, st.floats(0.001, 1), st.floats(0, 36))
def test_a_command_that_stays_is_left_alone_unless_the_speed_forbids_it(last, interval_s, speed):
    _, acted = apply(last, speed=speed, previous=Previous(last, interval_s))
    assert set(acted) <= {Limit.LATERAL_ACCELERATION}


def test_a_change_that_the_rate_allows_may_be_too_much_lateral_jerk():
    limited, acted = apply(
        ControlValues(0.1), speed=15.0, previous=Previous(ControlValues(0.0), 0.05)
    )
    assert limited.steering_wheel_angle_rad == pytest.approx(0.053, abs=1e-3)
    assert acted == (Limit.LATERAL_JERK,)


def test_the_bounds_are_those_of_their_sources():
    """360 degrees, 5 degrees in 20 ms, and what the module's docstring names otherwise."""
    assert CAR.max_steering_wheel_angle_rad == pytest.approx(2 * math.pi, rel=1e-12)
    assert CAR.max_steering_rate_radps == pytest.approx(250 * math.pi / 180, rel=1e-12)
    assert CAR.min_judged_speed_mps == 1.0
    assert angle_after(6.3, speed=0.0) == (2 * math.pi, (Limit.STEERING_ANGLE,))


@pytest.mark.parametrize("speed", [0.5, 1.0, 2.0, 5.0, 8.0, 15.0, 25.0, 36.0])
@pytest.mark.parametrize("side", [-1, 1])
def test_lateral_acceleration_bounds_the_angle(speed, side):
    for angle in np.linspace(0, 7, 701):
        limited, acted = angle_after(side * angle, speed=speed)
        judged_at = max(speed, 1.0)
        length_m = CAR.wheelbase_m + CAR.understeer_s2_per_m * judged_at**2
        sharpest = 3.0 / judged_at**2 * length_m * CAR.steering_ratio
        bound = min(sharpest, CAR.max_steering_wheel_angle_rad)
        assert limited == pytest.approx(side * min(angle, bound), abs=1e-12)
        assert bool(acted) == (angle > bound)


@pytest.mark.parametrize(
    ("speed", "rate"), [(2.0, 4.363), (8.0, 3.42), (15.0, 1.06), (30.0, 0.359)]
)
@pytest.mark.parametrize("side", [-1, 1])
def test_the_rate_falls_with_the_speed(speed, rate, side):
    limited, acted = angle_after(side * 5.0, speed=speed, last=0.0)
    assert limited == pytest.approx(side * rate * FRAME_S, rel=0.01)
    assert acted[0] is Limit.STEERING_RATE


def test_the_sharpest_curve_of_a_town_passes():
    """1.9 rad at 8 m/s, reached at 3 rad/s, is within all limits."""
    angle = 0.0
    while angle < 1.9:
        wanted = min(angle + 3.0 * FRAME_S, 1.9)
        limited, acted = angle_after(wanted, speed=8.0, last=angle)
        assert (limited, acted) == (wanted, ())
        angle = limited


def test_longer_intervals_allow_larger_changes():
    short, _ = angle_after(5.0, speed=10.0, last=0.0, interval_s=0.05)
    long, _ = angle_after(5.0, speed=10.0, last=0.0, interval_s=0.10)
    assert long == pytest.approx(2 * short, rel=0.01)


def test_without_a_measured_speed_the_network_s_own_counts():
    limited, acted = apply(ControlValues(1.0, 20.0))
    assert acted == (Limit.LATERAL_ACCELERATION,)
    assert limited.steering_wheel_angle_rad == pytest.approx(0.391, abs=1e-3)


def test_without_any_speed_only_the_angle_s_own_bounds_act():
    assert apply(ControlValues(6.0)) == (ControlValues(6.0), ())
    assert apply(ControlValues(7.0))[1] == (Limit.STEERING_ANGLE,)


def test_reversing_counts_as_fast_as_driving():
    assert angle_after(3.0, speed=-8.0) == angle_after(3.0, speed=8.0)


@pytest.mark.parametrize(
    ("speed", "expected", "acted"),
    [
        (-0.01, 0.0, (Limit.SPEED,)),
        (0.0, 0.0, ()),
        (36.0, 36.0, ()),
        (36.2, 130 / 3.6, (Limit.SPEED,)),
    ],
)
def test_speed_bounds(speed, expected, acted):
    assert apply(ControlValues(None, speed)) == (ControlValues(None, expected), acted)


@pytest.mark.parametrize("side", [-1, 1])
def test_torque_bounds(side):
    most = ControlValues(None, None, side * 3.0)
    assert apply(most) == (most, ())
    assert apply(ControlValues(None, None, side * 3.01)) == (most, (Limit.STEERING_TORQUE,))


@pytest.mark.parametrize(("wanted", "expected"), [(20.0, 10.1), (0.0, 9.825), (10.05, 10.05)])
def test_acceleration_and_deceleration(wanted, expected):
    previous = Previous(ControlValues(None, 10.0), FRAME_S)
    limited, acted = apply(ControlValues(None, wanted), previous=previous)
    assert limited.speed_mps == pytest.approx(expected)
    assert acted == (() if wanted == expected else (Limit.ACCELERATION,))


@pytest.mark.parametrize(
    ("last", "wanted", "expected"),
    [
        (0.0, 3.0, 0.1),  # away from zero: 2 Nm/s
        (1.0, 3.0, 1.1),
        (1.0, 0.0, 0.75),  # towards zero: 5 Nm/s
        (1.0, -3.0, 0.75),
        (0.1, -3.0, -0.1),  # through zero: no further than from zero
        (2.95, 9.0, 3.0),  # the bound
    ],
)
@pytest.mark.parametrize("side", [-1, 1])
def test_torque_rises_slowly_and_falls_fast(last, wanted, expected, side):
    previous = Previous(ControlValues(None, None, side * last), FRAME_S)
    limited, acted = apply(ControlValues(None, None, side * wanted), previous=previous)
    assert limited.steering_torque_nm == pytest.approx(side * expected)
    assert acted[0] is Limit.STEERING_TORQUE_RATE


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf, 8.001, -8.001])
def test_implausible_outputs_are_found(bad):
    bounds = vehicle_limits.plausible(bundles.contract(outputs=(bundles.ANGLE, bundles.SPEED_OUT)))
    assert vehicle_limits.is_plausible((8.0, 10.0), bounds)
    assert vehicle_limits.is_plausible((-8.0, 60.0), bounds)
    assert not vehicle_limits.is_plausible((bad, 10.0), bounds)


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf, 0.0, -0.1])
def test_implausible_standard_deviations_are_found(bad):
    bounds = vehicle_limits.plausible(bundles.timed_contract())
    assert len(bounds) == 5
    assert vehicle_limits.is_plausible((0.0, 10.0, 0.0, 1e-9, 100.0), bounds)
    assert vehicle_limits.is_plausible((0.0, 10.0, 0.0, 5e-324, 1e308), bounds)
    assert not vehicle_limits.is_plausible((0.0, 10.0, 0.0, bad, 100.0), bounds)
    assert not vehicle_limits.is_plausible((0.0, 10.0, 0.0, 1e-9, bad), bounds)


def test_a_value_without_its_bounds_is_a_fault():
    with pytest.raises(ValueError, match="shorter"):
        vehicle_limits.is_plausible((0.0, 0.0), [(0.0, 1.0)])
