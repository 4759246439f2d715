"""Checks views: pictures of which a vehicle has made the network's input already."""

from __future__ import annotations

import dataclasses
import functools
from typing import NamedTuple, Protocol

from steerstream_bundle.contract import Crop, FrameInput
from steerstream_bundle.errors import UndecodableError
from steerstream_bundle.preprocess import Warp, bounds

_ROUNDING_PX = 1
"""Another client may round a crop's edge the other way."""


class Shape(Protocol):
    """What the pictures of a camera look like."""

    def check_shape(self, height_px: int, width_px: int) -> None:
        """Raise a `ValueError` if a picture is not of the camera."""


class Applied(NamedTuple):
    """What a vehicle says of the view that it made; nothing of it is checked yet.

    Attributes:
        source_width_px: columns of its own picture.
        source_height_px: rows of its own picture.
        top_px: first row of the part.
        bottom_px: first row below it.
        left_px: first column of the part.
        right_px: first column to the right of it.
        is_mapped: whether the vehicle mapped its picture to the network's camera; the edges then
            mean nothing.
    """

    source_width_px: int
    source_height_px: int
    top_px: int
    bottom_px: int
    left_px: int
    right_px: int
    is_mapped: bool = False


def check(applied: Applied, frame: FrameInput, warp: Warp | None = None) -> FrameInput:
    """Check the part of a picture that a view was made from.

    Args:
        applied: what the vehicle says of it.
        frame: the input that the contract asks for.
        warp: makes it of the vehicle's pictures; None where they are cropped.

    Returns:
        The same input for a picture that needs no crop.

    Raises:
        UndecodableError: it is another part than the network sees.
    """
    width_px, height_px = applied.source_width_px, applied.source_height_px
    if width_px == 0 or height_px == 0:
        raise UndecodableError(
            f"view_applied states a picture of {width_px}x{height_px} pixels; state the size of "
            "the vehicle's own picture"
        )
    if applied.is_mapped or warp is not None:
        _check_mapped(applied, warp)
        return _uncropped(frame)
    expected, found = bounds(height_px, width_px, frame.crop), applied[2:6]
    if any(abs(want - has) > _ROUNDING_PX for want, has in zip(expected, found, strict=True)):
        raise UndecodableError(
            f"the view shows {_part(found)} of a picture of {width_px}x{height_px}, the server "
            f"asked for {_part(expected)}; crop as SessionOpened.view says, or send whole pictures"
        )
    return _uncropped(frame)


def _check_mapped(applied: Applied, warp: Warp | None) -> None:
    if warp is None:
        raise UndecodableError(
            "the view is mapped to the network's camera, and the server asked for no mapping; crop "
            "as SessionOpened.view says, or send whole pictures"
        )
    if not applied.is_mapped:
        raise UndecodableError(
            "the view is cropped, and the server asked for SessionOpened.camera_mapping; map it as "
            "that says, or send whole pictures"
        )
    check_shape(applied.source_height_px, applied.source_width_px, warp)


def check_shape(height_px: int, width_px: int, shape: Shape) -> None:
    """Check that a picture is of the camera that the vehicle described.

    Args:
        height_px: its rows.
        width_px: its columns.
        shape: of the camera's pictures.

    Raises:
        UndecodableError: it has another shape.
    """
    try:
        shape.check_shape(height_px, width_px)
    except ValueError as error:
        raise UndecodableError(str(error)) from None


@functools.lru_cache(maxsize=64)
def _uncropped(frame: FrameInput) -> FrameInput:
    return dataclasses.replace(frame, crop=Crop())


def check_size(width_px: int, height_px: int, frame: FrameInput) -> None:
    """Check the size of a picture that is stated to be a view.

    Args:
        width_px: its columns.
        height_px: its rows.
        frame: the input that the contract asks for.

    Raises:
        UndecodableError: it is not the view's.
    """
    if (width_px, height_px) != (frame.width_px, frame.height_px):
        raise UndecodableError(
            f"the view has {width_px}x{height_px} pixels, the server asked for "
            f"{frame.width_px}x{frame.height_px}; scale as SessionOpened.view says, or send whole "
            "pictures"
        )


def _part(edges: tuple[int, ...]) -> str:
    top, bottom, left, right = edges
    return f"rows {top} to {bottom}, columns {left} to {right}"
