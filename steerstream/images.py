"""Pictures as the wire carries them: JPEG files, raw pixels, or raw video."""

from __future__ import annotations

import asyncio
import dataclasses
import enum

import numpy as np
from numpy.typing import NDArray

from steerstream import view as views
from steerstream.arguments import instance, whole_number
from steerstream.errors import BadRequest
from steerstream.extras import has_opencv, opencv
from steerstream.models import ServerLimits, View, ViewEncoding
from steerstream.resampling import Plane
from steerstream.v1 import frame_pb2

MAX_SIDE_PX = (1 << 31) - 1
"""Most columns and rows that the wire carries."""


@dataclasses.dataclass(frozen=True, slots=True)
class Nv12:
    """A picture in NV12, as cameras and their drivers deliver it: half the bytes of raw pixels.

    Attributes:
        width_px: columns, an even number.
        height_px: rows, an even number.
        planes: the Y plane, then U and V in turn on half as many rows, without padding: in all
            3 * width_px * height_px / 2 bytes. An array is taken in any shape, such as OpenCV's
            [3 * height_px / 2, width_px].
        full_range: whether the values are 0 to 255, as in JPEG; otherwise Y is 16 to 235 and U and
            V are 16 to 240, as most cameras deliver it. The colours are those of BT.601. The server
            answers UNDECODABLE where the values show that it is not true.

    Raises:
        BadRequest: the size is odd or not that of the planes, or the planes are no bytes.
    """

    width_px: int
    height_px: int
    planes: bytes | NDArray[np.uint8]
    full_range: bool = False

    def __post_init__(self) -> None:
        width = whole_number("width_px", self.width_px, low=-MAX_SIDE_PX, high=MAX_SIDE_PX)
        height = whole_number("height_px", self.height_px, low=-MAX_SIDE_PX, high=MAX_SIDE_PX)
        if isinstance(self.planes, np.ndarray):
            if self.planes.dtype != np.uint8:
                raise BadRequest(f"the planes of NV12 must be uint8, not {self.planes.dtype}")
        else:
            instance("planes", self.planes, bytes)
        if width < 2 or height < 2 or width % 2 or height % 2:
            raise BadRequest(f"NV12 needs an even width and height, not {width}x{height}")
        expected, found = 3 * width * height // 2, _size(self.planes)
        if found != expected:
            raise BadRequest(
                f"NV12 of {width}x{height} is {expected:,} bytes, not {found:,}; "
                "take the padding off every row"
            )


Image = bytes | bytearray | memoryview | NDArray[np.uint8] | Nv12
"""A JPEG file, pixels [height, width, 3] in RGB, or raw video."""

MESSAGE_OVERHEAD_BYTES = 128
"""An upper bound on the bytes of a frame's other fields."""


class Encoding(enum.Enum):
    """How pixels are sent, and raw video of which only the view is sent."""

    AUTO = "auto"
    """JPEG where OpenCV is installed, raw pixels otherwise."""
    JPEG = "jpeg"
    """About 40 kB for 640x480, at 2 ms of one core."""
    RGB8 = "rgb8"
    """Raw: exact, no work, 900 kB for 640x480."""


class ViewUse(enum.Enum):
    """Which pictures are cropped, scaled and encoded by the view that the server declares."""

    PIXELS = "pixels"
    """Pixels and raw video; a JPEG file is sent as it is."""
    ALWAYS = "always"
    """JPEG files too, which takes half a millisecond of one core for 640x480. One that asks to be
    turned, or for other levels or colours, is sent as it is, and so is a damaged one."""
    NEVER = "never"
    """Whole pictures alone."""


_WHOLE_QUALITY = 90
"""Of a JPEG of a whole picture. A view states its own."""


@dataclasses.dataclass(frozen=True, slots=True)
class Choices:
    """How pictures are sent.

    Attributes:
        encoding: of pixels.
        jpeg_quality: 1 to 100, where pixels are sent as JPEG; None for the view's, or 90.
        view: which pictures are cropped and scaled by the view, where the server declares one.
    """

    encoding: Encoding = Encoding.AUTO
    jpeg_quality: int | None = None
    view: ViewUse = ViewUse.PIXELS


