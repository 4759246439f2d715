"""The closed form against the drive that it stands for."""

from __future__ import annotations

import math

import numpy as np
import pytest
from numpy.typing import ArrayLike, NDArray

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
@pytest.mark.parametrize(("frequency_radps", "damping"), [(1.68, 0.6), (1.3, 0.75), (1.2, 1.0)])
def test_the_angle_of_later_is_that_of_a_vehicle_which_followed_it(
    speed_mps: float, frequency_radps: float, damping: float
) -> None:
    def angle_rad(offset_m: float, heading_rad: float, after_s: ArrayLike) -> NDArray[np.float64]:
        deviation = Deviation(offset_m, heading_rad)
        return return_angle_rad(
            deviation, speed_mps, after_s, frequency_radps=frequency_radps, damping=damping
        )

    vehicle, offset, heading = VehicleParameters(), 0.5, 0.02
    foretold = angle_rad(offset, heading, [0.0, 0.25, 0.5])
    driven = []
    for step in range(round(0.5 / STEP_S) + 1):
        angle = float(angle_rad(offset, heading, 0.0))
        if step * STEP_S in (0.0, 0.25, 0.5):
            driven.append(angle)
        offset += speed_mps * heading * STEP_S
        heading += speed_mps * vehicle.curvature_per_m(angle, speed_mps) * STEP_S
    assert driven == pytest.approx(foretold.tolist(), rel=1e-2)


def test_a_standing_vehicle_has_an_angle_too() -> None:
    assert math.isfinite(return_angle_rad(Deviation(0.3, 0.1), 0.0))
