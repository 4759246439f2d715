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


def picture(shade=100, width=32, height=24):
    """A picture with a bright left half, so that no two sides look alike."""
    pixels = np.full((height, width, 3), shade, np.uint8)
    pixels[:, : width // 2, 0] = 250
    return pixels


def write_jpeg(path, shade=100):
    path.parent.mkdir(parents=True, exist_ok=True)
    assert cv2.imwrite(str(path), picture(shade)[..., ::-1])


def truths(frames):
    return [frame.truth for frame in frames]


def angles(frames):
    return [frame.truth.steering_wheel_angle_rad for frame in frames]
