from __future__ import annotations

import cv2
import numpy as np
import pytest

from steerstream import BadRequest, MediaError
from steerstream.pixels import to_nv12, to_rgb, without_padding

WIDTH, HEIGHT = 6, 4
RGB = np.random.default_rng(1).integers(0, 256, (HEIGHT, WIDTH, 3), np.uint8)
BGR = np.ascontiguousarray(RGB[..., ::-1])
OPAQUE = np.full((HEIGHT, WIDTH, 1), 255, np.uint8)


def padded(rows, padding):
    """Rows as a driver hands them out: with other bytes behind each."""
    flat = rows.reshape(len(rows), -1)
    return np.hstack([flat, np.full((len(flat), padding), 77, np.uint8)])


def read(rows, encoding, padding=0):
    plane = padded(rows, padding)
    return to_rgb(
        plane.tobytes(), width_px=WIDTH, height_px=HEIGHT, encoding=encoding, step=plane.shape[1]
    )


@pytest.mark.parametrize("padding", [0, 1, 10])
@pytest.mark.parametrize(
    ("encoding", "rows"),
    [
        ("rgb8", RGB),
        ("bgr8", BGR),
        ("8UC3", BGR),
        ("rgba8", np.concatenate([RGB, OPAQUE], 2)),
        ("bgra8", np.concatenate([BGR, OPAQUE], 2)),
    ],
)
def test_padding_behind_rows_shears_no_picture(encoding, rows, padding):
    assert np.array_equal(read(rows, encoding, padding), RGB)


@pytest.mark.parametrize("padding", [0, 10])
@pytest.mark.parametrize("encoding", ["yuyv", "yuv422_yuy2", "uyvy", "yuv422"])
def test_a_red_picture_of_half_the_colour_is_red(encoding, padding):
    luma, blue, red = 81, 90, 240
    pairs = {
        "yuyv": (luma, blue, luma, red), "yuv422_yuy2": (luma, blue, luma, red),
        "uyvy": (blue, luma, red, luma), "yuv422": (blue, luma, red, luma),
    }[encoding]  # fmt: skip
    rows = np.tile(np.array(pairs, np.uint8), (HEIGHT, WIDTH // 2))
    assert np.abs(read(rows, encoding, padding).astype(int) - (255, 0, 0)).max() <= 2


@pytest.mark.parametrize("padding", [0, 10])
def test_nv12_with_padding_is_what_it_is_without(padding):
    rows = np.vstack([np.full((HEIGHT, WIDTH), 81, np.uint8), np.tile([90, 240], (HEIGHT // 2, 3))])
    found = read(rows.astype(np.uint8), "nv12", padding)
    assert found.shape == (HEIGHT, WIDTH, 3)
    assert np.abs(found.astype(int) - (255, 0, 0)).max() <= 2


def test_grey_has_three_like_channels():
    grey = RGB[..., 0]
    assert np.array_equal(read(grey, "mono8"), np.dstack([grey] * 3))


def test_colour_filters_give_the_colour_that_they_saw():
    """A sensor of which only the red places are lit shows red."""
    mosaic = np.zeros((HEIGHT, WIDTH), np.uint8)
    mosaic[::2, ::2] = 200
    found = read(mosaic, "bayer_rggb8")
    assert found[..., 0].mean() > 100
    assert found[..., 1:].max() == 0
    mosaic = np.zeros((HEIGHT, WIDTH), np.uint8)
    mosaic[1::2, 1::2] = 200
    assert read(mosaic, "bayer_bggr8")[..., 0].mean() > 100


@pytest.mark.parametrize(
    ("size", "step", "message"),
    [
        (17, 6, "4 rows of 6 bytes, 6 apart, do not fit 17 bytes"),
        (400, 5, "4 rows of 6 bytes, 5 apart"),
    ],
)
def test_too_few_bytes_are_refused(size, step, message):
    with pytest.raises(MediaError, match=message):
        to_rgb(bytes(size), width_px=6, height_px=4, encoding="mono8", step=step)


def test_the_padding_of_the_last_row_may_be_missing():
    plane = padded(RGB, 10).reshape(-1)[:-10]
    found = without_padding(plane, rows=HEIGHT, row_bytes=18, step=28)
    assert np.array_equal(found, RGB.reshape(HEIGHT, 18))


def test_an_unknown_encoding_is_named_with_those_that_are_known():
    with pytest.raises(MediaError, match="encoding '32FC1' cannot be read; known are: rgb8, bgr8"):
        to_rgb(b"", width_px=1, height_px=1, encoding="32FC1", step=4)
    assert cv2.COLOR_BayerRGGB2RGB != cv2.COLOR_BayerBGGR2RGB


def test_nv12_with_padding_and_a_plane_of_colour_further_on():
    luma = np.arange(WIDTH * HEIGHT, dtype=np.uint8).reshape(HEIGHT, WIDTH)
    chroma = 200 + np.arange(WIDTH * HEIGHT // 2, dtype=np.uint8).reshape(HEIGHT // 2, WIDTH)
    data = padded(luma, 10).tobytes() + bytes(33) + padded(chroma, 10).tobytes()
    found = to_nv12(
        data, width_px=WIDTH, height_px=HEIGHT, encoding="nv12", step=16,
        chroma_offset=16 * HEIGHT + 33, full_range=True,
    )  # fmt: skip
    assert found.full_range
    assert np.array_equal(found.planes, np.concatenate([luma.reshape(-1), chroma.reshape(-1)]))


@pytest.mark.parametrize("padding", [0, 7])
@pytest.mark.parametrize("encoding", ["yuyv", "uyvy"])
def test_interleaved_video_becomes_nv12_of_the_same_colours(encoding, padding):
    """A smooth picture: what OpenCV makes of both is alike."""
    rows, columns = np.mgrid[:48, :64]
    luma = (40 + 2 * rows + columns).astype(np.uint8)
    colour = (100 + rows[:, ::2] // 2 + columns[:, :32]).astype(np.uint8)
    plain = np.empty((48, 128), np.uint8)
    first = 0 if encoding == "yuyv" else 1
    plain[:, first::2], plain[:, 1 - first :: 2] = luma, np.repeat(colour, 2, axis=1)
    data = padded(plain, padding)
    size = {"width_px": 64, "height_px": 48, "encoding": encoding, "step": data.shape[1]}
    found = to_nv12(data.tobytes(), **size)
    from_nv12 = to_rgb(found.planes, width_px=64, height_px=48, encoding="nv12", step=0)
    assert np.abs(from_nv12.astype(int) - to_rgb(data.tobytes(), **size)).max() <= 6


def test_what_does_not_become_nv12_is_refused():
    with pytest.raises(MediaError, match="'bgr8' do not become NV12; those do: nv12, yuyv, uyvy"):
        to_nv12(b"", width_px=2, height_px=2, encoding="bgr8")
    with pytest.raises(BadRequest, match="NV12 needs an even width and height, not 3x2"):
        to_nv12(bytes(12), width_px=3, height_px=2, encoding="yuyv")
    with pytest.raises(MediaError, match="1 rows of 4 bytes, 4 apart, do not fit 3 bytes"):
        to_nv12(bytes(11), width_px=4, height_px=2, encoding="nv12")
