"""The steering that leads a vehicle back to its path: label of moved pictures, and judge of drives.

The lateral offset is brought back like a damped spring, whose frequency is the same at every
speed.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from steerstream_simulation.vehicle import VehicleParameters

FREQUENCY_RADPS = 1.68
"""At 15 m/s this asks for 0.6 rad of the steering wheel for each metre of offset."""
DAMPING = 0.6
"""At 15 m/s this asks for 6.4 rad of the steering wheel for each radian of heading error."""

_SLOWEST_MPS = 4.0
_VEHICLE = VehicleParameters()


class Deviation(NamedTuple):
    """Where a vehicle is beside its path, both left positive."""

    offset_m: float | NDArray[np.float64]
    heading_rad: float | NDArray[np.float64]


def return_angle_rad(
    deviation: Deviation,
    speed_mps: ArrayLike,
    *,
    frequency_radps: float = FREQUENCY_RADPS,
    damping: float = DAMPING,
) -> NDArray[np.float64]:
    """Return what leading back adds to the steering wheel angle of the path itself.

    Args:
        deviation: where the vehicle is.
        speed_mps: how fast it drives.
        frequency_radps: of the spring: the angle for a metre of offset grows with its square.
        damping: of the spring; 1 brings the offset back without a swing.

    Returns:
        Radians at the steering wheel, in the shape that all arguments broadcast to.
    """
    speed = np.maximum(np.asarray(speed_mps, np.float64), _SLOWEST_MPS)
    offset, rate = np.asarray(deviation.offset_m), speed * np.asarray(deviation.heading_rad)
    acceleration = -(frequency_radps**2) * offset - 2.0 * damping * frequency_radps * rate
    length = _VEHICLE.wheelbase_m + _VEHICLE.understeer_s2_per_m * speed**2
    return np.asarray(_VEHICLE.steering_ratio * length * acceleration / speed**2, np.float64)
