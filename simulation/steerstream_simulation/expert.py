"""An expert driver that knows the road; its commands are the labels of rendered drives.

Its steering is the road's curvature where the vehicle will be when the command takes hold, plus a
critically damped correction of lateral offset and heading over a length that grows with speed. Its
speed follows the bends ahead at a comfortable lateral acceleration.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from steerstream_simulation.road import MARGIN_BEFORE_M, STEP_M, Position, Road
from steerstream_simulation.steering import SteeringColumn
from steerstream_simulation.vehicle import STEP_S, Vehicle, VehicleParameters

SLOWEST_MPS = 8.0
FASTEST_MPS = 18.0
"""The speed of traffic on such a road: 95 % of the real drive HMB_2 is slower than 19 m/s."""

# Well below what the server lets through (3.0 m/s2, ISO 11270, and 3.5 m/s2 of braking), so that a
# network that sees a bend late can still slow down for it and steer through it.
_LATERAL_ACCELERATION_MPS2 = 1.8
_DECELERATION_MPS2 = 1.5
_ACCELERATION_MPS2 = 1.0
_CORRECTION_S = 0.8
_CORRECTION_MIN_M = 8.0
_DAMPING = 1.0
_OFFSET_LIMIT_M = 1.5
_COURSE_LIMIT_RAD = 0.25
_CORRECTION_LIMIT_MPS2 = 3.5


class Label(NamedTuple):
    """The expert's command at one place: angle, speed and the column's torque for them."""

    steering_wheel_angle_rad: float
    speed_mps: float
    steering_torque_nm: float


def sharpest_bend_per_m(speed_mps: float) -> float:
    """Return the greatest curvature that the expert takes at a speed."""
    return _LATERAL_ACCELERATION_MPS2 / speed_mps**2


def speed_profile(road: Road) -> NDArray[np.float64]:
    """Return the expert's target speed at each sample of a road, metres per second."""
    curvature = np.maximum(np.abs(road.curvature_per_m), 1e-5)
    speed = np.sqrt(_LATERAL_ACCELERATION_MPS2 / curvature)
    square = np.clip(speed, SLOWEST_MPS, FASTEST_MPS) ** 2
    for index in range(len(square) - 2, -1, -1):
        square[index] = min(square[index], square[index + 1] + 2.0 * _DECELERATION_MPS2 * STEP_M)
    for index in range(1, len(square)):
        square[index] = min(square[index], square[index - 1] + 2.0 * _ACCELERATION_MPS2 * STEP_M)
    return np.asarray(np.sqrt(square), np.float64)


class Expert:
    """Drives one road from the true position on it.

    Args:
        road: the road.
        parameters: the vehicle that it drives.
        delay_s: from taking a picture to the command's arrival; the actuator's lag comes on top.
    """

    def __init__(
        self, road: Road, parameters: VehicleParameters | None = None, *, delay_s: float = 0.03
    ) -> None:
        self._road = road
        self._parameters = parameters or VehicleParameters()
        self._lead_s = delay_s + self._parameters.steering.lag_s
        self._speed_mps = speed_profile(road)
        # Turned in place of the vehicle's own wheel, which a disturbance may move, so that the
        # torque belongs to the expert's angle.
        self._column = SteeringColumn(self._parameters.steering, STEP_S)
        self._settled = False

    def target_speed_mps(self, arc_length_m: float) -> float:
        """Return the target speed at a place."""
        at = (arc_length_m + MARGIN_BEFORE_M) / STEP_M
        index = self._road.index_of(arc_length_m)
        here, there = self._speed_mps[index : index + 2]
        return float(here + (there - here) * min(max(at - index, 0.0), 1.0))

    def angle_rad(self, vehicle: Vehicle, position: Position) -> float:
        """Return the steering wheel angle to command now."""
        speed = max(vehicle.speed_mps, 1.0)
        ahead_m = speed * self._lead_s
        road_curvature = self._road.curvature_at(position.arc_length_m + ahead_m)
        mean_curvature = 0.5 * (road_curvature + position.curvature_per_m)
        turned = ahead_m * (vehicle.curvature_per_m - mean_curvature)
        course_error = position.heading_error_rad + vehicle.slip_rad
        offset = position.lateral_offset_m + ahead_m * math.sin(course_error + 0.5 * turned)
        correction = _correction_per_m(offset, course_error + turned, speed)
        return self._parameters.steering_wheel_angle_rad(road_curvature + correction, speed)

    def reset(self) -> None:
        """Forget the wheel's motion, because the vehicle was put elsewhere."""
        self._settled = False

    def label(self, vehicle: Vehicle, position: Position, interval_s: float) -> Label:
        """Return what to do now, and the torque that doing it takes.

        Args:
            vehicle: the vehicle as it is.
            position: where it is on the road.
            interval_s: since the label before.
        """
        angle = self.angle_rad(vehicle, position)
        if not self._settled:
            self._column.reset(angle)
            self._settled = True
        for _ in range(round(interval_s / STEP_S)):
            self._column.step(angle)
        torque = self._parameters.steady_torque_nm(
            self._column.angle_rad, self._column.rate_radps, vehicle.speed_mps
        )
        return Label(angle, self.target_speed_mps(position.arc_length_m), torque)


def _correction_per_m(offset_m: float, course_error_rad: float, speed_mps: float) -> float:
    length = max(_CORRECTION_S * speed_mps, _CORRECTION_MIN_M)
    offset = min(max(offset_m, -_OFFSET_LIMIT_M), _OFFSET_LIMIT_M)
    course = min(max(course_error_rad, -_COURSE_LIMIT_RAD), _COURSE_LIMIT_RAD)
    correction = -offset / length**2 - 2.0 * _DAMPING * course / length
    limit = _CORRECTION_LIMIT_MPS2 / speed_mps**2
    return min(max(correction, -limit), limit)
