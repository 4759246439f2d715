"""Decodes JPEG files, after checking their headers before they cost memory.

The header is read here because a decoder allocates what a header asks for. Truncated files are
refused, and so are files whose data the decoder finds damaged. About half of all single wrong bytes
decode without a warning, and nothing can detect those.
"""

from __future__ import annotations

import functools
import re
import struct
import sys
import threading
from typing import NamedTuple, Never

import numpy as np
import simplejpeg

from steerstream_bundle.contract import FrameInput
from steerstream_bundle.errors import UndecodableError
from steerstream_bundle.preprocess import Picture, bounds

_SOI, _EOI, _SOS = b"\xff\xd8", b"\xff\xd9", b"\xff\xda"
_SOF_HUFFMAN = frozenset({0xC0, 0xC1, 0xC2})
"""Baseline, extended and progressive: the JPEG processes that cameras and decoders share."""
_SOF_PROGRESSIVE = 0xC2
_SOF_OTHER = frozenset(range(0xC3, 0xD0)) - {0xC4, 0xC8, 0xCC}
_WITHOUT_LENGTH = frozenset({0x01, *range(0xD0, 0xD8)})
_MAX_SEGMENTS = 256
"""Segments before the first scan. Files have about ten; thousands would be a denial of service."""
_MAX_SCANS = 64
"""Scans of a progressive file. Encoders write about ten; thousands are a denial of service."""
_CHANNELS = {1, 3}

_EIGHTHS = (1, 2, 4)
"""Scales with fast code in libjpeg-turbo; 3, 5, 6 and 7 eighths take longer than the next larger of
these, or than the whole picture."""

_SURPLUS = re.compile(r"(\d+) extraneous bytes before marker 0xd9")
_PADDING = {0x00, 0xFF}


class Scratch(threading.local):
    """Memory that each decoding thread keeps and reuses for every picture.

    New memory of this size comes from the kernel page by page, which costs a fifth of a decode.
    """

    def __init__(self) -> None:
        self._memory = np.empty(0, np.uint8)

    def picture(self, height_px: int, width_px: int) -> Picture:
        """Return uint8 [height_px, width_px, 3], valid until this thread asks again."""
        size = 3 * height_px * width_px
        if self._memory.size < size:
            self._memory = np.empty(size, np.uint8)
        return self._memory[:size].reshape(height_px, width_px, 3)


def decode(
    data: bytes,
    frame: FrameInput,
    *,
    max_pixels: int = sys.maxsize,
    scratch: Scratch | None = None,
) -> Picture:
    """Decode a JPEG at the smallest scale that still holds every pixel of the network's input.

    Args:
        data: a baseline or progressive file, colour or grey.
        frame: the input that the contract asks for.
        max_pixels: largest picture, in pixels of the file.
        scratch: memory to decode into; the result is then valid until its next use.

    Returns:
        uint8 [H, W, 3] RGB: the whole picture at 1, 1/2, 1/4 or 1/8 of its size.

    Raises:
        UndecodableError: it is no JPEG, damaged, or too large; the message says what to do.
    """
    header = _header(data)
    check_size(header.width_px, header.height_px, max_pixels)
    if data.rfind(_EOI, header.scans_at) < 0:
        _refuse("the JPEG is truncated: it has no end marker; send the whole file")
    # Counting scans costs a twentieth of a decode; the decoder reads only one of a baseline file.
    if not header.one_scan and data.count(_SOS, header.scans_at) >= _MAX_SCANS:
        _refuse(f"the JPEG has more than {_MAX_SCANS} scans; send a baseline JPEG")
    height, width = _scaled(header.height_px, header.width_px, frame)
    picture = (scratch or Scratch()).picture(height, width)
    try:
        found = simplejpeg.decode_jpeg(data, min_height=height, min_width=width, buffer=picture)
    except ValueError as error:
        if not _is_padded(data, str(error)):
            _refuse_damage(str(error))
    else:
        if found.shape != picture.shape:
            _refuse_damage(f"{found.shape[1]}x{found.shape[0]} pixels came out")
    return picture


def check_size(width_px: int, height_px: int, max_pixels: int) -> None:
    """Check the stated size of a picture of any kind.

    Args:
        width_px: columns.
        height_px: rows.
        max_pixels: largest product of the two.

    Raises:
        UndecodableError: it is empty or too large.
    """
    if width_px == 0 or height_px == 0:
        _refuse(f"the picture is empty: {width_px}x{height_px} pixels")
    if width_px * height_px > max_pixels:
        _refuse(
            f"the picture of {width_px}x{height_px} is over the server's {max_pixels} pixels; "
            "send a smaller one"
        )


@functools.lru_cache(maxsize=64)
def _scaled(height: int, width: int, frame: FrameInput) -> tuple[int, int]:
    """Return the size to decode at: the smallest whose crop is at least the network's input."""
    for eighths in _EIGHTHS:
        size = -(-height * eighths // 8), -(-width * eighths // 8)
        top, bottom, left, right = bounds(*size, frame.crop)
        if bottom - top >= frame.height_px and right - left >= frame.width_px:
            return size
    return height, width


def _is_padded(data: bytes, warning: str) -> bool:
    """Return whether a file is whole and only has padding before its end, as from USB cameras."""
    surplus = _SURPLUS.search(warning)
    end = data.rfind(_EOI)
    return surplus is not None and set(data[end - int(surplus[1]) : end]) <= _PADDING


class _Header(NamedTuple):
    """The size, where the data of the first scan begins, and whether there is only one scan."""

    width_px: int
    height_px: int
    scans_at: int
    one_scan: bool


def _header(data: bytes) -> _Header:
    if not data.startswith(_SOI):
        _refuse("not a JPEG; send a JPEG file, or raw pixels as rgb8" if data else "jpeg is empty")
    try:
        return _read_header(data)
    except (struct.error, IndexError):
        _refuse("the JPEG is truncated: its header is incomplete; send the whole file")


def _read_header(data: bytes) -> _Header:
    """Walk the segments to the first scan."""
    position, size, channels = len(_SOI), None, 0
    for _ in range(_MAX_SEGMENTS):
        marker, position = _marker(data, position)
        if marker in _WITHOUT_LENGTH:
            continue
        (length,) = struct.unpack_from(">H", data, position)
        if marker == 0xDA and size is not None:
            return _Header(*size, position, data[position + 2] == channels)
        if marker in _SOF_OTHER or marker in {0xD9, 0xDA} or length < 2:
            break
        if marker in _SOF_HUFFMAN:
            if size is not None:
                break
            size, channels = _frame_size(data, position + 2)
            channels = 0 if marker == _SOF_PROGRESSIVE else channels
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


def _frame_size(data: bytes, position: int) -> tuple[tuple[int, int], int]:
    """Return width and height, and the number of channels."""
    precision, height, width, channels = struct.unpack_from(">BHHB", data, position)
    if precision != 8 or channels not in _CHANNELS:
        _refuse(
            f"the JPEG has {channels} channels of {precision} bits; send colour or grey of 8 bits"
        )
    return (width, height), channels


def _refuse_damage(found: str) -> Never:
    _refuse(f"the JPEG is damaged ({found}); send the file as the camera wrote it")


def _refuse(text: str) -> Never:
    raise UndecodableError(text)
