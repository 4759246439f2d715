"""Reads a JPEG file up to its first scan: its size, its coding, and how it is to be shown.

A file can ask to be turned, or for other levels and colours. Either that is done, or the picture is
refused with an error that names it: a network that sees a turned or pale road steers wrongly, and
nothing reports it.
"""

from __future__ import annotations

import struct
from typing import NamedTuple

import numpy as np

from steerstream_bundle.errors import UndecodableError

_SOI = b"\xff\xd8"
_SOF_HUFFMAN = frozenset({0xC0, 0xC1, 0xC2})
"""Baseline, extended and progressive: the JPEG processes that cameras and decoders share."""
_SOF_PROGRESSIVE = 0xC2
_OTHER_CODINGS = {
    0xC3: "lossless",
    **dict.fromkeys((0xC5, 0xC6, 0xC7), "hierarchical"),
    **dict.fromkeys((0xC9, 0xCA, 0xCB, 0xCD, 0xCE, 0xCF), "arithmetic"),
}
"""Frame headers of the processes that the decoder lacks."""
_EOI, _SOS, _APP1, _COMMENT = 0xD9, 0xDA, 0xE1, 0xFE
_WITHOUT_LENGTH = frozenset({0x01, *range(0xD0, 0xD8)})
_MAX_SEGMENTS = 256
"""Segments before the first scan. Files have about ten; thousands would be a denial of service."""
_MAX_FILL = 64
"""Bytes that may fill the space before a marker. Cameras write up to three; a file of nothing else
would be a denial of service."""
_CHANNELS = {1, 3}
_SCAN_LENGTH_AND_CHANNELS = 3
"""Bytes of a scan's header up to how many channels it has."""

_EXIF = b"Exif\0\0"
_BYTE_ORDERS = {b"II*\0": "<", b"MM\0*": ">"}
_ORIENTATION_TAG = 0x0112
_TAG_BYTES = 12
_INTEGERS = {3: "H", 4: "I"}
"""The kinds of number that an orientation may be, SHORT and LONG, with their format."""
UPRIGHT = 1
"""The EXIF orientation of a picture that is shown as it is stored; 0 stands for unknown."""
_ORIENTATIONS = range(9)
ON_ITS_SIDE = frozenset({5, 6, 7, 8})
"""EXIF orientations that are shown with rows and columns exchanged."""

_LONGEST_COLOUR_SPACE_BYTES = 64
_COLOUR_SPACE, _VIDEO_LEVELS = b"CS=", b"CS=ITU601"
"""FFmpeg writes this comment where Y, Cb and Cr are those of limited video."""


class Header(NamedTuple):
    """The headers before the first scan's data.

    Attributes:
        width_px: columns as they are stored.
        height_px: rows as they are stored.
        scans_at: where the first scan begins.
        one_scan: whether the first scan is all.
        sampling: horizontal and vertical sampling factors, a byte for each channel.
        orientation: how the picture is to be turned, 1 to 8, by EXIF.
        video_levels: whether black is 16 and white is 235.
    """

    width_px: int
    height_px: int
    scans_at: int
    one_scan: bool
    sampling: bytes
    orientation: int
    video_levels: bool


_MOST_REMEMBERED, _LONGEST_REMEMBERED_BYTES = 8, 4096
"""A camera's headers are the same in all its pictures, without a thumbnail 200 to 700 bytes."""
# The last headers that were read, with all bytes that say what stands in them. It is replaced and
# never changed, for any thread may read headers.
_remembered: tuple[tuple[bytes, Header], ...] = ()


def read(data: bytes) -> Header:
    """Walk the segments to the first scan.

    Raises:
        UndecodableError: it is no JPEG, truncated, of a kind that the decoder lacks, or asks to be
            shown in an unknown way; the message says what to do.
    """
    global _remembered  # noqa: PLW0603 - replaced as a whole
    for begin, header in _remembered:
        if data.startswith(begin):
            return header
    if not data.startswith(_SOI):
        raise UndecodableError(
            "not a JPEG; send a JPEG file, or raw pixels as rgb8" if data else "jpeg is empty"
        )
    try:
        header = _read(data)
    except (struct.error, IndexError):
        raise UndecodableError(
            "the JPEG is truncated: its header is incomplete; send the whole file"
        ) from None
    end = header.scans_at + _SCAN_LENGTH_AND_CHANNELS
    if end <= _LONGEST_REMEMBERED_BYTES:
        _remembered = ((data[:end], header), *_remembered[: _MOST_REMEMBERED - 1])
    return header


