"""The closed form against the drive that it stands for."""

from __future__ import annotations

import math

import pytest

from steerstream_simulation.return_law import Deviation, return_angle_rad
from steerstream_simulation.vehicle import VehicleParameters

STEP_S = 1e-4


def test_it_steers_right_where_the_vehicle_is_left_of_its_path() -> None:
    assert return_angle_rad(Deviation(1.0, 0.0), 15.0) == pytest.approx(-0.6, abs=0.01)
    assert return_angle_rad(Deviation(0.0, 1.0), 15.0) == pytest.approx(-6.4, abs=0.1)


def test_the_angle_for_a_metre_grows_with_the_square_of_the_frequency() -> None:
    soft, stiff = (
        return_angle_rad(Deviation(1.0, 0.0), 15.0, frequency_radps=frequency)
        for frequency in (1.0, 2.0)
    )
    assert stiff == pytest.approx(4.0 * soft)


@pytest.mark.parametrize("speed_mps", [8.0, 15.0])
@pytest.mark.parametrize(("frequency_radps", "damping"), [(1.68, 0.6), (1.3, 0.75)])
def test_a_vehicle_that_follows_it_swings_back_like_a_damped_spring(
    speed_mps: float, frequency_radps: float, damping: float
) -> None:
    vehicle, offset, heading = VehicleParameters(), 0.5, 0.0
    decay, swing = frequency_radps * damping, frequency_radps * math.sqrt(1 - damping**2)
    for step in range(1, round(2.0 / STEP_S) + 1):
        deviation = Deviation(offset, heading)
        angle = float(
            return_angle_rad(deviation, speed_mps, frequency_radps=frequency_radps, damping=damping)
        )
        offset += speed_mps * heading * STEP_S
        heading += speed_mps * vehicle.curvature_per_m(angle, speed_mps) * STEP_S
        if step % round(0.5 / STEP_S) == 0:
            time_s = step * STEP_S
            phase = swing * time_s
            spring = math.cos(phase) + decay / swing * math.sin(phase)
            assert offset == pytest.approx(0.5 * math.exp(-decay * time_s) * spring, abs=5e-3)


def test_a_standing_vehicle_has_an_angle_too() -> None:
    assert math.isfinite(return_angle_rad(Deviation(0.3, 0.1), 0.0))
