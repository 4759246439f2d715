"""Pictures of many kinds, whole ones and broken ones; all are drawn here, none is of a camera."""

from __future__ import annotations

import random

import cv2
import numpy as np

from steerstream.v1 import frame_pb2
from tests.bundle import jpeg_files
from tests.fuzz.messages import damage
from tests.service.vehicle import jpeg

_SIZES = ((8, 16), (48, 96), (1, 1), (7, 13), (33, 31))
_FLAGS = (
    (),
    (cv2.IMWRITE_JPEG_PROGRESSIVE, 1),
    (cv2.IMWRITE_JPEG_RST_INTERVAL, 1),
    (cv2.IMWRITE_JPEG_SAMPLING_FACTOR, cv2.IMWRITE_JPEG_SAMPLING_FACTOR_444),
)


class Album:
    """Pictures to send.

    Args:
        rng: chooses the picture of each frame.
    """

    def __init__(self, rng: random.Random) -> None:
        self._rng = rng
        noise = np.random.default_rng(0)
        self._pixels = [noise.integers(0, 230, (*size, 3), np.uint8) for size in _SIZES]
        self._jpegs = [jpeg(pixels, *flags) for pixels in self._pixels for flags in _FLAGS]
        self._jpegs += [
            jpeg_files.with_segments(data, jpeg_files.exif(orientation))
            for data, orientation in zip(self._jpegs[:9], range(9), strict=True)
        ]

    def put(self, frame: frame_pb2.Frame) -> None:
        """Give a frame a picture that can be decoded, mostly."""
        rng = self._rng
        pixels = rng.choice(self._pixels)
        height, width = pixels.shape[:2]
        match rng.randrange(8):
            case 0 | 1 | 2 | 3:
                frame.rgb8.width_px, frame.rgb8.height_px = width, height
                frame.rgb8.pixels = pixels.tobytes()
            case 4:
                frame.nv12.width_px, frame.nv12.height_px = width, height
                frame.nv12.planes = pixels.tobytes()[: 3 * width * height // 2]
                frame.nv12.full_range = rng.random() < 0.5
            case 5:
                frame.jpeg = damage(rng, rng.choice(self._jpegs), rng.choice(self._jpegs))
            case _:
                frame.jpeg = rng.choice(self._jpegs)
