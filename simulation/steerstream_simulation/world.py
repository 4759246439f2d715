"""A road, a vehicle on it, its camera, and the score of the drive."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from steerstream_simulation.bent_camera import camera_of
from steerstream_simulation.camera import CameraConfig
from steerstream_simulation.expert import FASTEST_MPS, Expert, Label, sharpest_bend_per_m
from steerstream_simulation.road import Position, generate_road
from steerstream_simulation.scoring import Score
from steerstream_simulation.vehicle import STEP_S, Command, Vehicle

# A network may drive faster than the expert; the road must not end under it.
_LENGTH_RESERVE = 1.4
_SCORE_STEPS = 4
# The share of a step that floating point may add to a whole number of steps.
_ROUNDING = 1e-6


class World:
    """A drive over the road of a seed.

    Args:
        seed: draws the road and its looks.
        seconds: how long the drive is to last; the road is long enough for it.
        camera: size and mounting.
        expert_delay_s: delay from picture to command that the expert's labels allow for.
        puts_back: whether a vehicle that leaves its lane is put back on the lane's centre. If not,
            the world stands still from then on.
        speed_mps: the vehicle's, whatever is commanded; the road's bends are then no sharper than
            a driver would take at that speed. None to drive as commanded.
    """

    def __init__(
        self,
        seed: int,
        *,
        seconds: float,
        camera: CameraConfig | None = None,
        expert_delay_s: float = 0.03,
        puts_back: bool = True,
        speed_mps: float | None = None,
    ) -> None:
        fastest_mps = max(FASTEST_MPS * _LENGTH_RESERVE, speed_mps or 0.0)
        sharpest_per_m = math.inf if speed_mps is None else sharpest_bend_per_m(speed_mps)
        self.road = generate_road(
            seed, length_m=fastest_mps * seconds + 50.0, sharpest_per_m=sharpest_per_m
        )
        self.camera = camera_of(self.road, camera)
        self._expert = Expert(self.road, delay_s=expert_delay_s)
        self._speed_mps = speed_mps
        first_mps = self._expert.target_speed_mps(0.0) if speed_mps is None else speed_mps
        self.vehicle = Vehicle(self.road.pose_at(0.0), first_mps)
        half_width = 0.5 * self.vehicle.parameters.width_m
        self.score = Score(0.5 * self.road.lane_width_m - half_width)
        self.position: Position = self.road.locate(self.vehicle.pose, 0.0)
        self.command = Command(0.0, self.vehicle.speed_mps)
        self._steps = 0
        self._puts_back = puts_back

    @property
    def time_s(self) -> float:
        """Simulated time since the start."""
        return self._steps * STEP_S

    @property
    def has_ended(self) -> bool:
        """Whether the vehicle has left its lane and is not put back."""
        return self.score.interventions > 0 and not self._puts_back

    def capture(self) -> NDArray[np.uint8]:
        """Return what the camera sees now, uint8 RGB `[height, width, 3]`."""
        return self.camera.render(self.vehicle.pose, self.position.arc_length_m)

    def expert_label(self, interval_s: float) -> Label:
        """Return what the expert would do here; `interval_s` since the label before."""
        return self._expert.label(self.vehicle, self.position, interval_s)

    def advance_to(self, time_s: float) -> None:
        """Follow `command` until a time, rounded up to the vehicle's step.

        Where the vehicle leaves its lane, the score counts an intervention, and the vehicle is put
        back or the world stands still.
        """
        left = math.ceil(time_s / STEP_S - _ROUNDING) - self._steps
        while left > 0 and not self.has_ended:
            steps = min(left, _SCORE_STEPS)
            self.vehicle.advance(self._followed(), steps)
            self._steps += steps
            left -= steps
            self.position = self.road.locate(self.vehicle.pose, self.position.arc_length_m)
            if (
                self.score.add(
                    self.position.lateral_offset_m, self.vehicle.speed_mps, steps * STEP_S
                )
                and self._puts_back
            ):
                self._put_back()

    def _followed(self) -> Command:
        if self._speed_mps is None:
            return self.command
        return Command(self.command.steering_wheel_angle_rad, self._speed_mps)

    def _put_back(self) -> None:
        speed, place = self.vehicle.speed_mps, self.position.arc_length_m
        angle = self.vehicle.parameters.steering_wheel_angle_rad(
            self.road.curvature_at(place), speed
        )
        self.vehicle.place(self.road.pose_at(place), speed, angle)
        self.position = self.road.locate(self.vehicle.pose, place)
        self.command = Command(angle, self.command.speed_mps)
        self._expert.reset()