async def encode_frame(
    image: Image, choices: Choices, limits: ServerLimits, view: View | None
) -> frame_pb2.Frame:
    """Return a frame that holds the picture, its number and times still to be filled in.

    Cropping, scaling and compression run in a worker thread, so that answers are read at the same
    time. A picture that has no more pixels than the view is sent whole.

    Args:
        image: a JPEG file, pixels [height, width, 3], uint8, RGB, or raw video.
        choices: how it is sent.
        limits: what the server takes.
        view: what the server wants to see; None where it takes whole pictures alone.

    Raises:
        BadRequest: the picture is no picture, or larger than the server takes.
        MissingExtra: what was asked for needs a package that is not installed.
    """
    _check_kind(image)
    frame = None
    if view is not None and _uses_view(image, choices.view, view):
        frame = await asyncio.to_thread(view_frame, image, choices, view)
    if frame is None:
        frame = await _whole_frame(image, choices, limits)
    may_be_view = view is not None and choices.view is not ViewUse.ALWAYS
    _check_size(frame, limits, may_be_view=may_be_view)
    return frame


def _uses_view(image: Image, use: ViewUse, view: View) -> bool:
    if isinstance(image, np.ndarray):
        pixels = image.shape[0] * image.shape[1]
    elif isinstance(image, Nv12):
        pixels = image.width_px * image.height_px
    else:
        return use is ViewUse.ALWAYS
    return use is not ViewUse.NEVER and pixels > view.width_px * view.height_px


def view_frame(image: Image, choices: Choices, view: View) -> frame_pb2.Frame | None:
    """Return a frame that holds the view of a picture, its number and times still to be filled in.

    Args:
        image: a JPEG file, pixels [height, width, 3], uint8, RGB, or raw video.
        choices: how it is sent.
        view: what the server wants to see.

    Returns:
        None for what is better sent as it is: a JPEG file of which `ViewUse.ALWAYS` says so, and
        raw video that is not of the stated range.

    Raises:
        MissingExtra: what was asked for needs a package that is not installed.
    """
    seen = _seen(image, view)
    if seen is None:
        return None
    encoding = _view_encoding(choices.encoding, view)
    if encoding is ViewEncoding.RGB8:
        frame = _raw_frame(seen.pixels)
    else:
        quality = choices.jpeg_quality or view.jpeg_quality
        frame = frame_pb2.Frame(jpeg=encode_jpeg(seen.pixels, quality=quality, sampling="444"))
    frame.view_applied.CopyFrom(seen.applied)
    return frame


def _seen(image: Image, view: View) -> views.Seen | None:
    if isinstance(image, np.ndarray):
        return views.of_pixels(image, view)
    if isinstance(image, Nv12):
        return views.of_planes(*_planes(image), view, full_range=image.full_range)
    return views.of_jpeg(bytes(image), view)


def _view_encoding(encoding: Encoding, view: View) -> ViewEncoding:
    """Return the encoding that was asked for, or the one that the server likes best."""
    if encoding is Encoding.AUTO and has_opencv():
        return view.encodings[0] if view.encodings else ViewEncoding.RGB8
    return ViewEncoding.JPEG_444 if encoding is Encoding.JPEG else ViewEncoding.RGB8


async def _whole_frame(image: Image, choices: Choices, limits: ServerLimits) -> frame_pb2.Frame:
    if isinstance(image, np.ndarray):
        _check_count(image.shape[0] * image.shape[1], limits)
        if not _is_jpeg(choices.encoding):
            return _raw_frame(image)
        quality = choices.jpeg_quality or _WHOLE_QUALITY
        data = await asyncio.to_thread(encode_jpeg, image, quality=quality)
        return frame_pb2.Frame(jpeg=data)
    if isinstance(image, Nv12):
        _check_count(image.width_px * image.height_px, limits)
        return _nv12_frame(image)
    return frame_pb2.Frame(jpeg=bytes(image))


