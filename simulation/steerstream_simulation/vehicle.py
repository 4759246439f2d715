"""A dynamic single-track model with saturating tyres, and the reference vehicle's parameters.

Below 3 m/s, where slip angles lose their meaning, the model is kinematic.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import NamedTuple

from steerstream_simulation.road import Pose
from steerstream_simulation.steering import SteeringColumn, SteeringParameters

STEP_S = 0.005

_GRAVITY_MPS2 = 9.81
_DYNAMIC_FROM_MPS = 3.0


class Command(NamedTuple):
    """The command of a driver: the steering wheel's angle, left positive, and a speed."""

    steering_wheel_angle_rad: float
    speed_mps: float


@dataclass(frozen=True)
class VehicleParameters:
    """Of the Lincoln MKZ, with the values of opendbc for its sister, the Ford Fusion.

    Stiffness and inertia follow opendbc's scaling from its reference vehicle by mass and wheelbase
    (`opendbc/car/interfaces.py`, `scale_tire_stiffness` and `scale_rot_inertia`).
    """

    mass_kg: float = 1680.0
    wheelbase_m: float = 2.85
    steering_ratio: float = 14.8
    front_m: float = 0.44 * 2.85
    yaw_inertia_kgm2: float = 3200.0
    front_stiffness_n_per_rad: float = 206_000.0
    rear_stiffness_n_per_rad: float = 256_000.0
    friction: float = 0.95
    width_m: float = 1.86
    speed_time_constant_s: float = 0.6
    acceleration_limit_mps2: float = 2.0
    deceleration_limit_mps2: float = 4.0
    steering: SteeringParameters = field(default_factory=SteeringParameters)

    @property
    def rear_m(self) -> float:
        """From the centre of gravity to the rear axle."""
        return self.wheelbase_m - self.front_m

    @property
    def understeer_s2_per_m(self) -> float:
        """The length added to the wheelbase for each square metre per square second of speed."""
        front = self.rear_m / self.front_stiffness_n_per_rad
        rear = self.front_m / self.rear_stiffness_n_per_rad
        return self.mass_kg / self.wheelbase_m * (front - rear)

    def steering_wheel_angle_rad(self, curvature_per_m: float, speed_mps: float) -> float:
        """Return the angle that holds a curvature at a speed."""
        length = self.wheelbase_m + self.understeer_s2_per_m * speed_mps**2
        return self.steering_ratio * length * curvature_per_m

    def curvature_per_m(self, steering_wheel_angle_rad: float, speed_mps: float) -> float:
        """Return the curvature that an angle holds at a speed."""
        return steering_wheel_angle_rad / self.steering_wheel_angle_rad(1.0, speed_mps)

    def steady_torque_nm(self, angle_rad: float, rate_radps: float, speed_mps: float) -> float:
        """Return the column's torque for an angle that is held or slowly turned.

        Args:
            angle_rad: of the steering wheel, left positive.
            rate_radps: how fast it turns.
            speed_mps: of the vehicle.
        """
        curvature = self.curvature_per_m(angle_rad, speed_mps)
        force = self.mass_kg * self.rear_m / self.wheelbase_m * speed_mps**2 * curvature
        return self.steering.torque_nm(rate_radps, force)


