"""Makes the view that a server declared: crops and scales a picture as the server itself would.

Where the vehicle's camera is not the network's, its picture is mapped to that one instead.

The network then sees what it would have seen of the whole picture. OpenCV does the work where it is
installed, in a tenth of a millisecond; without it NumPy does the same, to the last level but one.
"""

from __future__ import annotations

import functools
from typing import NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from steerstream import extras
from steerstream.errors import BadRequest
from steerstream.lens import Mapping, Part
from steerstream.models import CropFractions, View, ViewEncoding
from steerstream.resampling import Plane, halved, resize
from steerstream.v1 import frame_pb2
from steerstream.warp import ShapeMismatchError, Warp

_SCAN = b"\xff\xda"
_SPECIAL = (b"Exif\0\0", b"CS=", b"Adobe\0")
"""Marks in a JPEG's header of how it is to be turned, and of its levels and colours."""

_SMALL_PX = 20_000
"""Pixels of a view up to which its JPEG is nearly without loss (docs/decisions). In a larger one
each thing covers more pixels, and as much of it is left after a stronger compression."""


class NetworkInput(Protocol):
    """The picture that a network takes, as a bundle's contract has it."""

    @property
    def width_px(self) -> int:
        """Columns."""

    @property
    def height_px(self) -> int:
        """Rows."""

    @property
    def crop(self) -> Part:
        """The part of the vehicle's picture."""


class Seen(NamedTuple):
    """A view.

    Attributes:
        pixels: uint8 [height, width, 3] of the view's size, RGB.
        applied: what the server is told of the part that it shows.
    """

    pixels: NDArray[np.uint8]
    applied: frame_pb2.ViewApplied


def declared(frame: NetworkInput) -> View:
    """Return what a server declares for a network: its input exactly, so that nothing is scaled."""
    small = frame.width_px * frame.height_px <= _SMALL_PX
    crop = frame.crop
    return View(
        crop=CropFractions(crop.top, crop.bottom, crop.left, crop.right),
        width_px=frame.width_px,
        height_px=frame.height_px,
        encodings=(ViewEncoding.JPEG_444, ViewEncoding.RGB8),
        jpeg_quality=90 if small else 70,
    )


def load_packages() -> None:
    """Import what makes views, as far as it is installed.

    Otherwise the first frame of a session would wait for it, up to a tenth of a second.
    """
    if extras.has_opencv():
        extras.opencv("scaling pictures")
    if extras.has_simplejpeg():
        extras.simplejpeg("making a view of a JPEG file")


def of_pixels(picture: NDArray[np.uint8], view: View) -> Seen:
    """Make the view of a picture.

    Args:
        picture: uint8 [height, width, 3], RGB.
        view: what the server wants to see.
    """
    height_px, width_px = picture.shape[:2]
    _check_shape(height_px, width_px, view)
    return Seen(_part(picture, view), _applied(width_px, height_px, view))


def of_planes(luma: Plane, chroma: Plane, view: View, *, full_range: bool) -> Seen | None:
    """Make the view of raw video, in RGB by BT.601.

    Args:
        luma: Y, uint8 [height, width, 1].
        chroma: U and V, uint8 [height / 2, width / 2, 2].
        view: what the server wants to see.
        full_range: whether the values are 0 to 255; otherwise Y is 16 to 235, U and V 16 to 240.

    Returns:
        None where the values show that they are not as limited as was said: the server, which gets
        the planes then, refuses them.
    """
    if not full_range and _is_full(luma):
        return None
    height_px, width_px = luma.shape[:2]
    _check_shape(height_px, width_px, view)
    yuv = np.concatenate([_part(luma, view), _part(chroma, view)], axis=2)
    matrix, offset = _FULL if full_range else _LIMITED
    rgb = np.clip(np.rint(yuv @ matrix + offset), 0, 255)
    return Seen(rgb.astype(np.uint8), _applied(width_px, height_px, view))


def of_jpeg(data: bytes, view: View) -> Seen | None:
    """Make the view of a JPEG file.

    Args:
        data: the file.
        view: what the server wants to see.

    Returns:
        None where the file is better sent as it is: it asks to be turned or for other levels or
        colours, which the server knows how to do; it is damaged, which the server reports; or it
        has no more pixels than the view.

    Raises:
        MissingExtra: simplejpeg, which decodes as strictly as the server does, is not installed.
    """
    simplejpeg = extras.simplejpeg("making a view of a JPEG file")
    if any(mark in data[: data.find(_SCAN)] for mark in _SPECIAL):
        return None
    try:
        height_px, width_px, *_ = simplejpeg.decode_jpeg_header(data)
        if height_px * width_px <= view.height_px * view.width_px:
            return None
        least_px = _smallest(height_px, width_px, view)
        picture = simplejpeg.decode_jpeg(data, min_height=least_px[0], min_width=least_px[1])
    except ValueError:
        return None
    _check_shape(height_px, width_px, view)
    return Seen(_part(picture, view), _applied(width_px, height_px, view))


