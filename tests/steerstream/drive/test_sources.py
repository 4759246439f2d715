from __future__ import annotations

import numpy as np
import pytest

from steerstream import ControlValues, MediaError
from steerstream.drive.sources import open_source
from steerstream.drive.video import VideoFile
from steerstream.sources.options import ReadOptions
from tests.steerstream.drive.mp4 import set_durations
from tests.steerstream.sources.made import PERIOD_NS, ids, intervals_ns, write_pictures


def test_pictures_whose_names_are_times_come_at_those_times(tmp_path):
    write_pictures(tmp_path, [f"{number}.jpg" for number in ids(0, 1, 2.5, 3.5)])
    source = open_source(str(tmp_path))
    frames = list(source.frames)
    assert source.count == 4
    assert source.rate_hz == pytest.approx(20.0)
    assert [frame.due_ns for frame in frames] == [0, 50_000_000, 125_000_000, 175_000_000]
    assert [frame.capture_time_ns for frame in frames] == ids(0, 1, 2.5, 3.5)
    assert not any(frame.starts_anew for frame in frames)


def test_missing_pictures_reset_the_state_and_are_taken_out_of_all_times(tmp_path):
    write_pictures(tmp_path, [f"{number}.jpg" for number in ids(0, 1, 2, 300, 301)])
    frames = list(open_source(str(tmp_path)).frames)
    assert [frame.starts_anew for frame in frames] == [False, False, False, True, False]
    assert [frame.due_ns // PERIOD_NS for frame in frames] == [0, 1, 2, 3, 4]
    # A server refuses a frame of a live camera that seems to be taken long after the one before.
    assert [frame.capture_time_ns for frame in frames] == ids(0, 1, 2, 3, 4)


def test_where_another_recording_follows_in_the_file_capture_times_go_on(tmp_path):
    write_pictures(tmp_path, ["a.jpg"])
    rows = [f"{number},a.jpg" for number in ids(100, 101, 0, 1)]
    (tmp_path / "labels.csv").write_text("\n".join(["frame_id,filename", *rows]))
    frames = list(open_source(str(tmp_path)).frames)
    assert [frame.starts_anew for frame in frames] == [False, False, True, False]
    assert [frame.capture_time_ns for frame in frames] == ids(100, 101, 102, 103)


def test_another_rate_stretches_time(tmp_path):
    write_pictures(tmp_path, [f"{number}.jpg" for number in ids(0, 1, 2)])
    source = open_source(str(tmp_path), ReadOptions(rate_hz=10.0))
    assert [frame.due_ns for frame in source.frames] == [0, 100_000_000, 200_000_000]


def test_a_video_is_read_in_rgb_at_its_rate(tmp_path):
    path = tmp_path / "drive.mp4"
    blue = np.zeros((48, 64, 3), np.uint8)
    blue[..., 2] = 200
    with VideoFile(path, rate_hz=10.0) as video:
        for _ in range(3):
            video.write(blue)
    source = open_source(str(path))
    frames = list(source.frames)
    assert (source.count, source.rate_hz, len(frames)) == (3, 10.0, 3)
    assert np.asarray(frames[0].image)[..., 2].mean() > 150
    assert frames[2].due_ns == 200_000_000


def test_the_pictures_of_a_video_have_the_times_that_it_tells(tmp_path):
    path = tmp_path / "drive.mp4"
    with VideoFile(path, rate_hz=20.0) as video:
        for _ in range(5):
            video.write(np.zeros((48, 64, 3), np.uint8))
    set_durations(path, [1, 2, 1, 4, 1])
    frames = list(open_source(str(path)).frames)
    # The last one comes after a break, which lasts as long as pictures usually lie apart.
    assert intervals_ns(frames) == pytest.approx([5e7, 1e8, 5e7, 9e7])
    assert [frame.due_ns / 1e6 for frame in frames[:4]] == pytest.approx([0, 50, 150, 200])
    assert [frame.starts_anew for frame in frames] == [False] * 4 + [True]


def test_labels_choose_the_pictures_and_their_order(tmp_path):
    (tmp_path / "frames").mkdir()
    numbers = ids(0, 1, 2)
    write_pictures(tmp_path / "frames", [f"{number}.jpg" for number in numbers])
    labels = tmp_path / "labels.csv"
    rows = [f"{number},frames/{number}.jpg,0.1" for number in numbers[1:]]
    labels.write_text("\n".join(["frame_id,filename,steering_angle_rad", *rows]))
    for folder in (tmp_path, tmp_path / "frames"):
        frames = list(open_source(str(folder), labels=labels).frames)
        assert [frame.capture_time_ns for frame in frames] == numbers[1:]
        assert frames[0].truth == ControlValues(steering_wheel_angle_rad=0.1)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("nosuch", "there is no .*nosuch"),
        ("empty", "empty: the folder holds no pictures; it is empty"),
        ("text.mp4", "no format recognises it; it begins with b'no video'"),
        ("/dev/video99", "cannot open the camera"),
        ("rtsp://127.0.0.1:1/none", "cannot open the camera rtsp"),
        ("videotestsrc ! nosuch", "cannot open the camera .*; this build of OpenCV has no GStr"),
    ],
)
def test_a_source_that_is_none_is_refused(tmp_path, capfd, name, message):
    (tmp_path / "empty").mkdir()
    (tmp_path / "text.mp4").write_text("no video")
    is_path = not name.startswith(("/", "rtsp", "videotest"))
    with pytest.raises(MediaError, match=message):
        open_source(str(tmp_path / name) if is_path else name)


def test_labels_without_their_pictures_are_refused(tmp_path):
    labels = tmp_path / "labels.csv"
    labels.write_text("frame_id,filename\n5,frames/1.jpg\n")
    with pytest.raises(MediaError, match=r"labels\.csv:2: the folder .* no picture frames/1\.jpg"):
        open_source(str(tmp_path), labels=labels)
    labels.write_text("frame_id\n5\n")
    with pytest.raises(MediaError, match=r"labels\.csv:2: needs a column filename"):
        open_source(str(tmp_path), labels=labels)
    (tmp_path / "drive.mp4").write_text("")
    with pytest.raises(MediaError, match="labels go with a folder"):
        open_source(str(tmp_path / "drive.mp4"), labels=labels)


def test_a_camera_has_no_splits():
    with pytest.raises(MediaError, match="--split chooses frames of a recording"):
        open_source("0", split="train")
