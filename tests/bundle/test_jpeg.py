"""JPEGs are checked before they cost memory; any bytes end in a picture or a typed error."""

from __future__ import annotations

import contextlib
import sys
import threading

import cv2
import numpy as np
import pytest
import simplejpeg
from hypothesis import example, given
from hypothesis import strategies as st

from steerstream_bundle import jpeg as jpegs
from steerstream_bundle.contract import Crop, FrameInput
from steerstream_bundle.errors import UndecodableError
from tests.bundle.jpeg_files import (
    PICTURE,
    PROGRESSIVE,
    RESTARTS,
    WHOLE,
    changed,
    exif,
    of_size,
    segment,
    with_segments,
)
from tests.service.vehicle import jpeg

INPUT = FrameInput(tensor="frames", height_px=8, width_px=16, crop=Crop())
WHOLE_SIZE = FrameInput(tensor="frames", height_px=48, width_px=96, crop=Crop())
MAX_PIXELS = 100_000


def decode(data, frame=WHOLE_SIZE, max_pixels=MAX_PIXELS, scratch=None):
    return jpegs.decode(data, frame, max_pixels=max_pixels, scratch=scratch)


def refused(data, **options):
    with pytest.raises(UndecodableError) as caught:
        decode(data, **options)
    return str(caught.value)


@pytest.mark.parametrize(
    "data", [WHOLE, PROGRESSIVE, RESTARTS, jpeg(PICTURE, cv2.IMWRITE_JPEG_OPTIMIZE, 1)]
)
def test_jpegs_of_all_usual_kinds_are_decoded(data):
    assert np.abs(decode(data).astype(int) - PICTURE).mean() < 6


@pytest.mark.parametrize("factor", [0x411111, 0x221111, 0x211111, 0x121111, 0x111111])
def test_every_usual_chroma_subsampling_gives_red_green_blue(factor):
    blue = np.full((16, 32, 3), (10, 20, 250), np.uint8)
    found = decode(jpeg(blue, cv2.IMWRITE_JPEG_SAMPLING_FACTOR, factor))
    assert np.abs(found.astype(int) - blue).max() < 8


def without_huffman_tables(data: bytes) -> bytes:
    """As many webcams send MJPEG: whoever decodes it knows the tables of the standard."""
    kept, at = bytearray(data[:2]), 2
    while data[at + 1] != 0xDA:
        end = at + 2 + int.from_bytes(data[at + 2 : at + 4])
        if data[at + 1] != 0xC4:
            kept += data[at:end]
        at = end
    return bytes(kept + data[at:])


@pytest.mark.parametrize("factor", [0x221111, 0x211111])
def test_webcam_pictures_without_huffman_tables_are_decoded(factor):
    whole = jpeg(PICTURE, cv2.IMWRITE_JPEG_SAMPLING_FACTOR, factor)
    bare = without_huffman_tables(whole)
    assert len(bare) < len(whole) - 300
    assert np.array_equal(decode(bare), decode(whole))


def test_a_grey_jpeg_is_decoded():
    done, data = cv2.imencode(".jpg", PICTURE[:, :, 0])
    assert done
    found = decode(data.tobytes())
    assert found.shape == (48, 96, 3)
    np.testing.assert_array_equal(found[:, :, 0], found[:, :, 2])


def as_opencv_shows_it(data: bytes):
    return cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR_RGB)


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_picture_is_turned_as_its_exif_orientation_says(orientation, order):
    data = with_segments(WHOLE, exif(orientation, order, before=3))
    found, expected = decode(data), as_opencv_shows_it(data)
    assert found.shape == expected.shape
    assert np.abs(found.astype(int) - expected).mean() < 2


def test_an_upside_down_picture_is_not_taken_for_an_upright_one():
    np.testing.assert_array_equal(decode(with_segments(WHOLE, exif(3))), decode(WHOLE)[::-1, ::-1])


def test_the_scale_is_that_of_the_turned_picture():
    """96x48 pixels that are shown as 48x96: an input of 90 rows needs the whole."""
    data = with_segments(WHOLE, exif(6))
    tall = FrameInput(tensor="frames", height_px=90, width_px=40, crop=Crop())
    small = FrameInput(tensor="frames", height_px=24, width_px=12, crop=Crop())
    assert decode(data, tall).shape == (96, 48, 3)
    assert decode(data, small).shape == (24, 12, 3)


