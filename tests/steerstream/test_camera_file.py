"""A camera's description from a file: what is wrong is named, in the file's own words."""

from __future__ import annotations

import pytest

from steerstream import BadRequest, Camera, LensModel
from steerstream.camera_file import read_camera


def test_a_camera_is_what_its_file_says(tmp_path):
    path = tmp_path / "camera.toml"
    path.write_text(
        """
        width_px = 1280
        height_px = 800
        mount_height_m = 1.4
        horizon_fraction = 0.5
        lens = "fisheye"
        distortion = [0.05, -0.01, 0, -0.001]
        focal_x_px = 640
        """,
        encoding="utf-8",
    )
    assert read_camera(path) == Camera(
        1280,
        800,
        mount_height_m=1.4,
        horizon_fraction=0.5,
        lens=LensModel.FISHEYE,
        distortion=(0.05, -0.01, 0.0, -0.001),
        focal_x_px=640,
    )


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("width_px = 640.5", "width_px must be a whole number, not 640.5"),
        ("mount_height_m = 'high'", "mount_height_m must be a number, not 'high'"),
        ("mount_height_m = true", "mount_height_m must be a number, not True"),
        ("lens = 'round'", "lens must be one of pinhole, brown_conrady, fisheye, not 'round'"),
        ("distortion = 1.0", "distortion must be a list of numbers, not 1.0"),
        ("distortion = ['a']", "distortion must be a list of numbers"),
        ("fov = 60", "a camera has no fov; it has distortion, focal_x_px"),
        ("width_px", "not a TOML file"),
    ],
)
def test_what_is_wrong_is_named_with_the_file(tmp_path, text, message):
    path = tmp_path / "camera.toml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(BadRequest) as caught:
        read_camera(path)
    assert str(caught.value).startswith(f"{path}: ")
    assert message in str(caught.value)


def test_a_file_that_is_not_there_is_one_line(tmp_path):
    with pytest.raises(BadRequest, match="No such file"):
        read_camera(tmp_path / "none.toml")
