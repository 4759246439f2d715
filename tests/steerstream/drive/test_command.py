"""The command line in the main thread, as signals want it; its server in another one."""

from __future__ import annotations

import dataclasses
import json
import os
import signal
import sys
import threading
from types import SimpleNamespace

import cv2
import numpy as np
import pytest

from steerstream import SkipReason
from steerstream.__main__ import main
from steerstream.drive import command, overlay
from steerstream.drive.plot import SteeringPlot
from steerstream.testing import Fail, FakeServer, Reply, Skip
from tests.steerstream.command_lines import command_line, served
from tests.steerstream.drive.mp4 import frames_of
from tests.steerstream.views import VIEW

FIRST_ID = 1_479_425_441_182_877_835


@pytest.fixture
def recording(tmp_path):
    """Ten labelled pictures, with two missing stretches."""
    folder = tmp_path / "drive"
    (folder / "frames").mkdir(parents=True)
    rows = ["frame_id,filename,steering_angle_rad,split"]
    steps = [0, 1, 2, 3, 40, 41, 42, 90, 91, 92]
    for index, step in enumerate(steps):
        frame_id = FIRST_ID + step * 20_000_000
        picture = np.full((48, 64, 3), 20 * index, np.uint8)
        cv2.imwrite(str(folder / "frames" / f"{frame_id}.jpg"), picture)
        split = "train" if index < 4 else "validation"
        rows.append(f"{frame_id},frames/{frame_id}.jpg,0.3,{split}")
    (folder / "labels.csv").write_text("\n".join(rows) + "\n")
    return folder


def test_a_labelled_drive_in_lock_step(recording, tmp_path, capsys):
    fake = FakeServer(lambda frame: Reply(0.1) if frame.sequence_number != 5 else Skip())
    out = tmp_path / "out.json"
    with command_line(fake) as run:
        code = run(
            "drive", "--source", recording, "--labels", recording / "labels.csv",
            "--as-fast-as-possible", "--json", out, "--save", tmp_path / "out.mp4",
        )  # fmt: skip
    assert code == 0
    result = json.loads(out.read_text())
    assert (result["frames"], result["commands"], result["skipped"]) == (10, 9, {"LATE": 1})
    assert result["frame_policy"] == "EVERY"
    assert result["heads"]["steering_wheel_angle"]["rmse"] == pytest.approx(0.2)
    kinds = [request.WhichOneof("message") for request in fake.received]
    assert kinds == ["open", *4 * ["frame"], "reset", *3 * ["frame"], "reset", *3 * ["frame"]]
    assert "against labels" in capsys.readouterr().out
    video = cv2.VideoCapture(str(tmp_path / "out.mp4"))
    assert video.get(cv2.CAP_PROP_FRAME_COUNT) == 10
    assert video.get(cv2.CAP_PROP_FRAME_WIDTH) == 640
    video.release()


@pytest.mark.parametrize("pace", [(), ("--as-fast-as-possible",)])
def test_a_drive_is_plotted_also_where_it_is_lost_on_the_way(recording, tmp_path, pace):
    for name, server, expected in (
        ("whole.png", FakeServer(), 0),
        ("lost.png", FakeServer([Reply(), Reply(), Fail()]), 1),
    ):
        with command_line(server) as run:
            code = run("drive", "--source", recording, "--plot", tmp_path / name, *pace)
        assert code == expected
        assert cv2.imread(str(tmp_path / name)).shape == (450, 1200, 3)


def test_drawing_the_plot_is_no_part_of_the_drive_s_time(recording, tmp_path, monkeypatch):
    clock_s = [0.0]

    def save(_plot):
        clock_s[0] += 100.0

    monkeypatch.setattr(command, "time", SimpleNamespace(monotonic=lambda: clock_s[0]))
    monkeypatch.setattr(SteeringPlot, "save", save)
    out = tmp_path / "out.json"
    with command_line() as run:
        assert run(
            "drive", "--source", recording, "--plot", tmp_path / "a.png", "--json", out,
            "--as-fast-as-possible",
        ) == 0  # fmt: skip
    assert json.loads(out.read_text())["elapsed_s"] == 0.0


