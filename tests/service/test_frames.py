"""Pictures are checked before they cost memory; any bytes end in a picture or a typed error."""

from __future__ import annotations

import contextlib

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from service import frames
from service.contract import Crop, FrameInput
from service.domain import JpegImage, RawImage
from service.errors import UndecodableError
from service.preprocess import prepare
from tests.service.vehicle import jpeg, pictures

INPUT = FrameInput(tensor="frames", height_px=8, width_px=16, crop=Crop())
CROPPED = FrameInput(tensor="frames", height_px=8, width_px=16, crop=Crop(top=0.5))
MAX_PIXELS = 100_000
PICTURE = cv2.GaussianBlur(pictures(1, 3, (48, 96, 3))[0], (9, 9), 0)
WHOLE = jpeg(PICTURE)


def to_input(image, frame=INPUT, max_pixels=MAX_PIXELS):
    return frames.to_input(image, frame, max_pixels)


def refused(image, **options):
    with pytest.raises(UndecodableError) as caught:
        to_input(image, **options)
    return str(caught.value)


def raw(picture):
    height, width = picture.shape[:2]
    return RawImage(width, height, picture.tobytes())


@pytest.mark.parametrize("frame", [INPUT, CROPPED])
def test_a_raw_picture_is_prepared_like_the_training_s(frame):
    np.testing.assert_array_equal(to_input(raw(PICTURE), frame), prepare(PICTURE, frame))


@pytest.mark.parametrize(
    "flags",
    [
        (),
        (cv2.IMWRITE_JPEG_PROGRESSIVE, 1),
        (cv2.IMWRITE_JPEG_RST_INTERVAL, 4),
        (cv2.IMWRITE_JPEG_OPTIMIZE, 1),
    ],
)
def test_jpegs_of_all_usual_kinds_are_decoded(flags):
    found = to_input(JpegImage(jpeg(PICTURE, *flags)))
    assert np.abs(found.astype(int) - prepare(PICTURE, INPUT)).mean() < 6


def test_a_grey_jpeg_is_decoded():
    done, data = cv2.imencode(".jpg", PICTURE[:, :, 0])
    assert done
    found = to_input(JpegImage(data.tobytes()))
    assert found.shape == (8, 16, 3)
    np.testing.assert_array_equal(found[:, :, 0], found[:, :, 2])


def test_bytes_after_the_end_are_allowed():
    np.testing.assert_array_equal(
        to_input(JpegImage(WHOLE + bytes(64))), to_input(JpegImage(WHOLE))
    )


def test_only_small_raw_pictures_are_cheap():
    assert frames.is_cheap(RawImage(200, 100, b""))
    assert not frames.is_cheap(RawImage(200, 101, b""))
    assert not frames.is_cheap(JpegImage(WHOLE))
    assert not frames.is_cheap(None)


@pytest.mark.parametrize("part", [0.02, 0.3, 0.5, 0.9, 0.999])
def test_a_truncated_jpeg_is_refused(part):
    assert "truncated" in refused(JpegImage(WHOLE[: int(len(WHOLE) * part)]))


def test_the_end_marker_of_a_thumbnail_does_not_count():
    thumbnail = jpeg(PICTURE[:8, :8])
    segment = b"\xff\xe1" + (len(thumbnail) + 2).to_bytes(2) + thumbnail
    data = WHOLE[:2] + segment + WHOLE[2:]
    to_input(JpegImage(data))
    assert "truncated" in refused(JpegImage(data[:-2]))


@pytest.mark.parametrize(("width", "height"), [(20_000, 20_000), (65_535, 2), (400, 251)])
def test_a_header_over_the_limit_is_refused_before_it_is_decoded(width, height):
    data = bytearray(WHOLE)
    at = data.index(b"\xff\xc0") + 5
    data[at : at + 4] = height.to_bytes(2) + width.to_bytes(2)
    assert f"{width}x{height} is over" in refused(JpegImage(bytes(data)))


def test_the_limit_itself_is_allowed():
    pixels = 48 * 96
    to_input(JpegImage(WHOLE), max_pixels=pixels)
    to_input(raw(PICTURE), max_pixels=pixels)
    assert "is over" in refused(JpegImage(WHOLE), max_pixels=pixels - 1)
    assert "is over" in refused(raw(PICTURE), max_pixels=pixels - 1)


def changed(marker: int, offset: int, value: int) -> bytes:
    data = bytearray(WHOLE)
    data[data.index(bytes([0xFF, marker])) + offset] = value
    return bytes(data)


@pytest.mark.parametrize(
    ("data", "text"),
    [
        (changed(0xC0, 1, 0xC9), "no header that can be read"),  # arithmetic coding
        (changed(0xC0, 1, 0xC3), "no header that can be read"),  # lossless
        (changed(0xC0, 4, 12), "12 bits"),
        (changed(0xC0, 9, 4), "4 channels"),
        (changed(0xE0, 3, 0), "no header that can be read"),  # a segment without length
        (b"\xff\xd8" + b"\xff\xfe\x00\x02" * 1000, "no header that can be read"),
        (b"\xff\xd8" + b"\xff" * 1000, "truncated"),
        (b"GIF89a", "not a JPEG"),
    ],
)
def test_headers_that_cannot_be_used_are_refused(data, text):
    assert text in refused(JpegImage(data))


def test_a_scan_bomb_is_refused():
    data = jpeg(PICTURE, cv2.IMWRITE_JPEG_PROGRESSIVE, 1)
    at = data.rindex(b"\xff\xda")
    bomb = data[:at] + data[at:-2] * 100 + data[-2:]
    assert "scans" in refused(JpegImage(bomb))


@given(st.binary(max_size=200))
def test_any_bytes_are_a_picture_or_a_typed_error(tail):
    for data in (tail, b"\xff\xd8" + tail, WHOLE[:300] + tail, WHOLE[:300] + tail + b"\xff\xd9"):
        with contextlib.suppress(UndecodableError):
            assert to_input(JpegImage(data)).shape == INPUT.shape


SIZES = st.integers(0, 5) | st.integers(0, 2**32 - 1)


@given(SIZES, SIZES, st.integers(-1, 1))
def test_any_raw_size_is_a_picture_or_a_typed_error(width, height, surplus):
    fits = 0 < width * height <= 25
    image = RawImage(width, height, bytes(max(3 * width * height + surplus, 0) if fits else 9))
    if fits and surplus == 0:
        assert to_input(image, max_pixels=25).shape == INPUT.shape
    else:
        refused(image, max_pixels=25)
