"""From a source picture to the network's input: what a bundle's contract means by crop and size.

Training, evaluation and the server call these functions, so that a network is served exactly what
it was trained on. A picture is halved by averages while it is at least twice the size of the input,
which avoids aliasing, and then interpolated; a JPEG is halved by its decoder (:mod:`service.jpeg`).
"""

from __future__ import annotations

import cv2
import numpy as np
import numpy.typing as npt

from service.contract import Crop, FrameInput

# OpenCV would start threads of its own in every decoding thread.
cv2.setNumThreads(1)

Picture = npt.NDArray[np.uint8]
"""uint8 [height, width, 3], RGB."""

Plane = npt.NDArray[np.uint8]
"""uint8 [height, width], or [height, width, N] of interleaved values."""


def bounds(height: int, width: int, region: Crop) -> tuple[int, int, int, int]:
    """Return top, bottom, left and right of a region, at least one pixel in each direction."""
    top, left = int(region.top * height), int(region.left * width)
    bottom = max(round(region.bottom * height), top + 1)
    right = max(round(region.right * width), left + 1)
    return top, bottom, left, right


def crop(plane: Plane, region: Crop) -> Plane:
    """Return the region of a picture or plane as a view."""
    height, width = plane.shape[:2]
    top, bottom, left, right = bounds(height, width, region)
    return plane[top:bottom, left:right]


def prepare(picture: Picture, frame: FrameInput, out: Picture | None = None) -> Picture:
    """Crop and resize a source picture to the network's input.

    Args:
        picture: uint8 [H, W, 3] RGB of any size.
        frame: the input that the contract asks for.
        out: where to write, uint8 ``frame.shape`` and contiguous; a row of a batch, to save a copy.

    Returns:
        uint8 ``frame.shape``, RGB, contiguous; ``out`` where it was given. Without it, a picture
        that needs no work is returned as a view.
    """
    region = crop(picture, frame.crop)
    if region.shape != frame.shape:
        return _resized(region, frame, out)
    if out is None:
        return np.ascontiguousarray(region)
    out[...] = region
    return out


def _resized(plane: Plane, frame: FrameInput, out: Plane | None = None) -> Plane:
    height, width = frame.height_px, frame.width_px
    while (rows := plane.shape[0] // height) > 1 or plane.shape[1] // width > 1:
        columns = plane.shape[1] // width
        size = (
            plane.shape[1] // (2 if columns > 1 else 1),
            plane.shape[0] // (2 if rows > 1 else 1),
        )
        plane = np.asarray(cv2.resize(plane, size, interpolation=cv2.INTER_AREA), np.uint8)
    resized = cv2.resize(plane, (width, height), dst=out, interpolation=cv2.INTER_LINEAR)
    return np.asarray(resized, np.uint8)
