"""A vehicle's picture as a small JPEG file, for people to look at."""

from __future__ import annotations

import simplejpeg

from steerstream_bundle import pictures
from steerstream_bundle.contract import Crop, FrameInput
from steerstream_bundle.errors import UndecodableError
from steerstream_bundle.pictures import Image, JpegImage

_SMALL_BYTES = 128 * 1024
"""A JPEG of 640x480 has 30 to 60 KB."""
_WIDTH_PX = 480
_MOST_ROWS_PX = 960
_QUALITY = 80


def small_jpeg(image: Image, max_pixels: int) -> bytes | None:
    """Return a picture as a JPEG file; None where it cannot be read.

    A small JPEG file is returned as it came, which costs nothing.

    Args:
        image: the picture as it came, of which nothing is checked yet.
        max_pixels: largest picture, in pixels after decoding.
    """
    try:
        width_px, height_px = pictures.upright_size(image)
        if isinstance(image, JpegImage) and image.size_bytes <= _SMALL_BYTES:
            return image.data
        rows_px = min(max(1, round(height_px * _WIDTH_PX / max(1, width_px))), _MOST_ROWS_PX)
        small = FrameInput(tensor="", height_px=rows_px, width_px=_WIDTH_PX, crop=Crop())
        pixels = pictures.to_input(image, small, max_pixels)
    except UndecodableError:
        return None
    encoded: bytes = simplejpeg.encode_jpeg(pixels, quality=_QUALITY)
    return encoded
