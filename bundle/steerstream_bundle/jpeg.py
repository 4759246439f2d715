"""Decodes JPEG files, after checking their headers before they cost memory.

`jpeg_header` reads the header first: a decoder allocates what a header asks for, and it neither
turns pictures nor knows video levels. Truncated files are refused, and so are files whose data the
decoder finds damaged. About half of all single wrong bytes decode without a warning, and nothing
can detect those.
"""

from __future__ import annotations

import functools
import re
import sys
import threading
from typing import NamedTuple, Never

import numpy as np
import simplejpeg

from steerstream_bundle import jpeg_header
from steerstream_bundle.contract import LARGEST_SIDE_PX, FrameInput
from steerstream_bundle.errors import UndecodableError
from steerstream_bundle.jpeg_header import UPRIGHT, Header
from steerstream_bundle.preprocess import Picture, bounds, full_levels

_EOI, _SOS = b"\xff\xd9", b"\xff\xda"
_MAX_SCANS = 64
"""Scans of a progressive file. Encoders write about ten; thousands are a denial of service."""

_EIGHTHS = (1, 2, 4)
"""Scales with fast code in libjpeg-turbo; 3, 5, 6 and 7 eighths take longer than the next larger of
these, or than the whole picture."""

_LONGEST_SHAPE = 16
"""How many times as long as the other a picture's side may be. Panoramas have 4; pictures of one
row take up to 70 times as long to scale as others of as many pixels."""

_SURPLUS = re.compile(r"(\d+) extraneous bytes before marker 0xd9")
_PADDING = b"\x00\xff"


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


class Work(NamedTuple):
    """What decoding a JPEG goes through, as its header says before anything is decoded.

    Attributes:
        size_bytes: of the file.
        pixels: of the file.
        made_pixels: of the picture that comes out.
        one_scan: whether one scan is all; each of others goes through the whole picture.
    """

    size_bytes: int
    pixels: int
    made_pixels: int
    one_scan: bool


def work(data: bytes, frame: FrameInput, header: Header | None = None) -> Work:
    """Return what `decode` would go through.

    Args:
        data: the file.
        frame: the input that the contract asks for.
        header: the file's, where it was read before.

    Raises:
        UndecodableError: `decode` would refuse the file for its header.
    """
    header = header or jpeg_header.read(data)
    height, width = _scaled(header, frame)
    return Work(len(data), header.width_px * header.height_px, height * width, header.one_scan)


def decode(
    data: bytes,
    frame: FrameInput,
    *,
    max_pixels: int = sys.maxsize,
    scratch: Scratch | None = None,
    header: Header | None = None,
) -> Picture:
    """Decode a JPEG at the smallest scale that still holds every pixel of the network's input.

    Args:
        data: a baseline or progressive file, colour or grey.
        frame: the input that the contract asks for.
        max_pixels: largest picture, in pixels of the file.
        scratch: memory to decode into; the result is then valid until its next use.
        header: the file's, where it was read before.

    Returns:
        uint8 [H, W, 3] RGB, upright: the whole picture at 1, 1/2, 1/4 or 1/8 of its size.

    Raises:
        UndecodableError: it is no JPEG, damaged, too large, or of a kind that cannot be decoded;
            the message says what to do.
    """
    header = header or jpeg_header.read(data)
    check_size(header.width_px, header.height_px, max_pixels)
    if data.rfind(_EOI, header.scans_at) < 0:
        _refuse("the JPEG is truncated: it has no end marker; send the whole file")
    # Counting scans costs a twentieth of a decode; the decoder reads only one of a baseline file.
    if not header.one_scan and data.count(_SOS, header.scans_at) >= _MAX_SCANS:
        _refuse(f"the JPEG has more than {_MAX_SCANS} scans; send a baseline JPEG")
    height, width = _scaled(header, frame)
    picture = (scratch or Scratch()).picture(height, width)
    try:
        found = simplejpeg.decode_jpeg(data, min_height=height, min_width=width, buffer=picture)
    except ValueError as error:
        if "subsampling" in str(error):
            _refuse_sampling(header.sampling)
        if not _is_padded(data, str(error)):
            _refuse_damage(str(error))
    else:
        if found.shape != picture.shape:
            _refuse_damage(f"{found.shape[1]}x{found.shape[0]} pixels came out")
    if header.video_levels:
        picture = full_levels(picture)
    return picture if header.orientation == UPRIGHT else _upright(picture, header.orientation)


def check_size(width_px: int, height_px: int, max_pixels: int) -> None:
    """Check the stated size of a picture of any kind.

    Args:
        width_px: columns.
        height_px: rows.
        max_pixels: largest product of the two.

    Raises:
        UndecodableError: it is empty, too large, or too long for its width.
    """
    if width_px == 0 or height_px == 0:
        _refuse(f"the picture is empty: {width_px}x{height_px} pixels")
    if width_px * height_px > max_pixels:
        _refuse(
            f"the picture of {width_px}x{height_px} is over the server's {max_pixels} pixels; "
            "send a smaller one"
        )
    shorter_px, longer_px = sorted((width_px, height_px))
    if longer_px > min(LARGEST_SIDE_PX, _LONGEST_SHAPE * shorter_px):
        _refuse(
            f"the picture has {width_px}x{height_px} pixels; send one of at most {LARGEST_SIDE_PX} "
            f"a side, and no side over {_LONGEST_SHAPE} times the other"
        )


def _scaled(header: Header, frame: FrameInput) -> tuple[int, int]:
    """Return the height and width to decode at, before the picture is turned."""
    if header.orientation in jpeg_header.ON_ITS_SIDE:
        return _smallest(header.width_px, header.height_px, frame)[::-1]
    return _smallest(header.height_px, header.width_px, frame)


@functools.lru_cache(maxsize=64)
def _smallest(height: int, width: int, frame: FrameInput) -> tuple[int, int]:
    """Return the smallest size whose crop is at least the network's input."""
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
    # Not byte by byte: megabytes may be named as padding.
    return surplus is not None and not data[end - int(surplus[1]) : end].translate(None, _PADDING)


def _upright(picture: Picture, orientation: int) -> Picture:
    """Return a picture turned and mirrored as its EXIF orientation asks."""
    if orientation in jpeg_header.ON_ITS_SIDE:
        picture = picture.transpose(1, 0, 2)
    if orientation in {3, 4, 7, 8}:
        picture = picture[::-1]
    if orientation in {2, 3, 6, 7}:
        picture = picture[:, ::-1]
    return np.ascontiguousarray(picture)


def _refuse_sampling(factors: bytes) -> Never:
    named = ", ".join(f"{factor >> 4}x{factor & 15}" for factor in factors)
    _refuse(f"the decoder lacks the JPEG's sampling {named}; send 4:4:4, 4:2:2 or 4:2:0")


def _refuse_damage(found: str) -> Never:
    _refuse(f"the JPEG is damaged ({found}); send the file as the camera wrote it")


def _refuse(text: str) -> Never:
    raise UndecodableError(text)
