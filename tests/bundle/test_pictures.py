"""Pictures of every kind come to the network's input, or end in a typed error."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from steerstream_bundle import jpeg_header, pictures
from steerstream_bundle.contract import Crop, FrameInput
from steerstream_bundle.errors import UndecodableError
from steerstream_bundle.pictures import JpegImage, Nv12Image, RawImage
from steerstream_bundle.preprocess import prepare
from steerstream_bundle.view import Applied
from tests.bundle.jpeg_files import exif, segment, with_segments
from tests.service import vehicle
from tests.service.vehicle import jpeg

INPUT = FrameInput(tensor="frames", height_px=8, width_px=16, crop=Crop())
CROPPED = FrameInput(tensor="frames", height_px=8, width_px=16, crop=Crop(top=0.5))
TALL = FrameInput(tensor="frames", height_px=40, width_px=16, crop=Crop(left=0.25))
MAX_PIXELS = 100_000
PICTURE = cv2.GaussianBlur(vehicle.pictures(1, 3, (48, 96, 3))[0], (9, 9), 0)
WHOLE = jpeg(PICTURE)


def to_input(image, frame=INPUT, max_pixels=MAX_PIXELS, out=None, applied=None):
    return pictures.to_input(image, frame, max_pixels, out, applied=applied)


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


@pytest.mark.parametrize("frame", [INPUT, CROPPED])
def test_a_jpeg_is_close_to_its_pixels(frame):
    found = to_input(JpegImage(WHOLE), frame)
    assert np.abs(found.astype(int) - prepare(PICTURE, frame)).mean() < 6


def test_a_prepared_jpeg_is_not_overwritten_by_the_next():
    first = to_input(JpegImage(WHOLE))
    before = first.copy()
    to_input(JpegImage(jpeg(255 - PICTURE)))
    np.testing.assert_array_equal(first, before)


@pytest.mark.parametrize(
    "image",
    [
        raw(PICTURE),
        JpegImage(WHOLE),
        raw(PICTURE[:8, :16]),
        Nv12Image(16, 8, bytes(192), full_range=True),
    ],
)
def test_a_picture_is_written_into_a_row_of_a_batch(image):
    batch = np.zeros((3, *INPUT.shape), np.uint8)
    assert to_input(image, out=batch[1]).base is batch
    np.testing.assert_array_equal(batch[1], to_input(image))
    assert not batch[[0, 2]].any()


def test_raw_pixels_of_the_input_s_size_are_not_copied():
    image = raw(PICTURE[:8, :16])
    assert np.shares_memory(to_input(image), np.frombuffer(image.pixels, np.uint8))


def nv12(picture, *, full_range):
    """The planes of a picture in NV12, computed with floats by the definition of BT.601."""
    height, width = picture.shape[:2]
    red, green, blue = np.moveaxis(picture.astype(float), 2, 0) / 255
    luma = 0.299 * red + 0.587 * green + 0.114 * blue
    chroma = np.dstack([(blue - luma) / 1.772, (red - luma) / 1.402])
    chroma = chroma.reshape(height // 2, 2, width // 2, 2, 2).mean(axis=(1, 3))
    if full_range:
        luma, chroma = 255 * luma, 128 + 255 * chroma
    else:
        luma, chroma = 16 + 219 * luma, 128 + 224 * chroma
    values = np.concatenate([luma.ravel(), chroma.ravel()])
    planes = np.clip(np.round(values), 0, 255).astype(np.uint8).tobytes()
    return Nv12Image(width, height, planes, full_range)


COLOURS = [
    (0, 0, 0),
    (255, 255, 255),
    (255, 0, 0),
    (0, 255, 0),
    (0, 0, 255),
    (255, 255, 0),
    (90, 120, 60),
    (30, 60, 200),
]


@pytest.mark.parametrize("full_range", [False, True])
@pytest.mark.parametrize("colour", COLOURS)
def test_a_colour_in_nv12_comes_back_within_the_rounding_of_yuv(colour, full_range):
    """Half a step of Y is 0.6 of a value, half a step of U or V up to 1.0 of one."""
    picture = np.full((8, 16, 3), colour, np.uint8)
    found = to_input(nv12(picture, full_range=full_range))
    assert np.abs(found.astype(int) - picture).max() <= 2


@pytest.mark.parametrize("full_range", [False, True])
@pytest.mark.parametrize("frame", [INPUT, CROPPED, TALL])
def test_a_picture_in_nv12_is_close_to_its_pixels(frame, full_range):
    found = to_input(nv12(PICTURE, full_range=full_range), frame)
    assert found.flags.c_contiguous
    assert np.abs(found.astype(int) - prepare(PICTURE, frame)).mean() < 3


def real_picture():
    """Dark, bright and grey, as the road is: a ramp over all values."""
    return np.repeat(np.linspace(0, 255, 96).astype(np.uint8)[None, :, None], 48, 0).repeat(3, 2)


def test_full_range_nv12_that_is_sent_as_limited_is_refused():
    image = nv12(real_picture(), full_range=True)
    to_input(image)
    image.full_range = False
    assert "set full_range" in refused(image)


def test_limited_nv12_of_every_brightness_is_taken():
    to_input(nv12(real_picture(), full_range=False))


@pytest.mark.parametrize("value", [0, 7, 248, 255])
def test_few_values_beyond_the_limited_range_are_overshoots(value):
    """Two columns in two hundred, and not three."""
    planes = np.full((72, 200), 90, np.uint8)
    planes[:, [3, 70]] = value
    to_input(Nv12Image(200, 48, planes.tobytes(), full_range=False))
    planes[:, 199] = value
    image = Nv12Image(200, 48, planes.tobytes(), full_range=False)
    assert "1.5% of Y" in refused(image)


def test_large_nv12_is_judged_by_some_of_its_rows():
    scattered = np.random.default_rng(0).permutation(640 * 480)
    planes = np.full(640 * 720, 90, np.uint8)
    planes[scattered[: 640 * 480 // 200]] = 0
    to_input(Nv12Image(640, 480, planes.tobytes(), full_range=False), max_pixels=640 * 480)
    planes[scattered[: 640 * 480 // 50]] = 0
    image = Nv12Image(640, 480, planes.tobytes(), full_range=False)
    assert "set full_range" in refused(image, max_pixels=640 * 480)


@pytest.mark.parametrize("value", [8, 16, 235, 247])
def test_values_near_the_limited_range_are_taken(value):
    planes = np.full((72, 96), value, np.uint8)
    to_input(Nv12Image(96, 48, planes.tobytes(), full_range=False))


@pytest.mark.parametrize(("width", "height"), [(3, 4), (4, 3), (1, 1)])
def test_nv12_of_odd_size_is_refused(width, height):
    assert "even" in refused(Nv12Image(width, height, bytes(18), full_range=False))


def test_only_raw_pictures_of_usual_size_are_cheap():
    assert pictures.is_cheap(RawImage(640, 480, b""))
    assert pictures.is_cheap(Nv12Image(640, 480, b"", full_range=False))
    assert not pictures.is_cheap(RawImage(640, 481, b""))
    assert not pictures.is_cheap(JpegImage(WHOLE))
    assert not pictures.is_cheap(None)


def test_the_header_of_a_picture_is_read_once(monkeypatch):
    """To forecast what a long one costs, and to decode it, on different threads."""
    image, reads = JpegImage(with_segments(WHOLE, segment(0xE5, bytes(5000)))), []
    read = jpeg_header.read

    def counted(data):
        reads.append(data)
        return read(data)

    monkeypatch.setattr(jpeg_header, "read", counted)
    pictures.check(image, INPUT, MAX_PIXELS)
    pictures.work(image, INPUT)
    to_input(image)
    assert len(reads) == 1


def test_a_frame_without_picture_is_refused():
    assert "no picture" in refused(None)


def test_the_limit_itself_is_allowed():
    pixels = 48 * 96
    to_input(JpegImage(WHOLE), max_pixels=pixels)
    to_input(raw(PICTURE), max_pixels=pixels)
    assert "is over" in refused(JpegImage(WHOLE), max_pixels=pixels - 1)
    assert "is over" in refused(raw(PICTURE), max_pixels=pixels - 1)


SIZES = st.integers(0, 5) | st.integers(0, 2**32 - 1)


@given(SIZES, SIZES, st.integers(-1, 1))
def test_any_raw_size_is_a_picture_or_a_typed_error(width, height, surplus):
    fits = 0 < width * height <= 25 and max(width, height) <= 16 * min(width, height)
    image = RawImage(width, height, bytes(max(3 * width * height + surplus, 0) if fits else 9))
    if fits and surplus == 0:
        assert to_input(image, max_pixels=25).shape == INPUT.shape
    else:
        refused(image, max_pixels=25)


@given(SIZES, SIZES, st.integers(-1, 1))
def test_any_nv12_size_is_a_picture_or_a_typed_error(width, height, surplus):
    fits = 0 < width * height <= 25 and max(width, height) <= 16 * min(width, height)
    size = max(3 * width * height // 2 + surplus, 0) if fits else 9
    image = Nv12Image(width, height, b"\x10" * size, full_range=False)
    if fits and surplus == 0 and not (width % 2 or height % 2):
        assert to_input(image, max_pixels=25).shape == INPUT.shape
    else:
        refused(image, max_pixels=25)


@pytest.mark.parametrize(
    ("width", "height"),
    [(307_200, 1), (1, 307_200), (34, 2), (2, 34), (8194, 600), (600, 8194)],
)
def test_pictures_of_a_shape_that_no_camera_has_are_refused_with_the_numbers(width, height):
    """Those of one row take 70 times as long to scale as others of as many pixels."""
    pixels = np.zeros((height, width, 3), np.uint8)
    images = [raw(pixels), Nv12Image(width, height, bytes(3 * width * height // 2), True)]
    if max(width, height) < 65_000:
        images.append(JpegImage(jpeg(pixels)))
    for image in images:
        assert refused(image, max_pixels=10**7) == (
            f"the picture has {width}x{height} pixels; send one of at most 8192 a side, and no "
            "side over 16 times the other"
        )


@pytest.mark.parametrize(("width", "height"), [(32, 2), (2, 32), (8192, 512)])
def test_panoramas_are_accepted(width, height):
    pixels = np.zeros((height, width, 3), np.uint8)
    for image in (raw(pixels), JpegImage(jpeg(pixels))):
        assert to_input(image, max_pixels=10**7).shape == INPUT.shape


# Views.

TOLD = Applied(96, 48, 24, 48, 0, 96)
"""The lower half of the picture."""
SMOOTH = cv2.resize(PICTURE[24:], (16, 8), interpolation=cv2.INTER_AREA)


def test_a_view_is_not_cropped_again():
    found = to_input(raw(SMOOTH), CROPPED, applied=TOLD)
    np.testing.assert_array_equal(found, SMOOTH)


@pytest.mark.parametrize("image", [JpegImage(jpeg(SMOOTH)), nv12(SMOOTH, full_range=True)])
def test_a_view_of_any_encoding_is_close_to_its_pixels(image):
    found = to_input(image, CROPPED, applied=TOLD)
    assert found.shape == CROPPED.shape
    assert np.abs(found.astype(int) - SMOOTH).mean() < 12


@pytest.mark.parametrize(
    "image",
    [
        raw(PICTURE),
        JpegImage(WHOLE),
        nv12(PICTURE, full_range=True),
        JpegImage(jpeg(SMOOTH[::-1, :8])),
    ],
)
def test_a_picture_of_another_size_is_no_view(image):
    assert "pixels, the server asked for 16x8" in refused(image, frame=CROPPED, applied=TOLD)


def test_a_view_that_is_stored_on_its_side_has_the_size_that_it_is_shown_in():
    tall = np.ascontiguousarray(SMOOTH.transpose(1, 0, 2))
    turned, upright = (with_segments(jpeg(picture), exif(5)) for picture in (tall, SMOOTH))
    assert to_input(JpegImage(turned), CROPPED, applied=TOLD).shape == CROPPED.shape
    assert "has 8x16 pixels" in refused(JpegImage(upright), frame=CROPPED, applied=TOLD)


def test_a_view_of_another_part_is_refused():
    told = TOLD._replace(top_px=0)
    assert "rows 0 to 48" in refused(raw(SMOOTH), frame=CROPPED, applied=told)


def test_only_a_small_view_in_one_scan_is_decoded_at_once():
    small = JpegImage(jpeg(SMOOTH))
    assert pictures.is_cheap(small, CROPPED)
    assert not pictures.is_cheap(small), "the picture may be of any size"
    assert not pictures.is_cheap(JpegImage(small.data + bytes(10_000)), CROPPED)
    assert not pictures.is_cheap(JpegImage(small.data + b"\xff\xda"), CROPPED)
    large = FrameInput(tensor="frames", height_px=180, width_px=320, crop=Crop())
    assert not pictures.is_cheap(small, large)
