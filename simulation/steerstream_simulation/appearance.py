"""The looks that a road's seed decides: paint, surface, vegetation, light, the camera's faults."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

_GRASSES = ((92, 96, 52), (120, 104, 66), (74, 88, 44), (128, 118, 86), (96, 84, 60))
_FOLIAGES = ((34, 44, 26), (46, 56, 30), (28, 36, 28), (62, 58, 34), (52, 46, 34))


@dataclass(frozen=True)
class Appearance:
    """Drawn once a road; colours are RGB of 0 to 255."""

    asphalt_grey: float
    asphalt_tint: NDArray[np.float32]
    grass: NDArray[np.float32]
    foliage: NDArray[np.float32]
    yellow: NDArray[np.float32]
    white: NDArray[np.float32]
    centre_style: str
    edge_dashed: bool
    line_width_m: float
    wear: float
    shoulder_m: float
    shoulder_dirt: float
    shadow_depth: float
    shadow_share: float
    tree_density: float
    sky_brightness: float
    sky_blue: float
    white_balance: NDArray[np.float32]
    exposure: float
    contrast: float
    vignetting: float
    noise: float


def draw_appearance(seed: int) -> Appearance:
    """Draw an appearance from a seed."""
    rng = np.random.default_rng([seed, 2])
    overcast = rng.random() < 0.2
    shadow_depth = rng.uniform(0.05, 0.25) if overcast else rng.uniform(0.5, 0.85)
    return Appearance(
        asphalt_grey=rng.uniform(62.0, 112.0),
        asphalt_tint=_colour(1.0 + 0.015 * rng.standard_normal(3)),
        grass=_vary(rng, _GRASSES),
        foliage=_vary(rng, _FOLIAGES),
        yellow=_colour((rng.uniform(170, 225), rng.uniform(130, 170), rng.uniform(40, 90))),
        white=_colour(rng.uniform(185, 240) * np.array([1.0, 1.0, rng.uniform(0.94, 1.0)])),
        centre_style=str(rng.choice(["double", "double", "double", "single", "dashed"])),
        edge_dashed=bool(rng.random() < 0.08),
        line_width_m=rng.uniform(0.10, 0.16),
        wear=rng.uniform(0.0, 0.6),
        shoulder_m=rng.uniform(0.2, 1.8),
        shoulder_dirt=rng.uniform(0.0, 1.0),
        shadow_depth=shadow_depth,
        shadow_share=rng.uniform(-1.2, 0.6),
        tree_density=rng.uniform(-0.3, 1.8),
        sky_brightness=rng.uniform(190.0, 255.0),
        sky_blue=0.1 if overcast else rng.uniform(0.2, 1.0),
        white_balance=_colour(1.0 + 0.03 * rng.standard_normal(3)),
        exposure=rng.uniform(0.8, 1.25),
        contrast=rng.uniform(0.9, 1.2),
        vignetting=rng.uniform(0.05, 0.3),
        noise=rng.uniform(1.0, 4.0),
    )


def _vary(
    rng: np.random.Generator, palette: tuple[tuple[int, int, int], ...]
) -> NDArray[np.float32]:
    base = np.array(palette[rng.integers(len(palette))], np.float32)
    return _colour(base * rng.uniform(0.75, 1.25) * (1.0 + 0.05 * rng.standard_normal(3)))


def _colour(values: object) -> NDArray[np.float32]:
    return np.asarray(values, np.float32)
