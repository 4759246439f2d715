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


@pytest.mark.parametrize("speed_mps", [8.0, 15.0])
def test_the_angle_of_later_is_that_of_a_vehicle_which_followed_it(speed_mps: float) -> None:
    vehicle, offset, heading = VehicleParameters(), 0.5, 0.02
    foretold = return_angle_rad(Deviation(offset, heading), speed_mps, [0.0, 0.25, 0.5])
    driven = []
    for step in range(round(0.5 / STEP_S) + 1):
        angle = float(return_angle_rad(Deviation(offset, heading), speed_mps))
        if step * STEP_S in (0.0, 0.25, 0.5):
            driven.append(angle)
        offset += speed_mps * heading * STEP_S
        heading += speed_mps * vehicle.curvature_per_m(angle, speed_mps) * STEP_S
    assert driven == pytest.approx(foretold.tolist(), rel=1e-2)


def test_a_standing_vehicle_has_an_angle_too() -> None:
    assert math.isfinite(return_angle_rad(Deviation(0.3, 0.1), 0.0))