def test_rows_that_are_skipped_are_counted_and_what_is_assumed_is_said(tmp_path, capsys):
    rows = ["a.jpg,l.jpg,r.jpg,0.5,0,0,1", "b.jpg,l.jpg,r.jpg,0.5,0,0,1"]
    (tmp_path / "driving_log.csv").write_text("\n".join(rows))
    cv2.imwrite(str(tmp_path / "a.jpg"), np.zeros((48, 64, 3), np.uint8))
    with command_line() as run:
        assert run("drive", "--source", tmp_path) == 2
        assert "driving_log.csv:2: no such picture: b.jpg" in capsys.readouterr().err
        assert run("drive", "--source", tmp_path, "--skip-bad") == 0
    error = capsys.readouterr().err
    assert "steerstream drive: the steering is -1 to 1 and left out; give --max-angle-deg" in error
    assert "steerstream drive: skipped 1 rows: no such picture (first " in error


def test_a_drive_in_real_time_keeps_the_sources_rate(recording, tmp_path):
    out = tmp_path / "out.json"
    with command_line() as run:
        code = run("drive", "--source", recording / "frames", "--json", out, "--rate-hz", 100)
    result = json.loads(out.read_text())
    assert code == 0
    assert (result["frames"], result["commands"], result["frame_policy"]) == (10, 10, "LATEST")
    assert result["elapsed_s"] >= 0.09


def test_a_split_is_all_that_is_driven(recording, tmp_path):
    out = tmp_path / "out.json"
    with command_line() as run:
        code = run(
            "drive", "--source", recording, "--labels", recording / "labels.csv",
            "--split", "validation", "--as-fast-as-possible", "--json", out,
        )  # fmt: skip
    assert code == 0
    assert json.loads(out.read_text())["frames"] == 6


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_a_drive_with_what_was_measured(recording, tmp_path, capsys, number):
    def interrupt(frame):
        if frame.sequence_number == 3:
            os.kill(os.getpid(), number)
        return Reply()

    video, out = tmp_path / "out.mp4", tmp_path / "out.json"
    outputs = ("--save", video, "--json", out)
    with command_line(FakeServer(interrupt)) as run:
        code = run("drive", "--source", recording / "frames", "--as-fast-as-possible", *outputs)
    assert code == 130
    assert "frames             4" in capsys.readouterr().out
    assert json.loads(out.read_text())["frames"] == 4
    assert frames_of(video) == 4


@pytest.mark.parametrize(
    ("words", "has_decoder"),
    [((), True), ((), False), (("--whole-frames",), True)],
    ids=["views", "without simplejpeg", "whole frames"],
)
def test_files_are_sent_as_the_view_that_the_server_declares(
    recording, tmp_path, monkeypatch, words, has_decoder
):
    monkeypatch.setattr(command, "has_simplejpeg", lambda: has_decoder)
    is_view = has_decoder and not words
    fake = FakeServer(view=dataclasses.replace(VIEW, width_px=20, height_px=10))
    out, frames = tmp_path / "out.json", recording / "frames"
    with command_line(fake) as run:
        assert run("drive", "--source", frames, "--as-fast-as-possible", "--json", out, *words) == 0
    sent = [request for request in fake.received if request.HasField("frame")]
    assert {request.frame.HasField("view_applied") for request in sent} == {is_view}
    whole = {path.read_bytes() for path in frames.iterdir()}
    assert all((request.frame.jpeg in whole) is not is_view for request in sent)
    assert json.loads(out.read_text())["sent_bytes"] == sum(item.ByteSize() for item in sent)


@pytest.mark.parametrize("pace", [(), ("--as-fast-as-possible",)])
def test_a_drive_without_one_command_says_why_and_is_no_success(recording, tmp_path, capsys, pace):
    fake, out = FakeServer(lambda _: Skip(SkipReason.UNDECODABLE, "no JPEG")), tmp_path / "out.json"
    with command_line(fake) as run:
        assert run("drive", "--source", recording / "frames", "--json", out, *pace) == 1
    said = capsys.readouterr().err
    assert "none of 10 frames got a command: UNDECODABLE no JPEG\n" in said
    assert json.loads(out.read_text())["skipped"] == {"UNDECODABLE": 10}


