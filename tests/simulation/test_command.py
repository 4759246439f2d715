import json
import os
import signal
import time
from types import SimpleNamespace

import cv2
import grpc
import pytest

import steerstream
from steerstream import ErrorReason
from steerstream.testing import Fail, FakeServer, Reply, Skip
from steerstream_simulation import picture_drive, road_drive
from steerstream_simulation.command import main
from tests.simulation.recordings import write_recording
from tests.steerstream.drive.mp4 import frames_of
from tests.steerstream.views import VIEW


def test_render_writes_a_video(tmp_path):
    video = tmp_path / "drive.mp4"
    assert main(["render", "--seed", "4", "--seconds", "0.5", "--save", str(video)]) == 0
    capture = cv2.VideoCapture(str(video))
    assert capture.get(cv2.CAP_PROP_FRAME_COUNT) == 10
    assert capture.get(cv2.CAP_PROP_FRAME_WIDTH) == 640


def test_sheet_writes_a_picture(tmp_path):
    sheet = tmp_path / "sheet.png"
    assert main(["sheet", "--seeds", "1..2", "--size", "160x120", "--save", str(sheet)]) == 0
    assert cv2.imread(str(sheet)).shape == (240, 800, 3)


def test_no_server_is_one_clear_line(capsys):
    assert main(["drive", "--target", "localhost:1", "--seconds", "1"]) == 2
    error = capsys.readouterr().err
    assert error.startswith("steerstream simulate: ")
    assert error.count("\n") == 1


@pytest.mark.parametrize(
    "arguments",
    [
        ["--seed", "-1"],
        ["--seconds", "0"],
        ["--seconds", "nan"],
        ["--seconds", "0.01"],
        ["--plot", "drive.svg"],
        ["--size", "320"],
        ["--size", "9999x240"],
        ["--save", "drive.avi"],
        ["--encoding", "png"],
        ["--delay-ms", "-3"],
        ["--delay-ms", "50", "--real-time"],
        ["--kill", "0"],
        ["--kill", "99999999999"],
        ["--kill", str(os.getpid())],
        ["--kill", str(os.getpid()), "--real-time"],
        ["--kill", *" --kill ".join([str(os.getpid())] * 3).split(), "--real-time", "--target=b:1"],
        ["--real-time", "--lock-step"],
    ],
)
def test_a_wrong_option_says_so(arguments, capsys):
    with pytest.raises(SystemExit) as exit_info:
        main(["drive", "--target", "localhost:1", *arguments])
    assert exit_info.value.code == 2
    assert arguments[0] in capsys.readouterr().err


def test_seeds_are_a_range(capsys):
    with pytest.raises(SystemExit):
        main(["sheet", "--seeds", "5..2", "--save", "sheet.png"])
    assert "A..B" in capsys.readouterr().err


@pytest.fixture
def outputs(tmp_path):
    return {name: tmp_path / f"drive.{name}" for name in ("json", "mp4", "png")}


def arguments(outputs, *more):
    files = ["--json", outputs["json"], "--save", outputs["mp4"], "--plot", outputs["png"]]
    return ["drive", "--target", "fake", *map(str, files), *more]


@pytest.fixture
def fake(monkeypatch):
    """A server that answers each frame as `fake.react` says."""
    fake = SimpleNamespace(react=lambda _frame: Reply(0.0, speed_mps=10.0))

    def react(frame):
        return fake.react(frame)

    server = fake.server = FakeServer(react)

    def connect(targets, clock=time.monotonic_ns, connection=None):
        fake.connection = connection
        return steerstream.connect(targets, transport=server.transport(), clock=clock)

    for drives in (road_drive, picture_drive):
        monkeypatch.setattr(drives, "connect", connect)
    return fake


@pytest.mark.parametrize("mode", ["--lock-step", "--real-time"])
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_a_drive_with_what_was_measured(fake, outputs, capsys, mode, number):
    def interrupt(frame):
        if frame.sequence_number == 5:
            os.kill(os.getpid(), number)
        return Reply(0.0, speed_mps=10.0)

    fake.react = interrupt
    before = signal.getsignal(number)
    assert main(arguments(outputs, "--seconds", "60", mode)) == 130
    assert signal.getsignal(number) is before
    frames = json.loads(outputs["json"].read_text())["frames"]
    assert 5 <= frames <= 10
    assert frames_of(outputs["mp4"]) == frames
    assert cv2.imread(str(outputs["png"])) is not None
    assert "lateral error" in capsys.readouterr().out


def test_a_guard_that_lets_go_in_real_time_is_an_intervention(fake, outputs, capsys):
    fake.react = lambda frame: Reply() if frame.sequence_number < 2 else Skip()
    assert main(arguments(outputs, "--seconds", "3.5", "--real-time")) == 0
    report = json.loads(outputs["json"].read_text())
    assert (report["releases"], report["autonomy_percent"]) == (1, 0.0)
    assert report["guard"]["released_s"] > 0
    said = capsys.readouterr().out
    assert "1 as the guard let go" in said
    assert "guard           followed" in said


