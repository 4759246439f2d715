from __future__ import annotations

import argparse
import contextlib
import os
import re
from pathlib import Path

import cv2
import numpy as np
import pytest

from steerstream import MediaError
from steerstream.drive.video import VideoFile, video_file
from steerstream.errors import OutputLost
from steerstream.sources.video import library_path


def test_a_written_video_can_be_read(tmp_path):
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


def noise(seed: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (480, 640, 3), np.uint8)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("file/drive.mp4", "Not a directory"),
        ("", "must end in .mp4"),
        ("drive.png", "must end in .mp4"),
        ("folder.mp4", "Is a directory"),
        (os.fsdecode(b"caf\xe9.mp4"), "not UTF-8"),
    ],
)
def test_a_place_that_cannot_be_written_to_is_found_out_before_the_first_picture(
    tmp_path, name, text
):
    (tmp_path / "file").write_text("")
    (tmp_path / "folder.mp4").mkdir()
    with pytest.raises(MediaError, match=re.escape(text)):
        VideoFile(tmp_path / name, rate_hz=20.0)
    with pytest.raises(argparse.ArgumentTypeError, match=re.escape(text)):
        video_file(str(tmp_path / name))
    assert {path.name for path in tmp_path.iterdir()} == {"file", "folder.mp4"}


@pytest.mark.parametrize("name", ["pipe:1.mp4", "http:drive.mp4", "100%d.mp4"])
def test_the_library_takes_no_part_of_a_name_for_a_protocol(tmp_path, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    assert library_path(Path(name)) == str(tmp_path / name)
    with VideoFile(name, rate_hz=20.0) as video:
        video.write(noise(0))
    assert [path.name for path in tmp_path.iterdir()] == [name]


def test_a_name_that_is_not_utf_8_never_reaches_the_library():
    with pytest.raises(MediaError, match="not UTF-8"):
        library_path(Path(os.fsdecode(b"/tmp/caf\xe9.mp4")))


def test_a_full_disk_is_an_error_and_leaves_the_old_video(tmp_path, full_disk):
    path = tmp_path / "drive.mp4"
    path.write_text("old")
    video = VideoFile(path, rate_hz=20.0)
    with full_disk:
        for seed in range(20):
            video.write(noise(seed))
        with pytest.raises(OutputLost, match="is lost"):
            video.close()
    video.close()
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_block_that_fails_leaves_what_was_written(tmp_path):
    path = tmp_path / "drive.mp4"
    with contextlib.suppress(ZeroDivisionError), VideoFile(path, rate_hz=20.0) as video:
        video.write(noise(0))
        assert not path.exists()
        raise ZeroDivisionError
    assert cv2.VideoCapture(str(path)).get(cv2.CAP_PROP_FRAME_COUNT) == 1


def test_a_video_without_a_picture_is_no_file(tmp_path):
    with VideoFile(tmp_path / "drive.mp4", rate_hz=20.0):
        pass
    assert list(tmp_path.iterdir()) == []