def _read(data: bytes) -> Header:
    position, size, sampling, channels = len(_SOI), None, b"", 0
    orientation, video_levels = None, False
    for _ in range(_MAX_SEGMENTS):
        marker, position = _marker(data, position)
        if marker in _WITHOUT_LENGTH:
            continue
        (length,) = struct.unpack_from(">H", data, position)
        if marker == _SOS and size is not None:
            # Nothing beyond `_SCAN_LENGTH_AND_CHANNELS` is read here.
            one_scan = data[position + 2] == channels
            shown = orientation or UPRIGHT
            return Header(*size, position, one_scan, sampling, shown, video_levels)
        if marker in {_EOI, _SOS} or length < 2:
            break
        if marker in _OTHER_CODINGS:
            raise UndecodableError(
                f"the JPEG has {_OTHER_CODINGS[marker]} coding, which the decoder lacks; "
                "send a baseline or progressive JPEG"
            )
        if marker in _SOF_HUFFMAN:
            if size is not None:
                break
            size, sampling = _frame(data, position + 2, length)
            channels = 0 if marker == _SOF_PROGRESSIVE else len(sampling)
        elif marker == _APP1 and orientation is None and data.startswith(_EXIF, position + 2):
            orientation = _orientation(data[position + 2 + len(_EXIF) : position + length])
        elif marker == _COMMENT and data.startswith(_COLOUR_SPACE, position + 2):
            video_levels |= _has_video_levels(data[position + 2 : position + length])
        position += length
    raise UndecodableError(
        "the JPEG has no header that can be read; send a baseline or progressive JPEG"
    )


def _marker(data: bytes, position: int) -> tuple[int, int]:
    if data[position] != 0xFF:
        raise UndecodableError("the JPEG's header is damaged; send the file as the camera wrote it")
    begin = data[position : position + 1 + _MAX_FILL + 1]
    code = begin.lstrip(b"\xff")
    if not code and len(begin) > 1 + _MAX_FILL:
        raise UndecodableError(
            f"the JPEG's header has more than {_MAX_FILL} bytes of fill before a marker; send the "
            "file as the camera wrote it"
        )
    return code[0], position + len(begin) - len(code) + 1


def _frame(data: bytes, position: int, length: int) -> tuple[tuple[int, int], bytes]:
    """Return width and height, and the sampling factors of the channels.

    Args:
        data: the file.
        position: where the frame's header begins, after its length.
        length: of the header, as it says.
    """
    precision, height, width, channels = struct.unpack_from(">BHHB", data, position)
    if precision != 8 or channels not in _CHANNELS:
        raise UndecodableError(
            f"the JPEG has {channels} channels of {precision} bits; send colour or grey of 8 bits"
        )
    if length != 8 + 3 * channels:
        # A shorter one would take its channels from behind its end.
        raise UndecodableError(
            f"the JPEG's header is damaged: {channels} channels take {8 + 3 * channels} bytes, not "
            f"{length}; send the file as the camera wrote it"
        )
    sampling = data[position + 7 : position + 6 + 3 * channels : 3]
    if not all(factor >> 4 and factor & 15 for factor in sampling):
        raise UndecodableError("the JPEG's header is damaged: a sampling factor is zero")
    return (width, height), sampling


def _orientation(tiff: bytes) -> int:
    """Return the orientation that the first directory of EXIF names; without one, upright."""
    order = _BYTE_ORDERS.get(tiff[:4])
    if order is None:
        return UPRIGHT
    try:
        (start,) = struct.unpack_from(order + "I", tiff, 4)
        (count,) = struct.unpack_from(order + "H", tiff, start)
    except struct.error:
        return UPRIGHT
    # At most 5,459 tags fit into a segment, so they are not looked at one by one. Only the first
    # segment is read, so that many full ones cost no more.
    whole = max(0, min(count, (len(tiff) - start - 2) // _TAG_BYTES))
    tags = np.frombuffer(tiff, order + "u2", whole * _TAG_BYTES // 2, start + 2)
    found = np.flatnonzero(tags[:: _TAG_BYTES // 2] == _ORIENTATION_TAG)
    if not found.size:
        return UPRIGHT
    kind, _, value = struct.unpack_from(
        order + "HI4s", tiff, start + 2 + _TAG_BYTES * int(found[0]) + 2
    )
    return _known_orientation(kind, order, value)


def _known_orientation(kind: int, order: str, value: bytes) -> int:
    orientation = -1
    if kind in _INTEGERS:
        (orientation,) = struct.unpack_from(order + _INTEGERS[kind], value)
    if orientation not in _ORIENTATIONS:
        raise UndecodableError(
            "the JPEG's EXIF orientation is none of 1 to 8; write a true one, or none"
        )
    return orientation or UPRIGHT


def _has_video_levels(comment: bytes) -> bool:
    """Return what a comment that names a colour space says."""
    text = comment[:_LONGEST_COLOUR_SPACE_BYTES].rstrip(b"\0")
    if text != _VIDEO_LEVELS or len(comment) > _LONGEST_COLOUR_SPACE_BYTES:
        raise UndecodableError(
            f"the JPEG's comment names the colour space {text[:32].decode('ascii', 'replace')}, "
            "which is unknown here; send full-range BT.601, as JPEG has it, without the comment"
        )
    return True
