"""Lenses that bend lines: what they draw is mapped back to what the network's camera shows."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest

from steerstream import LensModel
from steerstream.warp import Warp
from steerstream_bundle.preprocess import prepare
from steerstream_simulation.bent_camera import BentCamera, camera_of
from steerstream_simulation.camera import Camera, CameraConfig
from steerstream_simulation.grpc_driver import describe
from steerstream_simulation.road import generate_road
from tests.steerstream.cameras import mapping
from tests.steerstream.views import FRAME

PLACE_M = 100.0


def lens(model: LensModel, *distortion: float, fov_deg: float) -> CameraConfig:
    fov_rad = math.radians(fov_deg)
    return CameraConfig(640, 480, fov_rad, pitch_px=0.0, lens=model, distortion=distortion)


BENT = [
    lens(LensModel.BROWN_CONRADY, -0.3, 0.1, 0.0, 0.0, fov_deg=60.0),
    lens(LensModel.BROWN_CONRADY, -0.3, 0.1, 0.0, 0.0, -0.02, fov_deg=60.0),
    lens(LensModel.FISHEYE, 0.05, -0.01, 0.003, -0.001, fov_deg=80.0),
]


@pytest.fixture(scope="module")
def road():
    return generate_road(0, length_m=300.0)


def drawn(road, config):
    return camera_of(road, config).render(road.pose_at(PLACE_M), PLACE_M)


@pytest.fixture(scope="module")
def expected(road):
    """What the network's own camera shows it."""
    return prepare(drawn(road, CameraConfig(pitch_px=0.0)), FRAME).astype(float)


def apart(expected, picture, described):
    """How far what the network is shown lies from what its own camera shows, in grey levels."""
    found = Warp(mapping(describe(described))).of_plane(picture).astype(float)
    # Each lens's exposure and vignetting are its own.
    return np.abs((found - found.mean()) - (expected - expected.mean())).mean()


@pytest.mark.parametrize("config", BENT)
def test_a_bent_picture_is_mapped_to_the_network_s_camera(road, expected, config):
    straight = dataclasses.replace(config, lens=LensModel.PINHOLE, distortion=())
    picture = drawn(road, config)
    assert picture.shape == (480, 640, 3)
    mapped = apart(expected, picture, config)
    assert mapped < 0.6 * apart(expected, picture, straight)
    assert mapped < 1.3 * apart(expected, drawn(road, straight), straight)


@pytest.mark.parametrize("config", BENT)
def test_the_same_place_is_drawn_the_same_bit_for_bit(road, config):
    np.testing.assert_array_equal(drawn(road, config), drawn(road, config))


def test_a_lens_that_bends_nothing_is_drawn_as_it_was(road):
    assert isinstance(camera_of(road), Camera)
    assert isinstance(camera_of(road, BENT[0]), BentCamera)