def encode_jpeg(image: NDArray[np.uint8], *, quality: int, sampling: str = "420") -> bytes:
    """Return pixels [height, width, 3] in RGB as a JPEG file.

    Args:
        image: the pixels.
        quality: 1 to 100.
        sampling: of the colour, 444 or 420.

    Raises:
        BadRequest: OpenCV cannot encode it.
        MissingExtra: OpenCV is not installed.
    """
    cv2 = opencv("JPEG encoding")
    bgr = cv2.cvtColor(image, cv2.COLOR_RGB2BGR)
    factor = getattr(cv2, f"IMWRITE_JPEG_SAMPLING_FACTOR_{sampling}")
    options = (cv2.IMWRITE_JPEG_QUALITY, quality, cv2.IMWRITE_JPEG_SAMPLING_FACTOR, factor)
    ok, data = cv2.imencode(".jpg", bgr, options)
    if not ok:
        raise BadRequest(f"OpenCV cannot encode a picture of shape {image.shape} as JPEG")
    return bytes(data)


def _is_jpeg(encoding: Encoding) -> bool:
    if encoding is Encoding.AUTO:
        return has_opencv()
    return encoding is Encoding.JPEG


def _raw_frame(image: NDArray[np.uint8]) -> frame_pb2.Frame:
    height_px, width_px, _ = image.shape
    raw = frame_pb2.Rgb8Image(width_px=width_px, height_px=height_px, pixels=image.tobytes())
    return frame_pb2.Frame(rgb8=raw)


def _nv12_frame(image: Nv12) -> frame_pb2.Frame:
    video = frame_pb2.Nv12Image(
        width_px=image.width_px,
        height_px=image.height_px,
        planes=_bytes(image.planes),
        full_range=image.full_range,
    )
    return frame_pb2.Frame(nv12=video)


def _planes(image: Nv12) -> tuple[Plane, Plane]:
    """Return Y [height, width, 1], and U and V [height / 2, width / 2, 2]."""
    height, width = image.height_px, image.width_px
    if isinstance(image.planes, np.ndarray):
        values = image.planes.reshape(-1)
    else:
        values = np.frombuffer(image.planes, np.uint8)
    luma, chroma = values[: height * width], values[height * width :]
    return luma.reshape(height, width, 1), chroma.reshape(height // 2, width // 2, 2)


def _size(planes: bytes | NDArray[np.uint8]) -> int:
    return planes.nbytes if isinstance(planes, np.ndarray) else len(planes)


def _bytes(planes: bytes | NDArray[np.uint8]) -> bytes:
    return planes.tobytes() if isinstance(planes, np.ndarray) else planes


def _check_kind(image: object) -> None:
    if isinstance(image, np.ndarray):
        _check_pixels(image)
    elif not isinstance(image, Nv12 | bytes | bytearray | memoryview):
        raise BadRequest(
            "a picture must be the bytes of a JPEG file, an array of pixels, or Nv12, not "
            f"{type(image).__name__}"
        )


def _check_pixels(image: NDArray[np.uint8]) -> None:
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3 or image.size == 0:
        raise BadRequest(
            "a picture must be uint8 of shape [height, width, 3] in RGB, not "
            f"{image.dtype} of shape {list(image.shape)}"
        )


def _check_count(pixels: int, limits: ServerLimits) -> None:
    if limits.max_pixels and pixels > limits.max_pixels:
        raise BadRequest(
            f"the picture has {pixels:,} pixels, the server takes {limits.max_pixels:,}; scale it"
        )


def _check_size(frame: frame_pb2.Frame, limits: ServerLimits, *, may_be_view: bool) -> None:
    size = frame.ByteSize() + MESSAGE_OVERHEAD_BYTES
    if limits.max_message_bytes and size > limits.max_message_bytes:
        if not frame.jpeg:
            advice = "or send it as JPEG"
        elif may_be_view and not frame.HasField("view_applied"):
            advice = "or send only what the network sees of it, with view=ViewUse.ALWAYS"
        else:
            advice = "or lower the quality of its JPEG"
        raise BadRequest(
            f"the frame has {size:,} bytes, the server takes {limits.max_message_bytes:,}; "
            f"scale the picture, {advice}"
        )
