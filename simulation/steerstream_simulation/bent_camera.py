"""A camera whose lens bends straight lines, by the models that OpenCV calibrates.

What it shows is looked up in the pictures of a lens that bends none, of the same focal length. They
reach as far as its middle row and column do; the corners beyond are filled.
"""

from __future__ import annotations

import dataclasses
import math

import cv2
import numpy as np
from numpy.typing import NDArray

from steerstream import LensModel
from steerstream_simulation.camera import Camera, CameraConfig
from steerstream_simulation.road import Pose, Road

_EXACT = (cv2.TERM_CRITERIA_COUNT | cv2.TERM_CRITERIA_EPS, 50, 1e-9)


class BentCamera:
    """Renders what a vehicle on one road sees, as `Camera` does.

    Args:
        road: the road.
        config: size, mounting and lens.
    """

    def __init__(self, road: Road, config: CameraConfig) -> None:
        self.config = config
        focal_px, middle_px = config.focal_px, 0.5 * (config.width_px - 1)
        horizon_px = config.horizon * config.height_px
        rays = _rays(config, focal_px, middle_px, horizon_px)
        column = rays[:, round(middle_px), 1] * focal_px
        above_px = -float(column[0])
        width_px = 2 * math.ceil(math.tan(0.5 * config.field_of_view_rad) * focal_px)
        height_px = math.ceil(above_px + float(column[-1])) + 1
        straight = dataclasses.replace(
            config,
            width_px=width_px,
            height_px=height_px,
            field_of_view_rad=2.0 * math.atan(0.5 * width_px / focal_px),
            horizon=above_px / height_px,
            pitch_px=config.pitch_px * config.height_px / height_px,
            lens=LensModel.PINHOLE,
            distortion=(),
        )
        self._camera = Camera(road, straight)
        origin = (0.5 * (width_px - 1), above_px)
        places = (rays * focal_px + origin).astype(np.float32)
        self._places = places[..., 0].copy(), places[..., 1].copy()

    def render(self, pose: Pose, arc_length_m: float) -> NDArray[np.uint8]:
        """Draw one picture, uint8 RGB `[height, width, 3]`.

        Args:
            pose: the vehicle's pose.
            arc_length_m: where along the road it is, as `Road.locate` says.
        """
        picture = self._camera.render(pose, arc_length_m)
        columns, rows = self._places
        bent = cv2.remap(picture, columns, rows, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
        return np.asarray(bent, np.uint8)


def camera_of(road: Road, config: CameraConfig | None = None) -> Camera | BentCamera:
    """Return the camera of a configuration.

    Args:
        road: the road.
        config: size, mounting and lens.
    """
    if config is None or config.lens is LensModel.PINHOLE:
        return Camera(road, config)
    return BentCamera(road, config)


def _rays(
    config: CameraConfig, focal_px: float, middle_px: float, horizon_px: float
) -> NDArray[np.float64]:
    """Return where each pixel looks: right and down of a point 1 ahead, `[height, width, 2]`."""
    columns, rows = np.meshgrid(np.arange(config.width_px), np.arange(config.height_px))
    pixels = np.stack([columns, rows], axis=2).reshape(-1, 1, 2).astype(np.float64)
    matrix = np.array([[focal_px, 0, middle_px], [0, focal_px, horizon_px], [0, 0, 1]])
    coefficients = np.array(config.distortion)
    if config.lens is LensModel.FISHEYE:
        found = cv2.fisheye.undistortPoints(pixels, matrix, coefficients, criteria=_EXACT)
    else:
        found = cv2.undistortPoints(pixels, matrix, coefficients, criteria=_EXACT)
    return np.asarray(found, np.float64).reshape(config.height_px, config.width_px, 2)
