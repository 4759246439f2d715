from __future__ import annotations

import cv2
import numpy as np
import pytest

from steerstream import ControlValues, MediaError
from steerstream.drive.labels import Label, Labels, read_labels
from steerstream.drive.sources import decode, open_source
from steerstream.drive.video import VideoFile
from tests.steerstream.drive.mp4 import set_durations

FIRST_ID = 1_479_425_441_182_877_835
PERIOD_NS = 50_000_000


def write_pictures(folder, names):
    for index, name in enumerate(names):
        cv2.imwrite(str(folder / name), np.full((24, 32, 3), 10 * index, np.uint8))


def ids(*offsets):
    return [FIRST_ID + round(offset * PERIOD_NS) for offset in offsets]


def intervals_ns(frames):
    """The time between each two captures."""
    return np.diff([frame.capture_time_ns for frame in frames]).tolist()


def test_pictures_whose_names_are_times_come_at_those_times(tmp_path):
    write_pictures(tmp_path, [f"{number}.jpg" for number in ids(0, 1, 2.5, 3.5)])
    source = open_source(str(tmp_path))
    frames = list(source.frames)
    assert source.count == 4
    assert source.rate_hz == pytest.approx(20.0)
    assert [frame.due_ns for frame in frames] == [0, 50_000_000, 125_000_000, 175_000_000]
    assert [frame.capture_time_ns for frame in frames] == ids(0, 1, 2.5, 3.5)
    assert not any(frame.starts_anew for frame in frames)


def test_missing_pictures_reset_the_state_and_are_not_waited_for(tmp_path):
    write_pictures(tmp_path, [f"{number}.jpg" for number in ids(0, 1, 2, 300, 301)])
    frames = list(open_source(str(tmp_path)).frames)
    assert [frame.starts_anew for frame in frames] == [False, False, False, True, False]
    assert [frame.due_ns // PERIOD_NS for frame in frames] == [0, 1, 2, 3, 4]


def test_a_gap_of_exactly_100_ms_is_none(tmp_path):
    write_pictures(tmp_path, [f"{number}.jpg" for number in ids(0, 1, 3, 4)])
    assert not any(frame.starts_anew for frame in open_source(str(tmp_path)).frames)


def test_another_rate_stretches_time(tmp_path):
    write_pictures(tmp_path, [f"{number}.jpg" for number in ids(0, 1, 2)])
    source = open_source(str(tmp_path), rate_hz=10.0)
    assert [frame.due_ns for frame in source.frames] == [0, 100_000_000, 200_000_000]


def test_other_names_come_in_order_at_a_steady_rate(tmp_path):
    write_pictures(tmp_path, ["b.png", "a.png", "c.png"])
    (tmp_path / "notes.txt").write_text("no picture")
    frames = list(open_source(str(tmp_path), rate_hz=25.0).frames)
    assert [np.asarray(frame.image)[0, 0, 0] for frame in frames] == [10, 0, 20]
    assert [frame.due_ns for frame in frames] == [0, 40_000_000, 80_000_000]
    assert intervals_ns(frames) == [40_000_000, 40_000_000]


def test_numbered_names_come_in_the_order_of_their_numbers(tmp_path):
    names = ["frame_0.png", "frame_1.png", "frame_10.png", "frame_9.png", "frame_100.png"]
    write_pictures(tmp_path, names)
    source = open_source(str(tmp_path))
    shades = [int(np.asarray(frame.image)[0, 0, 0]) for frame in source.frames]
    assert [names[shade // 10] for shade in shades] == [
        "frame_0.png", "frame_1.png", "frame_9.png", "frame_10.png", "frame_100.png",
    ]  # fmt: skip
    assert source.assumed == "the file names are no times: 20 pictures a second are assumed"


@pytest.mark.parametrize(
    "names",
    [
        ["1479425441182.jpg", "1479425441232.jpg", "1479425441282.jpg"],
        ["1479425441182877.jpg", "1479425441232877.jpg", "1479425441282877.jpg"],
        ["1479425441.18.jpg", "1479425441.23.jpg", "1479425441.28.jpg"],
    ],
)
def test_names_may_be_times_in_other_units(tmp_path, names):
    write_pictures(tmp_path, names)
    source = open_source(str(tmp_path))
    assert (source.rate_hz, source.assumed) == (20.0, "")
    assert intervals_ns(source.frames) == [PERIOD_NS] * 2


def test_a_slow_recording_has_its_own_rate_and_no_breaks(tmp_path):
    write_pictures(tmp_path, [f"{number}.jpg" for number in ids(0, 4, 8, 12, 24)])
    source = open_source(str(tmp_path))
    assert source.rate_hz == pytest.approx(5.0)
    assert [frame.starts_anew for frame in source.frames] == [False] * 4 + [True]


def test_jpeg_files_are_passed_on_as_they_are(tmp_path):
    write_pictures(tmp_path, ["a.jpg"])
    (frame,) = open_source(str(tmp_path)).frames
    assert frame.image == (tmp_path / "a.jpg").read_bytes()
    assert decode(frame.image).shape == (24, 32, 3)


def test_labels_choose_the_pictures_and_their_order(tmp_path):
    (tmp_path / "frames").mkdir()
    numbers = ids(0, 1, 2)
    write_pictures(tmp_path / "frames", [f"{number}.jpg" for number in numbers])
    labels = [
        Label(number, f"frames/{number}.jpg", ControlValues(steering_wheel_angle_rad=0.1))
        for number in numbers[1:]
    ]
    for folder in (tmp_path, tmp_path / "frames"):
        source = open_source(str(folder), labels=Labels(labels, PERIOD_NS))
        assert [frame.capture_time_ns for frame in source.frames] == numbers[1:]


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
    assert intervals_ns(frames) == pytest.approx([5e7, 1e8, 5e7, 2e8])
    assert [frame.due_ns / 1e6 for frame in frames[:4]] == pytest.approx([0, 50, 150, 200])
    assert [frame.starts_anew for frame in frames] == [False] * 4 + [True]


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("nosuch", "there is no source"),
        ("empty", "has no pictures"),
        ("text.mp4", "cannot read the video"),
        ("/dev/video99", "cannot open the camera"),
    ],
)
def test_a_source_that_is_none_is_refused(tmp_path, capfd, name, message):
    (tmp_path / "empty").mkdir()
    (tmp_path / "text.mp4").write_text("no video")
    with pytest.raises(MediaError, match=message):
        open_source(str(tmp_path / name))


def test_labels_without_their_pictures_are_refused(tmp_path):
    label = Label(FIRST_ID, "frames/1.jpg", ControlValues())
    (tmp_path / "labels.csv").write_text("frame_id,filename\n5,frames/1.jpg\n")
    with pytest.raises(MediaError, match=r"labels\.csv:2: the folder .* no picture frames/1\.jpg"):
        open_source(str(tmp_path), labels=read_labels(tmp_path / "labels.csv"))
    with pytest.raises(MediaError, match="needs a column filename"):
        open_source(str(tmp_path), labels=Labels([Label(FIRST_ID, "", ControlValues())], 0.0))
    (tmp_path / "drive.mp4").write_text("")
    with pytest.raises(MediaError, match="labels go with a folder"):
        open_source(str(tmp_path / "drive.mp4"), labels=Labels([label], 0.0))


def test_a_damaged_picture_cannot_be_drawn_on():
    with pytest.raises(MediaError, match="damaged"):
        decode(b"no picture")