def in_video_levels(picture) -> bytes:
    """A JPEG whose Y, Cb and Cr are those of limited video, by the definition of BT.601."""
    red, green, blue = np.moveaxis(picture.astype(float), 2, 0) / 255
    luma = 0.299 * red + 0.587 * green + 0.114 * blue
    planes = 16 + 219 * luma, 128 + 224 * (blue - luma) / 1.772, 128 + 224 * (red - luma) / 1.402
    y, cb, cr = (np.clip(np.round(plane), 0, 255).astype(np.uint8) for plane in planes)
    return simplejpeg.encode_jpeg_yuv_planes(y, cb, cr, quality=98)


@pytest.mark.parametrize("ending", [b"", b"\0"])
def test_video_levels_are_stretched_where_the_file_names_them(ending):
    data = with_segments(in_video_levels(PICTURE), segment(0xFE, b"CS=ITU601" + ending))
    assert np.abs(decode(data).astype(int) - PICTURE).mean() < 2


@pytest.mark.parametrize("colour", [(0, 0, 0), (255, 255, 255), (255, 0, 0), (0, 0, 255)])
def test_video_levels_reach_the_ends_of_the_range(colour):
    picture = np.full((48, 96, 3), colour, np.uint8)
    data = with_segments(in_video_levels(picture), segment(0xFE, b"CS=ITU601"))
    assert np.abs(decode(data).astype(int) - picture).max() <= 4


def test_pictures_that_say_they_are_rgb_are_not_converted():
    """Adobe's marker says transform 0: the three channels are red, green and blue."""
    plain = jpeg(PICTURE, cv2.IMWRITE_JPEG_SAMPLING_FACTOR, 0x111111)
    assert plain[2:4] == b"\xff\xe0"
    without_jfif = plain[:2] + plain[4 + int.from_bytes(plain[4:6]) :]
    data = with_segments(without_jfif, segment(0xEE, b"Adobe\0\x64\0\0\0\0\0"))
    np.testing.assert_array_equal(decode(data), as_opencv_shows_it(data))
    assert np.abs(decode(data).astype(int) - decode(plain)).mean() > 10


@pytest.mark.parametrize(
    ("height", "width", "crop", "scaled"),
    [
        (48, 96, Crop(), (48, 96)),
        (25, 96, Crop(), (48, 96)),
        (24, 48, Crop(), (24, 48)),
        (24, 49, Crop(), (48, 96)),
        (12, 24, Crop(), (12, 24)),
        (6, 12, Crop(), (6, 12)),
        (1, 1, Crop(), (6, 12)),
        (12, 48, Crop(top=0.5), (24, 48)),
        (13, 48, Crop(top=0.5), (48, 96)),
        (8, 24, Crop(left=0.25, right=0.75), (24, 48)),
        (500, 500, Crop(), (48, 96)),
    ],
)
def test_the_scale_is_the_smallest_that_holds_the_input(height, width, crop, scaled):
    frame = FrameInput(tensor="frames", height_px=height, width_px=width, crop=crop)
    assert decode(WHOLE, frame).shape == (*scaled, 3)


@pytest.mark.parametrize("size", [(47, 95), (49, 97), (1, 1), (13, 200)])
def test_odd_sizes_are_decoded_at_any_scale(size):
    data = jpeg(np.full((*size, 3), 90, np.uint8))
    for height, width in [(1, 1), (2, 2), (5, 10), (20, 40), (100, 100)]:
        frame = FrameInput(tensor="frames", height_px=height, width_px=width, crop=Crop())
        assert np.abs(decode(data, frame).astype(int) - 90).max() < 4


def test_a_scaled_picture_is_the_average_of_the_whole():
    half = FrameInput(tensor="frames", height_px=24, width_px=48, crop=Crop())
    expected = cv2.resize(decode(WHOLE), (48, 24), interpolation=cv2.INTER_AREA)
    assert np.abs(decode(WHOLE, half).astype(int) - expected).mean() < 2


