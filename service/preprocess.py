"""From a source picture to the network's input: what a bundle's contract means by crop and size.

Training, evaluation and the server call this one function, so that a network is served exactly what
it was trained on. Area interpolation: a camera's picture is always larger than the network's input,
and averaging avoids aliasing.
"""

from __future__ import annotations

import cv2
import numpy as np
import numpy.typing as npt

from service.contract import Crop, FrameInput

Picture = npt.NDArray[np.uint8]
"""uint8 [height, width, 3], RGB."""


_DECODE = cv2.IMREAD_COLOR_RGB | cv2.IMREAD_IGNORE_ORIENTATION
"""A vehicle's camera is bolted on: an orientation tag would only turn the picture wrongly."""


def crop(picture: Picture, region: Crop) -> Picture:
    """Return the region of a picture [H, W, 3] as a view, at least one pixel in each direction."""
    height, width = picture.shape[:2]
    top, left = int(region.top * height), int(region.left * width)
    bottom, right = (
        max(round(region.bottom * height), top + 1),
        max(round(region.right * width), left + 1),
    )
    return picture[top:bottom, left:right]


def prepare(picture: Picture, frame: FrameInput, out: Picture | None = None) -> Picture:
    """Crop and resize a source picture to the network's input.

    Args:
        picture: uint8 [H, W, 3] RGB of any size.
        frame: the input that the contract asks for.
        out: where to write, uint8 ``frame.shape`` and contiguous; a row of a batch, to save a copy.

    Returns:
        uint8 ``frame.shape``, RGB; ``out`` where it was given.
    """
    size = (frame.width_px, frame.height_px)
    result = cv2.resize(crop(picture, frame.crop), size, dst=out, interpolation=cv2.INTER_AREA)
    return np.asarray(result, dtype=np.uint8)


def decode_jpeg(data: bytes) -> Picture | None:
    """Decode a JPEG to RGB uint8 [H, W, 3]; None if it is no picture.

    Callers that take bytes from others check the declared size first: a header may ask for
    gigabytes.
    """
    if not data:
        return None
    decoded = cv2.imdecode(np.frombuffer(data, dtype=np.uint8), _DECODE)
    return None if decoded is None else np.asarray(decoded, dtype=np.uint8)