def test_a_vehicle_is_named_and_shows_who_it_is(fake, outputs, tmp_path):
    (tmp_path / "token").write_text("secret")
    words = ["--vehicle-id", "car-7", "--tls-ca", "ca.pem", "--token-file", tmp_path / "token"]
    assert main(arguments(outputs, "--seconds", "0.5", *map(str, words))) == 0
    assert fake.server.received[0].open.vehicle_id == "car-7"
    assert fake.connection["tls"] == steerstream.Tls("ca.pem")
    assert fake.connection["token"]() == "secret"


def test_a_vehicle_that_belongs_to_somebody_else_is_named_by_an_option(fake, outputs, capsys):
    fake.server.refuse = Fail(
        grpc.StatusCode.PERMISSION_DENIED, "not yours", reason=ErrorReason.FORBIDDEN
    )
    assert main(arguments(outputs)) == 2
    assert capsys.readouterr().err.endswith("(--vehicle-id names it)\n")


@pytest.mark.parametrize("words", [(), ("--whole-frames",)])
def test_views_are_sent_where_the_server_declares_one_unless_whole_frames_are_asked_for(
    fake, outputs, capsys, words
):
    fake.server.view = VIEW
    assert main(arguments(outputs, "--seconds", "0.5", *words)) == 0
    sent = [request for request in fake.server.received if request.HasField("frame")]
    assert {request.frame.HasField("view_applied") for request in sent} == {not words}
    sent_bytes = sum(item.ByteSize() for item in sent)
    assert json.loads(outputs["json"].read_text())["sent_bytes"] == sent_bytes
    assert f"sent            {sent_bytes / 1e4:.1f} kB a frame" in capsys.readouterr().out


def test_a_server_that_dies_leaves_what_was_measured_and_exit_code_1(fake, outputs, capsys):
    fake.react = lambda frame: Fail() if frame.sequence_number == 5 else Reply(0.0, speed_mps=10.0)
    assert main(arguments(outputs, "--seconds", "2")) == 1
    said = capsys.readouterr()
    assert "the fake server died" in said.err
    assert "lateral error" in said.out
    assert json.loads(outputs["json"].read_text())["frames"] == 5
    assert frames_of(outputs["mp4"]) == 5


def test_a_drive_without_a_frame_leaves_no_file(fake, outputs, tmp_path):
    fake.react = lambda _frame: Fail()
    assert main(arguments(outputs, "--seconds", "2")) == 1
    assert list(tmp_path.iterdir()) == []


def test_a_full_disk_costs_the_video_and_nothing_else(fake, outputs, capsys, full_disk):
    files = ["--json", str(outputs["json"]), "--save", str(outputs["mp4"])]
    with full_disk:
        assert main(["drive", "--target", "fake", "--seconds", "2", *files]) == 1
    said = capsys.readouterr()
    assert f"steerstream simulate: the video {outputs['mp4']} is lost" in said.err
    assert "lateral error" in said.out
    assert json.loads(outputs["json"].read_text())["frames"] == 40
    assert not outputs["mp4"].exists()


@pytest.mark.parametrize("option", ["--save", "--json", "--plot"])
def test_a_file_that_cannot_be_written_is_found_out_before_the_drive(
    fake, tmp_path, capsys, option
):
    fake.react = lambda _frame: pytest.fail("it was driven")
    (tmp_path / "file").write_text("")
    with pytest.raises(SystemExit) as stop:
        main(["drive", "--target", "fake", option, str(tmp_path / "file" / "below.mp4")])
    assert stop.value.code == 2
    error = capsys.readouterr().err
    assert error.startswith(f"steerstream simulate drive: argument {option}: cannot write ")
    assert error.count("\n") == 1


def test_a_recording_is_driven_with_a_session_for_each_start(fake, tmp_path, capsys):
    blocks = ["4"] * 25 + ["5"] * 25
    labels = write_recording(tmp_path, [0.1] * 50, extra="split=validation", blocks=blocks)
    report = tmp_path / "report.json"
    options = ["--delay-ms", "50", "--split", "validation", "--blocks", "5", "--json", str(report)]
    assert main(["pictures", str(labels), "--target", "fake", *options]) == 0
    found = json.loads(report.read_text())
    assert (found["drives"], found["frames"], found["simulated_s"]) == (3, 75, 3.75)
    assert found["blocks"] == ["5"]
    assert "autonomy" in capsys.readouterr().out
    opened = [message for message in fake.server.received if message.HasField("open")]
    assert len(opened) == 3


