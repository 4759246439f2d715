"""Rerun's own program reads what was written; a double is begun in the place of its viewer."""

from __future__ import annotations

import socket
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from steerstream import Encoding, MediaError, Nv12, SkipReason
from steerstream.recording import FlightRecorder
from steerstream.testing import FakeServer, Reply, Skip
from tests.steerstream.recording.drives import drive, driving

pytest.importorskip("rerun", reason="needs the extra rerun")

from steerstream.recording import rerun_log
from steerstream.recording.reader import Recording
from steerstream.recording.rerun_log import RerunLog, viewer_program, write_rrd

PATHS = {
    *("camera", "steering/raw", "steering/limited", "steering/followed", "speed/raw"),
    *("torque/limited", "latency/server_ms", "latency/round_trip_ms", "news/session"),
    *("news/reset", "news/safe_command", "news/skipped", "news/verdict", "news/end"),
}


def rerun(*words):
    done = subprocess.run(
        [sys.executable, "-m", "rerun", *map(str, words)],
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout + done.stderr


def logged(path: Path) -> str:
    rerun("rrd", "verify", path)
    return rerun("rrd", "print", "-v", path)


async def everything(recorder):
    fake = FakeServer(
        lambda frame: Skip(SkipReason.LATE) if frame.sequence_number == 1 else Reply(0.1, 5.0, 0.2)
    )
    async with driving(recorder, fake) as session:
        await drive(session, 2, picture=b"\xff\xd8 no picture that anybody draws")
        await session.reset()
        await drive(session, 1, first=2)
        session.safe_command()


async def test_a_drive_is_shown_while_it_is_recorded(tmp_path):
    path = tmp_path / "new" / "live.rrd"
    async with FlightRecorder(tmp_path / "a.mcap", sink=RerunLog(str(path))) as recorder:
        await everything(recorder)
    said = logged(path)
    assert {name for name in PATHS if f"/{name}" in said} == PATHS


async def test_a_recording_becomes_a_file_of_rerun(tmp_path):
    async with FlightRecorder(tmp_path / "a.mcap") as recorder:
        await everything(recorder)
    write_rrd(Recording([tmp_path / "a.mcap"]), tmp_path / "a.rrd")
    said = logged(tmp_path / "a.rrd")
    assert {name for name in PATHS if f"/{name}" in said} == PATHS


async def test_raw_pictures_are_shown_too(tmp_path):
    log = RerunLog(str(tmp_path / "a.rrd"))
    async with FlightRecorder(None, sink=log) as recorder, driving(recorder) as session:
        await session.request(np.zeros((4, 6, 3), np.uint8), encoding=Encoding.RGB8)
        await session.request(Nv12(6, 4, bytes(36)))
    assert "/camera" in logged(tmp_path / "a.rrd")


def test_a_place_that_cannot_be_written_is_refused(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(MediaError, match="cannot show a drive at"):
        RerunLog(str(tmp_path / "file" / "a.rrd"))
    with pytest.raises(MediaError, match="cannot show a drive at"):
        RerunLog("no address")


def test_the_viewer_is_the_one_of_this_environment_also_where_it_is_not_activated(
    tmp_path, monkeypatch
):
    monkeypatch.setattr(sys, "executable", str(tmp_path / "python"))
    monkeypatch.setenv("PATH", "")
    assert viewer_program() is None
    program = tmp_path / "rerun"
    program.touch(mode=0o755)
    assert viewer_program() == str(program)


VIEWER_DOUBLE = """#!{python}
import pathlib, socket, sys
given = dict(zip(sys.argv[1::2], sys.argv[2::2]))
pathlib.Path(__file__ + ".given").write_text(" ".join(sys.argv[1:]))
server = socket.create_server((given["--bind"], int(given["--port"])))
while True:
    server.accept()
"""


@pytest.fixture
def viewer(tmp_path, monkeypatch):
    """A program in the place of the viewer; what it was given stands in a file beside it."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        monkeypatch.setattr(rerun_log, "_PORT", taken.getsockname()[1])
    program = tmp_path / "rerun"
    program.write_text(VIEWER_DOUBLE.format(python=sys.executable))
    program.chmod(0o755)
    monkeypatch.setattr(rerun_log, "viewer_program", lambda: str(program))
    begun, begin = [], subprocess.Popen

    def noted(*words, **options):
        begun.append(begin(*words, **options))
        return begun[-1]

    monkeypatch.setattr(subprocess, "Popen", noted)
    yield program
    for process in begun:
        process.kill()
        process.wait()


def test_a_viewer_that_is_begun_is_reached_from_this_machine_alone(viewer):
    address = f"rerun+http://127.0.0.1:{rerun_log._PORT}/proxy"
    assert rerun_log.begin_viewer() == address
    viewer.unlink()
    assert rerun_log.begin_viewer() == address, "the one that is there"
    given = Path(f"{viewer}.given").read_text()
    assert given == f"--bind 127.0.0.1 --port {rerun_log._PORT} --expect-data-soon"


def test_a_viewer_that_does_not_begin_is_said(viewer):
    viewer.write_text("#!/bin/sh\nexit 3\n")
    with pytest.raises(MediaError, match=r"cannot show a drive at viewer: .* exit code 3"):
        RerunLog(rerun_log.VIEWER)
    viewer.unlink()
    with pytest.raises(MediaError, match=r"cannot show a drive at viewer: .*No such file"):
        RerunLog(rerun_log.VIEWER)


def test_a_viewer_that_never_listens_is_ended(viewer, monkeypatch):
    monkeypatch.setattr(rerun_log, "_BEGUN_S", 0.1)
    viewer.write_text("#!/bin/sh\nexec sleep 60\n")
    with pytest.raises(MediaError, match=r"does not listen after 0\.1 s"):
        RerunLog(rerun_log.VIEWER)
