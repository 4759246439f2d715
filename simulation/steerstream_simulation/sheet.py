"""A contact sheet: one row of pictures for each road."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from steerstream import whole_file
from steerstream_simulation.camera import Camera, CameraConfig
from steerstream_simulation.road import generate_road

_PICTURES = 5
_SPACING_M = 150.0


def draw_sheet(seeds: Sequence[int], camera: CameraConfig) -> NDArray[np.uint8]:
    """Return pictures from the lane's centre along each road, uint8 RGB."""
    return np.concatenate([_row(seed, camera) for seed in seeds])


def write_sheet(path: Path, seeds: Sequence[int], camera: CameraConfig) -> None:
    """Draw a sheet into a picture file.

    Args:
        path: the PNG file.
        seeds: one row of pictures for each road.
        camera: size of each picture.

    Raises:
        OSError: the file cannot be written.
    """
    sheet = cv2.cvtColor(draw_sheet(seeds, camera), cv2.COLOR_RGB2BGR)
    _, encoded = cv2.imencode(".png", sheet)
    whole_file.write_bytes(path, encoded.tobytes())


def _row(seed: int, config: CameraConfig) -> NDArray[np.uint8]:
    road = generate_road(seed, length_m=_PICTURES * _SPACING_M)
    camera = Camera(road, config)
    places = np.arange(_PICTURES) * _SPACING_M
    return np.concatenate([camera.render(road.pose_at(at), at) for at in places], axis=1)
