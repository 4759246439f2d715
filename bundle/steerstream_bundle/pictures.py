"""Pictures as a vehicle sends them, and their conversion to the network's input.

Sizes are checked before memory is allocated.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass, field
from typing import Never

import numpy as np

from steerstream_bundle import jpeg, jpeg_header, view
from steerstream_bundle.contract import LARGEST_SIDE_PX, Crop, FrameInput
from steerstream_bundle.errors import UndecodableError
from steerstream_bundle.preprocess import Picture, Plane, Warp, prepare, prepare_nv12


@dataclass(slots=True)
class JpegImage:
    """A JPEG file as it came; nothing of it is checked yet."""

    data: bytes
    _header: jpeg_header.Header | None = field(default=None, init=False, repr=False, compare=False)

    @property
    def header(self) -> jpeg_header.Header:
        """What its header says; it is read once.

        Raises:
            UndecodableError: it is no JPEG, or its header is damaged.
        """
        if self._header is None:
            self._header = jpeg_header.read(self.data)
        return self._header

    @property
    def size_bytes(self) -> int:
        """Bytes of the picture as it came."""
        return len(self.data)


@dataclass(slots=True)
class RawImage:
    """Raw RGB8 pixels as they came, rows from the top; the stated size is not checked yet."""

    width_px: int
    height_px: int
    pixels: bytes

    @property
    def size_bytes(self) -> int:
        """Bytes of the picture as it came."""
        return len(self.pixels)


@dataclass(slots=True)
class Nv12Image:
    """NV12 planes as they came: Y, then U and V in turn; the stated size is not checked yet."""

    width_px: int
    height_px: int
    planes: bytes
    full_range: bool

    @property
    def size_bytes(self) -> int:
        """Bytes of the picture as it came."""
        return len(self.planes)


Image = JpegImage | RawImage | Nv12Image

_CHEAP_PIXELS = 640 * 480
"""Raw pixels that one core prepares within 100 us; handing them to a thread costs about 150 us."""
_CHEAP_JPEG_BYTES, _CHEAP_JPEG_PIXELS, _SCAN = 10_000, 20_000, b"\xff\xda"
"""Of a view's JPEG with one scan, which one core decodes within 100 us too."""

_LOWEST, _HIGHEST, _OVERSHOOTS = 8, 247, 0.01
"""Y that limited video keeps to, and the share beyond it that filters and compression may leave.
The range itself is 16 to 235. Of real road pictures 93 % are found out where they are full-range,
and none of those that are limited, unless they were compressed hard (decision 8)."""
_LOOKED_AT_ROWS = 16
"""Enough to tell one part in a hundred: 10,000 values of a picture of 640x480, in 4 us."""

_scratch = jpeg.Scratch()


def is_cheap(image: Image | None, view_of: FrameInput | None = None) -> bool:
    """Return whether preparing a picture takes less time than handing it to a thread.

    Args:
        image: the picture as it came.
        view_of: the input of which it is stated to be the view, so that it is refused in any other
            size; None where it is the whole picture.
    """
    if isinstance(image, RawImage | Nv12Image):
        return image.width_px * image.height_px <= _CHEAP_PIXELS
    if isinstance(image, JpegImage) and view_of is not None:
        is_small = view_of.height_px * view_of.width_px <= _CHEAP_JPEG_PIXELS
        is_short = len(image.data) <= _CHEAP_JPEG_BYTES
        return is_small and is_short and image.data.count(_SCAN) == 1
    return False


def upright_size(image: Image) -> tuple[int, int]:
    """Return the columns and rows of a picture as it says them, in the way that it is shown.

    Raises:
        UndecodableError: it is no JPEG, or its header is damaged.
    """
    if not isinstance(image, JpegImage):
        return image.width_px, image.height_px
    header = image.header
    if header.orientation in jpeg_header.ON_ITS_SIDE:
        return header.height_px, header.width_px
    return header.width_px, header.height_px


def own_size(image: Image, applied: view.Applied | None) -> tuple[int, int]:
    """Return the columns and rows of the vehicle's own picture, which a view was made from.

    Args:
        image: the picture as it came.
        applied: what the vehicle says of the view that it made; None where this is its own picture.

    Raises:
        UndecodableError: it is no JPEG, or its header is damaged.
    """
    if applied is not None:
        return applied.source_width_px, applied.source_height_px
    return upright_size(image)


def check(
    image: Image,
    frame: FrameInput,
    max_pixels: int,
    *,
    applied: view.Applied | None = None,
    warp: Warp | None = None,
    shape: view.Shape | None = None,
) -> tuple[FrameInput, Warp | None]:
    """Check what a picture says of its size, before it costs anything.

    Args:
        image: the picture as it came.
        frame: the input that the contract asks for.
        max_pixels: largest picture, in pixels after decoding.
        applied: the part of its own picture from which the vehicle made the view; None where this
            is the whole picture.
        warp: makes the input of pictures of a camera that is not the network's.
        shape: what the vehicle's own pictures have to look like; None where any will do.

    Returns:
        The input that is to be made of the picture, and by which warp.

    Raises:
        UndecodableError: it is no picture, of a size or shape that is not accepted, or not the
            view.
    """
    width_px, height_px = upright_size(image)
    if applied is not None:
        frame, warp = view.check(applied, frame, warp), None
        view.check_size(width_px, height_px, frame)
    elif warp is not None:
        view.check_shape(height_px, width_px, warp)
    jpeg.check_size(width_px, height_px, max_pixels)
    if shape is not None:
        own_px = own_size(image, applied)
        view.check_shape(own_px[1], own_px[0], shape)
    return frame, warp


