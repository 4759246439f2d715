"""Crop, resize and decode do what the contract means."""

from __future__ import annotations

import numpy as np
import pytest

from steerstream_bundle.contract import Crop, FrameInput
from steerstream_bundle.preprocess import crop, prepare

INPUT = FrameInput(tensor="frame", height_px=6, width_px=20, crop=Crop(top=0.5, bottom=1.0))


def test_crop_takes_the_named_rows_and_columns() -> None:
    rows, columns = np.mgrid[0:10, 0:8].astype(np.uint8)
    picture = np.dstack([rows, columns, rows])
    region = crop(picture, Crop(top=0.2, bottom=0.7, left=0.25, right=0.75))
    assert region.shape == (5, 4, 3)
    assert (region[0, 0, 0], region[0, 0, 1]) == (2, 2)
    assert (region[-1, -1, 0], region[-1, -1, 1]) == (6, 5)
    assert np.shares_memory(region, picture)


@pytest.mark.parametrize("size", [(1, 1), (2, 3), (7, 1)])
def test_a_tiny_picture_still_gives_an_input(size: tuple[int, int]) -> None:
    picture = np.full((*size, 3), 9, dtype=np.uint8)
    assert (prepare(picture, INPUT) == 9).all()


def test_resize_averages_what_it_merges() -> None:
    picture = np.zeros((24, 40, 3), dtype=np.uint8)
    picture[12:, ::2] = 200
    assert (prepare(picture, INPUT) == 100).all()


def test_prepare_writes_into_a_row_of_a_batch() -> None:
    batch = np.zeros((3, *INPUT.shape), dtype=np.uint8)
    picture = np.full((48, 64, 3), 7, dtype=np.uint8)
    result = prepare(picture, INPUT, out=batch[1])
    assert np.shares_memory(result, batch)
    assert (batch[1] == 7).all()
    assert not batch[[0, 2]].any()


@pytest.mark.parametrize("size", [(6, 20), (12, 20), (7, 21), (50, 45), (481, 641)])
def test_resize_keeps_a_picture_s_mean_and_its_gradient(size: tuple[int, int]) -> None:
    whole = FrameInput(tensor="frame", height_px=6, width_px=20, crop=Crop())
    rows, columns = np.mgrid[0 : size[0], 0 : size[1]] / np.reshape(size, (2, 1, 1))
    picture = np.dstack([200 * rows, 200 * columns, 100 + 0 * rows]).astype(np.uint8)
    found = prepare(picture, whole).astype(float)
    expected_rows, expected_columns = (
        200 * (np.arange(6) + 0.5) / 6,
        200 * (np.arange(20) + 0.5) / 20,
    )
    assert np.abs(found[..., 0] - expected_rows[:, None]).max() < 200 / size[0] / 2 + 2
    assert np.abs(found[..., 1] - expected_columns).max() < 200 / size[1] / 2 + 2
    assert (found[..., 2] == 100).all()


def test_stripes_finer_than_the_input_are_averaged_in_each_direction() -> None:
    whole = FrameInput(tensor="frame", height_px=6, width_px=20, crop=Crop())
    tall = np.zeros((24, 20, 3), np.uint8)
    tall[::2] = 200
    wide = np.zeros((6, 80, 3), np.uint8)
    wide[:, ::2] = 200
    assert (prepare(tall, whole) == 100).all()
    assert (prepare(wide, whole) == 100).all()


def test_a_picture_that_needs_no_work_is_not_touched() -> None:
    whole = FrameInput(tensor="frame", height_px=6, width_px=20, crop=Crop())
    picture = np.arange(360, dtype=np.uint8).reshape(6, 20, 3)
    assert np.shares_memory(prepare(picture, whole), picture)
    out = np.zeros_like(picture)
    assert prepare(picture, whole, out) is out
    np.testing.assert_array_equal(out, picture)


def test_a_region_of_the_input_s_size_comes_back_contiguous() -> None:
    left = FrameInput(tensor="frame", height_px=6, width_px=20, crop=Crop(left=0.5))
    picture = np.arange(720, dtype=np.uint8).reshape(6, 40, 3)
    found = prepare(picture, left)
    assert found.flags.c_contiguous
    np.testing.assert_array_equal(found, picture[:, 20:])
