"""A recorded drive as a world: a vehicle leaves the recorded path and sees what it would see there.

Each frame is the recorded one, reprojected for where the vehicle is beside the recorded path. The
path's curvature is what the recorded angle holds at the recorded speed; the vehicle's is what its
own angle holds, at once and without slip. Time runs as it did in the recording, whatever speed is
commanded. So who repeats what the driver just did, as the pictures' motion tells it, repeats its
own errors here.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from steerstream_simulation.camera import CameraConfig
from steerstream_simulation.expert import Label
from steerstream_simulation.recorded_drive import PictureSequence
from steerstream_simulation.reprojection import Optics, Reprojection
from steerstream_simulation.return_law import Deviation, return_angle_rad
from steerstream_simulation.road import Position
from steerstream_simulation.scoring import Score
from steerstream_simulation.vehicle import STEP_S, Command, VehicleParameters

STARTS_M = (0.0, 0.4, -0.4)
"""Lateral offsets at which drives begin: each sequence is driven from each of them."""
PUT_BACK_BEYOND_M = 1.0

_LANE_WIDTH_M = 3.5
"""Nobody measured the recorded lane; this is a usual one, and only departures go by it."""
_SCORE_STEPS = 4
# The share of a step that floating point may add to a whole number of steps.
_ROUNDING = 1e-6


def new_score() -> Score:
    """Return the score of drives on pictures, which put a vehicle back earlier than roads do."""
    departure_m = 0.5 * (_LANE_WIDTH_M - VehicleParameters().width_m)
    return Score(departure_m, intervention_offset_m=PUT_BACK_BEYOND_M)


@dataclass(slots=True)
class PathVehicle:
    """A vehicle beside a recorded path: kinematic, because the path's own curvature is.

    Attributes:
        speed_mps: the recording's.
        offset_m: left of the path.
        heading_rad: left of the path's direction.
    """

    speed_mps: float
    offset_m: float = 0.0
    heading_rad: float = 0.0


class PictureWorld:
    """A drive over one sequence; what `World` is for drawn roads.

    Args:
        sequence: the recorded frames.
        start_m: lateral offset at the start.
        score: where the drive is counted; several drives may share one.
        optics: of the sequence's pictures; by default they are whole pictures of the camera.
    """

    def __init__(
        self,
        sequence: PictureSequence,
        *,
        start_m: float = 0.0,
        score: Score | None = None,
        optics: Optics | None = None,
    ) -> None:
        self.sequence = sequence
        self.score = new_score() if score is None else score
        self.vehicle = PathVehicle(float(sequence.speeds_mps[0]), start_m)
        self.command = Command(float(sequence.angles_rad[0]), self.vehicle.speed_mps)
        self._parameters = VehicleParameters()
        self._reprojection = None if optics is None else Reprojection(optics)
        self._steps = 0

    @property
    def time_s(self) -> float:
        """Time since the start."""
        return self._steps * STEP_S

    @property
    def position(self) -> Position:
        """Where the vehicle is; the arc length is the path's."""
        index = self._index()
        sequence, here = self.sequence, self.vehicle
        along_m = float(sequence.speeds_mps[:index].sum()) * sequence.period_s
        curvature = self._parameters.curvature_per_m(
            float(sequence.angles_rad[index]), here.speed_mps
        )
        return Position(along_m, here.offset_m, here.heading_rad, curvature)

    def capture(self) -> NDArray[np.uint8]:
        """Return what the camera sees from here, uint8 RGB `[height, width, 3]`.

        Raises:
            MediaError: the recorded frame cannot be read.
        """
        picture = self.sequence.picture(self._index())
        if self._reprojection is None:
            size = picture.shape[0], picture.shape[1]
            camera = CameraConfig(width_px=size[1], height_px=size[0])
            self._reprojection = Reprojection(Optics.of(camera, size))
        return self._reprojection.move(picture, self.vehicle.offset_m, self.vehicle.heading_rad)

    def expert_label(self, interval_s: float) -> Label:  # noqa: ARG002 - as `World` has it
        """Return the recorded driver's steering here, led back to the recorded path."""
        index = self._index()
        here, sequence = self.vehicle, self.sequence
        back = return_angle_rad(Deviation(here.offset_m, here.heading_rad), here.speed_mps)
        angle = float(sequence.angles_rad[index]) + float(back)
        return Label(angle, here.speed_mps, float(sequence.torques_nm[index]))

    def advance_to(self, time_s: float) -> None:
        """Follow `command` until a time, rounded up to a step; put the vehicle back where it left.

        The recorded angle holds from its frame to the next, as a command does.
        """
        left = math.ceil(time_s / STEP_S - _ROUNDING) - self._steps
        while left > 0:
            steps = min(left, _SCORE_STEPS)
            for _ in range(steps):
                self._step()
            left -= steps
            if self.score.add(self.vehicle.offset_m, self.vehicle.speed_mps, steps * STEP_S):
                self._put_back()

    def _index(self) -> int:
        """Return the frame that was taken last."""
        index = math.floor(self.time_s / self.sequence.period_s + _ROUNDING)
        return min(index, self.sequence.frames - 1)

    def _step(self) -> None:
        index, here = self._index(), self.vehicle
        here.speed_mps = float(self.sequence.speeds_mps[index])
        own, path = (
            self._parameters.curvature_per_m(angle, here.speed_mps)
            for angle in (
                self.command.steering_wheel_angle_rad,
                float(self.sequence.angles_rad[index]),
            )
        )
        moved_m = here.speed_mps * STEP_S
        # The path is longer on the outside of its bends.
        along_m = moved_m * math.cos(here.heading_rad) / max(1.0 - path * here.offset_m, 0.5)
        here.offset_m += moved_m * math.sin(here.heading_rad)
        here.heading_rad += moved_m * own - along_m * path
        self._steps += 1

    def _put_back(self) -> None:
        self.vehicle.offset_m = self.vehicle.heading_rad = 0.0
        angle = float(self.sequence.angles_rad[self._index()])
        self.command = Command(angle, self.command.speed_mps)
