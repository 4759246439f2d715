"""Paths lie on the road as the recordings' camera sees it."""

from __future__ import annotations

import numpy as np
import pytest

from model_export.config import FrameConfig
from model_export.training.health.sheet import steered_path
from steerstream_simulation.camera import CameraConfig
from steerstream_simulation.vehicle import VehicleParameters

FRAME = FrameConfig(height_px=120, width_px=320, top=0.45, bottom=0.95).contract()
SPEED_MPS = 12.0


def test_straight_on_is_the_middle_from_the_bonnet_to_the_horizon():
    path = steered_path(0.0, SPEED_MPS, FRAME)
    np.testing.assert_allclose(path[:, 0], 160)
    assert (np.diff(path[:, 1]) < 0).all()
    # The crop begins at the horizon, and its bottom is nearer than 12 m.
    assert path[0, 1] > 120
    assert 0 < path[-1, 1] < 20


def test_left_is_left_and_the_mirror_of_right():
    left, right = (steered_path(angle, SPEED_MPS, FRAME) for angle in (0.2, -0.2))
    assert (left[:, 0] < 160).all()
    np.testing.assert_allclose(left[:, 0] + right[:, 0], 320)
    np.testing.assert_allclose(left[:, 1], right[:, 1])


def test_pixels_on_the_ground_lie_on_the_circle_that_the_vehicle_drives():
    camera, vehicle = CameraConfig(), VehicleParameters()
    column, row = steered_path(0.3, SPEED_MPS, FRAME).T
    # The picture is the camera's own, pixel by pixel, from the horizon down.
    ahead_m = camera.focal_px * camera.mount_height_m / row
    left_m = ahead_m * (160 - column) / camera.focal_px
    radius_m = 1 / vehicle.curvature_per_m(0.3, SPEED_MPS)
    forward_m = ahead_m + camera.forward_m
    near = forward_m < 40
    circle_m = radius_m - np.sqrt(radius_m**2 - forward_m[near] ** 2)
    assert near.sum() > 20
    np.testing.assert_allclose(left_m[near], circle_m, rtol=0.03)


def test_the_same_angle_bends_a_faster_path_less():
    slow, fast = (steered_path(0.2, speed, FRAME) for speed in (5.0, 25.0))
    assert (fast[:, 0] > slow[:, 0]).all()


def test_a_narrower_picture_shows_the_same_path():
    squeezed = FrameConfig(height_px=60, width_px=100, top=0.45, bottom=0.95).contract()
    scale = [100 / 320, 60 / 120]
    whole = steered_path(0.1, SPEED_MPS, FRAME)
    assert steered_path(0.1, SPEED_MPS, squeezed) == pytest.approx(whole * scale)
