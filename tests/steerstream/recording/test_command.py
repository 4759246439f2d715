from __future__ import annotations

import json

import pytest

from steerstream.__main__ import main
from steerstream.recording import FlightRecorder
from steerstream.recording.command import DIFFERS
from steerstream.testing import FakeServer, Reply
from tests.steerstream.command_lines import served
from tests.steerstream.recording.drives import drive, driving


@pytest.fixture
async def recorded(tmp_path):
    path = tmp_path / "drive.mcap"
    async with FlightRecorder(path) as recorder, driving(recorder) as session:
        await drive(session, 5)
    return path


def replay(*words):
    return main(["replay", *map(str, words)])


@pytest.mark.parametrize(("angle_rad", "code"), [(0.1, 0), (0.2, DIFFERS)])
def test_the_exit_code_says_whether_it_came_out_as_recorded(
    recorded, tmp_path, capsys, angle_rad, code
):
    out = tmp_path / "out.json"
    with served(FakeServer(lambda frame: Reply(angle_rad))) as address:
        assert replay(recorded, "--server", address, "--json", out) == code
    [result] = json.loads(out.read_text())
    assert (result["compared"], result["differing"]) == (5, 5 if code else 0)
    said = capsys.readouterr().out
    assert "compared           5  commands" in said
    assert ("frame 0, 0.00 s in" in said) == bool(code)
    assert ("raw.steering_wheel_angle_rad: 0.1 in the recording, 0.2 now" in said) == bool(code)


def test_the_bundle_runs_at_a_server_of_the_replay_s_own(recorded, bundle_path, capsys):
    words = ("--bundle", bundle_path, "--precision", "f32", "--provider", "cpu")
    # The recording is of a scripted server, so that the real one comes to other commands.
    assert replay(recorded, *words) == DIFFERS
    assert "ANOTHER ONE: pilotnet_lstm" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "says"),
    [
        ((), "give --bundle FILE or --server HOST:PORT"),
        (("--bundle", "a.onnx", "--server", "b:1"), "give --bundle FILE or --server HOST:PORT"),
        (("--bundle", "/no/such.onnx"), "No such file"),
        (("--server", "127.0.0.1:1"), "nobody listens"),
    ],
)
def test_what_cannot_begin_is_one_line_and_exit_2(recorded, capsys, words, says):
    assert replay(recorded, *words) == 2
    assert says in capsys.readouterr().err


def test_a_file_that_is_no_recording_is_one_line_and_exit_2(tmp_path, capsys):
    (tmp_path / "a.mcap").write_text("nothing of the kind")
    assert replay(tmp_path / "a.mcap", "--server", "127.0.0.1:1") == 2
    assert "is no MCAP file" in capsys.readouterr().err


def test_a_recording_is_written_for_rerun_and_needs_no_server_for_it(recorded, tmp_path, capsys):
    pytest.importorskip("rerun", reason="needs the extra rerun")
    assert replay(recorded, "--rerun", tmp_path / "a.rrd") == 0
    assert (tmp_path / "a.rrd").read_bytes().startswith(b"RRF")
    assert replay(recorded, "--rerun", tmp_path / "a.txt") == 2
    assert "whose name ends in .rrd" in capsys.readouterr().err