@pytest.mark.parametrize("damaged", [b"", b"no picture"])
def test_a_damaged_picture_costs_the_drive_nothing_and_is_black_in_the_video(
    recording, tmp_path, damaged
):
    pictures = sorted((recording / "frames").iterdir())
    pictures[5].write_bytes(damaged)
    fake = FakeServer(
        lambda frame: Skip(SkipReason.UNDECODABLE) if frame.sequence_number == 5 else Reply()
    )
    video, out = tmp_path / "out.mp4", tmp_path / "out.json"
    with command_line(fake) as run:
        code = run(
            "drive", "--source", recording / "frames", "--as-fast-as-possible",
            "--save", video, "--json", out,
        )  # fmt: skip
    assert code == 0
    assert json.loads(out.read_text())["frames"] == 10
    assert frames_of(video) == 10
    before, black, after = (np.median(picture_of(video, number)[:200]) for number in (4, 5, 6))
    assert black < 20
    assert min(before, after) > 60


def picture_of(path, number):
    capture = cv2.VideoCapture(str(path))
    capture.set(cv2.CAP_PROP_POS_FRAMES, number)
    _, picture = capture.read()
    capture.release()
    return picture


def test_a_damaged_first_picture_is_left_out_of_the_video(recording, tmp_path):
    min((recording / "frames").iterdir()).write_bytes(b"")
    video = tmp_path / "out.mp4"
    with command_line() as run:
        code = run(
            "drive", "--source", recording / "frames", "--as-fast-as-possible", "--save", video
        )
    assert code == 0
    assert frames_of(video) == 9


@pytest.mark.parametrize("pace", [(), ("--as-fast-as-possible",)])
def test_a_full_disk_costs_the_video_and_nothing_else(recording, tmp_path, capsys, full_disk, pace):
    for seed, path in enumerate(sorted((recording / "frames").iterdir())):
        noise = np.random.default_rng(seed).integers(0, 256, (480, 640, 3), np.uint8)
        cv2.imwrite(str(path), noise)
    video, out = tmp_path / "out.mp4", tmp_path / "out.json"
    with command_line() as run, full_disk:
        code = run("drive", "--source", recording / "frames", "--save", video, "--json", out, *pace)
    said = capsys.readouterr()
    assert code == 1
    assert "frames            10" in said.out
    assert [line for line in said.err.splitlines() if line.startswith("steerstream: ")] == [
        f"steerstream: the video {video} is lost: is the disk full?"
    ]
    assert json.loads(out.read_text())["frames"] == 10
    assert not video.exists()


def test_a_drive_is_recorded_and_steps_again(recording, tmp_path, capsys):
    file = tmp_path / "drive.mcap"
    words = ("--source", recording / "frames", "--as-fast-as-possible", "--record")
    with command_line() as run:
        assert run("drive", *words, file) == 0
        assert run("drive", *words, tmp_path / "ring", "--record-bytes", 4_000_000) == 0
    with served() as address:
        assert main(["replay", str(file), str(tmp_path / "ring"), "--server", address]) == 0
    assert capsys.readouterr().out.count("compared          10  commands") == 2


def test_a_drive_is_shown_in_rerun(recording, tmp_path):
    pytest.importorskip("rerun", reason="needs the extra rerun")
    words = ("--source", recording / "frames", "--as-fast-as-possible")
    with command_line() as run:
        assert run("drive", *words, "--rerun", tmp_path / "a.rrd") == 0
    assert (tmp_path / "a.rrd").read_bytes().startswith(b"RRF")


def test_a_flight_recording_is_a_source_without_the_packages_of_ros(
    recording, tmp_path, monkeypatch
):
    file, out = tmp_path / "drive.mcap", tmp_path / "out.json"
    frames = ("--source", recording / "frames", "--as-fast-as-possible")
    monkeypatch.setitem(sys.modules, "mcap_ros2.decoder", None)
    with command_line() as run:
        assert run("drive", *frames, "--record", file) == 0
        assert run("drive", "--source", file, "--as-fast-as-possible", "--json", out) == 0
    assert json.loads(out.read_text())["frames"] == 10


