"""A recorded picture as it would look from a little further left, or turned by a little.

What lies below the horizon is taken for level ground and moves with the camera; what lies above it
is far away and moves by rotation only. Things that stand up from the ground are bent by this, so it
holds for moves of a metre and a few degrees.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from steerstream_simulation.camera import CameraConfig

Picture = NDArray[np.uint8]

_WHOLE = (0.0, 1.0, 0.0, 1.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Optics:
    """A level camera's geometry in pixels of one picture, which may be cropped and stretched.

    Attributes:
        height_px: rows of the picture.
        width_px: its columns.
        focal_x_px: focal length along rows.
        focal_y_px: focal length along columns.
        centre_px: column that the camera's axis meets.
        horizon_px: row of the horizon; it may lie outside of the picture.
        mount_height_m: of the camera above the ground.
    """

    height_px: int
    width_px: int
    focal_x_px: float
    focal_y_px: float
    centre_px: float
    horizon_px: float
    mount_height_m: float

    @classmethod
    def of(
        cls,
        camera: CameraConfig,
        size: tuple[int, int],
        region: tuple[float, float, float, float] = _WHOLE,
    ) -> Optics:
        """Return those of a part of a camera's pictures, in any size.

        Args:
            camera: with the size of its whole pictures.
            size: rows and columns of the part as it is looked at.
            region: top, bottom, left and right of the part as fractions of the whole.
        """
        top, bottom, left, right = region
        rows, columns = size
        scale_y = rows / ((bottom - top) * camera.height_px)
        scale_x = columns / ((right - left) * camera.width_px)
        return cls(
            height_px=rows,
            width_px=columns,
            focal_x_px=camera.focal_px * scale_x,
            focal_y_px=camera.focal_px * scale_y,
            centre_px=(0.5 - left) / (right - left) * columns - 0.5,
            horizon_px=(camera.horizon - top) * camera.height_px * scale_y,
            mount_height_m=camera.mount_height_m,
        )


class Reprojection:
    """Moves the pictures of one camera.

    Args:
        optics: the camera's.
        border: how OpenCV fills what leaves the picture: by default the picture's outermost pixel
            goes on, which adds no line that is not there.
    """

    def __init__(self, optics: Optics, border: int = cv2.BORDER_REPLICATE) -> None:
        self._optics, self._border = optics, border
        columns = np.arange(optics.width_px, dtype=np.float32)
        rows = np.arange(optics.height_px, dtype=np.float32)
        self._left = (np.float32(optics.centre_px) - columns)[None, :]
        self._down = (rows - np.float32(optics.horizon_px))[:, None]

    def move(
        self,
        picture: Picture,
        offset_m: float,
        heading_rad: float,
        *,
        pitch_px: float = 0.0,
        zoom: float = 1.0,
    ) -> Picture:
        """Return what the camera would see from elsewhere; the very same picture for no move.

        Args:
            picture: uint8 [height, width, 3].
            offset_m: how far the camera is moved to the left.
            heading_rad: how far it is turned to the left, after that.
            pitch_px: how far the horizon moves down.
            zoom: factor on the focal length.
        """
        if offset_m == 0 and heading_rad == 0 and pitch_px == 0 and zoom == 1:
            return picture
        own = self._optics
        left = self._left / np.float32(own.focal_x_px * zoom)
        down = (self._down - np.float32(pitch_px)) / np.float32(own.focal_y_px * zoom)
        cosine, sine = np.float32(np.cos(heading_rad)), np.float32(np.sin(heading_rad))
        forward = cosine - left * sine
        # The offset counts by the distance, which the angle below the horizon tells.
        nearness = np.maximum(down, 0.0) * np.float32(offset_m / own.mount_height_m)
        across = (sine + left * cosine + nearness) / forward
        source_x = np.float32(own.centre_px) - np.float32(own.focal_x_px) * across
        source_y = np.float32(own.horizon_px) + np.float32(own.focal_y_px) * (down / forward)
        moved = cv2.remap(picture, source_x, source_y, cv2.INTER_LINEAR, borderMode=self._border)
        return np.asarray(moved, np.uint8)
