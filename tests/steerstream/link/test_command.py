"""The commands `bench` and `doctor` against a scripted server behind real gRPC."""

from __future__ import annotations

import json

import grpc
import pytest

from steerstream import ErrorReason
from steerstream.link import command
from steerstream.testing import Fail, FakeServer
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


@pytest.mark.parametrize("command", ["bench", "doctor"])
def test_a_vehicle_that_belongs_to_somebody_else_is_named_by_an_option(command, capsys):
    refuse = Fail(grpc.StatusCode.PERMISSION_DENIED, "not yours", reason=ErrorReason.FORBIDDEN)
    with command_line(FakeServer(refuse=refuse)) as run:
        assert run(command) == 2
    assert "(--vehicle-id names it)" in capsys.readouterr().err
