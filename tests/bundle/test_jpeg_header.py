"""The header of a JPEG says how it is coded and shown, or ends in a typed error."""

from __future__ import annotations

import contextlib
import struct

import cv2
import pytest

from steerstream_bundle import jpeg_header
from steerstream_bundle.errors import UndecodableError
from steerstream_bundle.jpeg_header import read
from tests.bundle.jpeg_files import (
    PICTURE,
    PROGRESSIVE,
    WHOLE,
    changed,
    exif,
    segment,
    with_segments,
)
from tests.service.vehicle import jpeg


def refused(data):
    with pytest.raises(UndecodableError) as caught:
        read(data)
    return str(caught.value)


def test_a_header_says_the_size_and_where_the_scans_begin():
    header = read(WHOLE)
    assert (header.width_px, header.height_px) == (96, 48)
    assert WHOLE[header.scans_at - 2 : header.scans_at] == b"\xff\xda"
    assert header.sampling == b"\x22\x11\x11"
    assert (header.orientation, header.video_levels) == (1, False)


def test_only_a_file_of_one_scan_says_so():
    assert read(WHOLE).one_scan
    assert not read(PROGRESSIVE).one_scan


def test_a_grey_file_has_one_channel():
    done, data = cv2.imencode(".jpg", PICTURE[:, :, 0])
    assert done
    assert len(read(data.tobytes()).sampling) == 1


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("kind", [3, 4])
def test_an_orientation_is_read_in_both_byte_orders_as_a_short_or_a_long(orientation, order, kind):
    data = with_segments(WHOLE, exif(orientation, order, kind, before=3))
    assert read(data).orientation == orientation


def test_an_unknown_orientation_is_upright():
    assert read(with_segments(WHOLE, exif(0))).orientation == 1


@pytest.mark.parametrize(("orientation", "kind"), [(9, 3), (65535, 3), (3, 2), (3, 5)])
def test_an_orientation_that_means_nothing_is_refused(orientation, kind):
    assert "EXIF orientation" in refused(with_segments(WHOLE, exif(orientation, kind=kind)))


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"Exif\0\0",
        b"Exif\0\0II*\0",
        b"Exif\0\0II*\0\xff\xff\xff\xff",
        b"Exif\0\0II*\0\x08\0\0\0\xff\xff",
        b"Exif\0\0XX*\0\x08\0\0\0\0\0",
        b"http://ns.adobe.com/xap/1.0/\0<x:xmpmeta/>",
    ],
)
def test_a_segment_without_an_orientation_turns_nothing(content):
    assert read(with_segments(WHOLE, segment(0xE1, content))).orientation == 1


def full_of_tags():
    """The largest segment of EXIF that there can be: 5,459 tags, none of them an orientation."""
    tags = struct.pack("<HHI4s", 0x0100, 3, 1, bytes(4)) * 5459
    return segment(0xE1, b"Exif\0\0II*\0\x08\0\0\0" + struct.pack("<H", 5459) + tags)


@pytest.mark.parametrize(
    ("segments", "orientation"),
    [
        ([exif(3), exif(6)], 3),
        ([full_of_tags(), exif(6)], 1),
        ([segment(0xE1, b"http://ns.adobe.com/xap/1.0/\0"), exif(6)], 6),
    ],
)
def test_the_first_segment_of_exif_counts(segments, orientation):
    assert read(with_segments(WHOLE, *segments)).orientation == orientation


@pytest.mark.parametrize(
    ("comment", "video_levels"),
    [(b"CS=ITU601", True), (b"CS=ITU601\0", True), (b"Lavc61.3.100\0", False), (b"", False)],
)
def test_a_comment_names_video_levels(comment, video_levels):
    data = with_segments(WHOLE, segment(0xFE, comment), segment(0xFE, b"a camera"))
    assert read(data).video_levels == video_levels


def test_a_colour_space_of_another_name_is_refused():
    for comment in (b"CS=ITU709\0", b"CS=ITU709".ljust(60_000, b"\0")):
        assert "CS=ITU709" in refused(with_segments(WHOLE, segment(0xFE, comment)))
    endless = b"CS=ITU601".ljust(60_000, b"\0")
    assert "CS=ITU601" in refused(with_segments(WHOLE, segment(0xFE, endless)))


