"""Pictures as the wire carries them: JPEG files or raw pixels."""

from __future__ import annotations

import asyncio
import enum
import functools
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from steerstream.errors import BadRequest
from steerstream.extras import has_opencv, opencv
from steerstream.v1 import frame_pb2

if TYPE_CHECKING:
    from steerstream.models import ServerLimits

Image = bytes | NDArray[np.uint8]
"""A JPEG file, or pixels [height, width, 3] in RGB."""

MESSAGE_OVERHEAD_BYTES = 128
"""More than all fields of a frame take beside the picture itself."""


class Encoding(enum.Enum):
    """How pixels are sent; a JPEG file is always sent as it is."""

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

    Compression runs in a worker thread, so that answers are read meanwhile.

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
    else:
        frame = frame_pb2.Frame(jpeg=bytes(image))
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


def _check_pixels(image: NDArray[np.uint8], limits: ServerLimits) -> None:
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3 or image.size == 0:
        raise BadRequest(
            "a picture must be uint8 of shape [height, width, 3] in RGB, not "
            f"{image.dtype} of shape {list(image.shape)}"
        )
    pixels = image.shape[0] * image.shape[1]
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
