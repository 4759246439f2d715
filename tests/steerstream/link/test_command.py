"""The commands `bench` and `doctor` against a scripted server behind real gRPC."""

from __future__ import annotations

import json

import pytest

from steerstream.link import command
from tests.steerstream.command_lines import command_line
from tests.steerstream.link.test_diagnosis import SUBJECTS


@pytest.fixture(autouse=True)
def no_pause(monkeypatch):
    monkeypatch.setattr(command, "_PAUSE_S", 0.0)


def test_bench_prints_and_writes_what_a_frame_takes(tmp_path, capsys):
    out = tmp_path / "bench.json"
    with command_line() as run:
        code = run("bench", "--frames", 5, "--rate-hz", 500, "--kilobytes", 2, "--json", out)
    assert code == 0
    result = json.loads(out.read_text())
    assert (result["frames"], result["commands"]) == (5, 5)
    assert set(result["link_ms"]) == set(result["round_trip_ms"])
    printed = capsys.readouterr().out
    assert "5  of 1.9 kB, 960 kB/s" in printed
    assert "link " in printed


def test_doctor_looks_at_everything(tmp_path, capsys):
    out = tmp_path / "doctor.json"
    with command_line() as run:
        assert run("doctor", "--frames", 5, "--rate-hz", 500, "--json", out) == 0
    result = json.loads(out.read_text())
    assert result["small"]["bytes_per_frame"] < result["large"]["bytes_per_frame"]
    assert result["diagnoses"]["connection"]["advice"] == ""
    printed = capsys.readouterr().out
    for subject in SUBJECTS:
        assert subject in printed
        assert subject in result["diagnoses"]
