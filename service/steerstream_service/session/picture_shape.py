"""Holds a session's pictures to one camera: their sides keep one ratio, at any scale.

A picture of another shape shows another part of the road, or the road on its side. Cropped to the
network's input it would steer the vehicle as if nothing had happened.
"""

from __future__ import annotations

from steerstream.warp import ShapeMismatchError, check_shape, is_same_shape
from steerstream_service.domain import Camera


class PictureShape:
    """Knows the shape of a session's pictures: of the described camera, or else of the first one.

    Args:
        camera: as the vehicle describes it; without both sides nothing is described.
    """

    __slots__ = ("_described_px", "_first_px")

    def __init__(self, camera: Camera) -> None:
        described_px = camera.width_px, camera.height_px
        self._described_px = described_px if all(described_px) else None
        self._first_px: tuple[int, int] | None = None

    def check_shape(self, height_px: int, width_px: int) -> None:
        """Check that a picture is of the session's camera; safe in every thread.

        Args:
            height_px: its rows.
            width_px: its columns.

        Raises:
            ShapeMismatchError: its sides have another ratio.
        """
        if self._described_px is not None:
            check_shape(width_px, height_px, self._described_px)
        elif self._first_px and not is_same_shape((width_px, height_px), self._first_px):
            first_width_px, first_height_px = self._first_px
            raise ShapeMismatchError(
                f"the picture has {width_px}x{height_px} pixels, and the session's first has "
                f"{first_width_px}x{first_height_px}; send pictures of one camera, at any scale "
                "but with sides of that ratio, or open another session"
            )

    def used(self, width_px: int, height_px: int) -> None:
        """Remember the first picture that was decoded.

        Args:
            width_px: its columns.
            height_px: its rows.
        """
        if self._first_px is None:
            self._first_px = width_px, height_px
