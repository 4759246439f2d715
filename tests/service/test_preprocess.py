"""Crop, resize and decode do what the contract means."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from service.contract import Crop, FrameInput
from service.preprocess import crop, decode_jpeg, prepare

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


def test_decode_gives_red_green_blue() -> None:
    blue_in_opencv = np.zeros((16, 16, 3), dtype=np.uint8)
    blue_in_opencv[..., 0] = 250
    _, data = cv2.imencode(".jpg", blue_in_opencv, [cv2.IMWRITE_JPEG_QUALITY, 100])
    picture = decode_jpeg(data.tobytes())
    assert picture is not None
    assert picture[8, 8, 2] > 240
    assert picture[8, 8, 0] < 10


@pytest.mark.parametrize("data", [b"", b"no picture", b"\xff\xd8\xff"])
def test_what_is_no_picture_decodes_to_none(data: bytes) -> None:
    assert decode_jpeg(data) is None
