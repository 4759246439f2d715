"""Small recordings that tests make."""

from __future__ import annotations

import cv2
import numpy as np

FIRST_ID = 1_479_425_441_182_877_835
PERIOD_NS = 50_000_000


def write_pictures(folder, names):
    for index, name in enumerate(names):
        cv2.imwrite(str(folder / name), np.full((24, 32, 3), 10 * index, np.uint8))


def ids(*offsets):
    return [FIRST_ID + round(offset * PERIOD_NS) for offset in offsets]


def intervals_ns(frames):
    """The time between each two captures."""
    return np.diff([frame.capture_time_ns for frame in frames]).tolist()
