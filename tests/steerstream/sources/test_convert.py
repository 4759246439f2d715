from __future__ import annotations

import argparse
import os
import signal

import pytest

from steerstream import ControlValues, MediaError
from steerstream.__main__ import main
from steerstream.errors import OutputLost
from steerstream.sources.convert import Stopped, convert, write_recording
from steerstream.sources.formats import open_recording
from steerstream.sources.options import BadRows, ReadOptions
from steerstream.sources.recording import RecordedFrame, of_frames
from tests.steerstream.sources.made import angles, intervals_ns, write_jpeg
from tests.steerstream.sources.test_donkeycar import record, write_tub

JPEG = b"\xff\xd8 a picture"
MS = 1_000_000


def recording(*times_ms, anew=(), load=lambda: JPEG):
    frames = [
        RecordedFrame(load, time_ms * MS, ControlValues(0.1), index in anew, f"log:{index + 1}")
        for index, time_ms in enumerate(times_ms)
    ]
    return of_frames("log", frames)


def converted(folder, found, options=None):
    written = write_recording(found, folder, options or ReadOptions())
    return written, list(open_recording(folder, ReadOptions()).frames())


def test_a_tub_is_converted_by_one_command(tmp_path, capsys):
    records = [record(index) for index in range(4)]
    records[3]["_session_id"] = "another"
    write_tub(tmp_path / "tub", records, deleted=[1])
    out = tmp_path / "new" / "out"
    assert main(["convert", str(tmp_path / "tub"), str(out), "--max-angle-deg", "180"]) == 0
    assert capsys.readouterr().out == f"{out}: 3 frames, 3 with a steering angle, 1 breaks\n"
    frames = list(open_recording(out, ReadOptions()).frames())
    assert angles(frames) == pytest.approx([0.0, -0.2 * 3.14159265, -0.3 * 3.14159265])
    assert [frame.starts_anew for frame in frames] == [False, False, True]
    assert frames[0].load() == (tmp_path / "tub/images/0_cam_image_array_.jpg").read_bytes()
    assert [path.name for path in out.parent.iterdir()] == ["out"]


def test_a_steering_of_minus_1_to_1_needs_its_unit(tmp_path, capsys):
    write_tub(tmp_path / "tub", [record(0)])
    assert main(["convert", str(tmp_path / "tub"), str(tmp_path / "out")]) == 2
    said = capsys.readouterr().err
    assert said.endswith("tub: its steering is -1 to 1: give --max-angle-deg\n")
    assert "left out" not in said  # It is refused, and one line says so.
    assert not (tmp_path / "out").exists()


def test_bad_rows_are_refused_or_skipped_and_counted(tmp_path, capsys):
    for number in range(2):
        write_jpeg(tmp_path / "in" / f"{number}.jpg")
    lines = ["0.jpg 1.0", "1.jpg left", "2.jpg 1.0", "1.jpg 1.0"]
    (tmp_path / "in" / "data.txt").write_text("\n".join(lines))
    words = ["convert", str(tmp_path / "in"), str(tmp_path / "out")]
    assert main(words) == 2
    assert "data.txt:2: a value is wrong: the angle 'left' is no number" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
    assert main([*words, "--skip-bad"]) == 0
    error = capsys.readouterr().err
    assert "steerstream convert: data.txt has no times: 30 pictures a second" in error
    assert "steerstream convert: skipped 1 rows: a value is wrong (first " in error
    assert "steerstream convert: skipped 1 rows: no such picture (first " in error
    assert len(list((tmp_path / "out" / "frames").iterdir())) == 2


def test_a_split_is_all_that_is_converted(tmp_path):
    for number in (1, 2):
        write_jpeg(tmp_path / "in" / f"{number}.jpg")
    rows = ["frame_id,filename,split", "1,1.jpg,train", "50000000,2.jpg,validation"]
    (tmp_path / "in" / "labels.csv").write_text("\n".join(rows))
    words = ["convert", str(tmp_path / "in"), str(tmp_path / "out"), "--split"]
    assert main([*words, "validation"]) == 0
    (frame,) = open_recording(tmp_path / "out", ReadOptions()).frames()
    assert (frame.capture_time_ns, frame.split) == (50_000_000, "validation")


def test_a_break_that_times_do_not_show_gets_time_between(tmp_path):
    written, frames = converted(tmp_path / "out", recording(0, 50, 100, 150, anew=[2]))
    assert (written.frames, written.labelled, written.breaks) == (4, 4, 1)
    assert intervals_ns(frames) == [50 * MS, 10_050 * MS, 50 * MS]
    assert [frame.starts_anew for frame in frames] == [False, False, True, False]


def test_a_frame_at_the_time_of_the_one_before_is_a_bad_row(tmp_path):
    with pytest.raises(MediaError, match="log:2: its time is that of the frame before"):
        converted(tmp_path / "out", recording(0, 0, 50))
    skipping = ReadOptions(bad_rows=BadRows(skip=True))
    _, frames = converted(tmp_path / "out", recording(0, 50, 50, 100), skipping)
    assert intervals_ns(frames) == [50 * MS] * 2


def test_a_picture_that_cannot_be_read_is_a_bad_row(tmp_path):
    def damaged():
        raise MediaError("it is damaged")

    with pytest.raises(MediaError, match="log:1: a picture cannot be read: it is damaged"):
        converted(tmp_path / "out", recording(0, load=damaged))


def test_what_is_there_is_never_overwritten(tmp_path):
    (tmp_path / "out").mkdir()
    converted(tmp_path / "out", recording(0))
    with pytest.raises(MediaError, match="out is there already; give another name"):
        converted(tmp_path / "out", recording(0))
    (tmp_path / "file").write_text("")
    with pytest.raises(MediaError, match="file is there already"):
        converted(tmp_path / "file", recording(0))
    with pytest.raises(OutputLost, match="cannot write"):
        converted(tmp_path / "file" / "out", recording(0))


def test_a_conversion_that_is_stopped_leaves_nothing(tmp_path):
    found = recording(0, 50, 100)
    with pytest.raises(Stopped):
        write_recording(found, tmp_path / "out", ReadOptions(), is_stopped=lambda: True)
    assert list(tmp_path.iterdir()) == []


async def test_ctrl_c_ends_a_conversion_with_130(tmp_path, monkeypatch):
    def interrupt():
        os.kill(os.getpid(), signal.SIGINT)
        return JPEG

    found = recording(*range(0, 500_000, 50), load=interrupt)
    monkeypatch.setattr("steerstream.sources.convert.open_recording", lambda *_: found)
    options = argparse.Namespace(
        source=tmp_path, out=tmp_path / "out", split="", rate_hz=None, format="", images=None,
        camera="", steering="", max_angle_deg=None, flip_steering=False, skip_bad=False,
    )  # fmt: skip
    assert await convert(options) == 130
    assert list(tmp_path.iterdir()) == []
