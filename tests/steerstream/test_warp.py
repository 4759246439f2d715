"""A warped picture is what the network's camera would have shown."""

from __future__ import annotations

import dataclasses
import math

import cv2
import numpy as np
import pytest

from steerstream import Camera, extras
from steerstream.warp import ShapeMismatchError, TableCache, Tables, Warp
from steerstream_bundle.preprocess import prepare
from tests.steerstream.cameras import SAME, WIDE, mapping
from tests.steerstream.views import FRAME


@pytest.fixture(params=["opencv", "numpy"])
def tool(request, monkeypatch):
    monkeypatch.setattr(extras, "has_opencv", lambda: request.param == "opencv")
    return request.param


def smooth(height, width):
    noise = np.random.default_rng(0).integers(0, 256, (height // 16 + 1, width // 16 + 1, 3))
    return cv2.resize(noise.astype(np.uint8), (width, height), interpolation=cv2.INTER_CUBIC)


def road(camera: Camera, *, scale: int = 1):
    """A level road with stripes along and across it, as a camera that looks straight ahead sees."""
    width, height = scale * (camera.width_px or 0), scale * (camera.height_px or 0)
    focal = width / 2 / math.tan(math.radians(camera.horizontal_fov_deg or 0) / 2)
    horizon = (camera.horizon_fraction or 0) * height - 0.5
    columns, rows = np.meshgrid(np.arange(width), np.arange(height))
    below = (rows - horizon) / focal
    with np.errstate(divide="ignore"):
        ahead_m = (camera.mount_height_m or 0) / np.maximum(below, 1e-9)
    left_m = ((width - 1) / 2 - columns) / focal * ahead_m
    light = np.sin(left_m * 2) * 60 + np.sin(np.minimum(ahead_m, 60) / 4) * 50 + 128
    grey = np.where(below > 0.01, light, 128).astype(np.uint8)
    return np.repeat(grey[..., None], 3, axis=2)


def straight(camera: Camera) -> Camera:
    """The same camera, with its horizon through its principal point."""
    rows = (camera.horizon_fraction or 0) * (camera.height_px or 0) - 0.5
    return dataclasses.replace(camera, principal_y_px=rows)


def test_another_camera_s_road_looks_as_the_network_s_does(tool):
    expected = prepare(road(SAME, scale=4), FRAME)
    wide = dataclasses.replace(WIDE, width_px=2560, height_px=1920)
    found = Warp(mapping(straight(wide))).of_plane(road(wide))
    assert found.shape == FRAME.shape
    assert np.abs(found.astype(int) - expected).mean() < 3
    assert np.abs(road(SAME)[192:432].astype(int).mean() - found.mean()) < 10


def test_with_numpy_and_opencv_it_is_the_same_but_for_the_last_level(monkeypatch):
    picture = smooth(1200, 1600)
    warp = Warp(mapping(dataclasses.replace(WIDE, horizontal_fov_deg=22.0)))
    with_opencv = warp.of_plane(picture)
    monkeypatch.setattr(extras, "has_opencv", lambda: False)
    assert np.abs(warp.of_plane(picture).astype(int) - with_opencv).max() <= 2


def test_it_writes_where_it_is_told(tool):
    picture, warp = smooth(480, 640), Warp(mapping())
    out = np.zeros(FRAME.shape, np.uint8)
    assert np.shares_memory(warp.of_plane(picture, out), out)
    np.testing.assert_array_equal(out, warp.of_plane(picture))


def test_a_large_picture_is_averaged_before_it_is_looked_up():
    """A picture of fine stripes is grey from afar, not black and white by chance."""
    stripes = np.zeros((480 * 8, 640 * 8, 3), np.uint8)
    stripes[:, ::2] = 200
    narrow = dataclasses.replace(WIDE, horizontal_fov_deg=20.0, mount_height_m=1.3)
    found = Warp(mapping(narrow)).of_plane(stripes)
    assert np.abs(found.astype(int) - 100).max() <= 1


def test_a_decoder_needs_make_no_larger_picture_than_the_network_sees():
    warp = Warp(mapping(dataclasses.replace(WIDE, horizontal_fov_deg=20.0, mount_height_m=1.3)))
    full = np.array([2 * 480, 2 * 640])
    assert (np.array(warp.least_px) < full).all()
    assert Warp(mapping()).least_px[1] > warp.least_px[1]


def test_what_the_camera_just_does_not_show_is_its_edge(tool):
    narrow = dataclasses.replace(WIDE, horizontal_fov_deg=17.9, mount_height_m=1.3)
    picture = np.full((480, 640, 3), 90, np.uint8)
    found = Warp(mapping(dataclasses.replace(narrow, horizon_fraction=0.45))).of_plane(picture)
    assert (found == 90).all()


@pytest.mark.parametrize(("height_px", "width_px"), [(480, 640), (960, 1280), (119, 160)])
def test_a_picture_may_be_of_any_scale(height_px, width_px):
    Warp(mapping()).check_shape(height_px, width_px)


@pytest.mark.parametrize(("height_px", "width_px"), [(360, 640), (640, 480), (0, 640)])
def test_a_picture_of_another_shape_is_refused(height_px, width_px):
    with pytest.raises(
        ShapeMismatchError, match=f"{width_px}x{height_px} .* described with 640x.* ratio"
    ):
        Warp(mapping()).check_shape(height_px, width_px)


def test_tables_are_kept_up_to_a_bound_and_those_used_last_stay():
    made = []

    def make():
        made.append(1)
        values = np.zeros((10, 10), np.float32)
        return Tables((slice(0), slice(0)), (1, 1), values, values)

    cache = TableCache(2 * make().size_bytes)
    first, second, third = ((mapping(), size, size) for size in (1, 2, 3))
    for key in (first, second, first, third):
        cache.get(key, make)
    assert cache.size_bytes == 2 * make().size_bytes
    made.clear()
    cache.get(first, make)
    cache.get(third, make)
    assert not made
    cache.get(second, make)
    assert made
