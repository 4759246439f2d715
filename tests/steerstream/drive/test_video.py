from __future__ import annotations

import cv2
import numpy as np
import pytest

from steerstream import MediaError
from steerstream.drive.video import VideoFile


def test_what_is_written_can_be_read(tmp_path):
    path = tmp_path / "new" / "drive.mp4"
    red = np.zeros((48, 64, 3), np.uint8)
    red[..., 0] = 200
    with VideoFile(path, rate_hz=20.0) as video:
        for _ in range(5):
            video.write(red)
    capture = cv2.VideoCapture(str(path))
    assert capture.get(cv2.CAP_PROP_FRAME_COUNT) == 5
    assert capture.get(cv2.CAP_PROP_FPS) == 20.0
    _, bgr = capture.read()
    capture.release()
    assert bgr[..., 2].mean() > 150
    assert bgr[..., 0].mean() < 50


def test_pictures_of_another_size_are_refused(tmp_path):
    with VideoFile(tmp_path / "drive.mp4", rate_hz=20.0) as video:
        video.write(np.zeros((48, 64, 3), np.uint8))
        with pytest.raises(MediaError, match="must have shape"):
            video.write(np.zeros((64, 48, 3), np.uint8))


def test_a_place_that_cannot_be_written_to_is_an_error(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(MediaError, match="cannot make the folder"):
        VideoFile(tmp_path / "file" / "drive.mp4", rate_hz=20.0)
    with (
        VideoFile(tmp_path, rate_hz=20.0) as video,
        pytest.raises(MediaError, match="cannot write a video"),
    ):
        video.write(np.zeros((48, 64, 3), np.uint8))
