"""The ground as a texture in road coordinates: arc length by lateral offset.

The texture is a strip that repeats along the road. Because it is straight in road coordinates, one
strip serves any curvature; the camera bends it. Each level holds the same strip at the resolution
that suits one range of distances, coarser along the road than across it, as perspective asks.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from steerstream_simulation.appearance import Appearance
from steerstream_simulation.noise import smooth_field, smooth_line, smoothstep

PERIOD_M = 320.0
OFFSET_MIN_M = -11.0
OFFSET_MAX_M = 14.0
# Reduction of the finest level along and across the road, with the distance in metres up to which
# each level is looked up.
LEVELS = ((1, 1, 7.0), (3, 1, 13.0), (10, 2, 25.0), (30, 4, 50.0), (80, 7, 1e9))

_ALONG_M = 0.1
_ACROSS_M = 0.03
_ROWS = round(PERIOD_M / _ALONG_M)
_COLUMNS = round((OFFSET_MAX_M - OFFSET_MIN_M) / _ACROSS_M)
_VERGE_M = 4.5
_STRAW = np.array([150, 132, 92], np.float32)[:, None, None]
_GRAVEL = np.array([138, 124, 104], np.float32)[:, None, None]
# Shade is lit by the sky alone: it takes more from red than from blue.
_SHADE = np.array([1.05, 1.0, 0.9], np.float32)[:, None, None]


@dataclass(frozen=True)
class GroundLevel:
    """One resolution of the strip.

    Attributes:
        texture: uint8 RGB `[along, across, 3]`.
        pixels_per_m: across and along.
        to_distance_m: distance up to which this level is looked up.
    """

    texture: NDArray[np.uint8]
    pixels_per_m: NDArray[np.float32]
    to_distance_m: float

    def look_up(self, pixels: NDArray[np.float32]) -> NDArray[np.uint8]:
        """Return the colours at `[rows, columns, (across, along)]` in this level's pixels."""
        # Only None, which the stubs do not know, says that the map has both coordinates:
        # an empty array is taken for a map and gives stripes.
        colours = cv2.remap(  # type: ignore[call-overload]
            self.texture, pixels, None, cv2.INTER_LINEAR, borderMode=cv2.BORDER_WRAP
        )
        return np.asarray(colours, np.uint8)


@dataclass(frozen=True)
class Ground:
    """The strip at every level, and how bright the carriageway is at each metre of the period."""

    levels: tuple[GroundLevel, ...]
    brightness: NDArray[np.float32]


def paint_ground(seed: int, lane_width_m: float, look: Appearance) -> Ground:
    """Paint the strip of a road.

    Args:
        seed: draws texture, wear and shadows.
        lane_width_m: width of each lane.
        look: the road's appearance.

    Returns:
        The strip at every level.
    """
    rng = np.random.default_rng([seed, 3])
    offset = OFFSET_MIN_M + (np.arange(_COLUMNS, dtype=np.float32) + 0.5) * _ACROSS_M
    strip = _paint_verge(rng, look)
    _paint_carriageway(strip, rng, offset, lane_width_m, look)
    _paint_lines(strip, rng, offset, lane_width_m, look)
    strip *= _cast_shadows(rng, look)
    finest = cv2.merge([np.clip(plane, 0, 255).astype(np.uint8) for plane in strip])
    road = np.abs(offset - lane_width_m / 2) < lane_width_m
    brightness = finest[:, road].mean(axis=(1, 2), dtype=np.float32)
    metres = np.ascontiguousarray(brightness[:, None])
    metres = cv2.resize(metres, (1, round(PERIOD_M)), interpolation=cv2.INTER_AREA)[:, 0]
    return Ground(
        tuple(_reduce(finest, *level) for level in LEVELS), np.asarray(metres, np.float32)
    )


def fold(offset_m: NDArray[np.float32]) -> NDArray[np.float32]:
    """Mirror offsets beyond the strip back into its verges, so that grass goes on for ever."""
    over = np.maximum(offset_m - (OFFSET_MAX_M - _VERGE_M), 0.0)
    under = np.maximum(OFFSET_MIN_M + _VERGE_M - offset_m, 0.0)
    return np.asarray(offset_m - over + _mirror(over) + under - _mirror(under), np.float32)


def _mirror(beyond: NDArray[np.float32]) -> NDArray[np.float32]:
    return np.asarray(_VERGE_M - np.abs(_VERGE_M - beyond % (2.0 * _VERGE_M)), np.float32)