@functools.lru_cache(maxsize=8)
def _warp(mapping: Mapping) -> Warp:
    return Warp(mapping)


def _check_shape(height_px: int, width_px: int, view: View) -> None:
    """Check that a picture is of the camera that its mapping is for.

    Raises:
        BadRequest: it has another shape.
    """
    if view.mapping is None:
        return
    try:
        _warp(view.mapping).check_shape(height_px, width_px)
    except ShapeMismatchError as error:
        raise BadRequest(str(error)) from None


def _smallest(height_px: int, width_px: int, view: View) -> tuple[int, int]:
    """Return the smallest size, of those that decoding is quickest at, that holds the view."""
    for eighths in (1, 2, 4):
        size = -(-height_px * eighths // 8), -(-width_px * eighths // 8)
        if view.mapping is not None:
            least_px = _warp(view.mapping).least_px
            if size[0] >= least_px[0] and size[1] >= least_px[1]:
                return size
            continue
        top, bottom, left, right = edges(*size, view.crop)
        if bottom - top >= view.height_px and right - left >= view.width_px:
            return size
    return height_px, width_px


def _is_full(luma: Plane) -> bool:
    """Return whether more of Y lies outside the range of limited video than filters leave there.

    The bounds are the server's (`steerstream_bundle.pictures`).
    """
    looked_at = luma[:: max(1, luma.shape[0] // 16)]
    beyond = np.count_nonzero(looked_at - np.uint8(8) > 247 - 8)
    return bool(beyond > 0.01 * looked_at.size)


def edges(height_px: int, width_px: int, crop: CropFractions) -> tuple[int, int, int, int]:
    """Return top, bottom, left and right of a crop in pixels, at least one in each direction.

    Args:
        height_px: rows of the picture.
        width_px: columns of the picture.
        crop: the part, as fractions.
    """
    top, left = int(crop.top * height_px), int(crop.left * width_px)
    bottom = max(round(crop.bottom * height_px), top + 1)
    right = max(round(crop.right * width_px), left + 1)
    return top, bottom, left, right


def _applied(width_px: int, height_px: int, view: View) -> frame_pb2.ViewApplied:
    if view.mapping is not None:
        return frame_pb2.ViewApplied(
            source_width_px=width_px, source_height_px=height_px, mapped=True
        )
    top, bottom, left, right = edges(height_px, width_px, view.crop)
    return frame_pb2.ViewApplied(
        source_width_px=width_px,
        source_height_px=height_px,
        top_px=top,
        bottom_px=bottom,
        left_px=left,
        right_px=right,
    )


def _part(plane: Plane, view: View) -> Plane:
    """Return the part of a plane that a view shows, at the view's size.

    As in the server, it is halved by averaging while it is at least twice as large, and then
    interpolated.
    """
    if view.mapping is not None:
        return _warp(view.mapping).of_plane(plane)
    top, bottom, left, right = edges(plane.shape[0], plane.shape[1], view.crop)
    part = np.ascontiguousarray(plane[top:bottom, left:right])
    part = halved(part, view.height_px, view.width_px)
    if part.shape[:2] == (view.height_px, view.width_px):
        return part
    return resize(part, view.height_px, view.width_px)


def _rgb_of_yuv(
    black: int, luma_range: int, chroma_range: int
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Return matrix and offset from Y, U and V to red, green and blue (ITU-R BT.601).

    Args:
        black: Y of black.
        luma_range: from the Y of black to that of white.
        chroma_range: from the lowest U or V to the highest.
    """
    luma, chroma = 255 / luma_range, 255 / chroma_range
    matrix = np.array(
        [
            [luma, luma, luma],
            [0, -0.344136 * chroma, 1.772 * chroma],
            [1.402 * chroma, -0.714136 * chroma, 0],
        ],
        np.float32,
    )
    return matrix, -np.array([black, 128, 128], np.float32) @ matrix


_FULL, _LIMITED = _rgb_of_yuv(0, 255, 255), _rgb_of_yuv(16, 219, 224)