class Vehicle:
    """The vehicle's motion, advanced in fixed steps of `STEP_S`.

    Args:
        pose: where it stands.
        speed_mps: its forward speed.
        parameters: the vehicle's constants.
        steering_wheel_angle_rad: the wheel's angle at the start.
    """

    def __init__(
        self,
        pose: Pose,
        speed_mps: float,
        parameters: VehicleParameters | None = None,
        *,
        steering_wheel_angle_rad: float = 0.0,
    ) -> None:
        self.parameters = parameters or VehicleParameters()
        self._column = SteeringColumn(self.parameters.steering, STEP_S)
        self.place(pose, speed_mps, steering_wheel_angle_rad)

    def place(self, pose: Pose, speed_mps: float, steering_wheel_angle_rad: float) -> None:
        """Put the vehicle somewhere, in the steady state of a steering wheel angle.

        Args:
            pose: where it stands.
            speed_mps: its forward speed.
            steering_wheel_angle_rad: of the wheel, left positive.
        """
        own = self.parameters
        curvature = own.curvature_per_m(steering_wheel_angle_rad, speed_mps)
        rear_force_n = own.mass_kg * own.front_m / own.wheelbase_m * speed_mps**2 * curvature
        rear_slip = rear_force_n / own.rear_stiffness_n_per_rad
        self.pose = pose
        self.speed_mps = speed_mps
        self.yaw_rate_radps = speed_mps * curvature
        self._lateral_mps = (own.rear_m * curvature - rear_slip) * speed_mps
        self._front_force_n = rear_force_n * own.rear_m / own.front_m
        self._column.reset(steering_wheel_angle_rad)

    @property
    def steering_wheel_angle_rad(self) -> float:
        """The wheel's angle now."""
        return self._column.angle_rad

    @property
    def steering_torque_nm(self) -> float:
        """The torque at the column now."""
        return self.parameters.steering.torque_nm(self._column.rate_radps, self._front_force_n)

    @property
    def curvature_per_m(self) -> float:
        """The curvature of the path that it drives now."""
        return self.yaw_rate_radps / max(self.speed_mps, 1.0)

    @property
    def slip_rad(self) -> float:
        """How far left of its heading it moves."""
        return math.atan2(self._lateral_mps, max(self.speed_mps, 0.1))

    def advance(self, command: Command, steps: int) -> None:
        """Follow one command for a number of steps of `STEP_S`."""
        for _ in range(steps):
            self._column.step(command.steering_wheel_angle_rad)
            self._step_speed(command.speed_mps)
            road_wheel = self._column.angle_rad / self.parameters.steering_ratio
            if self.speed_mps < _DYNAMIC_FROM_MPS:
                self._step_kinematic(road_wheel)
            else:
                self._step_dynamic(road_wheel)
            self._step_pose()

    def _step_speed(self, target_mps: float) -> None:
        own = self.parameters
        wanted = (target_mps - self.speed_mps) / own.speed_time_constant_s
        given = min(max(wanted, -own.deceleration_limit_mps2), own.acceleration_limit_mps2)
        self.speed_mps = max(self.speed_mps + given * STEP_S, 0.0)

    def _step_kinematic(self, road_wheel_rad: float) -> None:
        own = self.parameters
        curvature = math.tan(road_wheel_rad) / own.wheelbase_m
        self.yaw_rate_radps = self.speed_mps * curvature
        self._lateral_mps = own.rear_m * self.yaw_rate_radps
        share = own.rear_m / own.wheelbase_m
        self._front_force_n = own.mass_kg * share * self.speed_mps**2 * curvature

    def _step_dynamic(self, road_wheel_rad: float) -> None:
        own = self.parameters
        front_mps = self._lateral_mps + own.front_m * self.yaw_rate_radps
        rear_mps = self._lateral_mps - own.rear_m * self.yaw_rate_radps
        front_slip = road_wheel_rad - math.atan2(front_mps, self.speed_mps)
        rear_slip = -math.atan2(rear_mps, self.speed_mps)
        front_n = self._tyre_n(front_slip, own.front_stiffness_n_per_rad, own.rear_m)
        rear_n = self._tyre_n(rear_slip, own.rear_stiffness_n_per_rad, own.front_m)
        turned_n = front_n * math.cos(road_wheel_rad)
        acceleration = (turned_n + rear_n) / own.mass_kg - self.speed_mps * self.yaw_rate_radps
        moment_nm = own.front_m * turned_n - own.rear_m * rear_n
        self._lateral_mps += acceleration * STEP_S
        self.yaw_rate_radps += moment_nm / own.yaw_inertia_kgm2 * STEP_S
        self._front_force_n = front_n

    def _tyre_n(self, slip_rad: float, stiffness: float, other_arm_m: float) -> float:
        own = self.parameters
        load_n = own.mass_kg * _GRAVITY_MPS2 * other_arm_m / own.wheelbase_m
        limit_n = own.friction * load_n
        return limit_n * math.tanh(stiffness * slip_rad / limit_n)

    def _step_pose(self) -> None:
        x, y, heading = self.pose
        cosine, sine = math.cos(heading), math.sin(heading)
        self.pose = Pose(
            x + (self.speed_mps * cosine - self._lateral_mps * sine) * STEP_S,
            y + (self.speed_mps * sine + self._lateral_mps * cosine) * STEP_S,
            heading + self.yaw_rate_radps * STEP_S,
        )
