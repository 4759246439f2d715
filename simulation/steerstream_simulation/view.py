"""The road as the camera meets it: from places on the ground to road coordinates."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from steerstream_simulation.road import MARGIN_BEFORE_M, STEP_M, Pose, Road

_STRIDE = 2
_BEHIND_M = 12.0
_SAMPLES = 320
_OFF_ROAD_M = 40.0
_NEWTON_STEPS = 3

VIEW_STEP_M = _STRIDE * STEP_M


class View(NamedTuple):
    """The road near the camera, one sample every `VIEW_STEP_M`, float32 `[n]` each.

    `x` runs forward and `y` left from the camera; the tangent points along the road.
    """

    arc_length_m: float
    x: NDArray[np.float32]
    y: NDArray[np.float32]
    tangent_x: NDArray[np.float32]
    tangent_y: NDArray[np.float32]
    curvature: NDArray[np.float32]


def look_ahead(road: Road, pose: Pose, arc_length_m: float, forward_m: float) -> View:
    """Cut the road ahead out of the world and turn it into the camera's coordinates.

    Args:
        road: the road.
        pose: the vehicle's pose.
        arc_length_m: the vehicle's place along the road.
        forward_m: how far the camera is ahead of the vehicle's centre of gravity.

    Returns:
        From a few metres behind the vehicle to about 300 m ahead.
    """
    first = road.index_of(arc_length_m - _BEHIND_M)
    span = slice(first, first + _SAMPLES * _STRIDE, _STRIDE)
    cosine, sine = math.cos(pose.heading_rad), math.sin(pose.heading_rad)
    dx, dy = road.x_m[span] - pose.x_m, road.y_m[span] - pose.y_m
    turn = road.heading_rad[span] - pose.heading_rad
    return View(
        first * STEP_M - MARGIN_BEFORE_M,
        (dx * cosine + dy * sine - forward_m).astype(np.float32),
        (dy * cosine - dx * sine).astype(np.float32),
        np.cos(turn).astype(np.float32),
        np.sin(turn).astype(np.float32),
        road.curvature_per_m[span].astype(np.float32),
    )


def road_coordinates(
    view: View, x: NDArray[np.float32], y: NDArray[np.float32]
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Find arc length and lateral offset of places on the ground.

    Args:
        view: the road ahead.
        x: metres forward of the camera, `[rows, 1]`, falling.
        y: metres to the left, `[rows, columns]`.

    Returns:
        Arc length from the view's first sample, and lateral offset, both `[rows, columns]`. Places
        that belong to no stretch of the view are far to the left.
    """
    last = len(view.x) - 1
    reach = np.maximum.accumulate(view.x) + np.arange(last + 1, dtype=np.float32) * 1e-4
    guess = np.interp(x[:, 0], reach, np.arange(last + 1)).astype(np.float32)
    place = np.repeat(guess[:, None], y.shape[1], axis=1)
    for _ in range(_NEWTON_STEPS):
        nearest = np.clip(np.rint(place), 0, last)
        sample = nearest.astype(np.int32)
        dx, dy = x - view.x[sample], y - view.y[sample]
        tangent_x, tangent_y = view.tangent_x[sample], view.tangent_y[sample]
        along = dx * tangent_x + dy * tangent_y
        offset = dy * tangent_x - dx * tangent_y
        curvature = view.curvature[sample]
        step = along / np.maximum(1.0 - curvature * offset, 0.3)
        place = nearest + np.clip(step, -30.0, 30.0) / np.float32(VIEW_STEP_M)
    offset -= 0.5 * curvature * along * along
    lost = np.abs(along) > 3.0 * VIEW_STEP_M
    return place * np.float32(VIEW_STEP_M), np.where(lost, np.float32(_OFF_ROAD_M), offset)


def visible_columns(
    view: View, curtain_offset_m: NDArray[np.float32], tangents: NDArray[np.float32]
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Find which stretch of a curtain along the road each image column sees first.

    Args:
        view: the road ahead.
        curtain_offset_m: lateral offset of the curtain at each sample, of one sign.
        tangents: of each column's angle to the left of the camera's axis, falling.

    Returns:
        Inverse distance forward (0 where the curtain is not seen) and arc length from the view's
        first sample, for each column.
    """
    x = view.x - view.tangent_y * curtain_offset_m
    y = view.y + view.tangent_x * curtain_offset_m
    near = int(np.argmax(x > 2.0))
    x, y = np.maximum(x[near:], 2.0), y[near:]
    side = 1.0 if curtain_offset_m[0] > 0 else -1.0
    # From near to far a curtain moves from its own side of the picture towards the other; what
    # falls back behind the farthest column reached so far is hidden.
    reached = np.maximum.accumulate(-side * y / x)
    reached += np.arange(len(reached), dtype=np.float32) * 1e-6
    place = np.interp(-side * tangents, reached, np.arange(len(reached))).astype(np.float32)
    inverse = np.interp(place, np.arange(len(x)), 1.0 / x).astype(np.float32)
    inverse[-side * tangents > reached[-1]] = 0.0
    return inverse, (place + near) * np.float32(VIEW_STEP_M)
