"""A view shows the network what the server would have made of the whole picture."""

from __future__ import annotations

import dataclasses
import importlib
from types import SimpleNamespace

import cv2
import numpy as np
import pytest
import simplejpeg
from hypothesis import given
from hypothesis import strategies as st

from steerstream import BadRequest, MissingExtra, ViewEncoding, extras, view
from steerstream.v1 import frame_pb2
from steerstream_bundle import jpeg, pictures
from steerstream_bundle.contract import Crop, FrameInput
from steerstream_bundle.errors import UndecodableError
from steerstream_bundle.pictures import Nv12Image, to_input
from steerstream_bundle.preprocess import bounds, prepare, prepare_nv12
from steerstream_bundle.view import Applied, check
from tests.steerstream.cameras import mapping
from tests.steerstream.views import FRAME, VIEW

LARGE = FrameInput(tensor="frames", height_px=180, width_px=320, crop=Crop(top=0.15, bottom=0.9))
NARROW = FrameInput(tensor="frames", height_px=31, width_px=17, crop=Crop(left=0.3, right=0.35))
sides = st.integers(1, 700)
fractions = st.floats(0, 1)


@pytest.fixture(params=["opencv", "numpy"])
def tool(request, monkeypatch):
    monkeypatch.setattr(extras, "has_opencv", lambda: request.param == "opencv")
    return request.param


@pytest.mark.parametrize("installed", [{"opencv", "simplejpeg"}, {"opencv"}, {"simplejpeg"}, set()])
def test_what_makes_views_is_imported_beforehand_as_far_as_it_is_installed(monkeypatch, installed):
    imported = {}
    for name in ("opencv", "simplejpeg"):
        monkeypatch.setattr(extras, f"has_{name}", lambda name=name: name in installed)
        monkeypatch.setattr(
            extras, name, lambda purpose, name=name: imported.update({name: purpose})
        )
    view.load_packages()
    assert imported.keys() == installed
    assert all(imported.values())


@st.composite
def crops(draw):
    (top, bottom), (left, right) = (
        sorted(draw(st.lists(fractions, min_size=2, max_size=2, unique=True))) for _ in "hw"
    )
    return Crop(top=top, bottom=bottom, left=left, right=right)


def noise(height, width, channels=3):
    return np.random.default_rng(0).integers(0, 256, (height, width, channels), np.uint8)


