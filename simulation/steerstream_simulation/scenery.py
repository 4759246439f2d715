"""Scenery above the ground: trees, banks and posts along the road, and the far panorama.

The roadside is two curtains, one on either side, that follow the road. In each image column the
nearest curtain is the one seen, which is what makes the inside of a bend hide the road behind it.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from steerstream_simulation.appearance import Appearance
from steerstream_simulation.noise import smooth_field, smooth_line, smoothstep

PERIOD_M = 320.0
HEIGHT_M = 16.0
ALONG_M = 0.2
UP_M = 0.125
PAD_ROWS = 4
# Blur along the road of each level, in metres: what one image column covers at a grazing view.
BLURS_M = (0.0, 1.5, 6.0)

_COLUMNS = round(PERIOD_M / ALONG_M)
_ROWS = round(HEIGHT_M / UP_M)
LEVEL_ROWS = _ROWS + 2 * PAD_ROWS


@dataclass(frozen=True)
class Roadside:
    """Both curtains.

    Attributes:
        atlas: rGBA uint8; levels of the left curtain, then of the right, one above the other, each
            `LEVEL_ROWS` high with row `PAD_ROWS` at the top of the trees.
        distance_m: distance of each curtain from the outer edge of its lane, float32 `[2, period]`.
    """

    atlas: NDArray[np.uint8]
    distance_m: NDArray[np.float32]

    def look_up(
        self,
        height_m: NDArray[np.float32],
        along_m: NDArray[np.float32],
        is_left: NDArray[np.bool_],
    ) -> NDArray[np.uint8]:
        """Return the colours of curtains.

        Args:
            height_m: above the ground, `[rows, columns]`.
            along_m: arc length that each column sees, `[columns]`.
            is_left: whether a column sees the left curtain, `[columns]`.

        Returns:
            uint8 RGBA `[rows, columns, 4]`, transparent above the trees and below the ground.
        """
        stride = np.abs(np.gradient(along_m))
        level = np.searchsorted(np.array(BLURS_M[1:]), stride)
        first = (np.where(is_left, 0, len(BLURS_M)) + level) * LEVEL_ROWS
        rows = np.clip((HEIGHT_M - height_m) / UP_M - 0.5, 1 - PAD_ROWS, _ROWS + PAD_ROWS - 2)
        rows = (rows + (first + PAD_ROWS)).astype(np.float32)
        columns = (along_m / ALONG_M - 0.5) % _COLUMNS
        columns = np.broadcast_to(columns.astype(np.float32), rows.shape)
        drawn = cv2.remap(self.atlas, columns, rows, cv2.INTER_LINEAR, borderMode=cv2.BORDER_WRAP)
        return np.asarray(drawn, np.uint8)


def paint_roadside(seed: int, look: Appearance) -> Roadside:
    """Paint the curtains of a road from its seed and appearance."""
    rng = np.random.default_rng([seed, 4])
    levels = [level for _ in range(2) for level in _levels(_curtain(rng, look))]
    nearness = [2.0 + rng.uniform(0.5, 4.0) * _positive(rng) for _ in range(2)]
    return Roadside(np.concatenate(levels), np.asarray(nearness, np.float32))


def _positive(rng: np.random.Generator) -> NDArray[np.float32]:
    line = smooth_line(rng, round(PERIOD_M), 40.0)
    return np.asarray(np.clip(1.0 + line, 0.2, 3.0), np.float32)


def _levels(curtain: NDArray[np.float32]) -> list[NDArray[np.uint8]]:
    return [_level(curtain, blur) for blur in BLURS_M]


def _level(curtain: NDArray[np.float32], blur_m: float) -> NDArray[np.uint8]:
    width = max(round(blur_m / ALONG_M), 1)
    tiled = np.concatenate([curtain[:, -width:], curtain, curtain[:, :width]], axis=1)
    blurred = cv2.blur(tiled, (width, 1))[:, width:-width] if width > 1 else curtain
    return np.pad(blurred, ((PAD_ROWS, PAD_ROWS), (0, 0), (0, 0))).astype(np.uint8)


def _curtain(rng: np.random.Generator, look: Appearance) -> NDArray[np.float32]:
    height_m = (np.arange(_ROWS, dtype=np.float32)[::-1, None] + 0.5) * UP_M
    top_m = _skyline(rng, look)[None, :]
    ragged = 0.6 * _field(rng, 0.8, 0.7) + 0.35 * _field(rng, 0.25, 0.25)
    alpha = np.asarray(height_m < top_m + ragged * np.minimum(top_m, 2.5) / 2.5, np.float32)
    colour = _foliage(rng, look, height_m)
    curtain = np.concatenate([colour, 255.0 * alpha[..., None]], axis=2)
    _posts(curtain, rng, height_m[:, 0])
    return np.asarray(np.clip(curtain, 0, 255), np.float32)


def _skyline(rng: np.random.Generator, look: Appearance) -> NDArray[np.float32]:
    woods = smoothstep(
        smooth_line(rng, _COLUMNS, 25.0 / ALONG_M) + np.float32(look.tree_density), -0.2, 0.8
    )
    crowns = np.clip(1.0 + 0.3 * smooth_line(rng, _COLUMNS, 5.0 / ALONG_M), 0.3, 2.0)
    bushes = np.clip(0.5 * smooth_line(rng, _COLUMNS, 3.0 / ALONG_M), 0.0, 1.5)
    return np.asarray(bushes + woods * crowns * rng.uniform(4.0, 9.0), np.float32)


def _field(rng: np.random.Generator, along_m: float, up_m: float) -> NDArray[np.float32]:
    field = smooth_field(rng, (_COLUMNS, _ROWS), (along_m / ALONG_M, up_m / UP_M))
    return np.ascontiguousarray(field.T)


def _foliage(
    rng: np.random.Generator, look: Appearance, height_m: NDArray[np.float32]
) -> NDArray[np.float32]:
    light = 0.75 + 0.4 * _field(rng, 1.6, 1.2) + 0.3 * _field(rng, 0.4, 0.3)
    light = np.clip(light + 0.03 * (height_m - 4.0), 0.15, 2.6)
    sunny = smoothstep(_field(rng, 18.0, 4.0), 0.2, 1.2)[..., None] * (1.0 - look.shadow_share) / 2
    colour = look.foliage + sunny * (look.grass * 1.2 - look.foliage)
    low = smoothstep(1.2 - height_m + 0.5 * _field(rng, 3.0, 0.5), 0.0, 1.0)[..., None]
    colour += low * (0.8 * look.grass - colour)
    return np.asarray(colour * light[..., None], np.float32)


def _posts(
    curtain: NDArray[np.float32], rng: np.random.Generator, height_m: NDArray[np.float32]
) -> None:
    for _ in range(rng.integers(4, 16)):
        width = int(rng.integers(1, 3))
        start = int(rng.integers(_COLUMNS - width))
        tall = height_m < rng.choice([1.0, 2.5, 8.0, 11.0])
        colour = rng.uniform(40, 230) * np.array([1.0, 0.97, 0.92])
        curtain[tall, start : start + width] = np.append(colour, 255.0)


def paint_panorama(seed: int, look: Appearance, focal_px: float, rows: int) -> NDArray[np.uint8]:
    """Paint sky, hills and far trees all around.

    Args:
        seed: draws the skyline.
        look: the road's appearance.
        focal_px: focal length; one column is `1 / focal_px` radians.
        rows: height; the last row is the horizon.

    Returns:
        uint8 RGB `[rows, columns, 3]`, column 0 at heading 0, columns counter-clockwise.
    """
    rng = np.random.default_rng([seed, 5])
    columns = round(2.0 * np.pi * focal_px)
    up = (np.arange(rows, dtype=np.float32)[::-1, None] + 0.5) / focal_px
    image = _sky(rng, look, up, columns)
    layers = ((0.13, 0.5, 0.55), (0.07, 0.25, 0.3), (0.04, 0.04, 0.1))
    for mean, spread, haze in layers:
        _ridge(image, rng, look, up, (mean * rng.uniform(0.3, 1.6), spread, haze))
    return np.clip(image, 0, 255).astype(np.uint8)


def _sky(
    rng: np.random.Generator, look: Appearance, up: NDArray[np.float32], columns: int
) -> NDArray[np.float32]:
    share = np.clip(up / 0.4, 0.0, 1.0)[..., None] * look.sky_blue
    zenith = np.array([0.45, 0.72, 1.0], np.float32)
    sky = look.sky_brightness * (1.0 + share * (zenith - 1.0))
    clouds = smooth_field(rng, (columns, len(up)), (columns / 14, len(up) / 4)).T[..., None]
    return np.asarray(sky * (1.0 + 0.06 * clouds), np.float32)


def _ridge(
    image: NDArray[np.float32],
    rng: np.random.Generator,
    look: Appearance,
    up: NDArray[np.float32],
    shape: tuple[float, float, float],
) -> None:
    mean, spread, haze = shape
    columns = image.shape[1]
    ridge = smooth_line(rng, columns, columns / 9) + 0.4 * smooth_line(rng, columns, columns / 40)
    rough = 0.006 * smooth_line(rng, columns, 4.0) * (1.0 - haze)
    height = np.maximum(mean * (1.0 + spread * ridge), 0.0) + rough
    texture = smooth_field(rng, (columns, len(up)), (6.0, 4.0)).T
    light = 1.0 + (0.35 - 0.4 * haze) * texture[..., None]
    base = look.foliage + rng.uniform(0.0, 0.8) * (look.grass - look.foliage)
    colour = base * light * 1.2
    colour += haze * (0.75 * look.sky_brightness - colour)
    below = np.clip((height[None] - up) * 300.0, 0.0, 1.0)[..., None]
    image += below * (colour - image)