def _reduce(
    finest: NDArray[np.uint8], along: int, across: int, to_distance_m: float
) -> GroundLevel:
    size = (round(_COLUMNS / across), round(_ROWS / along))
    texture = cv2.resize(finest, size, interpolation=cv2.INTER_AREA)
    scale = (size[0] / (OFFSET_MAX_M - OFFSET_MIN_M), size[1] / PERIOD_M)
    return GroundLevel(np.asarray(texture, np.uint8), np.asarray(scale, np.float32), to_distance_m)


def _cells(along_m: float, across_m: float) -> tuple[float, float]:
    return along_m / _ALONG_M, across_m / _ACROSS_M


def _paint_verge(rng: np.random.Generator, look: Appearance) -> NDArray[np.float32]:
    """Paint grass everywhere, float32 `[3, along, across]`: planes are the fast layout for this."""
    shape = (_ROWS, _COLUMNS)
    light = 1.0 + 0.18 * smooth_field(rng, shape, _cells(0.25, 0.12))
    light += 0.15 * smooth_field(rng, shape, _cells(6.0, 1.5))
    dry = smoothstep(smooth_field(rng, shape, _cells(15.0, 2.5)), 0.0, 1.5)
    grass = look.grass[:, None, None]
    return np.asarray((grass + dry * (_STRAW - grass)) * light, np.float32)


def _paint_carriageway(
    strip: NDArray[np.float32],
    rng: np.random.Generator,
    offset: NDArray[np.float32],
    width: float,
    look: Appearance,
) -> None:
    right, left = -0.5 * width - look.shoulder_m, 1.5 * width + 0.6 * look.shoulder_m
    ragged = 0.12 + 0.2 * look.shoulder_dirt
    edge_right = right + ragged * smooth_line(rng, _ROWS, 1.5 / _ALONG_M)[:, None]
    edge_left = left + ragged * smooth_line(rng, _ROWS, 1.5 / _ALONG_M)[:, None]
    inside = np.minimum(offset[None] - edge_right, edge_left - offset[None]) / 0.1
    inside = np.asarray(np.clip(inside, 0.0, 1.0), np.float32)
    grey = _asphalt(rng, offset, width, look)
    dirt = _dirt_share(rng, offset, width, look)
    gravel = _GRAVEL * (grey / np.float32(look.asphalt_grey))
    surface = grey * look.asphalt_tint[:, None, None]
    surface += dirt * (gravel - surface)
    strip += inside * (surface - strip)


def _asphalt(
    rng: np.random.Generator, offset: NDArray[np.float32], width: float, look: Appearance
) -> NDArray[np.float32]:
    shape = (_ROWS, _COLUMNS)
    grey = 1.0 + 0.05 * rng.standard_normal(shape, dtype=np.float32)
    grey += 0.05 * smooth_field(rng, shape, _cells(1.2, 0.25))
    grey += 0.05 * smooth_field(rng, shape, _cells(25.0, 1.2))
    stain = rng.uniform(0.03, 0.14)
    for lane in (0.0, width):
        grey -= stain * np.exp(-(((offset - lane) / 0.35) ** 2))
        for track in (-0.85, 0.85):
            grey += 0.4 * stain * np.exp(-(((offset - lane - track) / 0.3) ** 2))
    _patch(grey, rng, offset, width)
    _seam(grey, rng, offset)
    return np.asarray(grey * look.asphalt_grey, np.float32)


def _patch(
    grey: NDArray[np.float32],
    rng: np.random.Generator,
    offset: NDArray[np.float32],
    width: float,
) -> None:
    for _ in range(rng.integers(0, 7)):
        start = int(rng.integers(_ROWS))
        rows = np.arange(start, start + int(rng.uniform(2.0, 30.0) / _ALONG_M)) % _ROWS
        low = rng.uniform(-0.5 * width, width)
        columns = np.flatnonzero((offset > low) & (offset < low + rng.uniform(0.5, 2.5)))
        grey[np.ix_(rows, columns)] *= rng.uniform(0.75, 1.15)


