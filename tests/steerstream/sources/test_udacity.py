from __future__ import annotations

import math

import pytest

from steerstream import ControlValues, MediaError
from steerstream.sources.formats import open_recording
from steerstream.sources.options import BadRows, ReadOptions
from tests.steerstream.sources.made import angles, intervals_ns, truths, write_jpeg

INTERPOLATED = "index,timestamp,width,height,frame_id,filename,angle,torque,speed,lat,long,alt"
DAY = "2016-11-18 00:00:00"
IDS = [1479425441182877835, 1479425441232704425, 1479425441282730750]
FULL_RAD = math.radians(25 * 14.8)


def interpolated(folder, *rows):
    (folder / "interpolated.csv").write_text("\n".join([INTERPOLATED, *rows]) + "\n")


def row(time_ns, camera, angle=0.1):
    return f"{DAY},{time_ns},640,480,{camera}_camera,{camera}/{time_ns}.jpg,{angle},0.5,12.5,1,2,3"


def test_the_cars_rows_of_one_camera_are_read(tmp_path):
    for camera in ("center", "left"):
        for time_ns in IDS:
            write_jpeg(tmp_path / camera / f"{time_ns}.jpg")
    rows = [row(time_ns, camera) for time_ns in IDS for camera in ("left", "center")]
    interpolated(tmp_path, *rows)
    recording = open_recording(tmp_path, ReadOptions())
    frames = list(recording.frames())
    assert [frame.capture_time_ns for frame in frames] == IDS
    assert truths(frames) == [ControlValues(0.1, 12.5, 0.5)] * 3
    assert frames[0].place.endswith("interpolated.csv:3")
    assert frames[0].load() == (tmp_path / "center" / f"{IDS[0]}.jpg").read_bytes()
    left = open_recording(tmp_path, ReadOptions(camera="left"))
    assert left.count == 3
    with pytest.raises(MediaError, match="no picture of camera 'rear'; has: center_camera, left_c"):
        open_recording(tmp_path, ReadOptions(camera="rear"))


def test_the_final_evaluation_names_pictures_by_their_times(tmp_path):
    rows = [f"{time_ns},-0.0169,{number % 2}" for number, time_ns in enumerate(IDS)]
    file = tmp_path / "CH2_final_evaluation.csv"
    file.write_text("\n".join(["frame_id,steering_angle,public", *rows]))
    for time_ns in IDS:
        write_jpeg(tmp_path / "center" / f"{time_ns}.jpg")
    recording = open_recording(tmp_path, ReadOptions())
    assert angles(recording.frames()) == [-0.0169] * 3
    assert recording.of_split("public").count == 1
    assert open_recording(file, ReadOptions(images=tmp_path / "center")).count == 3


LOG = [
    (
        r"C:\Users\Me\Desktop\IMG\center_2016_12_01_13_30_48_287.jpg,C:\a\IMG\left_1.jpg,"
        r"C:\a\IMG\right_1.jpg,0.5,0.9,0,22.369363"
    ),
    (
        "/Users/me/data/IMG/center_2016_12_01_13_30_48_387.jpg, /a/left_2.jpg, /a/right_2.jpg,"
        " -0.25, 1, 0, 0"
    ),
]


@pytest.mark.parametrize("header", ["", "center,left,right,steering,throttle,brake,speed\n"])
def test_the_simulators_log_is_read_with_a_header_and_without(tmp_path, header):
    (tmp_path / "driving_log.csv").write_text(header + "\n".join(LOG) + "\n")
    for milliseconds in (287, 387):
        write_jpeg(tmp_path / "IMG" / f"center_2016_12_01_13_30_48_{milliseconds}.jpg")
    recording = open_recording(tmp_path, ReadOptions(max_angle_rad=FULL_RAD))
    frames = list(recording.frames())
    assert intervals_ns(frames) == [100_000_000]
    assert angles(frames) == [-0.5 * FULL_RAD, 0.25 * FULL_RAD]
    assert frames[0].truth.speed_mps == pytest.approx(10.0)
    assert recording.assumed == ()


