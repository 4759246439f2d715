"""What links and speeds cost, measured through a real server."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from model_export.__main__ import main
from model_export.report import metres, results
from model_export.report.metres import PICTURES, ROADS, cases

TRACE = 'round_trip_ms\n10\n20\n""\n'


def measure(bundle: Path, data: Path, root: Path, *options: str) -> int:
    where = ["--data", str(data), "--root", str(root)]
    return main(
        ["measure", "metres", str(bundle), *where, "--roads", "1", "--seconds", "1", *options]
    )


def test_links_are_measured_and_speeds_and_a_recorded_link(tmp_path: Path):
    trace = tmp_path / "link.csv"
    trace.write_text(TRACE)
    names = [case.name for case in cases(trace)]
    assert names[:4] == ["0 ms", "50 ms", "150 ms", "250 ms"]
    assert names[-5:] == ["`link.csv`", "10 m/s", "15 m/s", "20 m/s", "25 m/s"]
    assert [case.name for case in cases()] == [name for name in names if "link" not in name]


def test_both_worlds_are_driven_over_links_and_the_roads_at_speeds(
    bundle_path: Path, small_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    trace = tmp_path / "link.csv"
    trace.write_text(TRACE)
    monkeypatch.setattr(metres, "cases", lambda path: cases(path)[-2:-6:-3])
    assert measure(bundle_path, small_data, tmp_path, "--latency-trace", str(trace)) == 0
    written = json.loads((tmp_path / results.path_of("metres", bundle_path)).read_text())
    assert written["command"].endswith("--roads 1 --seconds 1 --latency-trace link.csv")
    fast, recorded, on_pictures = written["results"]
    assert (fast["case"], fast["speed_mps"], fast["world"]) == ("20 m/s", 20.0, ROADS)
    assert fast["simulated_s"] == 1.0
    assert (recorded["case"], recorded["world"]) == ("`link.csv`", ROADS)
    assert recorded["latency"]["loss"] == pytest.approx(1 / 3, abs=1e-4)
    assert recorded["guard"]["followed_s"] < 1.0
    assert (on_pictures["case"], on_pictures["world"]) == ("`link.csv`", PICTURES)


def test_a_recording_or_a_trace_that_is_missing_is_one_line(
    bundle_path: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    trace = tmp_path / "none.csv"
    assert measure(bundle_path, tmp_path, tmp_path, "--latency-trace", str(trace)) == 2
    assert "none.csv" in capsys.readouterr().err
    assert measure(bundle_path, tmp_path, tmp_path) == 2
    assert "labels.csv" in capsys.readouterr().err
