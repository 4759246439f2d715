"""A MetaDrive map as a world of the closed loop.

MetaDrive steers left with positive values, while its y axis and what it calls lateral point right;
what leaves this module has the signs of the project.
"""

from __future__ import annotations

import itertools
import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from steerstream_simulation.camera import CameraConfig
from steerstream_simulation.closed_loop import Moving
from steerstream_simulation.expert import Label
from steerstream_simulation.metadrive.engine import (
    PHYSICS_STEP_S,
    make_environment,
    mount,
    picture,
)
from steerstream_simulation.road import Position
from steerstream_simulation.scoring import Score
from steerstream_simulation.vehicle import Command, VehicleParameters

START_MPS = 30.0 / 3.6
"""What MetaDrive's own driver keeps."""

_SPAWN_M = 5.0
_SHORTEST_BLOCK_M = 40.0
_FULL_STEER_RAD = math.radians(40.0)
_THROTTLE_PER_MPS = 0.5
_RATIO = VehicleParameters().steering_ratio
_ROUNDING = 1e-6


class MetaDriveWorld:
    """A vehicle in MetaDrive, its camera, its own driver, and the score.

    One process holds one engine, so a world is made once and `start` loads one map after another.

    Args:
        seconds: the longest drive; maps are long enough for it.
        camera: size, lens and mounting.
    """

    def __init__(self, *, seconds: float, camera: CameraConfig) -> None:
        self.camera = camera
        # The road before the first block and after the last takes two of them.
        blocks = math.ceil(seconds * START_MPS * 1.1 / _SHORTEST_BLOCK_M)
        self._environment = make_environment(camera, blocks)

    def start(self, seed: int) -> None:
        """Load the map of a seed, and put the vehicle at its start, already driving."""
        from metadrive.policy.idm_policy import IDMPolicy  # noqa: PLC0415

        self._environment.reset(force_seed=seed)
        mount(self._environment, self.camera)
        self._vehicle = self._environment.vehicle
        graph = self._environment.current_map.road_network.graph
        nodes = self._vehicle.navigation.checkpoints
        here = self._vehicle.lane.index[2]
        self._lanes: list[Any] = [
            graph[begin][end][here] for begin, end in itertools.pairwise(nodes)
        ]
        self._lane = 0
        self._driver = IDMPolicy(self._vehicle, seed)
        self._driver.enable_lane_change = False
        width_m = float(self._vehicle.WIDTH)
        self.score = Score(0.5 * (float(self._lanes[0].width) - width_m))
        self.command = Command(0.0, START_MPS)
        self._steps = 0
        self._place(_SPAWN_M, START_MPS)

    @property
    def vehicle(self) -> Moving:
        """The vehicle that is driven."""
        return self

    @property
    def speed_mps(self) -> float:
        """The vehicle's speed."""
        return float(self._vehicle.speed)

    @property
    def position(self) -> Position:
        """Where the vehicle is on its lane; arc length counts from the lane's beginning."""
        along, right = self._coordinates()
        lane = self._lanes[self._lane]
        turned = lane.heading_theta_at(along) - self._vehicle.heading_theta
        # A bend to the right has the direction 1; straight lanes have a vector of that name.
        curvature = -lane.direction / lane.radius if hasattr(lane, "start_phase") else 0.0
        return Position(
            arc_length_m=along,
            lateral_offset_m=-right,
            heading_error_rad=math.remainder(turned, 2.0 * math.pi),
            curvature_per_m=float(curvature),
        )

    def capture(self) -> NDArray[np.uint8]:
        """Return what the camera sees now, uint8 RGB `[height, width, 3]`."""
        return picture(self._environment)

    def expert_label(self, _interval_s: float) -> Label:
        """Return what MetaDrive's own driver would do now; it is to be asked once a picture.

        MetaDrive's vehicle has no steering torque, so there is none in the label.
        """
        self._vehicle.navigation.update_localization(self._vehicle)
        steer, _throttle = self._driver.act()
        steer = min(max(steer, -1.0), 1.0)
        return Label(steer * _FULL_STEER_RAD * _RATIO, START_MPS, math.nan)

    def advance_to(self, time_s: float) -> None:
        """Follow `command` until a time; a vehicle that leaves its lane is put back on it."""
        left = math.ceil(time_s / PHYSICS_STEP_S - _ROUNDING) - self._steps
        for _ in range(left):
            self._vehicle.before_step(self._action())
            self._environment.engine.step_physics_world()
            self._steps += 1
            if self.score.add(-self._coordinates()[1], self.speed_mps, PHYSICS_STEP_S):
                self._place(self._coordinates()[0], self.speed_mps)

    def close(self) -> None:
        """End the engine; the process cannot have another one before that."""
        self._environment.close()

    def _action(self) -> list[float]:
        steer = self.command.steering_wheel_angle_rad / _RATIO / _FULL_STEER_RAD
        throttle = _THROTTLE_PER_MPS * (self.command.speed_mps - self.speed_mps)
        return [min(max(steer, -1.0), 1.0), min(max(throttle, -1.0), 1.0)]

    def _coordinates(self) -> tuple[float, float]:
        """Return metres along the present lane, and to the right of its centre."""
        along, right = self._lanes[self._lane].local_coordinates(self._vehicle.position)
        while along > self._lanes[self._lane].length and self._lane + 1 < len(self._lanes):
            self._lane += 1
            along, right = self._lanes[self._lane].local_coordinates(self._vehicle.position)
        return float(along), float(right)

    def _place(self, along_m: float, speed_mps: float) -> None:
        lane = self._lanes[self._lane]
        heading = lane.heading_theta_at(along_m)
        self._vehicle.set_position(lane.position(along_m, 0.0))
        self._vehicle.set_heading_theta(heading)
        self._vehicle.set_velocity([math.cos(heading), math.sin(heading)], speed_mps)
        self._vehicle.body.setAngularVelocity((0.0, 0.0, 0.0))
        self._driver.reset()