def smooth(height, width, channels=3):
    small = noise(height // 8 + 1, width // 8 + 1, channels)
    large = cv2.resize(small, (width, height), interpolation=cv2.INTER_CUBIC)
    return np.asarray(large, np.uint8).reshape(height, width, channels)


def furthest(found, expected):
    return np.abs(found.astype(int) - expected).max()


def test_a_view_is_exactly_what_the_network_sees():
    assert (VIEW.width_px, VIEW.height_px) == (200, 66)
    crop = VIEW.crop
    assert (crop.top, crop.bottom, crop.left, crop.right) == (0.4, 0.9, 0.0, 1.0)


def test_a_larger_view_is_compressed_more():
    large = view.declared(LARGE)
    assert VIEW.encodings == large.encodings == (ViewEncoding.JPEG_444, ViewEncoding.RGB8)
    assert (VIEW.jpeg_quality, large.jpeg_quality) == (90, 70)


@given(sides, sides, crops())
def test_a_crop_has_the_edges_that_the_server_gives_it(height, width, crop):
    frame = dataclasses.replace(FRAME, crop=crop)
    assert view.edges(height, width, view.declared(frame).crop) == bounds(height, width, crop)


@given(height=sides, width=sides, crop=crops(), to=st.tuples(st.integers(1, 90), sides))
def test_pixels_are_those_that_the_server_would_have_made(height, width, crop, to):
    frame = FrameInput(tensor="frames", height_px=to[0], width_px=to[1], crop=crop)
    picture = noise(height, width)
    seen = view.of_pixels(picture, view.declared(frame))
    np.testing.assert_array_equal(seen.pixels, prepare(picture, frame))
    assert check(applied(seen), frame).shape == frame.shape


SCALES = """Neither imports the other, so each chooses a scale of decoding by itself. If they chose
differently, the network would see another picture of the same file."""


@pytest.mark.parametrize("frame", [FRAME, LARGE, NARROW])
@pytest.mark.parametrize("aspect", [4 / 3, 16 / 9, 1.0, 0.5])
def test_client_and_server_decode_a_file_of_any_usual_size_at_the_same_scale(frame, aspect):
    declared = view.declared(frame)
    for height in range(1, 2200):
        size = height, max(1, round(aspect * height))
        assert view._smallest(*size, declared) == jpeg._smallest(*size, frame), SCALES


@given(st.integers(1, 9000), st.integers(1, 9000), crops(), st.tuples(sides, sides))
def test_client_and_server_decode_any_file_for_any_network_at_the_same_scale(
    height, width, crop, to
):
    frame = FrameInput(tensor="frames", height_px=to[0], width_px=to[1], crop=crop)
    ours = view._smallest(height, width, view.declared(frame))
    assert ours == jpeg._smallest(height, width, frame), SCALES


@given(st.integers(1, 9000), st.integers(1, 9000), st.tuples(sides, sides))
def test_client_and_server_decode_a_file_that_is_mapped_at_the_same_scale(height, width, least):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(view, "_warp", lambda _: SimpleNamespace(least_px=least))
        ours = view._smallest(height, width, MAPPED)
    assert ours == jpeg._smallest(height, width, pictures._whole(least)), SCALES


def applied(seen):
    told = seen.applied
    return Applied(
        told.source_width_px,
        told.source_height_px,
        told.top_px,
        told.bottom_px,
        told.left_px,
        told.right_px,
    )


@pytest.mark.parametrize("frame", [FRAME, LARGE, NARROW])
@pytest.mark.parametrize("size", [(480, 640), (1080, 1920), (241, 333), (66, 200), (50, 100)])
def test_without_opencv_pixels_differ_by_a_level_or_two(monkeypatch, frame, size):
    """Each halving may round the other way."""
    monkeypatch.setattr(extras, "has_opencv", lambda: False)
    picture = noise(*size)
    seen = view.of_pixels(picture, view.declared(frame))
    assert furthest(seen.pixels, prepare(picture, frame)) <= 2


@pytest.mark.parametrize("full_range", [False, True])
@pytest.mark.parametrize("size", [(480, 640), (242, 334)])
def test_raw_video_becomes_the_pixels_that_the_server_would_have_made(tool, size, full_range):
    height, width = size
    luma, chroma = smooth(height, width, 1), smooth(height // 2, width // 2, 2)
    if not full_range:
        luma = np.clip(luma, 16, 235)
    seen = view.of_planes(luma, chroma, VIEW, full_range=full_range)
    expected = prepare_nv12(luma[..., 0], chroma, FRAME, full_range=full_range)
    # A level of U is 1.8 levels of blue, and of limited video 2.
    assert furthest(seen.pixels, expected) <= (1 if tool == "opencv" else 4)
    assert check(applied(seen), FRAME)


@pytest.mark.parametrize("value", [8, 16, 235, 247, 7, 248, 0, 255])
@pytest.mark.parametrize("share", [0.005, 0.02])
def test_video_that_the_server_would_refuse_as_limited_has_no_view(value, share):
    """The network would see a pale road, or one too dark, and nobody would be told."""
    luma = np.full((480, 640, 1), 100, np.uint8)
    luma[:, : round(640 * share)] = value
    chroma = np.full((240, 320, 2), 128, np.uint8)
    image = Nv12Image(640, 480, luma.tobytes() + chroma.tobytes(), full_range=False)
    try:
        to_input(image, FRAME, 400_000)
    except UndecodableError:
        assert view.of_planes(luma, chroma, VIEW, full_range=False) is None
    else:
        assert view.of_planes(luma, chroma, VIEW, full_range=False) is not None
    assert view.of_planes(luma, chroma, VIEW, full_range=True) is not None


def test_a_picture_that_is_turned_in_memory_is_seen_as_it_is_shown(tool):
    picture = noise(480, 640)[::-1, ::-1]
    seen = view.of_pixels(picture, VIEW)
    assert furthest(seen.pixels, prepare(np.ascontiguousarray(picture), FRAME)) <= 2


@pytest.mark.parametrize("frame", [FRAME, LARGE, NARROW])
@pytest.mark.parametrize("size", [(480, 640), (1080, 1920), (243, 331)])
def test_a_jpeg_file_is_decoded_as_the_server_decodes_it(frame, size):
    data = simplejpeg.encode_jpeg(smooth(*size))
    seen = view.of_jpeg(data, view.declared(frame))
    np.testing.assert_array_equal(seen.pixels, prepare(jpeg.decode(data, frame), frame))
    assert (seen.applied.source_height_px, seen.applied.source_width_px) == size
    assert check(applied(seen), frame)


WHOLE = simplejpeg.encode_jpeg(smooth(240, 320))


def with_segment(marker, content):
    return WHOLE[:2] + marker + (len(content) + 2).to_bytes(2, "big") + content + WHOLE[2:]


@pytest.mark.parametrize(
    "data",
    {
        "turned": with_segment(b"\xff\xe1", b"Exif\0\0II*\0"),
        "other levels": with_segment(b"\xff\xfe", b"CS=ITU601"),
        "other colours": with_segment(b"\xff\xee", b"Adobe\0d\0\0\0\0\0\0"),
        "truncated": WHOLE[:-200],
        "damaged": WHOLE[:-400] + bytes(100) + WHOLE[-300:],
        "no JPEG": b"a picture",
        "no pixels more than the view": simplejpeg.encode_jpeg(smooth(66, 200)),
    }.items(),
    ids=lambda case: case[0],
)
def test_a_jpeg_file_that_the_server_must_judge_has_no_view(data):
    assert view.of_jpeg(data[1], VIEW) is None


def test_a_view_of_a_jpeg_file_needs_a_decoder(monkeypatch):
    def without(name):
        raise ImportError(name)

    monkeypatch.setattr(importlib, "import_module", without)
    with pytest.raises(MissingExtra, match="needs simplejpeg; install it with"):
        view.of_jpeg(WHOLE, VIEW)


@pytest.mark.parametrize(("height", "width", "quality"), [(100, 200, 90), (3, 6667, 70)])
def test_a_small_view_is_one_of_up_to_20000_pixels(height, width, quality):
    frame = dataclasses.replace(FRAME, height_px=height, width_px=width)
    assert view.declared(frame).jpeg_quality == quality


def test_a_mark_behind_the_header_of_a_jpeg_file_says_nothing_of_its_picture():
    data = simplejpeg.encode_jpeg(smooth(480, 640), quality=90)
    plain, marked = (view.of_jpeg(data + tail, VIEW) for tail in (b"", b"Exif\0\0Adobe\0"))
    assert np.array_equal(marked.pixels, plain.pixels)


@pytest.mark.parametrize(("level", "expected"), [(0, 0), (255, 255)])
def test_raw_video_reaches_the_darkest_and_the_brightest_level(level, expected):
    luma = np.full((480, 640, 1), level, np.uint8)
    chroma = np.full((240, 320, 2), 128, np.uint8)
    pixels = view.of_planes(luma, chroma, VIEW, full_range=True).pixels
    assert pixels.dtype == np.uint8
    assert set(np.unique(pixels)) == {expected}


MAPPED = dataclasses.replace(VIEW, mapping=mapping())


@pytest.mark.parametrize(("height", "width"), [(720, 640), (480, 960)])
def test_a_picture_of_another_shape_than_its_camera_s_is_refused(height, width):
    with pytest.raises(BadRequest, match=f"{width}x{height}"):
        view.of_pixels(noise(height, width), MAPPED)
    with pytest.raises(BadRequest, match=f"{width}x{height}"):
        view.of_planes(
            noise(height, width, 1), noise(height // 2, width // 2, 2), MAPPED, full_range=True
        )
    with pytest.raises(BadRequest, match=f"{width}x{height}"):
        view.of_jpeg(simplejpeg.encode_jpeg(noise(height, width)), MAPPED)


@pytest.mark.parametrize("scale", [1, 2])
def test_a_jpeg_file_is_mapped_as_its_pixels_are(scale):
    picture = smooth(480 * scale, 640 * scale)
    data = simplejpeg.encode_jpeg(picture, quality=100)
    of_file, of_pixels = view.of_jpeg(data, MAPPED), view.of_pixels(picture, MAPPED)
    assert furthest(of_file.pixels, of_pixels.pixels) <= 8
    expected = frame_pb2.ViewApplied(
        source_width_px=640 * scale, source_height_px=480 * scale, mapped=True
    )
    assert of_file.applied == of_pixels.applied == expected


@pytest.mark.parametrize(
    ("picture", "least", "size"),
    [
        ((480, 640), (60, 80), (60, 80)),
        ((480, 640), (50, 80), (60, 80)),
        ((480, 640), (61, 80), (120, 160)),
        ((480, 640), (60, 81), (120, 160)),
        ((480, 640), (70, 80), (120, 160)),
        ((480, 640), (121, 1), (240, 320)),
        ((480, 640), (241, 1), (480, 640)),
        ((243, 331), (31, 42), (31, 42)),
    ],
)
def test_a_jpeg_file_is_decoded_no_larger_than_its_mapping_needs(monkeypatch, picture, least, size):
    class Needs:
        least_px = least

    monkeypatch.setattr(view, "_warp", {MAPPED.mapping: Needs}.__getitem__)
    height_px, width_px = picture
    assert view._smallest(height_px, width_px, MAPPED) == size


def test_a_jpeg_file_is_decoded_no_smaller_than_its_part_needs():
    """Half of the rows of 60, and of 120, are fewer than the view's 66."""
    assert view._smallest(480, 1600, VIEW) == (240, 800)


def test_sixteen_rows_tell_whether_video_is_limited():
    assert not view._is_full(np.full((16, 6400, 1), 100, np.uint8))
    rows = np.full((16, 6400, 1), 100, np.uint8)
    rows[1] = 255
    assert view._is_full(rows), "of few rows all are looked at"
    rows = np.full((480, 640, 1), 100, np.uint8)
    rows[28] = 255
    assert not view._is_full(rows), "every thirtieth row"
    rows[30] = 255
    assert view._is_full(rows)


@pytest.mark.parametrize(("count", "is_full"), [(16, False), (17, True)])
def test_one_value_in_a_hundred_may_lie_beyond_limited_video(count, is_full):
    luma = np.full((16, 100, 1), 100, np.uint8)
    luma.flat[:count] = 255
    assert view._is_full(luma) is is_full


def test_the_colours_of_raw_video_are_exact():
    luma = np.full((480, 640, 1), 50, np.uint8)
    chroma = np.full((240, 320, 2), (128, 255), np.uint8)
    pixels = view.of_planes(luma, chroma, VIEW, full_range=True).pixels
    # 50 + 1.402 * 127, 50 - 0.714136 * 127, 50.
    assert {tuple(pixel) for pixel in pixels.reshape(-1, 3).tolist()} == {(228, 0, 50)}
