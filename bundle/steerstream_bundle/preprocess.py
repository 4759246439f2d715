"""Crops and resizes pictures to the network's input, as a bundle's contract says.

Training, evaluation and the server all call these functions, so that a network is served exactly
what it was trained on. While a picture is at least twice the size of the input, it is halved by
averaging, which avoids aliasing; then it is interpolated. A JPEG is halved by its decoder (`jpeg`).
"""

from __future__ import annotations

from typing import Protocol

import cv2
import numpy as np
import numpy.typing as npt

from steerstream_bundle.contract import Crop, FrameInput

# Otherwise OpenCV starts more threads in every decoding thread.
cv2.setNumThreads(1)

Picture = npt.NDArray[np.uint8]
"""uint8 [height, width, 3], RGB."""

Plane = npt.NDArray[np.uint8]
"""uint8 [height, width], or [height, width, N] of interleaved values."""


class Warp(Protocol):
    """Makes a network's input from the pictures of another camera than the network's."""

    @property
    def least_px(self) -> tuple[int, int]:
        """Rows and columns of the smallest picture that shows all that the network can see."""

    def check_shape(self, height_px: int, width_px: int) -> None:
        """Raise a ValueError where a picture is not of the camera's shape."""

    def of_plane(self, plane: Plane, out: Plane | None = None) -> Plane:
        """Return the network's input, of a picture or plane uint8 [height, width, N]."""


def bounds(height: int, width: int, region: Crop) -> tuple[int, int, int, int]:
    """Return top, bottom, left and right of a region in pixels, at least one in each direction.

    Args:
        height: rows of the picture.
        width: columns of the picture.
        region: the region as fractions.
    """
    top, left = int(region.top * height), int(region.left * width)
    bottom = max(round(region.bottom * height), top + 1)
    right = max(round(region.right * width), left + 1)
    return top, bottom, left, right


def crop(plane: Plane, region: Crop) -> Plane:
    """Return the region of a picture or plane as a view."""
    height, width = plane.shape[:2]
    top, bottom, left, right = bounds(height, width, region)
    return plane[top:bottom, left:right]


def prepare(
    picture: Picture, frame: FrameInput, out: Picture | None = None, warp: Warp | None = None
) -> Picture:
    """Crop and resize a source picture to the network's input.

    Args:
        picture: uint8 [H, W, 3] RGB of any size.
        frame: the input that the contract asks for.
        out: where to write, uint8 `frame.shape` and contiguous; a row of a batch, to save a copy.
        warp: for a picture of another camera, in place of the crop.

    Returns:
        uint8 `frame.shape`, RGB, contiguous; `out` where it was given. Without it, a picture
        that needs no work is returned as a view.
    """
    if warp is not None:
        return warp.of_plane(picture, out)
    region = crop(picture, frame.crop)
    if region.shape != frame.shape:
        return _resized(region, frame, out)
    if out is None:
        return np.ascontiguousarray(region)
    out[...] = region
    return out


def prepare_nv12(
    luma: Plane,
    chroma: Plane,
    frame: FrameInput,
    *,
    full_range: bool,
    out: Picture | None = None,
    warp: Warp | None = None,
) -> Picture:
    """Crop and resize a picture in NV12, then convert it to RGB by BT.601.

    Args:
        luma: Y, uint8 [H, W].
        chroma: U and V, uint8 [H / 2, W / 2, 2].
        frame: the input that the contract asks for.
        full_range: whether the values are 0 to 255; otherwise Y is 16 to 235, U and V 16 to 240.
        out: where to write, uint8 `frame.shape` and contiguous.
        warp: for a picture of another camera, in place of the crop.

    Returns:
        uint8 `frame.shape`, RGB, contiguous; `out` where it was given.
    """
    yuv = np.empty(frame.shape, np.uint8)
    if warp is not None:
        planes = [warp.of_plane(plane) for plane in (luma[..., np.newaxis], chroma)]
    else:
        planes = [_resized(crop(plane, frame.crop), frame) for plane in (luma, chroma)]
    cv2.mixChannels(planes, [yuv], [0, 0, 1, 1, 2, 2])
    rgb = cv2.transform(yuv, _RGB_OF_YUV[full_range], dst=out)
    return np.asarray(rgb, np.uint8)


def _rgb_of_yuv(black: float, luma_range: float, chroma_range: float) -> npt.NDArray[np.float32]:
    """Return the matrix [3, 4] from Y, U, V and 1 to red, green and blue (ITU-R BT.601)."""
    luma, chroma = 255 / luma_range, 255 / chroma_range
    matrix = np.array(
        [
            [luma, 0, 1.402 * chroma],
            [luma, -0.344136 * chroma, -0.714136 * chroma],
            [luma, 1.772 * chroma, 0],
        ]
    )
    offset = -matrix @ [black, 128, 128]
    return np.column_stack([matrix, offset]).astype(np.float32)


_RGB_OF_YUV = {True: _rgb_of_yuv(0, 255, 255), False: _rgb_of_yuv(16, 219, 224)}


def full_levels(picture: Picture) -> Picture:
    """Return a picture whose Y, U and V were limited to video levels but converted as if full.

    Args:
        picture: uint8 [H, W, 3] RGB, as a JPEG decoder gives it.

    Returns:
        uint8 [H, W, 3] RGB that uses the whole range, by the levels that `prepare_nv12` knows.
    """
    return np.asarray(cv2.transform(picture, _FULL_LEVELS), np.uint8)


def _full_of_limited() -> npt.NDArray[np.float32]:
    """Return the matrix [3, 4] that goes back to Y, U and V and forth again as limited."""
    full, limited = (np.vstack([_RGB_OF_YUV[is_full], [0, 0, 0, 1]]) for is_full in (True, False))
    product: npt.NDArray[np.float32] = (limited @ np.linalg.inv(full))[:3].astype(np.float32)
    return product


_FULL_LEVELS = _full_of_limited()


def _resized(plane: Plane, frame: FrameInput, out: Plane | None = None) -> Plane:
    height, width = frame.height_px, frame.width_px
    while (rows := plane.shape[0] // height) > 1 or plane.shape[1] // width > 1:
        columns = plane.shape[1] // width
        halved = (
            plane.shape[1] // (2 if columns > 1 else 1),
            plane.shape[0] // (2 if rows > 1 else 1),
        )
        # Linear interpolation by exactly 2 is the average of two, and faster than INTER_AREA.
        plane = np.asarray(cv2.resize(plane, halved, interpolation=cv2.INTER_LINEAR), np.uint8)
    resized = cv2.resize(plane, (width, height), dst=out, interpolation=cv2.INTER_LINEAR)
    return np.asarray(resized, np.uint8)
