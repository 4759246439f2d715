"""Pictures of a recording: JPEG files as they are, or pixels."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from steerstream.errors import MediaError
from steerstream.extras import opencv
from steerstream.images import encode_jpeg

Picture = bytes | NDArray[np.uint8]
"""A JPEG file, or pixels [height, width, 3] in RGB."""

JPEG_SUFFIXES = frozenset({".jpg", ".jpeg"})
SUFFIXES = JPEG_SUFFIXES | {".png", ".bmp", ".ppm"}
"""Of the names of files that are pictures."""

_QUALITY = 95
"""Of pixels that become a JPEG file."""

_JPEG_BEGINS = b"\xff\xd8"


def decode(image: Picture, name: str = "a picture of the source") -> NDArray[np.uint8]:
    """Return the pixels [height, width, 3] in RGB of a picture; its name is for the error.

    Raises:
        MediaError: it is damaged.
    """
    if not isinstance(image, bytes):
        return image
    cv2 = opencv("decoding a picture")
    encoded = np.frombuffer(image, np.uint8)
    pixels: NDArray[np.uint8] | None = None
    if encoded.size:
        pixels = cv2.imdecode(encoded, cv2.IMREAD_COLOR_RGB)
    if pixels is None:
        raise MediaError(f"{name} is damaged")
    return pixels


def from_encoded(encoded: bytes, name: str) -> Picture:
    """Return a JPEG file as it is, and any other encoded picture as pixels; its name is for errors.

    Raises:
        MediaError: it is no JPEG file and damaged.
    """
    return encoded if encoded.startswith(_JPEG_BEGINS) else decode(encoded, name)


def to_jpeg(picture: Picture) -> bytes:
    """Return a JPEG file as it is, and pixels as one that looks the same.

    Raises:
        MissingExtra: there are pixels, and OpenCV is not installed.
    """
    if isinstance(picture, bytes):
        return picture
    return encode_jpeg(picture, quality=_QUALITY, sampling="444")


def read_picture(path: Path) -> Picture:
    """Read the file of a picture.

    Raises:
        MediaError: it cannot be read, or is damaged.
    """
    try:
        encoded = path.read_bytes()
    except OSError as error:
        raise MediaError(f"cannot read the picture {path}: {error.strerror}") from error
    except ValueError as error:  # a name with a zero in it
        raise MediaError(f"cannot read the picture {str(path)!r}: {error}") from error
    # A file that is called a JPEG is passed on as it is: whoever decodes it says what is wrong.
    return encoded if path.suffix.lower() in JPEG_SUFFIXES else from_encoded(encoded, str(path))
