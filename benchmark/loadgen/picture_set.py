"""Encoded pictures on their way between processes."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from pathlib import Path

import numpy as np

_HEADER = struct.Struct("<HH")
"""Width and height in pixels; both 0 where a JPEG follows."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PictureSet:
    """Pictures of one encoding, which vehicles send in turn.

    Attributes:
        width_px: columns of raw pixels; 0 for JPEG.
        height_px: rows of raw pixels; 0 for JPEG.
        pictures: JPEG files, or RGB rows without padding.
        are_frames: the pictures are messages `Frame` instead, but for their number and time.
    """

    width_px: int = 0
    height_px: int = 0
    pictures: tuple[bytes, ...]
    are_frames: bool = False

    @property
    def is_jpeg(self) -> bool:
        """Whether the pictures are JPEG files."""
        return self.width_px == 0 and not self.are_frames

    def packed(self) -> list[bytes]:
        """Return each picture behind a header of its size, for protocols that carry plain bytes."""
        header = _HEADER.pack(self.width_px, self.height_px)
        return [header + picture for picture in self.pictures]

    def save(self, path: Path) -> None:
        """Write all pictures to one file."""
        lengths = [len(picture) for picture in self.pictures]
        data = np.frombuffer(b"".join(self.pictures), np.uint8)
        kind = [self.width_px, self.height_px, self.are_frames]
        np.savez(path, data=data, lengths=lengths, kind=kind)

    @classmethod
    def load(cls, path: Path) -> PictureSet:
        """Read what `save` wrote."""
        with np.load(path) as stored:
            data, lengths = stored["data"].tobytes(), stored["lengths"].tolist()
            width_px, height_px, are_frames = stored["kind"].tolist()
        ends = np.cumsum(lengths).tolist()
        pictures = tuple(data[end - size : end] for size, end in zip(lengths, ends, strict=True))
        return cls(
            width_px=width_px,
            height_px=height_px,
            pictures=pictures,
            are_frames=bool(are_frames),
        )


def unpack(packed: memoryview) -> tuple[int, int, memoryview]:
    """Split a packed picture into width and height in pixels, 0 for JPEG, and its bytes."""
    width_px, height_px = _HEADER.unpack_from(packed)
    return width_px, height_px, packed[_HEADER.size :]