def work(image: JpegImage, frame: FrameInput, warp: Warp | None = None) -> jpeg.Work:
    """Return what it takes to decode a JPEG, by its header alone.

    Args:
        image: the picture as it came.
        frame: the input that the contract asks for.
        warp: makes the input of pictures of a camera that is not the network's.

    Raises:
        UndecodableError: it is refused for its header.
    """
    return jpeg.work(image.data, _needed(frame, warp), image.header)


def to_input(
    image: Image | None,
    frame: FrameInput,
    max_pixels: int,
    out: Picture | None = None,
    *,
    applied: view.Applied | None = None,
    warp: Warp | None = None,
    shape: view.Shape | None = None,
) -> Picture:
    """Check, decode, crop and resize one picture.

    Args:
        image: the picture as it came.
        frame: the input that the contract asks for.
        max_pixels: largest picture, in pixels after decoding.
        out: where to write, uint8 `frame.shape` and contiguous: memory that a step reads.
        applied: the part of its own picture from which the vehicle made the view; None where this
            is the whole picture.
        warp: makes the input of pictures of a camera that is not the network's.
        shape: what the vehicle's own pictures have to look like; None where any will do.

    Returns:
        uint8 `frame.shape`, RGB, contiguous; `out` where it was given. Without it, raw pixels
        that need no work are returned as a read-only view of the message.

    Raises:
        UndecodableError: the picture is missing, empty, damaged, too large, not of its stated
            size, or not the view; the message says what to do, and `out` may hold anything.
    """
    if image is None:
        _refuse("the frame holds no picture; set jpeg, rgb8 or nv12")
    frame, warp = check(image, frame, max_pixels, applied=applied, warp=warp, shape=shape)
    if isinstance(image, RawImage):
        return prepare(_raw(image), frame, out, warp)
    if isinstance(image, Nv12Image):
        luma, chroma = _planes(image)
        return prepare_nv12(luma, chroma, frame, full_range=image.full_range, out=out, warp=warp)
    # Another thread must never see this thread's scratch memory.
    out = np.empty(frame.shape, np.uint8) if out is None else out
    needed = _needed(frame, warp)
    picture = jpeg.decode(
        image.data, needed, max_pixels=max_pixels, scratch=_scratch, header=image.header
    )
    return prepare(picture, frame, out, warp)


def _needed(frame: FrameInput, warp: Warp | None) -> FrameInput:
    """Return the input by which a decoder chooses its scale."""
    return frame if warp is None else _whole(warp.least_px)


@functools.lru_cache(maxsize=64)
def _whole(least_px: tuple[int, int]) -> FrameInput:
    """Return a whole picture of this size as an input, for a decoder to choose its scale by."""
    height_px, width_px = (min(side, LARGEST_SIDE_PX) for side in least_px)
    return FrameInput(tensor="", height_px=height_px, width_px=width_px, crop=Crop())


def _raw(image: RawImage) -> Picture:
    width, height = image.width_px, image.height_px
    if len(image.pixels) != 3 * width * height:
        _refuse(
            f"rgb8 of {width}x{height} needs {3 * width * height} bytes, has {len(image.pixels)}; "
            "send rows without padding, three bytes a pixel"
        )
    return np.frombuffer(image.pixels, np.uint8).reshape(height, width, 3)


def _planes(image: Nv12Image) -> tuple[Plane, Plane]:
    width, height = image.width_px, image.height_px
    if width % 2 or height % 2:
        _refuse(f"nv12 needs an even width and height, has {width}x{height}")
    if len(image.planes) != 3 * width * height // 2:
        _refuse(
            f"nv12 of {width}x{height} needs {3 * width * height // 2} bytes, has "
            f"{len(image.planes)}; send Y, then U and V in turn, rows without padding"
        )
    rows = np.frombuffer(image.planes, np.uint8).reshape(3 * height // 2, width)
    if not image.full_range:
        _check_limited(rows[:height])
    return rows[:height], rows[height:].reshape(height // 2, width // 2, 2)


def _check_limited(luma: Plane) -> None:
    looked_at = luma[:: max(1, luma.shape[0] // _LOOKED_AT_ROWS)]
    # The subtraction wraps values below the range round to values above it.
    beyond = np.count_nonzero(looked_at - np.uint8(_LOWEST) > _HIGHEST - _LOWEST)
    if beyond > _OVERSHOOTS * looked_at.size:
        _refuse(
            f"nv12 is stated as limited to 16..235, and {beyond / looked_at.size:.1%} of Y is "
            f"below {_LOWEST} or above {_HIGHEST}; set full_range, or have the camera limit it"
        )


def _refuse(text: str) -> Never:
    raise UndecodableError(text)