def _seam(grey: NDArray[np.float32], rng: np.random.Generator, offset: NDArray[np.float32]) -> None:
    shape = grey.shape
    for _ in range(rng.integers(0, 3)):
        place = rng.uniform(-2.0, 5.0) + 0.06 * smooth_line(rng, _ROWS, 3.0 / _ALONG_M)[:, None]
        grey *= 1.0 - 0.35 * np.clip(1.5 - np.abs(offset[None] - place) / 0.03, 0.0, 1.0)
    for _ in range(rng.integers(0, 25)):
        start = int(rng.integers(shape[0]))
        path = 3.0 * smooth_line(rng, shape[1], 20.0)
        rows = (start + path.astype(np.int64)) % shape[0]
        grey[rows, np.arange(shape[1])] *= 0.6
        grey[(rows + 1) % shape[0], np.arange(shape[1])] *= 0.75


def _dirt_share(
    rng: np.random.Generator, offset: NDArray[np.float32], width: float, look: Appearance
) -> NDArray[np.float32]:
    beyond = np.maximum(-0.5 * width - 0.25 - offset, offset - 1.5 * width - 0.25)[None]
    noisy = beyond + 0.15 * smooth_field(rng, (_ROWS, _COLUMNS), _cells(0.8, 0.15))
    return look.shoulder_dirt * smoothstep(np.asarray(noisy, np.float32), 0.0, 0.35)


def _paint_lines(
    strip: NDArray[np.float32],
    rng: np.random.Generator,
    offset: NDArray[np.float32],
    width: float,
    look: Appearance,
) -> None:
    half = 0.5 * width
    along = np.arange(_ROWS) * _ALONG_M
    solid = np.ones(_ROWS, np.float32)
    dashes = np.asarray(along % 12.0 < rng.uniform(3.0, 5.0), np.float32)
    gap = rng.uniform(0.09, 0.14)
    centre = {
        "double": ((gap, solid), (-gap, solid)),
        "single": ((0.0, solid),),
        "dashed": ((0.0, dashes),),
    }[look.centre_style]
    edge = dashes if look.edge_dashed else solid
    lines = [_Line(half + shift, look.yellow, presence) for shift, presence in centre]
    lines += [_Line(place, look.white, edge) for place in (-half, 3.0 * half)]
    for line in lines:
        _paint_line(strip, rng, offset, line, look)


class _Line(NamedTuple):
    """A line's lateral place, colour, and where along the road there is paint."""

    centre_m: float
    colour: NDArray[np.float32]
    presence: NDArray[np.float32]


def _paint_line(
    strip: NDArray[np.float32],
    rng: np.random.Generator,
    offset: NDArray[np.float32],
    line: _Line,
    look: Appearance,
) -> None:
    columns = slice(*np.searchsorted(offset, (line.centre_m - 0.3, line.centre_m + 0.3)))
    wander = 0.015 * smooth_line(rng, _ROWS, 12.0 / _ALONG_M)[:, None]
    distance = np.abs(offset[None, columns] - line.centre_m - wander)
    cover = np.clip((0.5 * look.line_width_m - distance) / _ACROSS_M + 0.5, 0.0, 1.0)
    chips = smooth_field(rng, cover.shape, _cells(0.15, 0.05))
    stretch = smooth_line(rng, _ROWS, 20.0 / _ALONG_M)[:, None]
    paint = 1.0 - look.wear * smoothstep(np.asarray(chips + stretch, np.float32), 0.0, 1.6)
    cover = cover * paint * line.presence[:, None]
    strip[..., columns] += cover * (line.colour[:, None, None] - strip[..., columns])


def _cast_shadows(rng: np.random.Generator, look: Appearance) -> NDArray[np.float32]:
    shape = (_ROWS, _COLUMNS)
    crowns = smooth_field(rng, shape, _cells(2.5, 5.0)) + 0.5 * smooth_field(
        rng, shape, _cells(0.7, 1.2)
    )
    stretch = 1.3 * smooth_line(rng, _ROWS, 30.0 / _ALONG_M)[:, None] + look.shadow_share
    shade = smoothstep(np.asarray(crowns + stretch, np.float32), 0.1, 0.7)
    slant = np.float32(rng.uniform(-1.0, 1.0) * _ACROSS_M / _ALONG_M)
    matrix = np.array([[1, 0, 0], [slant, 1, -slant * _COLUMNS / 2]], np.float32)
    slanted = cv2.warpAffine(shade, matrix, (_COLUMNS, _ROWS), borderMode=cv2.BORDER_WRAP)
    return np.asarray(1.0 - slanted * (np.float32(look.shadow_depth) * _SHADE), np.float32)
