"""From a picture as it came to the network's input, with every size checked before it costs memory.

JPEG headers are read here, because a decoder allocates what a header asks for. A truncated file is
refused. Damage inside the compressed data that still ends in a proper marker cannot be told from a
picture: libjpeg conceals it.
"""

from __future__ import annotations

import struct
from typing import Never

import cv2
import numpy as np

from service.contract import FrameInput
from service.domain import Image, JpegImage, RawImage
from service.errors import UndecodableError
from service.preprocess import Picture, decode_jpeg, prepare

# OpenCV would start threads of its own in every decoding thread.
cv2.setNumThreads(1)

_SOI, _EOI = b"\xff\xd8", b"\xff\xd9"
_SOF_HUFFMAN = frozenset({0xC0, 0xC1, 0xC2})
"""Baseline, extended and progressive: the JPEG processes that cameras and decoders share."""
_SOF_OTHER = frozenset(range(0xC3, 0xD0)) - {0xC4, 0xC8, 0xCC}
_WITHOUT_LENGTH = frozenset({0x01, *range(0xD0, 0xD8)})
_MAX_SEGMENTS = 256
"""Segments before the picture's header. Files have about ten; the rest would be a waste of time."""
_MAX_SCANS = 64
"""Scans of a progressive file. Encoders write about ten; thousands are a denial of service."""
_CHANNELS = {1, 3}
_CHEAP_PIXELS = 20_000
"""Raw pixels that one core crops and resizes in 50 us; a thread and back costs some 100 us."""


def is_cheap(image: Image | None) -> bool:
    """Return whether a picture is prepared faster than a thread takes it over."""
    return isinstance(image, RawImage) and image.width_px * image.height_px <= _CHEAP_PIXELS


def to_input(image: Image | None, frame: FrameInput, max_pixels: int) -> Picture:
    """Check, decode, crop and resize one picture.

    Args:
        image: the picture as it came.
        frame: the input that the contract asks for.
        max_pixels: largest picture, in pixels after decoding.

    Returns:
        uint8 ``frame.shape``, RGB.

    Raises:
        UndecodableError: the picture is missing, empty, damaged, too large, or not of its stated
        size; the message says what to do.
    """
    if image is None:
        _refuse("the frame holds no picture; set jpeg or rgb8")
    if isinstance(image, JpegImage):
        return prepare(_decoded(image.data, max_pixels), frame)
    return prepare(_raw(image, max_pixels), frame)


def _raw(image: RawImage, max_pixels: int) -> Picture:
    width, height = image.width_px, image.height_px
    _check_size(width, height, max_pixels)
    if len(image.pixels) != 3 * width * height:
        _refuse(
            f"rgb8 of {width}x{height} needs {3 * width * height} bytes, has {len(image.pixels)}; "
            "send rows without padding, three bytes a pixel"
        )
    return np.frombuffer(image.pixels, np.uint8).reshape(height, width, 3)


def _decoded(data: bytes, max_pixels: int) -> Picture:
    width, height, scans_at = _jpeg_header(data)
    _check_size(width, height, max_pixels)
    if data.rfind(_EOI, scans_at) < 0:
        _refuse("the JPEG is truncated: it has no end marker; send the whole file")
    if data.count(b"\xff\xda", scans_at) > _MAX_SCANS:
        _refuse(f"the JPEG has more than {_MAX_SCANS} scans; send a baseline JPEG")
    try:
        picture = decode_jpeg(data)
    except cv2.error:
        picture = None
    if picture is None or picture.shape != (height, width, 3):
        _refuse("the JPEG is damaged; send the file as the camera wrote it")
    return picture


def _check_size(width: int, height: int, max_pixels: int) -> None:
    if width == 0 or height == 0:
        _refuse(f"the picture is empty: {width}x{height} pixels")
    if width * height > max_pixels:
        _refuse(
            f"the picture of {width}x{height} is over the server's {max_pixels} pixels; "
            "send a smaller one"
        )


def _jpeg_header(data: bytes) -> tuple[int, int, int]:
    """Return width, height, and where the rest of a JPEG begins after its frame header."""
    if not data.startswith(_SOI):
        _refuse("not a JPEG; send a JPEG file, or raw pixels as rgb8" if data else "jpeg is empty")
    try:
        return _frame_header(data, len(_SOI))
    except (struct.error, IndexError):
        _refuse("the JPEG is truncated: its header is incomplete; send the whole file")


def _frame_header(data: bytes, position: int) -> tuple[int, int, int]:
    """Walk the segments from a position to the frame header."""
    for _ in range(_MAX_SEGMENTS):
        marker, position = _marker(data, position)
        if marker in _WITHOUT_LENGTH:
            continue
        (length,) = struct.unpack_from(">H", data, position)
        if marker in _SOF_HUFFMAN:
            return (*_frame_size(data, position + 2), position + length)
        if marker in _SOF_OTHER or marker in {0xD9, 0xDA} or length < 2:
            break
        position += length
    raise UndecodableError(
        "the JPEG has no header that can be read; send a baseline or progressive JPEG"
    )


def _marker(data: bytes, position: int) -> tuple[int, int]:
    if data[position] != 0xFF:
        _refuse("the JPEG's header is damaged; send the file as the camera wrote it")
    while data[position] == 0xFF:
        position += 1
    return data[position], position + 1


def _frame_size(data: bytes, position: int) -> tuple[int, int]:
    precision, height, width, channels = struct.unpack_from(">BHHB", data, position)
    if precision != 8 or channels not in _CHANNELS:
        _refuse(
            f"the JPEG has {channels} channels of {precision} bits; send colour or grey of 8 bits"
        )
    return width, height


def _refuse(text: str) -> Never:
    raise UndecodableError(text)
