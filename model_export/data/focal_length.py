"""The real camera's focal length: `python -m model_export measure focal-length --data DIR`.

The recordings come without a calibration. On a flat road, x pixels right of and y pixels below the
horizon's centre, a picture flows from frame to frame by `(a x y + b, a y^2 + c)`: `a` is
`T / (f h)` for the distance T driven by a camera h above the ground, `b = f theta` for the turn
theta, and c for pitch. So `b / a = f^2 h theta / T = f^2 h kappa`,
whatever the speed, and the curvature kappa follows from the steering wheel angle:
`kappa = angle / (ratio (L + K v^2))`.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path
from typing import cast

import cv2
import numpy as np
import numpy.typing as npt

from model_export.config import HEADS
from model_export.data.labels import read_labels
from model_export.data.udacity_ch2 import LABELS
from model_export.errors import DataError
from steerstream_bundle.contract import STEERING_WHEEL_ANGLE
from steerstream_simulation.camera import CameraConfig
from steerstream_simulation.vehicle import VehicleParameters

Points = npt.NDArray[np.float32]
Grey = npt.NDArray[np.uint8]

SPEED_MPS = 15.0
"""Not recorded in this drive; 12 or 18 m/s would move the result by 2.5 %."""

_LEAST_ANGLE_RAD = 0.2
"""Below it the turn is lost in the noise of the flow."""

_LONGEST_INTERVAL_NS = 60_000_000
_ROAD_ROWS = slice(125, 225)
_LEAST_POINTS = 30
_LARGEST_RESIDUAL_PX = 0.6
_ROBUST_STEPS = 25
_ROBUST_FLOOR_PX = 0.15


def estimate(data: Path) -> str:
    """Return the focal length that the real drive's bends show, as text.

    Args:
        data: folder of the driving data.

    Raises:
        DataError: the drive is missing, or none of its bends can be followed.
    """
    ratios = np.array([turn / forward / angle for angle, forward, turn in flows(data)])
    if not ratios.size:
        raise DataError(f"{data / LABELS}: no bend of this drive can be followed")
    low, ratio, high = np.percentile(ratios, [25, 50, 75])
    vehicle, camera = VehicleParameters(), CameraConfig()
    length_m = vehicle.wheelbase_m + vehicle.understeer_s2_per_m * SPEED_MPS**2
    focal_px = math.sqrt(ratio * vehicle.steering_ratio * length_m / camera.mount_height_m)
    degrees = 2 * math.degrees(math.atan(camera.width_px / 2 / focal_px))
    return (
        f"{len(ratios)} pairs of frames: f^2 h kappa / angle = {ratio:.0f} "
        f"({low:.0f}..{high:.0f})\nfocal length {focal_px:.0f} px for {camera.width_px} columns: "
        f"{degrees:.1f} degrees across"
    )


def flows(data: Path) -> Iterator[tuple[float, float, float]]:
    """Yield steering wheel angle in rad, a and b for pairs of training frames in bends."""
    table = read_labels(data / LABELS).of_split("train")
    angles_rad = table.labels[:, HEADS.index(STEERING_WHEEL_ANGLE)].tolist()
    for row, angle_rad in enumerate(angles_rad[:-1]):
        interval_ns = table.frame_ids[row + 1] - table.frame_ids[row]
        if abs(angle_rad) < _LEAST_ANGLE_RAD or interval_ns > _LONGEST_INTERVAL_NS:
            continue
        here, there = (
            np.asarray(cv2.imread(str(path), cv2.IMREAD_GRAYSCALE), np.uint8)
            for path in table.images[row : row + 2]
        )
        fit = _fit(*_track(here, there))
        if fit is not None:
            yield angle_rad, *fit


def _track(here: Grey, there: Grey) -> tuple[Points, Points]:
    """Return points of the road in both pictures, [n, 2]."""
    mask = np.zeros_like(here)
    mask[_ROAD_ROWS] = 255
    contrast = cv2.createCLAHE(4, (8, 8)).apply(here)
    corners = cv2.goodFeaturesToTrack(contrast, 250, 0.005, 5, mask=mask)
    points = cast("Points | None", corners)
    if points is None:
        return np.empty((0, 2), np.float32), np.empty((0, 2), np.float32)
    moved, status, error = cv2.calcOpticalFlowPyrLK(
        here, there, points, np.empty_like(points), winSize=(15, 15), maxLevel=3
    )
    found = (status[:, 0] > 0) & (error[:, 0] < 12)
    return points[found, 0], moved[found, 0]


def _fit(points: Points, moved: Points) -> tuple[float, float] | None:
    """Fit a, b and c by iteratively reweighted least squares; return a and b."""
    if len(points) < _LEAST_POINTS:
        return None
    camera = CameraConfig()
    x = points[:, 0] - camera.width_px / 2
    y = points[:, 1] - camera.horizon * camera.height_px
    matrix = np.zeros((2 * len(points), 3))
    matrix[0::2, 0], matrix[0::2, 1] = x * y, 1
    matrix[1::2, 0], matrix[1::2, 2] = y * y, 1
    flow = (moved - points).reshape(-1)
    weight = np.ones(len(flow))
    for _ in range(_ROBUST_STEPS):
        solution = np.linalg.lstsq(matrix * weight[:, None], flow * weight, rcond=None)[0]
        residual = np.abs(matrix @ solution - flow)
        weight = 1 / np.sqrt(np.maximum(residual, _ROBUST_FLOOR_PX))
    if np.median(residual) > _LARGEST_RESIDUAL_PX or solution[0] <= 0:
        return None
    return float(solution[0]), float(solution[1])
