"""Raw pictures as cameras and message logs hold them: rows with padding, and their encodings."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from steerstream.errors import MediaError
from steerstream.extras import opencv
from steerstream.images import Nv12

Pixels = NDArray[np.uint8]

_BYTES = {
    "rgb8": 3, "bgr8": 3, "rgba8": 4, "bgra8": 4, "mono8": 1, "8uc1": 1, "8uc3": 3,
    "yuyv": 2, "yuv422_yuy2": 2, "uyvy": 2, "yuv422": 2,
    "bayer_rggb8": 1, "bayer_bggr8": 1, "bayer_gbrg8": 1, "bayer_grbg8": 1,
}  # fmt: skip
"""Bytes of a pixel by encoding, under the names that ROS and Foxglove use."""

_CONVERSIONS: Mapping[str, str] = {
    "mono8": "GRAY2RGB", "8uc1": "GRAY2RGB",
    "yuyv": "YUV2RGB_YUYV", "yuv422_yuy2": "YUV2RGB_YUYV",
    "uyvy": "YUV2RGB_UYVY", "yuv422": "YUV2RGB_UYVY",
    "bayer_rggb8": "BayerRGGB2RGB", "bayer_bggr8": "BayerBGGR2RGB",
    "bayer_gbrg8": "BayerGBRG2RGB", "bayer_grbg8": "BayerGRBG2RGB",
}  # fmt: skip
"""OpenCV's conversion of those that are no mere order of channels."""

_ORDERS: Mapping[str, Callable[[Pixels], Pixels]] = {
    "rgb8": lambda pixels: pixels,
    "bgr8": lambda pixels: pixels[..., ::-1],
    "8uc3": lambda pixels: pixels[..., ::-1],
    "rgba8": lambda pixels: pixels[..., :3],
    "bgra8": lambda pixels: pixels[..., 2::-1],
}


_FIRST_LUMA = {"yuyv": 0, "uyvy": 1}
"""Where the first brightness stands in encodings whose rows hold brightness and colour in turn."""


def without_padding(
    data: bytes | memoryview | Pixels, *, rows: int, row_bytes: int, step: int
) -> Pixels:
    """Return the rows [rows, row_bytes] of a plane whose rows are `step` bytes apart.

    Args:
        data: the plane; the padding behind its last row may be missing.
        rows: of the plane.
        row_bytes: that a row holds.
        step: from the begin of a row to the next, in bytes; 0 for rows without padding.

    Raises:
        MediaError: the rows are longer than `step`, or there are too few bytes.
    """
    step = step or row_bytes
    flat = np.frombuffer(data, np.uint8) if not isinstance(data, np.ndarray) else data.reshape(-1)
    needed = step * (rows - 1) + row_bytes
    if rows < 1 or row_bytes < 1 or step < row_bytes or flat.size < needed:
        raise MediaError(
            f"{rows} rows of {row_bytes} bytes, {step} apart, do not fit {flat.size} bytes"
        )
    strided = np.lib.stride_tricks.as_strided(
        flat[:needed], (rows, row_bytes), (step, 1), writeable=False
    )
    return np.ascontiguousarray(strided)


def to_rgb(
    data: bytes | memoryview | Pixels, *, width_px: int, height_px: int, encoding: str, step: int
) -> Pixels:
    """Return a raw picture as pixels [height, width, 3] in RGB.

    Args:
        data: its bytes.
        width_px: columns.
        height_px: rows.
        encoding: the name that ROS and Foxglove give it, such as `bgr8`, or `nv12`.
        step: from the begin of a row to the next, in bytes; 0 for rows without padding.

    Raises:
        MediaError: the encoding is not known, or there are too few bytes.
        MissingExtra: the encoding needs OpenCV, which is not installed.
    """
    name = encoding.lower()
    if name == "nv12":
        plane = without_padding(data, rows=height_px * 3 // 2, row_bytes=width_px, step=step)
        cv2 = opencv("reading NV12")
        return _array(cv2.cvtColor(plane, cv2.COLOR_YUV2RGB_NV12))
    if name not in _BYTES:
        known = ", ".join((*_BYTES, "nv12"))
        raise MediaError(f"pictures of encoding {encoding!r} cannot be read; known are: {known}")
    size = _BYTES[name]
    plane = without_padding(data, rows=height_px, row_bytes=width_px * size, step=step)
    pixels = plane.reshape(height_px, width_px, size)
    if name in _ORDERS:
        return np.ascontiguousarray(_ORDERS[name](pixels))
    cv2 = opencv(f"reading {encoding}")
    return _array(cv2.cvtColor(pixels, getattr(cv2, f"COLOR_{_CONVERSIONS[name]}")))


def to_nv12(
    data: bytes | memoryview | Pixels,
    *,
    width_px: int,
    height_px: int,
    encoding: str,
    step: int = 0,
    chroma_offset: int = 0,
    full_range: bool = False,
) -> Nv12:
    """Return a camera's picture as NV12 without padding, which a session sends as it is.

    That is cheaper than `to_rgb`, and needs no OpenCV. Of YUYV and UYVY the colour of two rows
    becomes that of one, their mean.

    Args:
        data: its bytes, as the driver hands them out.
        width_px: columns, an even number.
        height_px: rows, an even number.
        encoding: `nv12`, `yuyv` or `uyvy`.
        step: from the begin of a row to the next, in bytes, which V4L2 calls `bytesperline`; 0 for
            rows without padding.
        chroma_offset: of NV12, where the plane of U and V begins; 0 for right behind the rows of Y.
        full_range: whether the values are 0 to 255.

    Raises:
        MediaError: the encoding is another, or there are too few bytes.
        BadRequest: the size is odd.
    """
    flat = np.frombuffer(data, np.uint8) if not isinstance(data, np.ndarray) else data.reshape(-1)
    name = encoding.lower()
    if name == "nv12":
        luma = without_padding(flat, rows=height_px, row_bytes=width_px, step=step)
        begin = chroma_offset or (step or width_px) * height_px
        chroma = without_padding(flat[begin:], rows=height_px // 2, row_bytes=width_px, step=step)
    elif name in _FIRST_LUMA:
        rows = without_padding(flat, rows=height_px, row_bytes=2 * width_px, step=step)
        first = _FIRST_LUMA[name]
        luma = rows[:, first::2]
        doubled = rows[:, 1 - first :: 2].astype(np.uint16)
        chroma = ((doubled[0::2] + doubled[1::2] + 1) // 2).astype(np.uint8)
    else:
        known = ", ".join(("nv12", *_FIRST_LUMA))
        raise MediaError(f"pictures of encoding {encoding!r} do not become NV12; those do: {known}")
    planes = np.concatenate([luma.reshape(-1), chroma.reshape(-1)])
    return Nv12(width_px, height_px, planes, full_range)


def _array(pixels: Any) -> Pixels:  # noqa: ANN401
    return np.asarray(pixels, np.uint8)
