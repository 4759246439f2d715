"""JPEG files with segments and changes as tests want them."""

from __future__ import annotations

import struct

import cv2

from tests.service.vehicle import jpeg, pictures

PICTURE = cv2.GaussianBlur(pictures(1, 3, (48, 96, 3))[0], (9, 9), 0)
WHOLE = jpeg(PICTURE)
PROGRESSIVE = jpeg(PICTURE, cv2.IMWRITE_JPEG_PROGRESSIVE, 1)
RESTARTS = jpeg(PICTURE, cv2.IMWRITE_JPEG_RST_INTERVAL, 4)


def segment(marker: int, content: bytes) -> bytes:
    return bytes([0xFF, marker]) + (len(content) + 2).to_bytes(2) + content


def with_segments(data: bytes, *segments: bytes) -> bytes:
    return data[:2] + b"".join(segments) + data[2:]


def exif(orientation: int, order="<", kind: int = 3, before: int = 0) -> bytes:
    """A segment with an orientation, after some other tags."""
    size = {3: "H", 4: "I"}.get(kind, "H")
    value = struct.pack(order + size, orientation).ljust(4, b"\0")
    tags = [struct.pack(order + "HHI4s", 0x0100 + i, 3, 1, b"\1\0\0\0") for i in range(before)]
    tags.append(struct.pack(order + "HHI4s", 0x0112, kind, 1, value))
    start = b"II" if order == "<" else b"MM"
    directory = struct.pack(order + "HIH", 42, 8, len(tags)) + b"".join(tags) + bytes(4)
    return segment(0xE1, b"Exif\0\0" + start + directory)


def changed(marker: int, offset: int, value: int) -> bytes:
    data = bytearray(WHOLE)
    data[data.index(bytes([0xFF, marker])) + offset] = value
    return bytes(data)


def of_size(width_px: int, height_px: int, size_bytes: int, *, progressive=False) -> bytes:
    """The headers of a colour JPEG of 4:2:0, and as many bytes as a decoder would go through."""
    channels = bytes([1, 0x22, 0, 2, 0x11, 1, 3, 0x11, 1])
    frame = struct.pack(">BHHB", 8, height_px, width_px, 3) + channels
    scan = bytes([3, 1, 0, 2, 0x11, 3, 0x11, 0, 63, 0])
    head = b"\xff\xd8" + segment(0xC2 if progressive else 0xC0, frame) + segment(0xDA, scan)
    return head + bytes(size_bytes - len(head) - 2) + b"\xff\xd9"
