"""The shape that a session's pictures keep."""

from __future__ import annotations

import pytest

from steerstream.warp import ShapeMismatchError
from steerstream_service.domain import Camera
from steerstream_service.session.picture_shape import PictureShape

SAME = [(640, 480), (320, 240), (1280, 960), (64, 48)]
OTHER = [(480, 640), (640, 360), (100, 100), (2, 2)]


@pytest.mark.parametrize(("width_px", "height_px"), SAME)
def test_pictures_of_the_described_camera_may_have_any_scale(width_px, height_px):
    PictureShape(Camera(640, 480)).check_shape(height_px, width_px)


@pytest.mark.parametrize(("width_px", "height_px"), OTHER)
def test_pictures_of_another_shape_than_described_are_refused_with_both_sizes(width_px, height_px):
    shape = PictureShape(Camera(640, 480))
    shape.used(width_px, height_px)
    with pytest.raises(
        ShapeMismatchError, match=f"has {width_px}x{height_px} .* described with 640x480; send"
    ):
        shape.check_shape(height_px, width_px)


@pytest.mark.parametrize("camera", [Camera(), Camera(640, 0), Camera(0, 480)])
def test_without_a_described_size_the_first_picture_counts(camera):
    shape = PictureShape(camera)
    for width_px, height_px in (*SAME, *OTHER):
        shape.check_shape(height_px, width_px)
    shape.used(640, 480)
    shape.used(100, 100)
    for width_px, height_px in SAME:
        shape.check_shape(height_px, width_px)
    for width_px, height_px in OTHER:
        with pytest.raises(
            ShapeMismatchError,
            match=f"has {width_px}x{height_px} pixels, and the session's first has 640x480; send",
        ):
            shape.check_shape(height_px, width_px)
