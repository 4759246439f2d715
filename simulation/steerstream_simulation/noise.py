"""Random fields for textures: smooth, and seamless along their first axis."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

_PAD_CELLS = 2


def smooth_field(
    rng: np.random.Generator, shape: tuple[int, int], cell: tuple[float, float]
) -> NDArray[np.float32]:
    """Draw a smooth field of about unit variance which repeats along its first axis.

    Args:
        rng: source of randomness.
        shape: rows and columns.
        cell: rows and columns over which the field stays alike.

    Returns:
        float32 `[rows, columns]`.
    """
    rows = max(round(shape[0] / cell[0]), 1)
    columns = max(round(shape[1] / cell[1]), 1)
    coarse = rng.standard_normal((rows, columns)).astype(np.float32)
    coarse = np.pad(coarse, ((_PAD_CELLS, _PAD_CELLS), (0, 0)), mode="wrap")
    pad = shape[0] * _PAD_CELLS // rows
    field = cv2.resize(coarse, (shape[1], shape[0] + 2 * pad), interpolation=cv2.INTER_CUBIC)
    return np.asarray(field[pad : pad + shape[0]], np.float32)


def smooth_line(rng: np.random.Generator, count: int, cell: float) -> NDArray[np.float32]:
    """Draw a smooth periodic line of about unit variance, float32 `[count]`.

    Args:
        rng: source of randomness.
        count: values in the line.
        cell: values over which the line stays alike.
    """
    return smooth_field(rng, (count, 1), (cell, 1.0))[:, 0]


def smoothstep(values: NDArray[np.float32], low: float, high: float) -> NDArray[np.float32]:
    """Rise smoothly from 0 below `low` to 1 above `high`.

    Args:
        values: of any shape.
        low: where the rise begins.
        high: where it ends.
    """
    ramp = np.clip((values - low) / (high - low), 0.0, 1.0)
    return np.asarray(ramp * ramp * (3.0 - 2.0 * ramp), np.float32)