def test_a_recording_that_is_not_there_is_one_clear_line(capsys):
    assert main(["pictures", "nowhere.csv", "--target", "fake"]) == 2
    assert "nowhere.csv: cannot be read" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "summary"),
    [
        (("--delay-ms", "50", "--jitter-ms", "30"), {"delay_ms": 50.0, "jitter_ms": 30.0}),
        (("--loss", "0.2", "--loss-burst-ms", "300"), {"loss": 0.2, "burst_ms": 300.0}),
    ],
)
def test_a_link_that_is_stated_is_charged_and_the_guard_bridges_it(
    fake, outputs, capsys, words, summary
):
    assert main(arguments(outputs, "--seconds", "2", *words)) == 0
    report = json.loads(outputs["json"].read_text())
    assert report["latency"].items() >= summary.items()
    assert report["frames"] == 40
    assert report["guard"]["predicted_s"] == 0.0
    assert cv2.imread(str(outputs["png"])) is not None
    assert "guard           followed" in capsys.readouterr().out


def test_a_link_that_the_guard_lets_go_of_is_an_intervention(fake, outputs, capsys, tmp_path):
    trace = tmp_path / "link.csv"
    trace.write_text('round_trip_ms\n30\n""\n400\n20\n')
    assert main(arguments(outputs, "--seconds", "2", "--latency-trace", str(trace))) == 0
    report = json.loads(outputs["json"].read_text())
    assert report["guard"]["released_s"] > 0.5
    assert (report["interventions"], report["releases"]) == (1, 1)
    assert "interventions   1, of them 1 as the guard let go" in capsys.readouterr().out


def test_a_link_that_was_recorded_is_charged(fake, outputs, tmp_path):
    trace = tmp_path / "link.csv"
    trace.write_text("round_trip_ms\n40\n")
    assert main(arguments(outputs, "--seconds", "1", "--latency-trace", str(trace))) == 0
    report = json.loads(outputs["json"].read_text())
    assert report["latency"]["trace"] == "link.csv"
    assert report["latency_ms"]["delay"]["max"] == pytest.approx(40.0)


@pytest.mark.usefixtures("fake")
@pytest.mark.parametrize("more", [(), ("--jitter-ms", "0"), ("--loss", "0")])
@pytest.mark.parametrize(("delay_ms", "share_late"), [(20, 0.0), (150, 1.0)])
def test_a_stated_delay_is_reported_and_judged_alike_whatever_else_is_stated(
    outputs, capsys, delay_ms, share_late, more
):
    words = ("--seconds", "2", "--delay-ms", str(delay_ms), *more)
    assert main(arguments(outputs, *words)) == 0
    report = json.loads(outputs["json"].read_text())
    assert report["latency_ms"]["delay"]["p50"] == pytest.approx(delay_ms)
    assert report["latency_ms"]["round_trip"]["p50"] not in {0.0, float(delay_ms)}
    assert report["frames_over_budget"] == pytest.approx(share_late * report["frames"], abs=1)
    said = capsys.readouterr().out
    assert f"delay           p50 {delay_ms:.2f}" in said
    assert "frames had no command that acts within 50 ms" in said


def test_a_recording_is_driven_over_a_link_too(fake, tmp_path):
    labels = write_recording(tmp_path, [0.1] * 30)
    report = tmp_path / "report.json"
    words = ["pictures", str(labels), "--target", "fake", "--json", str(report)]
    assert main([*words, "--delay-ms", "20", "--loss", "0.3"]) == 0
    found = json.loads(report.read_text())
    assert found["latency"]["loss"] == 0.3
    assert 0 < found["skipped_or_lost"] < found["frames"]


def test_a_stated_speed_is_driven_whatever_is_commanded(fake, outputs):
    assert main(arguments(outputs, "--seconds", "1", "--speed", "25")) == 0
    report = json.loads(outputs["json"].read_text())
    assert report["distance_m"] == pytest.approx(25.0, abs=0.1)


@pytest.mark.parametrize(
    "words",
    [
        ("--loss-burst-ms", "300"),
        ("--loss", "0.95"),
        ("--latency-trace", "link.csv", "--delay-ms", "50"),
        ("--real-time", "--loss", "0.1"),
    ],
)
def test_a_link_that_makes_no_sense_is_refused(words, capsys):
    with pytest.raises(SystemExit) as exit_info:
        main(["drive", "--target", "localhost:1", *words])
    assert exit_info.value.code == 2
    assert words[0] in capsys.readouterr().err


def test_a_trace_that_cannot_be_read_is_one_clear_line(tmp_path, capsys):
    words = ["--latency-trace", str(tmp_path / "none.csv")]
    assert main(["drive", "--target", "localhost:1", *words]) == 2
    error = capsys.readouterr().err
    assert "none.csv" in error
    assert error.count("\n") == 1
