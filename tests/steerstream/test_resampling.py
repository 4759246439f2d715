"""Scaling and looking up are the same with OpenCV and with NumPy, but for the last level."""

from __future__ import annotations

import numpy as np
import pytest

from steerstream import extras
from steerstream.resampling import PLACES_A_PIXEL, halved, look_up, resize


def noise(height, width, channels=3):
    return np.random.default_rng(0).integers(0, 256, (height, width, channels), np.uint8)


@pytest.fixture(params=["opencv", "numpy"])
def tool(request, monkeypatch):
    monkeypatch.setattr(extras, "has_opencv", lambda: request.param == "opencv")
    return request.param


def test_half_the_size_is_the_average_of_four(tool):
    plane = noise(8, 12)
    expected = plane.reshape(4, 2, 6, 2, 3).mean(axis=(1, 3))
    assert np.abs(resize(plane, 4, 6) - expected).max() <= 0.5


@pytest.mark.parametrize("channels", [1, 2, 3])
def test_planes_keep_their_channels(tool, channels):
    plane = noise(9, 13, channels)
    assert resize(plane, 5, 4).shape == (5, 4, channels)
    places = np.zeros((2, 3), np.float32)
    assert look_up(plane, places, places).shape == (2, 3, channels)


def test_a_plane_is_halved_until_it_is_less_than_twice_as_large(tool):
    assert halved(noise(80, 90), 10, 40).shape == (10, 45, 3)
    assert halved(noise(15, 90), 10, 100).shape == (15, 90, 3)


def test_what_lies_between_pixels_is_their_mean_by_distance(tool):
    plane = np.arange(12, dtype=np.uint8).reshape(3, 4, 1) * 10
    columns = np.array([[0.0, 0.5, 3.0]], np.float32)
    rows = np.array([[0.0, 1.25, 2.0]], np.float32)
    np.testing.assert_allclose(look_up(plane, columns, rows)[0, :, 0], [0, 55, 110], atol=1)


def test_both_look_up_the_same(monkeypatch):
    plane, rng = noise(40, 50), np.random.default_rng(1)
    columns, rows = (
        (rng.integers(0, (size - 1) * PLACES_A_PIXEL, (30, 30)) / PLACES_A_PIXEL).astype(np.float32)
        for size in (50, 40)
    )
    with_opencv = look_up(plane, columns, rows)
    monkeypatch.setattr(extras, "has_opencv", lambda: False)
    assert np.abs(look_up(plane, columns, rows).astype(int) - with_opencv).max() <= 1
    out = np.zeros((30, 30, 3), np.uint8)
    assert look_up(plane, columns, rows, out) is out