def test_a_full_disk_costs_the_flight_recording_and_not_the_drive(
    recording, tmp_path, capsys, full_disk
):
    words = ("--source", recording / "frames", "--as-fast-as-possible")
    with full_disk, command_line() as run:
        assert run("drive", *words, "--record", tmp_path / "drive.mcap") == 1
    shown = capsys.readouterr()
    assert "frames            10" in shown.out
    assert "is not whole: File too large" in shown.err


def test_a_recorder_that_cannot_begin_is_one_line_and_exit_2(recording, tmp_path, capsys):
    words = ("drive", "--source", recording / "frames", "--target", "127.0.0.1:1")
    for more, says in (
        (("--record-bytes", 5), "bounds the folder of --record, which is missing"),
        (("--record", recording / "labels.csv" / "ring"), "cannot record to"),
        (("--record", tmp_path / "ring", "--record-bytes", 5), "bytes (--record-bytes), and has 5"),
    ):
        assert main([str(word) for word in (*words, *more)]) == 2
        assert says in capsys.readouterr().err


def test_pictures_of_another_size_end_the_video_and_not_the_drive(recording, tmp_path, capsys):
    last = max((recording / "frames").iterdir())
    cv2.imwrite(str(last), np.zeros((96, 64, 3), np.uint8))
    video, out = tmp_path / "out.mp4", tmp_path / "out.json"
    with command_line() as run:
        code = run(
            "drive", "--source", recording / "frames", "--as-fast-as-possible",
            "--save", video, "--json", out,
        )  # fmt: skip
    assert code == 1
    assert "must have shape" in capsys.readouterr().err
    assert json.loads(out.read_text())["frames"] == 10
    assert frames_of(video) == 9


def test_a_lost_session_is_the_error_and_its_lost_video_a_note(
    recording, tmp_path, capsys, full_disk
):
    for seed, path in enumerate(sorted((recording / "frames").iterdir())):
        noise = np.random.default_rng(seed).integers(0, 256, (480, 640, 3), np.uint8)
        cv2.imwrite(str(path), noise)
    video = tmp_path / "out.mp4"
    with command_line(FakeServer([*[Reply()] * 8, Fail()])) as run, full_disk:
        code = run(
            "drive", "--source", recording / "frames", "--as-fast-as-possible", "--save", video
        )
    said = capsys.readouterr().err
    assert code == 1
    first, second = [line for line in said.splitlines() if line.startswith("steerstream: ")]
    assert "the fake server died" in first
    assert f"the video {video} is lost" in second


@pytest.mark.parametrize("option", ["--save", "--json"])
def test_a_file_that_cannot_be_written_is_found_out_before_a_session_opens(
    recording, capsys, option
):
    fake = FakeServer()
    with command_line(fake) as run, pytest.raises(SystemExit) as stop:
        run("drive", "--source", recording / "frames", option, recording / "labels.csv" / "o.mp4")
    assert stop.value.code == 2
    error = capsys.readouterr().err
    assert error.startswith(f"steerstream drive: argument {option}: cannot write ")
    assert error.count("\n") == 1
    assert not fake.received


@pytest.mark.parametrize("pace", [(), ("--as-fast-as-possible",)])
def test_a_drive_goes_on_at_another_server_where_one_is_lost(recording, tmp_path, capsys, pace):
    dying, other, out = FakeServer([Reply(), Reply(), Fail()]), FakeServer(), tmp_path / "out.json"
    words = ("--source", recording / "frames", "--policy", "every", "--json", out, *pace)
    with served(dying) as first, command_line(other) as run:
        assert run("drive", "--target", first, *words) == 0
    result = json.loads(out.read_text())
    assert (result["frames"], result["commands"]) == (10, 10)
    assert dying.received
    assert other.received
    assert result["hand_overs"]["count"] == 1
    assert result["hand_overs"]["longest_gap_ms"] > 0
    said = capsys.readouterr()
    assert "hand-overs         1  longest gap " in said.out
    notes = [line for line in said.err.splitlines() if " drives now, with " in line]
    assert len(notes) == 1


