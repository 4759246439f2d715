from __future__ import annotations

import pytest

from steerstream import ControlValues
from steerstream.__main__ import main
from steerstream.sources.formats import open_recording
from steerstream.sources.mcap_drive import McapDrive
from steerstream.sources.options import ReadOptions
from steerstream.sources.pictures import decode
from steerstream.sources.recording import RecordedFrame
from tests.steerstream.sources.made import angles, picture, truths
from tests.steerstream.sources.test_donkeycar import record, write_tub

JPEG = b"\xff\xd8 a picture"
PERIOD_NS = 50_000_000


def test_what_is_written_is_read_again(tmp_path):
    known = [ControlValues(0.1 + 0.2, 7.5, -0.5), ControlValues(0.25), None, ControlValues(None, 8)]
    with McapDrive(tmp_path / "drive.mcap") as drive:
        for index, truth in enumerate(known):
            drive.add(RecordedFrame(lambda: JPEG, 10**18 + index * PERIOD_NS, truth))
        drive.add(RecordedFrame(picture, 10**18 + 4 * PERIOD_NS))
    recording = open_recording(tmp_path / "drive.mcap", ReadOptions())
    frames = list(recording.frames())
    assert [frame.capture_time_ns for frame in frames] == [
        10**18 + index * PERIOD_NS for index in range(5)
    ]
    assert truths(frames) == [*known[:2], None, None, None]
    assert frames[0].load() == JPEG
    assert decode(frames[4].load()).shape == (24, 32, 3)
    assert recording.assumed == ()


def test_a_tub_becomes_an_mcap_file_by_one_command(tmp_path, capsys):
    write_tub(tmp_path / "tub", [record(index) for index in range(3)])
    words = [str(tmp_path / "tub"), str(tmp_path / "drive.mcap"), "--max-angle-deg", "180"]
    assert main(["convert", *words]) == 0
    assert "drive.mcap: 3 frames, 3 with a steering angle, 0 breaks" in capsys.readouterr().out
    found = angles(open_recording(tmp_path / "drive.mcap", ReadOptions()).frames())
    assert found == pytest.approx([0.0, -0.314159265, -0.62831853])
    assert main(["convert", *words]) == 2
    assert "drive.mcap is there already" in capsys.readouterr().err
