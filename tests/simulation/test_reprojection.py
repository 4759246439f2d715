"""Moved pictures, judged by the simulation's camera, really moved."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from steerstream_simulation.camera import Camera, CameraConfig
from steerstream_simulation.reprojection import Optics, Reprojection
from steerstream_simulation.road import road_from_curvature

PLACE_M = 100.0
SIZE = (240, 320)


@pytest.fixture(scope="module")
def camera() -> Camera:
    return Camera(road_from_curvature(np.zeros(400), seed=1234))


def seen(camera: Camera, offset_m: float, heading_rad: float) -> np.ndarray:
    pose = camera.road.pose_at(PLACE_M, offset_m)
    return camera.render(pose._replace(heading_rad=pose.heading_rad + heading_rad), PLACE_M)


def test_no_move_gives_the_very_same_picture() -> None:
    picture = np.random.default_rng(0).integers(0, 256, (*SIZE, 3), np.uint8)
    moved = Reprojection(Optics.of(CameraConfig(), SIZE)).move(picture, 0.0, 0.0)
    np.testing.assert_array_equal(moved, picture)


@pytest.mark.parametrize(("offset_m", "heading_rad"), [(0.6, 0.0), (0.0, 0.05), (-0.5, 0.03)])
def test_the_ground_looks_as_from_a_moved_camera(
    camera: Camera, offset_m: float, heading_rad: float
):
    before, truth = seen(camera, 0.0, 0.0), seen(camera, offset_m, heading_rad)
    moved = Reprojection(Optics.of(camera.config, SIZE)).move(before, offset_m, heading_rad)
    road = np.s_[115:, 50:270]
    apart = np.abs(before[road].astype(float) - truth[road]).mean()
    left = np.abs(moved[road].astype(float) - truth[road]).mean()
    # What is left is mostly the sensor's grain, which moves with the pose.
    assert left < 0.35 * apart


def test_what_is_above_the_horizon_moves_by_rotation_only(camera: Camera) -> None:
    picture, move = seen(camera, 0.0, 0.0), Reprojection(Optics.of(camera.config, SIZE)).move
    sky = np.s_[:100]
    np.testing.assert_array_equal(move(picture, 0.7, 0.0)[sky], picture[sky])
    assert (move(picture, 0.0, 0.02)[sky] != picture[sky]).any()


def test_what_leaves_the_picture_brings_no_line_from_elsewhere() -> None:
    """The outermost pixel of its row goes on."""
    picture = np.zeros((*SIZE, 3), np.uint8)
    picture[:, 10:13] = 255
    moved = Reprojection(Optics.of(CameraConfig(), SIZE)).move(picture, 0.5, 0.0)
    bottom = moved[-1, :, 0] > 127
    assert np.count_nonzero(np.diff(bottom.astype(int)) == 1) == 1


def test_a_part_of_a_picture_moves_as_the_part_of_the_moved_picture() -> None:
    noise = np.random.default_rng(1).integers(0, 256, (*SIZE, 3), np.uint8)
    picture = np.asarray(cv2.blur(noise, (9, 9)), np.uint8)
    whole = Reprojection(Optics.of(CameraConfig(), SIZE)).move(picture, 0.3, 0.01)
    region = (0.4, 0.9, 0.0, 1.0)
    part = Reprojection(Optics.of(CameraConfig(), (120, 320), region))
    moved = part.move(np.ascontiguousarray(picture[96:216]), 0.3, 0.01)
    np.testing.assert_allclose(moved[:, 60:260].astype(int), whole[96:216, 60:260], atol=2)
