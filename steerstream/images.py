"""Pictures as the wire carries them: JPEG files, raw pixels, or raw video."""

from __future__ import annotations

import asyncio
import dataclasses
import enum
import functools
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from steerstream.arguments import instance, whole_number
from steerstream.errors import BadRequest
from steerstream.extras import has_opencv, opencv
from steerstream.v1 import frame_pb2

if TYPE_CHECKING:
    from steerstream.models import ServerLimits


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
    """How pixels are sent; a JPEG file and raw video are always sent as they are."""

    AUTO = "auto"
    """JPEG where OpenCV is installed, raw pixels otherwise."""
    JPEG = "jpeg"
    """About 40 kB for 640x480, at 2 ms of one core."""
    RGB8 = "rgb8"
    """Raw: exact, no work, 900 kB for 640x480."""


_uses_jpeg_by_default = functools.cache(has_opencv)


async def encode_frame(
    image: Image, *, encoding: Encoding, jpeg_quality: int, limits: ServerLimits
) -> frame_pb2.Frame:
    """Return a frame that holds the picture, its number and times still to be filled in.

    Compression runs in a worker thread, so that answers are read at the same time.

    Args:
        image: a JPEG file, pixels [height, width, 3], uint8, RGB, or raw video.
        encoding: how pixels are sent.
        jpeg_quality: 1 to 100, where pixels are sent as JPEG.
        limits: what the server takes.

    Raises:
        BadRequest: the picture is no picture, or larger than the server takes.
        MissingExtra: JPEG was asked for and OpenCV is not installed.
    """
    if isinstance(image, np.ndarray):
        _check_pixels(image, limits)
        if _is_jpeg(encoding):
            data = await asyncio.to_thread(encode_jpeg, image, quality=jpeg_quality)
            frame = frame_pb2.Frame(jpeg=data)
        else:
            frame = _raw_frame(image)
    elif isinstance(image, Nv12):
        _check_count(image.width_px * image.height_px, limits)
        frame = _nv12_frame(image)
    elif isinstance(image, bytes | bytearray | memoryview):
        frame = frame_pb2.Frame(jpeg=bytes(image))
    else:
        raise BadRequest(
            "a picture must be the bytes of a JPEG file, an array of pixels, or Nv12, not "
            f"{type(image).__name__}"
        )
    _check_size(frame, limits)
    return frame


def encode_jpeg(image: NDArray[np.uint8], *, quality: int) -> bytes:
    """Return pixels [height, width, 3] in RGB as a JPEG file.

    Raises:
        BadRequest: OpenCV cannot encode it.
        MissingExtra: OpenCV is not installed.
    """
    cv2 = opencv("JPEG encoding")
    bgr = cv2.cvtColor(image, cv2.COLOR_RGB2BGR)
    ok, data = cv2.imencode(".jpg", bgr, (cv2.IMWRITE_JPEG_QUALITY, quality))
    if not ok:
        raise BadRequest(f"OpenCV cannot encode a picture of shape {image.shape} as JPEG")
    return bytes(data)


def _is_jpeg(encoding: Encoding) -> bool:
    if encoding is Encoding.AUTO:
        return _uses_jpeg_by_default()
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


def _size(planes: bytes | NDArray[np.uint8]) -> int:
    return planes.nbytes if isinstance(planes, np.ndarray) else len(planes)


def _bytes(planes: bytes | NDArray[np.uint8]) -> bytes:
    return planes.tobytes() if isinstance(planes, np.ndarray) else planes


def _check_pixels(image: NDArray[np.uint8], limits: ServerLimits) -> None:
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3 or image.size == 0:
        raise BadRequest(
            "a picture must be uint8 of shape [height, width, 3] in RGB, not "
            f"{image.dtype} of shape {list(image.shape)}"
        )
    _check_count(image.shape[0] * image.shape[1], limits)


def _check_count(pixels: int, limits: ServerLimits) -> None:
    if limits.max_pixels and pixels > limits.max_pixels:
        raise BadRequest(
            f"the picture has {pixels:,} pixels, the server takes {limits.max_pixels:,}; scale it"
        )


def _check_size(frame: frame_pb2.Frame, limits: ServerLimits) -> None:
    size = frame.ByteSize() + MESSAGE_OVERHEAD_BYTES
    if limits.max_message_bytes and size > limits.max_message_bytes:
        raise BadRequest(
            f"the frame has {size:,} bytes, the server takes {limits.max_message_bytes:,}; "
            "scale the picture or send it as JPEG"
        )
