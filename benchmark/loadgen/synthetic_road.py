"""Pictures to send: road-like, with enough texture that a JPEG has a camera's size."""

from __future__ import annotations

import cv2
import numpy as np
import numpy.typing as npt

from benchmark.loadgen.picture_set import PictureSet

Picture = npt.NDArray[np.uint8]

ENCODINGS = ("jpeg", "rgb8")
PICTURES = 32
"""Different pictures in turn, so that no cache sees the same one twice in a row."""
JPEG_QUALITY = 90
_NOISE = {1: 4.0, 4: 6.0, 16: 12.0}
"""Cell in pixels and standard deviation: a JPEG of 640x480 is then some 60 kB, as a camera's is."""


def road_pictures(count: int, *, width_px: int, height_px: int, seed: int = 0) -> list[Picture]:
    """Return different pictures, uint8 [height_px, width_px, 3] RGB, the same for the same seed.

    A bright upper half, a dark lower half with two converging lines, and noise in several sizes.

    Args:
        count: how many.
        width_px: columns.
        height_px: rows.
        seed: of the noise and the lines.
    """
    generator = np.random.default_rng(seed)
    return [_road(generator, width_px, height_px) for _ in range(count)]


def _road(generator: np.random.Generator, width_px: int, height_px: int) -> Picture:
    horizon = int(0.45 * height_px)
    picture = np.full((height_px, width_px, 3), 90, dtype=np.float32)
    picture[:horizon] = (150, 170, 200)
    for cell_px, deviation in _NOISE.items():
        size = (height_px // cell_px + 1, width_px // cell_px + 1)
        noise = generator.normal(0.0, deviation, size).astype(np.float32)
        picture += cv2.resize(noise, (width_px, height_px))[..., None]
    canvas = np.ascontiguousarray(np.clip(picture, 0, 255).astype(np.uint8))
    vanishing = (int(width_px * generator.uniform(0.4, 0.6)), horizon)
    for foot in (0, width_px - 1):
        cv2.line(canvas, vanishing, (foot, height_px - 1), (230, 230, 220), max(2, width_px // 80))
    return canvas


def jpegs(pictures: list[Picture], *, progressive: bool = False) -> list[bytes]:
    """Encode pictures as a camera would send them, or as progressive files."""
    options = [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY]
    options += [cv2.IMWRITE_JPEG_PROGRESSIVE, int(progressive)]
    encoded = [cv2.imencode(".jpg", picture[..., ::-1], options)[1] for picture in pictures]
    return [data.tobytes() for data in encoded]


def picture_set(encoding: str, width_px: int, height_px: int, count: int = PICTURES) -> PictureSet:
    """Return road-like pictures as vehicles send them.

    Args:
        encoding: one of `ENCODINGS`.
        width_px: columns.
        height_px: rows.
        count: how many different ones.
    """
    made = road_pictures(count, width_px=width_px, height_px=height_px)
    if encoding == "jpeg":
        return PictureSet(pictures=tuple(jpegs(made)))
    raw = tuple(picture.tobytes() for picture in made)
    return PictureSet(width_px=width_px, height_px=height_px, pictures=raw)