@pytest.mark.parametrize("pace", [(), ("--as-fast-as-possible",)])
def test_where_no_frame_was_sent_there_is_only_the_line_that_says_why(recording, capsys, pace):
    fake = FakeServer()
    fake.limits.max_message_bytes = 100
    with command_line(fake) as run:
        code = run("drive", "--source", recording / "frames", *pace)
    said = capsys.readouterr()
    assert code == 2
    assert not said.out
    assert said.err.count("\n") == 1


@pytest.mark.parametrize("pace", [(), ("--as-fast-as-possible",)])
def test_a_session_that_is_lost_on_the_way_shows_what_was_and_exits_1(recording, capsys, pace):
    with command_line(FakeServer([Reply(), Reply(), Fail()])) as run:
        code = run("drive", "--source", recording / "frames", *pace)
    said = capsys.readouterr()
    assert code == 1
    assert "commands           2" in said.out
    (line,) = [line for line in said.err.splitlines() if line.startswith("steerstream:")]
    assert "the fake server died" in line
    assert "Traceback" not in said.err


def test_a_drive_that_cannot_start_is_one_line_and_exit_2(recording, tmp_path, capsys):
    labels = recording / "labels.csv"
    wrong = [
        ("--source", tmp_path / "nosuch"),
        ("--source", recording / "frames", "--split", "validation"),
        ("--source", recording, "--labels", tmp_path / "nosuch.csv"),
        ("--source", recording, "--labels", labels, "--split", "nosuch"),
        ("--source", recording / "frames", "--model", "nosuch"),
    ]
    with command_line() as run:
        for options in wrong:
            assert run("drive", *options) == 2, options
            error = capsys.readouterr().err
            assert error.count("\n") == 1, error
            assert error.startswith("steerstream: ")


def test_a_server_that_is_not_there_is_one_line_and_exit_2(recording, capsys):
    frames = str(recording / "frames")
    assert main(["drive", "--source", frames, "--target", "localhost:1"]) == 2
    assert capsys.readouterr().err.startswith("steerstream: localhost:1 refuses")


@pytest.mark.parametrize(
    "words",
    [
        [],
        ["drive"],
        ["drive", "--source", "x", "--target", "y", "--budget-ms", "-1"],
        ["drive", "--source", "x", "--target", "y", "--rate-hz", "nan"],
        ["drive", "--source", "x", "--target", "y", "--policy", "some"],
        ["drive", "--source", "x", "--target", "y", "--record", "x.bag"],
    ],
)
def test_wrong_options_exit_2(words, capsys):
    with pytest.raises(SystemExit) as caught:
        main(words)
    assert caught.value.code == 2
    error = capsys.readouterr().err
    assert error.startswith("steerstream")
    assert error.endswith(" --help\n")
    assert error.count("\n") == 1


def test_drawing_that_is_too_slow_costs_a_drive_in_real_time_nothing(tmp_path, monkeypatch):
    frames, go, draw = 400, threading.Event(), overlay.draw_overlay
    for index in range(frames):
        cv2.imwrite(str(tmp_path / f"{index:03}.jpg"), np.zeros((48, 64, 3), np.uint8))

    def slow(*args, **options):
        assert go.wait(60)
        return draw(*args, **options)

    def react(frame):
        if frame.sequence_number == frames - 1:
            go.set()
        return Reply()

    monkeypatch.setattr("steerstream.drive.recorder.draw_overlay", slow)
    video, out = tmp_path / "out" / "out.mp4", tmp_path / "out" / "out.json"
    with command_line(FakeServer(react)) as run:
        code = run(
            "drive", "--source", tmp_path, "--rate-hz", 100, "--save", video, "--json", out
        )  # fmt: skip
    result = json.loads(out.read_text())
    assert (code, result["commands"], result["unanswered"]) == (0, frames, 0)
    # What the guard says depends on the machine's pace too, how often it is asked does not.
    assert sum(result["guard"].values()) == frames
    assert frames_of(video) == frames