def test_a_steering_of_minus_1_to_1_is_left_out_where_nobody_says_how_much_1_is(tmp_path):
    (tmp_path / "driving_log.csv").write_text(LOG[1])
    write_jpeg(tmp_path / "IMG" / "center_2016_12_01_13_30_48_387.jpg")
    recording = open_recording(tmp_path, ReadOptions())
    assert truths(recording.frames()) == [ControlValues(speed_mps=0.0)]
    assert "give --max-angle-deg" in recording.assumed[0]
    flipped = open_recording(tmp_path, ReadOptions(max_angle_rad=1.0, flip_steering=True))
    assert angles(flipped.frames()) == [-0.25]


def test_pictures_without_times_in_their_names_come_evenly_and_that_is_said(tmp_path):
    rows = [f"IMG/c{number}.jpg,l.jpg,r.jpg,0,0,0,1" for number in range(3)]
    (tmp_path / "driving_log.csv").write_text("\n".join(rows))
    for number in range(3):
        write_jpeg(tmp_path / "IMG" / f"c{number}.jpg")
    recording = open_recording(tmp_path, ReadOptions(max_angle_rad=1.0))
    assert intervals_ns(recording.frames()) == [50_000_000] * 2
    assert recording.assumed == ("the pictures' names are no times: 20 pictures a second",)
    slower = open_recording(tmp_path, ReadOptions(max_angle_rad=1.0, rate_hz=10.0))
    assert (slower.rate_hz, slower.assumed) == (10.0, ())


BAD = [
    (row(IDS[0], "center", angle="left"), "csv:3: a value is wrong: angle 'left' is no number"),
    (row(IDS[0], "center", angle="nan"), "csv:3: a value is wrong: angle 'nan' is no number"),
    (row("soon", "center"), "csv:3: a value is wrong: 'soon' is no time"),
    (row(IDS[2], "center"), f"csv:3: no such picture: center/{IDS[2]}.jpg"),
]


@pytest.mark.parametrize(("bad", "message"), BAD)
def test_a_bad_row_is_refused_by_its_line_or_skipped_and_counted(tmp_path, bad, message):
    write_jpeg(tmp_path / "center" / f"{IDS[0]}.jpg")
    interpolated(tmp_path, row(IDS[0], "center"), bad)
    with pytest.raises(MediaError, match=message):
        open_recording(tmp_path, ReadOptions())
    skipping = BadRows(skip=True)
    assert open_recording(tmp_path, ReadOptions(bad_rows=skipping)).count == 1
    (line,) = skipping.summary()
    assert line.startswith("skipped 1 rows: ")
    assert line.endswith("interpolated.csv:3)")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a.jpg,b.jpg,c.jpg,0,0,0,1\na.jpg,b.jpg,0,0\n", r"driving_log\.csv:2: needs 7 fields"),
        ("a.jpg,b.jpg,c.jpg,left,0,0,1\n", r":1: a value is wrong: steering 'left' is no number"),
    ],
)
def test_a_bad_line_of_the_log_is_named(tmp_path, text, message):
    (tmp_path / "driving_log.csv").write_text(text)
    with pytest.raises(MediaError, match=message):
        open_recording(tmp_path, ReadOptions())


def test_what_is_none_of_them_is_refused(tmp_path):
    (tmp_path / "some.csv").write_text("a,b\n1,2\n")
    with pytest.raises(MediaError, match="is no file of labels of Udacity's"):
        open_recording(tmp_path / "some.csv", ReadOptions(), "udacity")
    (tmp_path / "driving_log.csv").write_text(LOG[0])
    with pytest.raises(MediaError, match="has no camera 'rear'; has: center, left, right"):
        open_recording(tmp_path, ReadOptions(camera="rear"))
