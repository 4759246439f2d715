"""Encoded frames on their way between processes, each with a header that tells JPEG from pixels."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from pathlib import Path

import numpy as np

_HEADER = struct.Struct("<HH")
"""Width and height in pixels; both 0 where a JPEG follows."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FrameSet:
    """Frames of one encoding.

    Attributes:
        width_px: columns of raw pixels; 0 for JPEG.
        height_px: rows of raw pixels; 0 for JPEG.
        frames: JPEG files, or RGB rows without padding.
    """

    width_px: int
    height_px: int
    frames: tuple[bytes, ...]

    @property
    def is_jpeg(self) -> bool:
        """Whether the frames are JPEG files."""
        return self.width_px == 0

    def packed(self) -> list[bytes]:
        """Return each frame behind its header, for transports that carry plain bytes."""
        header = _HEADER.pack(self.width_px, self.height_px)
        return [header + frame for frame in self.frames]

    def save(self, path: Path) -> None:
        """Write all frames to one file."""
        sizes = [len(frame) for frame in self.frames]
        data = np.frombuffer(b"".join(self.frames), np.uint8)
        np.savez(path, data=data, sizes=sizes, picture=[self.width_px, self.height_px])

    @classmethod
    def load(cls, path: Path) -> FrameSet:
        """Read what `save` wrote."""
        with np.load(path) as stored:
            data, sizes = stored["data"].tobytes(), stored["sizes"].tolist()
            width, height = stored["picture"].tolist()
        ends = np.cumsum(sizes).tolist()
        frames = tuple(data[end - size : end] for size, end in zip(sizes, ends, strict=True))
        return cls(width_px=width, height_px=height, frames=frames)


def unpack(packed: memoryview) -> tuple[int, int, memoryview]:
    """Split a packed frame into width and height in pixels, 0 for JPEG, and its bytes."""
    width, height = _HEADER.unpack_from(packed)
    return width, height, packed[_HEADER.size :]