@pytest.mark.parametrize(
    ("data", "text"),
    [
        (changed(0xC0, 1, 0xC9), "arithmetic coding"),
        (changed(0xC0, 1, 0xCA), "arithmetic coding"),
        (changed(0xC0, 1, 0xCF), "arithmetic coding"),
        (changed(0xC0, 1, 0xC3), "lossless coding"),
        (changed(0xC0, 1, 0xC5), "hierarchical coding"),
        (changed(0xC0, 4, 12), "12 bits"),
        (changed(0xC0, 9, 4), "4 channels"),
        (changed(0xC0, 9, 2), "2 channels"),
        (changed(0xC0, 11, 0), "damaged"),  # a sampling factor of zero
        (changed(0xE0, 3, 0), "no header that can be read"),  # a segment without length
        (b"\xff\xd8" + b"\xff\xfe\x00\x02" * 1000, "no header that can be read"),
        (b"\xff\xd8" + b"\xff" * 65, "truncated"),
        (b"\xff\xd8" + b"\xff" * 66, "more than 64 bytes of fill"),
        (WHOLE[:2] + b"\xff" * 65 + WHOLE[2:], "more than 64 bytes of fill"),
        (changed(0xC0, 3, 3), "3 channels take 17 bytes, not 3"),
        (changed(0xC0, 3, 20), "3 channels take 17 bytes, not 20"),
        (b"GIF89a", "not a JPEG"),
        (b"", "empty"),
    ],
)
def test_headers_that_cannot_be_used_are_refused(data, text):
    assert text in refused(data)


def test_some_fill_before_a_marker_is_skipped():
    assert read(WHOLE[:2] + b"\xff" * 64 + WHOLE[2:]).scans_at == read(WHOLE).scans_at + 64


class Counted(bytes):
    """A file that counts how often a part of it is looked at."""

    looks = 0

    def __getitem__(self, part):
        self.looks += 1
        return super().__getitem__(part)


@pytest.mark.parametrize(
    "begin",
    [
        WHOLE[:2] + b"\xff" * 4_000_000,
        (b"\xff" * 64 + b"\xd0") * 60_000,
        b"\xff\x01" * 2_000_000,
        b"\xff\xfe\x00\x02" * 1_000_000,
        b"\xff\xdd\x00\x04\x00\x01" * 500_000,
        segment(0xFE, b"CS=ITU601".ljust(65_000, b"\0")) * 60,
        segment(0xE1, b"Exif\0\0II*\0\x08\0\0\0\xff\xff".ljust(65_000, b"\0")) * 60,
    ],
    ids=["fill", "restarts", "no lengths", "comments", "intervals", "levels", "tags"],
)
def test_a_header_takes_few_looks_however_long_it_is(begin):
    """Headers are read on the event loop, before anything about the frame is known."""
    data = Counted(WHOLE[:2] + begin + WHOLE[2:])
    with contextlib.suppress(UndecodableError):
        read(data)
    assert data.looks <= 4 * 256


def test_channels_behind_the_end_of_their_header_are_not_read():
    """They would not be among the bytes by which a header is known again."""
    begin = b"\xff\xd8\xff\xc0\x00\x03\x08\xff\xda\x00\x03\x01"
    for sampling in (b"\x00\x11", b"\x00\x00"):
        assert "1 channels take 11 bytes" in refused(begin + sampling + bytes(20))


def test_a_second_frame_header_is_refused():
    at = WHOLE.index(b"\xff\xc0")
    end = at + 2 + int.from_bytes(WHOLE[at + 2 : at + 4])
    second = bytearray(WHOLE[at:end])
    second[5:9] = (8000).to_bytes(2) + (8000).to_bytes(2)
    assert "no header" in refused(WHOLE[:end] + bytes(second) + WHOLE[end:])


def test_a_thumbnail_inside_a_segment_is_not_the_picture():
    header = read(with_segments(WHOLE, segment(0xE1, jpeg(PICTURE[:8, :8]))))
    assert (header.width_px, header.height_px) == (96, 48)


@pytest.mark.parametrize("data", [WHOLE, PROGRESSIVE, with_segments(WHOLE, exif(6))])
def test_a_header_that_is_remembered_is_taken_for_no_other(data):
    """Whatever byte of it is another, or is missing, it is read as if none were remembered."""
    header = read(data)
    assert read(data) is header
    end = header.scans_at + 3
    for at in range(2, end):
        for other in (data[:at], data[:at] + bytes([data[at] ^ 0x01]) + data[at + 1 :]):
            try:
                expected = jpeg_header._read(other)
            except (UndecodableError, struct.error, IndexError):
                with pytest.raises(UndecodableError):
                    read(other)
            else:
                assert read(other) == expected
    assert read(data[:end]) == header, "the scans are the decoder's"


def test_few_headers_are_remembered_and_none_that_is_long():
    cameras = [with_segments(WHOLE, segment(0xE5, bytes([number]))) for number in range(100)]
    for data in (*cameras, with_segments(WHOLE, segment(0xE5, bytes(5000)))):
        assert read(data) == read(data)
    kept = jpeg_header._remembered
    assert len(kept) == 8
    assert max(len(begin) for begin, _ in kept) < 4096
    assert kept[0][0] == cameras[-1][: len(kept[0][0])]