def test_scratch_memory_is_used_again_and_grows():
    scratch = jpegs.Scratch()
    small, whole = decode(WHOLE, INPUT, scratch=scratch), decode(WHOLE, scratch=scratch)
    assert not np.shares_memory(small, whole)
    again = decode(WHOLE, INPUT, scratch=scratch)
    assert np.shares_memory(whole, again)
    np.testing.assert_array_equal(again, small)


def test_every_thread_has_scratch_memory_of_its_own():
    scratch, found = jpegs.Scratch(), []
    first = decode(WHOLE, scratch=scratch)
    thread = threading.Thread(target=lambda: found.append(decode(WHOLE, scratch=scratch)))
    thread.start()
    thread.join()
    assert not np.shares_memory(first, found[0])


@pytest.fixture
def threads_only_switch_when_they_wait():
    """No thread is made to let go of the interpreter: another runs only when one lets go itself."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(3600)
    yield
    sys.setswitchinterval(before)


@pytest.mark.usefixtures("threads_only_switch_when_they_wait")
def test_other_threads_run_while_one_decodes():
    """Or else a decoding thread is never seen between its beginning and its end."""
    large = jpeg(np.random.default_rng(0).integers(0, 256, (1500, 2000, 3), np.uint8))
    frame = FrameInput(tensor="frames", height_px=1500, width_px=2000, crop=Crop())

    def is_seen_decoding():
        began, ended = threading.Event(), threading.Event()

        def work():
            began.set()
            decode(large, frame, max_pixels=10**7)
            ended.set()

        thread = threading.Thread(target=work)
        thread.start()
        began.wait()
        seen = not ended.is_set()
        thread.join()
        return seen

    assert any(is_seen_decoding() for _ in range(50))


def test_bytes_after_the_end_are_allowed():
    np.testing.assert_array_equal(decode(WHOLE + bytes(64)), decode(WHOLE))


@pytest.mark.parametrize("filling", [bytes(1), bytes(40), b"\0\xff\xff\0" * 3])
def test_filling_before_the_end_is_allowed_as_usb_cameras_send_it(filling):
    np.testing.assert_array_equal(decode(WHOLE[:-2] + filling + WHOLE[-2:]), decode(WHOLE))


def test_other_bytes_before_the_end_are_damage():
    assert "damaged" in refused(WHOLE[:-2] + b"\x12\x34\x56" * 9 + WHOLE[-2:])


def test_a_piece_that_is_missing_from_the_middle_is_damage():
    assert "damaged" in refused(WHOLE[: len(WHOLE) // 2] + WHOLE[-2:])


@pytest.mark.parametrize("part", [0.02, 0.3, 0.5, 0.9, 0.999])
def test_a_truncated_jpeg_is_refused(part):
    assert "truncated" in refused(WHOLE[: int(len(WHOLE) * part)])


def test_the_end_marker_of_a_thumbnail_does_not_count():
    thumbnail = jpeg(PICTURE[:8, :8])
    segment = b"\xff\xe1" + (len(thumbnail) + 2).to_bytes(2) + thumbnail
    data = WHOLE[:2] + segment + WHOLE[2:]
    decode(data)
    assert "truncated" in refused(data[:-2])


@pytest.mark.parametrize(("width", "height"), [(20_000, 20_000), (65_535, 2), (400, 251)])
def test_a_header_over_the_limit_is_refused_before_it_is_decoded(width, height):
    data = bytearray(WHOLE)
    at = data.index(b"\xff\xc0") + 5
    data[at : at + 4] = height.to_bytes(2) + width.to_bytes(2)
    assert f"{width}x{height} is over" in refused(bytes(data))


def test_the_limit_itself_is_allowed():
    decode(WHOLE, max_pixels=48 * 96)
    assert "is over" in refused(WHOLE, max_pixels=48 * 96 - 1)


@pytest.mark.parametrize(
    ("offset", "factors", "named"),
    [(11, 0x31, "3x1, 1x1, 1x1"), (14, 0x22, "2x2, 2x2, 1x1")],
)
def test_sampling_that_the_decoder_lacks_is_named_and_not_called_damage(offset, factors, named):
    assert f"sampling {named}" in refused(changed(0xC0, offset, factors))


def scans_of_one_channel(count):
    """A baseline file whose scans hold one channel each, as often as wanted."""
    at = WHOLE.rindex(b"\xff\xda")
    scan = b"\xff\xda\x00\x08\x01\x01\x00\x00\x3f\x00" + bytes(8)
    return WHOLE[:at] + scan * count + WHOLE[-2:]


def test_a_scan_bomb_is_refused():
    at = PROGRESSIVE.rindex(b"\xff\xda")
    bomb = PROGRESSIVE[:at] + PROGRESSIVE[at:-2] * 100 + PROGRESSIVE[-2:]
    assert "scans" in refused(bomb)
    assert "scans" in refused(scans_of_one_channel(65))
    assert "damaged" in refused(scans_of_one_channel(64))


def test_scans_beside_the_only_one_are_not_decoded():
    at = WHOLE.rindex(b"\xff\xda")
    assert "damaged" in refused(WHOLE[:at] + WHOLE[at:-2] * 100 + WHOLE[-2:])


def test_bad_pictures_write_nothing_to_the_standard_streams(capfd):
    for data in (WHOLE[:-2], WHOLE[:-2] + b"abc" * 9 + WHOLE[-2:], WHOLE[:400] + WHOLE[-2:]):
        refused(data)
    assert capfd.readouterr() == ("", "")


def picture_or_typed_error(data, frame=INPUT):
    with contextlib.suppress(UndecodableError):
        found = decode(data, frame)
        assert found.dtype == np.uint8
        assert found.ndim == 3
        assert found.size <= 3 * MAX_PIXELS


@given(st.binary(max_size=200))
def test_any_bytes_are_a_picture_or_a_typed_error(tail):
    for data in (tail, b"\xff\xd8" + tail, WHOLE[:300] + tail, WHOLE[:300] + tail + b"\xff\xd9"):
        picture_or_typed_error(data)


@st.composite
def mutations(draw):
    """A real file with bytes overwritten, removed, repeated or swapped."""
    data = bytearray(draw(st.sampled_from([WHOLE, PROGRESSIVE, RESTARTS])))
    for _ in range(draw(st.integers(1, 6))):
        at = draw(st.integers(0, len(data) - 1))
        size = draw(st.integers(1, 40))
        piece = bytes(data[at : at + size])
        match draw(st.sampled_from(["overwrite", "remove", "repeat", "insert", "marker"])):
            case "overwrite":
                data[at] = draw(st.integers(0, 255))
            case "remove":
                del data[at : min(at + size, len(data) - 1)]
            case "repeat":
                data[at:at] = piece * draw(st.integers(1, 3))
            case "insert":
                data[at:at] = draw(st.binary(min_size=1, max_size=20))
            case "marker":
                data[at : at + 2] = bytes([0xFF, draw(st.integers(0xC0, 0xFE))])
    return bytes(data)


@given(mutations(), st.sampled_from([INPUT, WHOLE_SIZE]))
@example(WHOLE[:2] + WHOLE, INPUT)
def test_any_mutation_of_a_real_file_is_a_picture_or_a_typed_error(data, frame):
    picture_or_typed_error(data, frame)


def test_a_header_tells_what_decoding_goes_through_before_anything_is_decoded():
    frame = FrameInput(tensor="frames", height_px=66, width_px=200, crop=Crop())
    data = of_size(1920, 1080, 50_000)
    assert jpegs.work(data, frame) == (50_000, 1920 * 1080, 240 * 135, True)
    assert not jpegs.work(of_size(1920, 1080, 50_000, progressive=True), frame).one_scan
    narrow = jpegs.work(of_size(250, 8000, 50_000), frame)
    assert narrow.made_pixels == narrow.pixels == 250 * 8000, "no smaller scale is wide enough"
    on_its_side = with_segments(of_size(1080, 1920, 50_000), exif(6))
    assert jpegs.work(on_its_side, frame).made_pixels == 240 * 135
    for kind, picture in ((WHOLE, True), (PROGRESSIVE, False)):
        assert jpegs.work(kind, WHOLE_SIZE) == (len(kind), 96 * 48, 96 * 48, picture)
    with pytest.raises(UndecodableError, match="truncated"):
        jpegs.work(WHOLE[:20], frame)
