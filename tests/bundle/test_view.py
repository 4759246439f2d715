"""What is no view of the right part is refused with numbers."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from steerstream_bundle import view
from steerstream_bundle.contract import Crop, FrameInput
from steerstream_bundle.errors import UndecodableError
from steerstream_bundle.preprocess import bounds
from steerstream_bundle.view import Applied

FRAME = FrameInput(tensor="frames", height_px=66, width_px=200, crop=Crop(top=0.4, bottom=0.9))
TOLD = Applied(640, 480, 192, 432, 0, 640)
sides = st.integers(0, (1 << 32) - 1)


def test_the_right_part_needs_no_further_crop():
    seen = view.check(TOLD, FRAME)
    assert (seen.shape, seen.crop) == (FRAME.shape, Crop())


@pytest.mark.parametrize("field", ["top_px", "bottom_px", "left_px", "right_px"])
@pytest.mark.parametrize("by", [-2, -1, 1, 2])
def test_an_edge_may_be_rounded_the_other_way_and_no_more(field, by):
    told = TOLD._replace(**{field: getattr(TOLD, field) + by})
    if abs(by) == 1:
        assert view.check(told, FRAME)
    else:
        with pytest.raises(UndecodableError):
            view.check(told, FRAME)


def test_another_part_is_refused_with_both_parts():
    with pytest.raises(UndecodableError) as caught:
        view.check(TOLD._replace(top_px=100, right_px=320), FRAME)
    assert str(caught.value) == (
        "the view shows rows 100 to 432, columns 0 to 320 of a picture of 640x480, the server "
        "asked for rows 192 to 432, columns 0 to 640; crop as SessionOpened.view says, or send "
        "whole pictures"
    )


@pytest.mark.parametrize("size", [{"source_width_px": 0}, {"source_height_px": 0}])
def test_a_view_of_no_picture_is_refused(size):
    with pytest.raises(UndecodableError, match="view_applied states a picture of"):
        view.check(TOLD._replace(**size), FRAME)


@given(sides, sides, st.one_of(st.tuples(*[st.integers(-3, 3)] * 4), st.tuples(*[sides] * 4)))
def test_a_part_is_taken_where_all_its_edges_are_right_to_a_pixel(width, height, off):
    expected = bounds(height, width, FRAME.crop) if width and height else (0, 0, 0, 0)
    told = Applied(width, height, *(edge + by for edge, by in zip(expected, off, strict=True)))
    is_right = width > 0 and height > 0 and max(map(abs, off)) <= 1
    with contextlib.nullcontext() if is_right else pytest.raises(UndecodableError):
        view.check(told, FRAME)


class Shaped:
    """A warp of pictures of 4:3; it notes what it is asked for."""

    least_px = (1, 1)

    def __init__(self):
        self.asked = []

    def of_plane(self, plane, out=None):
        return plane

    def check_shape(self, height_px, width_px):
        self.asked.append((height_px, width_px))
        if 3 * width_px != 4 * height_px:
            raise ValueError("the camera's pictures are 4:3")


MAPPED = Applied(640, 480, 0, 0, 0, 0, is_mapped=True)


def test_a_view_that_was_mapped_as_asked_needs_no_further_crop():
    warp = Shaped()
    seen = view.check(MAPPED, FRAME, warp)
    assert (seen.shape, seen.crop) == (FRAME.shape, Crop())
    assert warp.asked == [(480, 640)]


def test_a_view_of_another_camera_is_refused_in_the_mapping_s_words():
    with pytest.raises(UndecodableError, match=r"^the camera's pictures are 4:3$"):
        view.check(MAPPED._replace(source_height_px=360), FRAME, Shaped())
    with pytest.raises(UndecodableError, match=r"^the camera's pictures are 4:3$"):
        view.check_shape(360, 640, Shaped())


def test_a_view_is_mapped_where_that_was_asked_and_only_there():
    with pytest.raises(UndecodableError, match="the server asked for no mapping; crop"):
        view.check(MAPPED, FRAME)
    with pytest.raises(UndecodableError, match="the view is cropped, and the server asked for"):
        view.check(TOLD, FRAME, Shaped())


def test_another_size_is_refused_with_both_sizes():
    view.check_size(200, 66, FRAME)
    with pytest.raises(UndecodableError, match=r"has 66x200 pixels, the server asked for 200x66;"):
        view.check_size(66, 200, FRAME)
