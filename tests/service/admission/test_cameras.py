"""A camera that a vehicle drives with stays known, whatever cameras come besides."""

from __future__ import annotations

import dataclasses
import gc
from types import SimpleNamespace
from typing import Any

import pytest

from steerstream import lens
from steerstream_bundle.contract import TrainedCamera
from steerstream_service.admission import cameras as cameras_module
from steerstream_service.admission.cameras import Cameras
from steerstream_service.domain import Camera
from steerstream_service.errors import InvalidFieldError
from tests.service import bundles

WIDE = Camera(160, 120, 60.0, 1.3, 0.45)
NETWORK = TrainedCamera(
    horizontal_fov_deg=30.0, aspect_ratio=4 / 3, mount_height_m=1.3, horizon_fraction=0.45
)
MODEL: Any = SimpleNamespace(
    name="tiny",
    bundle=SimpleNamespace(contract=dataclasses.replace(bundles.contract(), camera=NETWORK)),
)


@pytest.fixture
def found(monkeypatch):
    """The cameras whose mapping was computed."""
    found, mapping = [], lens.mapping

    def find(camera, *arguments, **options):
        found.append(camera)
        return mapping(camera, *arguments, **options)

    monkeypatch.setattr(lens, "mapping", find)
    monkeypatch.setattr(cameras_module, "_MOST", 3)
    return found


def others(count, first=50.0):
    return [dataclasses.replace(WIDE, horizontal_fov_deg=first + at) for at in range(count)]


def test_a_camera_is_computed_once(found):
    cameras = Cameras()
    assert not cameras.knows(WIDE, MODEL)
    warp = cameras.warp(WIDE, MODEL)
    assert cameras.knows(WIDE, MODEL)
    assert cameras.warp(WIDE, MODEL) is warp
    assert found == [WIDE]


def test_so_is_the_network_s_own(found):
    cameras, own = Cameras(), Camera(160, 120, 30.0, 1.3, 0.45)
    for _ in range(2):
        assert cameras.warp(own, MODEL) is None
        assert cameras.knows(own, MODEL)
    assert found == [own]


def test_one_that_is_not_described_costs_nothing_and_takes_no_place(found):
    cameras, plain = Cameras(), Camera(160, 120)
    assert cameras.warp(plain, MODEL) is None
    assert not cameras.knows(plain, MODEL)
    assert found == []


def test_one_that_came_long_before_is_forgotten_and_not_one_that_came_since(found):
    cameras = Cameras()
    first, second, *rest = others(5)
    for camera in (first, second, rest[0], first, rest[1]):
        cameras.warp(camera, MODEL)
    gc.collect()
    assert not cameras.knows(second, MODEL)
    assert cameras.knows(first, MODEL)
    assert len(found) == 4


def test_a_crowd_makes_no_camera_unknown_with_which_a_vehicle_drives(found):
    cameras = Cameras()
    driven = cameras.warp(WIDE, MODEL)
    for camera in others(10):
        cameras.warp(camera, MODEL)
    assert cameras.knows(WIDE, MODEL)
    assert cameras.warp(WIDE, MODEL) is driven
    assert len(found) == 11


def test_one_that_cannot_be_mapped_is_refused_each_time_and_never_known(found):
    cameras, bad = Cameras(), dataclasses.replace(WIDE, mount_height_m=0.0)
    for _ in range(2):
        with pytest.raises(InvalidFieldError, match=r"open\.camera cannot be used with tiny"):
            cameras.warp(bad, MODEL)
    assert not cameras.knows(bad, MODEL)
    assert found == [bad, bad]
