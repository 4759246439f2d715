"""Labelled drives for training: rendered frames with the expert's labels, or a real trace's.

Two sources, which figures must never mix with real frames:

- `render_drive`: a procedural road. The vehicle is pushed about by disturbances that the labels
  ignore (noise injection as in DART, arXiv 1703.09327) and now and then put off its lane's centre,
  so that recovery is in the data.
- `render_trace`: the road that a real drive's steering angle and speed describe, seen by the
  rendered camera; the labels are the recorded ones ("real traces, rendered camera").

Evaluation seeds (0 to 99) are refused unless the caller says that it evaluates.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from steerstream_simulation.camera import Camera, CameraConfig
from steerstream_simulation.expert import FASTEST_MPS, Expert, Label
from steerstream_simulation.road import (
    FIRST_TRAINING_SEED,
    STEP_M,
    Road,
    generate_road,
    road_from_curvature,
)
from steerstream_simulation.vehicle import STEP_S, Command, Vehicle, VehicleParameters

_SLOWEST_TRACE_MPS = 0.05


class SeedReservedError(ValueError):
    """A seed that is kept for evaluation was asked for in training."""


class LabelledFrame(NamedTuple):
    """One picture and what should be done about it.

    Attributes:
        image: uint8 RGB `[height, width, 3]`.
        steering_wheel_angle_rad: left positive.
        speed_mps: the target speed at this place, or a trace's recorded speed.
        steering_torque_nm: of the column, left positive.
        lateral_offset_m: of the vehicle, left of its lane's centre.
        segment: counts the times that the vehicle was put elsewhere; recurrent state must not
            be carried from one segment into the next.
    """

    image: NDArray[np.uint8]
    steering_wheel_angle_rad: float
    speed_mps: float
    steering_torque_nm: float
    lateral_offset_m: float
    segment: int


@dataclass(frozen=True)
class Recovery:
    """How far from the perfect drive the training data goes.

    Attributes:
        displace_every_s: mean time between displacements; 0 for none, not even at the start.
        offset_m: displacements are uniform within this either side.
        heading_rad: heading errors of displacements are uniform within this either side.
        disturb_every_s: mean time between pushes; 0 for none.
        push_mps2: standard deviation of a push, as lateral acceleration.
        push_s: longest push.
        speed_spread: share by which the driven speed wanders about the target.
        delay_s: from picture to command.
    """

    displace_every_s: float = 15.0
    offset_m: float = 1.1
    heading_rad: float = 0.06
    disturb_every_s: float = 3.0
    push_mps2: float = 1.2
    push_s: float = 2.0
    speed_spread: float = 0.12
    delay_s: float = 0.03


UNDISTURBED = Recovery(displace_every_s=0.0, disturb_every_s=0.0, speed_spread=0.0)


def render_drive(
    seed: int,
    *,
    frames: int,
    rate_hz: float = 20.0,
    camera: CameraConfig | None = None,
    recovery: Recovery | None = None,
    evaluation: bool = False,
) -> Iterator[LabelledFrame]:
    """Render a drive over the road of a seed, labelled by the expert.

    Args:
        seed: of road, looks and disturbances; 1000 or above for training.
        frames: how many.
        rate_hz: frames a second; its interval is rounded to the vehicle's 5 ms step.
        camera: size and mounting.
        recovery: disturbances; `UNDISTURBED` for none.
        evaluation: whether a reserved seed is meant.

    Returns:
        Frames in their order.

    Raises:
        SeedReservedError: a seed below 1000 is asked for without `evaluation`.
    """
    check_seed(seed, evaluation=evaluation)
    road = generate_road(seed, length_m=FASTEST_MPS * 1.2 * frames / rate_hz + 50.0)
    drive = _ExpertDrive(road, camera, recovery or Recovery(), round(1.0 / rate_hz / STEP_S))
    return (drive.next_frame() for _ in range(frames))


def render_trace(
    steering_wheel_angle_rad: ArrayLike,
    speed_mps: ArrayLike,
    steering_torque_nm: ArrayLike,
    *,
    seed: int,
    rate_hz: float = 20.0,
    camera: CameraConfig | None = None,
    evaluation: bool = False,
) -> Iterator[LabelledFrame]:
    """Render the road that a recorded drive describes, with the recorded labels.

    The vehicle keeps to its lane's centre, because only there is the recorded angle the right one.

    Args:
        steering_wheel_angle_rad: recorded angles, left positive, `[n]`.
        speed_mps: recorded speeds, `[n]`.
        steering_torque_nm: recorded torques, `[n]`.
        seed: of the looks; 1000 or above for training.
        rate_hz: rows a second.
        camera: size and mounting.
        evaluation: whether a reserved seed is meant.

    Returns:
        One frame a row.

    Raises:
        SeedReservedError: a seed below 1000 is asked for without `evaluation`.
        ValueError: the arrays' lengths differ.
    """
    check_seed(seed, evaluation=evaluation)
    angle = np.asarray(steering_wheel_angle_rad, np.float64)
    speed = np.asarray(speed_mps, np.float64)
    torque = np.asarray(steering_torque_nm, np.float64)
    if not angle.shape == speed.shape == torque.shape:
        raise ValueError("angles, speeds and torques of a trace must have one length")
    places, road = _road_of_trace(angle, speed, seed, rate_hz)
    eye = Camera(road, camera)
    rows = np.stack([places, angle, speed, torque], axis=1).tolist()
    return (
        LabelledFrame(eye.render(road.pose_at(place), place), wheel, speed, column, 0.0, 0)
        for place, wheel, speed, column in rows
    )


def check_seed(seed: int, *, evaluation: bool) -> None:
    """Refuse a seed that is kept for evaluation.

    Raises:
        SeedReservedError: the seed is below 1000 and `evaluation` is false.
    """
    if seed < FIRST_TRAINING_SEED and not evaluation:
        raise SeedReservedError(
            f"seed {seed} is kept for evaluation; train on {FIRST_TRAINING_SEED} and above"
        )


def _road_of_trace(
    angle: NDArray[np.float64], speed: NDArray[np.float64], seed: int, rate_hz: float
) -> tuple[NDArray[np.float64], Road]:
    vehicle = VehicleParameters()
    moved = np.maximum(speed, _SLOWEST_TRACE_MPS)
    length = vehicle.wheelbase_m + vehicle.understeer_s2_per_m * speed**2
    curvature = angle / (vehicle.steering_ratio * length)
    places = np.concatenate([[0.0], np.cumsum(moved[:-1]) / rate_hz])
    samples = np.arange(0.0, places[-1] + STEP_M, STEP_M)
    return places, road_from_curvature(np.interp(samples, places, curvature), seed=seed)


class _ExpertDrive:
    """Advances vehicle, disturbance and expert from frame to frame."""

    def __init__(
        self, road: Road, camera: CameraConfig | None, recovery: Recovery, steps: int
    ) -> None:
        self._road = road
        self._camera = Camera(road, camera)
        self._recovery = recovery
        self._steps = steps
        self._rng = np.random.default_rng([road.seed, 8])
        self._expert = Expert(road, delay_s=recovery.delay_s)
        self._vehicle = Vehicle(road.pose_at(0.0), self._expert.target_speed_mps(0.0))
        self._position = road.locate(self._vehicle.pose, 0.0)
        self._command = Command(0.0, self._vehicle.speed_mps)
        self._push = _Push(0.0, 0, 1)
        self._wander = 0.0
        self._segment = 0
        if recovery.displace_every_s:
            self._displace()

    def next_frame(self) -> LabelledFrame:
        """Render and label this moment, then drive to the next."""
        if self._happens(self._recovery.displace_every_s):
            self._segment += 1
            self._displace()
        label = self._expert.label(self._vehicle, self._position, self._steps * STEP_S)
        image = self._camera.render(self._vehicle.pose, self._position.arc_length_m)
        frame = LabelledFrame(image, *label, self._position.lateral_offset_m, self._segment)
        self._advance(label)
        return frame

    def _happens(self, every_s: float) -> bool:
        return every_s > 0.0 and self._rng.random() < self._steps * STEP_S / every_s

    def _displace(self) -> None:
        recovery = self._recovery
        offset = self._rng.uniform(-recovery.offset_m, recovery.offset_m)
        error = self._rng.uniform(-recovery.heading_rad, recovery.heading_rad)
        pose = self._road.pose_at(self._position.arc_length_m, offset)
        pose = pose._replace(heading_rad=pose.heading_rad + error)
        speed = self._vehicle.speed_mps
        along = self._vehicle.parameters.steering_wheel_angle_rad(
            self._position.curvature_per_m, speed
        )
        self._vehicle.place(pose, speed, along)
        self._expert.reset()
        self._command = Command(along, speed)
        self._push = _Push(0.0, 0, 1)
        self._locate()

    def _locate(self) -> None:
        self._position = self._road.locate(self._vehicle.pose, self._position.arc_length_m)

    def _advance(self, label: Label) -> None:
        waiting = min(round(self._recovery.delay_s / STEP_S), self._steps)
        self._vehicle.advance(self._command, waiting)
        angle = label.steering_wheel_angle_rad + self._disturbance_rad()
        self._command = Command(angle, label.speed_mps * self._speed_factor())
        self._vehicle.advance(self._command, self._steps - waiting)
        self._locate()

    def _disturbance_rad(self) -> float:
        if self._push.done and self._happens(self._recovery.disturb_every_s):
            strength = float(self._rng.normal(0.0, self._recovery.push_mps2))
            seconds = self._rng.uniform(0.3, 1.0) * self._recovery.push_s
            self._push = _Push(strength, 0, max(round(seconds / (self._steps * STEP_S)), 1))
        acceleration, self._push = self._push.value, self._push.next()
        speed = max(self._vehicle.speed_mps, 1.0)
        return self._vehicle.parameters.steering_wheel_angle_rad(acceleration / speed**2, speed)

    def _speed_factor(self) -> float:
        # A slow random walk that is pulled back to 0 (Ornstein-Uhlenbeck), of unit variance.
        memory = math.exp(-self._steps * STEP_S / 5.0)
        step = float(self._rng.normal()) * math.sqrt(1.0 - memory**2)
        self._wander = memory * self._wander + step
        return 1.0 + self._recovery.speed_spread * max(-2.0, min(2.0, self._wander))


class _Push(NamedTuple):
    """A disturbance that swells and fades over some frames, as lateral acceleration."""

    strength_mps2: float
    frame: int
    frames: int

    @property
    def done(self) -> bool:
        return self.frame >= self.frames

    @property
    def value(self) -> float:
        if self.done:
            return 0.0
        return self.strength_mps2 * math.sin(math.pi * (self.frame + 0.5) / self.frames) ** 2

    def next(self) -> _Push:
        return self._replace(frame=self.frame + 1)
