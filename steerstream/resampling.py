"""Scales planes and looks pixels up between others: with OpenCV, or without it with NumPy.

OpenCV takes a tenth of a millisecond; NumPy's results are the same to the last level but one.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from steerstream import extras

Plane = NDArray[np.uint8]
"""uint8 [height, width, N]."""

PLACES_A_PIXEL = 32
"""Places between two pixels that OpenCV tells apart, along rows and columns."""


def resize(plane: Plane, height_px: int, width_px: int) -> Plane:
    """Interpolate a plane at another size; to half its size is an average.

    Args:
        plane: uint8 [height, width, N].
        height_px: rows of the result.
        width_px: columns of the result.
    """
    if not extras.has_opencv():
        rows = _interpolated(plane, height_px)
        scaled = _interpolated(rows.swapaxes(0, 1), width_px).swapaxes(0, 1)
        return (scaled + np.float32(0.5)).astype(np.uint8)
    cv2: Any = extras.opencv("scaling pictures")
    scaled = cv2.resize(plane, (width_px, height_px), interpolation=cv2.INTER_LINEAR)
    # OpenCV leaves out an axis of length one.
    return np.asarray(scaled, np.uint8).reshape(height_px, width_px, plane.shape[2])


def halved(plane: Plane, least_height_px: int, least_width_px: int) -> Plane:
    """Halve a plane by averaging while it is at least twice as large as that.

    Args:
        plane: uint8 [height, width, N].
        least_height_px: rows.
        least_width_px: columns.
    """
    while (rows := plane.shape[0] // least_height_px) > 1 or plane.shape[1] // least_width_px > 1:
        columns = plane.shape[1] // least_width_px
        height, width, _ = plane.shape
        plane = resize(plane, height // (2 if rows > 1 else 1), width // (2 if columns > 1 else 1))
    return plane


def look_up(
    plane: Plane,
    columns: NDArray[np.float32],
    rows: NDArray[np.float32],
    out: Plane | None = None,
) -> Plane:
    """Return what lies at places of a plane, between its pixels.

    Args:
        plane: uint8 [height, width, N].
        columns: float32 [h, w], from 0 to width - 1, in steps of 1 / `PLACES_A_PIXEL`.
        rows: the same, from 0 to height - 1.
        out: where to write, uint8 [h, w, N], contiguous.
    """
    if extras.has_opencv():
        cv2: Any = extras.opencv("looking pixels up")
        found = cv2.remap(
            plane, columns, rows, cv2.INTER_LINEAR, dst=out, borderMode=cv2.BORDER_REPLICATE
        )
        return np.asarray(found, np.uint8).reshape(*columns.shape, plane.shape[2])
    left, top = columns.astype(np.intp), rows.astype(np.intp)
    right = np.minimum(left + 1, plane.shape[1] - 1)
    bottom = np.minimum(top + 1, plane.shape[0] - 1)
    across, down = (columns - left)[..., None], (rows - top)[..., None]
    above = plane[top, left] + (plane[top, right].astype(np.float32) - plane[top, left]) * across
    below = (
        plane[bottom, left]
        + (plane[bottom, right].astype(np.float32) - plane[bottom, left]) * across
    )
    mixed: Plane = (above + (below - above) * down + np.float32(0.5)).astype(np.uint8)
    if out is None:
        return mixed
    out[...] = mixed
    return out


def _interpolated(values: NDArray[Any], size: int) -> NDArray[np.float32]:
    """Interpolate along the first axis; the ends of a row of pixels are the middles of the last."""
    count = len(values)
    if count == 2 * size:
        doubled: NDArray[np.float32] = np.add(values[::2], values[1::2], dtype=np.float32)
        return doubled * np.float32(0.5)
    places = np.clip((np.arange(size) + 0.5) * (count / size) - 0.5, 0, count - 1)
    before = places.astype(np.intp)
    share = (places - before).astype(np.float32)[:, None, None]
    first: NDArray[np.float32] = values[before].astype(np.float32)
    second: NDArray[np.float32] = values[np.minimum(before + 1, count - 1)].astype(np.float32)
    interpolated: NDArray[np.float32] = first + (second - first) * share
    return interpolated
