"""A road as its lane's centre line: straights, clothoids and arcs, sampled along arc length.

The reference line is the centre of the vehicle's own lane, the right one of two. Arc length 0 is
where a drive starts; a margin of road lies before it and after `length_m`, so that a camera always
has something to look at.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

EVALUATION_SEEDS = range(100)
FIRST_TRAINING_SEED = 1000

STEP_M = 0.5
MARGIN_BEFORE_M = 40.0
MARGIN_AFTER_M = 360.0

_CURVATURE_MEDIAN_PER_M = 0.004
_CURVATURE_SPREAD = 0.8
_CURVATURE_MAX_PER_M = 0.03
_STRAIGHT_SHARE = 0.3
_TURN_MAX_RAD = 1.5


class Position(NamedTuple):
    """Where something is relative to the road; offsets and errors are left positive."""

    arc_length_m: float
    lateral_offset_m: float
    heading_error_rad: float
    curvature_per_m: float


class Pose(NamedTuple):
    """A place in the world: metres east and north, heading counter-clockwise from east."""

    x_m: float
    y_m: float
    heading_rad: float


@dataclass(frozen=True)
class Road:
    """A sampled centre line.

    Attributes:
        seed: draws everything that is not geometry: paint, texture, light, scenery.
        lane_width_m: width of each of the two lanes.
        x_m: east coordinate at each sample, float64 `[n]`.
        y_m: north coordinate at each sample, float64 `[n]`.
        heading_rad: direction of travel, unwrapped, float64 `[n]`.
        curvature_per_m: left positive, float64 `[n]`.
    """

    seed: int
    lane_width_m: float
    x_m: NDArray[np.float64]
    y_m: NDArray[np.float64]
    heading_rad: NDArray[np.float64]
    curvature_per_m: NDArray[np.float64]

    @property
    def length_m(self) -> float:
        """Length that can be driven, without the margins."""
        return (len(self.x_m) - 1) * STEP_M - MARGIN_BEFORE_M - MARGIN_AFTER_M

    def index_of(self, arc_length_m: float) -> int:
        """Return the sample at or before an arc length, kept within the road."""
        index = int((arc_length_m + MARGIN_BEFORE_M) / STEP_M)
        return min(max(index, 0), len(self.x_m) - 2)

    def curvature_at(self, arc_length_m: float) -> float:
        """Return the curvature at an arc length, linear between samples."""
        index = self.index_of(arc_length_m)
        fraction = (arc_length_m + MARGIN_BEFORE_M) / STEP_M - index
        here, there = self.curvature_per_m[index : index + 2]
        return float(here + (there - here) * fraction)

    def pose_at(self, arc_length_m: float, lateral_offset_m: float = 0.0) -> Pose:
        """Return the pose of something that follows the road at a lateral offset."""
        index = self.index_of(arc_length_m)
        along = arc_length_m + MARGIN_BEFORE_M - index * STEP_M
        heading = float(self.heading_rad[index])
        curvature = float(self.curvature_per_m[index])
        middle = heading + 0.5 * curvature * along
        x = float(self.x_m[index]) + along * math.cos(middle)
        y = float(self.y_m[index]) + along * math.sin(middle)
        heading += curvature * along
        x -= lateral_offset_m * math.sin(heading)
        y += lateral_offset_m * math.cos(heading)
        return Pose(x, y, heading)

    def locate(self, pose: Pose, near_m: float) -> Position:
        """Project a pose onto the road.

        Args:
            pose: what to project.
            near_m: arc length of a place close to it, for example where it was one step ago.

        Returns:
            The position relative to the lane's centre.
        """
        arc_length = near_m
        for _ in range(4):
            foot = self.pose_at(arc_length)
            dx, dy = pose.x_m - foot.x_m, pose.y_m - foot.y_m
            cosine, sine = math.cos(foot.heading_rad), math.sin(foot.heading_rad)
            along, offset = dx * cosine + dy * sine, dy * cosine - dx * sine
            shrink = max(1.0 - self.curvature_at(arc_length) * offset, 0.2)
            arc_length += along / shrink
            if abs(along) < 1e-4:
                break
        error = pose.heading_rad - foot.heading_rad
        error = math.remainder(error, math.tau)
        return Position(arc_length, offset, error, self.curvature_at(arc_length))


def road_from_curvature(
    curvature_per_m: ArrayLike, *, seed: int, lane_width_m: float | None = None
) -> Road:
    """Build a road from its curvature.

    Args:
        curvature_per_m: curvature at every `STEP_M` from arc length 0, left positive, `[n]`.
        seed: draws paint, texture, light and scenery.
        lane_width_m: width of a lane; drawn from the seed if not given.

    Returns:
        The road with straight margins before and after.
    """
    core = np.asarray(curvature_per_m, dtype=np.float64)
    before = np.zeros(round(MARGIN_BEFORE_M / STEP_M))
    after = np.zeros(round(MARGIN_AFTER_M / STEP_M))
    curvature = np.concatenate([before, core, after])
    heading = _integrate(curvature)
    heading -= heading[len(before)]
    middle = heading + 0.5 * STEP_M * curvature
    x, y = _shift(np.cos(middle)), _shift(np.sin(middle))
    if lane_width_m is None:
        lane_width_m = float(np.random.default_rng([seed, 1]).uniform(3.2, 3.8))
    return Road(seed, lane_width_m, x, y, heading, curvature)


def generate_road(seed: int, *, length_m: float = 4000.0, sharpest_per_m: float = math.inf) -> Road:
    """Draw a road with the curvature statistics of a real winding coast road.

    The lengths and curvatures follow the Udacity Challenge 2 drives (HMB_2: |curvature| of 0.002,
    0.005, 0.009 and 0.026 per metre at the 50th, 75th, 90th and 99th percentile).

    Args:
        seed: draws geometry and appearance. A longer road of one seed begins with the shorter one.
        length_m: length that can be driven.
        sharpest_per_m: curvature above which a bend is drawn as one of this curvature.

    Returns:
        The road.
    """
    rng = np.random.default_rng([seed, 0])
    samples = round(length_m / STEP_M)
    pieces = [np.zeros(round(40.0 / STEP_M))]
    count, heading, current = len(pieces[0]), 0.0, 0.0
    while count < samples:
        target, arc_m = _draw_bend(rng, heading, min(sharpest_per_m, _CURVATURE_MAX_PER_M))
        piece = _piece(current, target, arc_m, rng)
        heading += float(piece.sum()) * STEP_M
        current = target
        pieces.append(piece)
        count += len(piece)
    return road_from_curvature(np.concatenate(pieces)[:samples], seed=seed)


def _draw_bend(
    rng: np.random.Generator, heading_rad: float, sharpest_per_m: float
) -> tuple[float, float]:
    # Bends that turn back towards the first heading are likelier, so that a road does not cross
    # itself within view.
    turns_left = rng.random() < 0.5 - 0.4 * math.tanh(heading_rad)
    magnitude = _CURVATURE_MEDIAN_PER_M * math.exp(_CURVATURE_SPREAD * rng.standard_normal())
    magnitude = min(magnitude, sharpest_per_m)
    length = float(rng.uniform(25.0, 130.0))
    if rng.random() < _STRAIGHT_SHARE:
        return 0.0, length
    return (magnitude if turns_left else -magnitude), min(length, _TURN_MAX_RAD / magnitude)


def _piece(
    current: float, target: float, arc_m: float, rng: np.random.Generator
) -> NDArray[np.float64]:
    clothoid_m = float(rng.uniform(18.0, 45.0)) + 900.0 * abs(target - current)
    clothoid = np.linspace(current, target, max(round(clothoid_m / STEP_M), 2))
    return np.concatenate([clothoid, np.full(round(arc_m / STEP_M), target)])


def _integrate(rate: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.concatenate([[0.0], np.cumsum(rate[:-1])]) * STEP_M


def _shift(direction: NDArray[np.float64]) -> NDArray[np.float64]:
    position = _integrate(direction)
    return np.asarray(position - position[round(MARGIN_BEFORE_M / STEP_M)], np.float64)
