from __future__ import annotations

import math

import pytest

from steerstream import MediaError
from steerstream.sources.formats import open_recording
from steerstream.sources.options import BadRows, ReadOptions
from tests.steerstream.sources.made import angles, intervals_ns, write_jpeg


def write(folder, *lines, pictures=3):
    (folder / "data.txt").write_text("\n".join(lines) + "\n")
    for number in range(pictures):
        write_jpeg(folder / "data" / f"{number}.jpg")


def test_the_lines_with_times(tmp_path):
    write(
        tmp_path,
        "0.jpg 3.0,2018-07-01 17:09:44:912",
        "1.jpg -90.5,2018-07-01 17:09:44:945",
        "2.jpg 0.0,2018-07-01 17:09:45:012",
    )
    recording = open_recording(tmp_path, ReadOptions())
    frames = list(recording.frames())
    assert frames[0].capture_time_ns == 1_530_464_984_912_000_000
    assert intervals_ns(frames) == [33_000_000, 67_000_000]
    assert angles(frames) == pytest.approx([-math.radians(3), math.radians(90.5), 0.0])
    assert recording.assumed == ()
    assert frames[1].load() == (tmp_path / "data" / "1.jpg").read_bytes()


def test_the_lines_without_times_come_at_the_cameras_rate(tmp_path):
    write(tmp_path, "0.jpg 3.0", "", "1.jpg 3.0", pictures=2)
    recording = open_recording(tmp_path / "data.txt", ReadOptions())
    assert recording.assumed == ("data.txt has no times: 30 pictures a second are assumed",)
    assert open_recording(tmp_path, ReadOptions(rate_hz=10.0)).assumed == ()


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("1.jpg", r"data\.txt:2: a value is wrong: '1\.jpg' is not: picture angle"),
        ("1.jpg left", r"data\.txt:2: a value is wrong: the angle 'left' is no number"),
        ("1.jpg 3.0,yesterday", r"data\.txt:2: a value is wrong: 'yesterday' is no time"),
        ("9.jpg 3.0", r"data\.txt:2: no such picture: 9\.jpg"),
    ],
)
def test_a_bad_line_is_refused_or_skipped(tmp_path, line, message):
    write(tmp_path, "0.jpg 0.0", line)
    with pytest.raises(MediaError, match=message):
        open_recording(tmp_path, ReadOptions())
    skipping = BadRows(skip=True)
    assert open_recording(tmp_path, ReadOptions(bad_rows=skipping)).count == 1
    assert len(skipping.summary()) == 1


def test_a_file_that_is_not_there_and_other_text_are_refused(tmp_path):
    with pytest.raises(MediaError, match=r"data\.txt: cannot be read: No such file"):
        open_recording(tmp_path, ReadOptions(), "sullychen")
    (tmp_path / "notes.txt").write_text("some words\n")
    with pytest.raises(MediaError, match="no format recognises it"):
        open_recording(tmp_path / "notes.txt", ReadOptions())
