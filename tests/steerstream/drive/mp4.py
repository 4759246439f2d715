"""Videos: their length, and pictures that last differently, which OpenCV does not write."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from pathlib import Path

import cv2

_PARENTS = (b"moov", b"trak", b"mdia", b"minf", b"stbl")


def frames_of(path: Path) -> int:
    """Return how many pictures a video has."""
    capture = cv2.VideoCapture(str(path))
    count = 0
    while capture.read()[0]:
        count += 1
    capture.release()
    return count


def set_durations(path: Path, shares: Sequence[int]) -> None:
    """Let each picture of an MP4 file last so many times as long as it did.

    Args:
        path: a file whose index lies behind its pictures, as OpenCV writes it.
        shares: one for each picture.
    """
    path.write_bytes(_changed(path.read_bytes(), shares))


def _changed(boxes: bytes, shares: Sequence[int]) -> bytes:
    out, at = b"", 0
    while at < len(boxes):
        size, kind = struct.unpack(">I4s", boxes[at : at + 8])
        body = boxes[at + 8 : at + size]
        if kind in _PARENTS:
            body = _changed(body, shares)
        elif kind == b"stts":
            entries, pictures, duration = struct.unpack(">III", body[4:16])
            assert (entries, pictures) == (1, len(shares))
            table = b"".join(struct.pack(">II", 1, duration * share) for share in shares)
            body = body[:4] + struct.pack(">I", len(shares)) + table
        elif kind == b"edts":
            # An edit list would cut the video to its old length.
            kind = b"free"
        out += struct.pack(">I4s", len(body) + 8, kind) + body
        at += size
    return out
