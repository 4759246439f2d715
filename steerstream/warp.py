"""Makes a network's input from the pictures of another camera than the network's.

Client and server both do it by these functions, so that a view of raw pixels gives the outputs of
the whole picture, bit for bit where both have OpenCV.

The picture is halved by averaging while it has at least twice the pixels that the network sees, and
then looked up between four pixels. What to look up is the same for all pictures of one size, so it
is kept, for as many cameras as a bound in bytes allows.
"""

from __future__ import annotations

import collections
import math
import threading
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from steerstream.lens import Mapping
from steerstream.resampling import PLACES_A_PIXEL, Plane, halved, look_up

MAX_TABLE_BYTES = 32 * 1024 * 1024
"""Of all tables that are kept: those of 300 different cameras at 200x66, of 70 at 320x180."""

_SAME_ASPECT = 0.01
"""Relative difference of a picture's shape from the described camera's."""

_Key = tuple[Mapping, int, int]


class ShapeMismatchError(ValueError):
    """A picture is not of the shape that the session's camera was described with."""


def is_same_shape(size_px: tuple[int, int], other_px: tuple[int, int]) -> bool:
    """Return whether two pictures have sides of one ratio, by their columns and rows."""
    (width, height), (other_width, other_height) = size_px, other_px
    if not height * other_width:
        return False
    return abs(width * other_height / (height * other_width) - 1) <= _SAME_ASPECT


def check_shape(width_px: int, height_px: int, described_px: tuple[int, int]) -> None:
    """Check that a picture is of the camera that was described.

    Args:
        width_px: its columns.
        height_px: its rows.
        described_px: columns and rows of that camera's pictures.

    Raises:
        ShapeMismatchError: its sides have another ratio.
    """
    if not is_same_shape((width_px, height_px), described_px):
        width, height = described_px
        raise ShapeMismatchError(
            f"the picture has {width_px}x{height_px} pixels, and the session's camera is "
            f"described with {width}x{height}; send its whole pictures, at any scale but with "
            "sides of that ratio, or describe the camera that took them"
        )


class Tables(NamedTuple):
    """What to look up in pictures of one size.

    Attributes:
        part: rows and columns of the picture that are needed.
        least_px: rows and columns to which that part is halved.
        columns: float32 [height, width], in the halved part.
        rows: the same.
    """

    part: tuple[slice, slice]
    least_px: tuple[int, int]
    columns: NDArray[np.float32]
    rows: NDArray[np.float32]

    @property
    def size_bytes(self) -> int:
        """Bytes of memory that they take."""
        return self.columns.nbytes + self.rows.nbytes


class TableCache:
    """Keeps the tables that were used last, up to a bound in bytes; safe in every thread.

    Args:
        max_bytes: of all tables that are kept.
    """

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._lock = threading.Lock()
        self._kept: collections.OrderedDict[_Key, Tables] = collections.OrderedDict()
        self.size_bytes = 0

    def get(self, key: _Key, make: Callable[[], Tables]) -> Tables:
        """Return tables, made anew where they are not kept.

        Args:
            key: the mapping, and the rows and columns of the pictures.
            make: returns them.
        """
        with self._lock:
            if (found := self._kept.get(key)) is not None:
                self._kept.move_to_end(key)
                return found
        # Two threads may make the same at once, which costs a millisecond and no more.
        made = make()
        with self._lock:
            if key not in self._kept:
                self._kept[key] = made
                self.size_bytes += made.size_bytes
            while self.size_bytes > self._max_bytes:
                _, dropped = self._kept.popitem(last=False)
                self.size_bytes -= dropped.size_bytes
        return made


_tables = TableCache(MAX_TABLE_BYTES)


class Warp:
    """Makes one network's input from one camera's pictures.

    Args:
        mapping: where each pixel of the input lies.

    Attributes:
        mapping: the same.
        least_px: rows and columns of the smallest picture in which no two pixels of the input are
            closer than two of the picture's; a decoder need not make a larger one.
    """

    def __init__(self, mapping: Mapping) -> None:
        self.mapping = mapping
        steps = mapping.steps()
        self.least_px = (max(1, math.ceil(1 / steps[0])), max(1, math.ceil(1 / steps[1])))

    def check_shape(self, height_px: int, width_px: int) -> None:
        """Check that a picture is of the camera that was described.

        Raises:
            ShapeMismatchError: its sides have another ratio.
        """
        check_shape(width_px, height_px, self.mapping.size_px)

    def of_plane(self, plane: Plane, out: Plane | None = None) -> Plane:
        """Return what the network sees of a picture, or of a plane of it.

        Args:
            plane: uint8 [height, width, N], at any scale.
            out: where to write, uint8 [height, width, N] of the network's input, contiguous.
        """
        height_px, width_px = plane.shape[:2]
        key = (self.mapping, height_px, width_px)
        tables = _tables.get(key, lambda: self._made(height_px, width_px))
        part = np.ascontiguousarray(plane[tables.part])
        return look_up(halved(part, *tables.least_px), tables.columns, tables.rows, out)

    def _made(self, height_px: int, width_px: int) -> Tables:
        places = self.mapping.places()
        found = [
            _along(places[..., 1 - axis], size, least)
            for axis, (size, least) in enumerate(
                zip((height_px, width_px), self.least_px, strict=True)
            )
        ]
        (rows, down, height), (columns, across, width) = found
        return Tables((rows, columns), (height, width), across, down)


def _along(
    places: NDArray[np.float32], size: int, least: int
) -> tuple[slice, NDArray[np.float32], int]:
    """Return what to look up along one axis of a picture.

    Args:
        places: float32 [h, w], by the picture's size; NaN where the camera shows nothing.
        size: rows or columns of the picture.
        least: those of the smallest picture that is large enough.

    Returns:
        The part that is needed, places in that part when it is halved, and its size then.
    """
    block = 1 << max(0, (size // least).bit_length() - 1)
    # In the picture's own pixels; what it does not show is the nearest that it shows.
    pixels = np.clip(np.nan_to_num(places) * size - 0.5, 0, size - 1)
    first = math.floor(float(pixels.min())) // block * block
    last = min(size, (math.floor(float(pixels.max())) // block + 2) * block)
    # Only whole blocks can be averaged.
    count = max(1, (last - first) // block)
    inside = np.clip((pixels + 0.5 - first) / block - 0.5, 0, count - 1)
    steps = np.rint(inside * PLACES_A_PIXEL) / PLACES_A_PIXEL
    return slice(first, first + count * block), steps.astype(np.float32), count
