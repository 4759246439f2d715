"""The benchmark counts what vehicles saw, and counts from when a frame was due."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from benchmark import __main__ as command_line
from benchmark import frames, latency, load

LOAD = load.Load(sessions=2, rate_hz=20.0, seconds=1.0, budget_ms=50.0, images=[b"x"])


def test_a_frame_without_a_command_is_a_miss() -> None:
    samples = load.Samples(sent=4)
    samples.stages_ms["round_trip"] = [10.0, 20.0, 51.0]
    samples.add_skip("LATE")
    summary = latency.summarise(LOAD, samples)
    assert (summary["missed"], summary["missed_percent"]) == (2, 50.0)
    assert summary["skipped"] == {"LATE": 1}
    assert summary["latency_ms"]["round_trip"]["p50"] == 20.0
    assert summary["latency_ms"]["round_trip"]["max"] == 51.0


def test_a_load_that_got_no_command_still_has_its_row() -> None:
    samples = load.Samples(sent=1)
    samples.add_skip("LATE")
    row = latency.table([latency.summarise(LOAD, samples)]).splitlines()[-1]
    assert row.startswith("| 2 | 20 Hz | nan ms |")
    assert row.endswith("| 100.00 % |")


def test_pictures_differ_and_repeat_with_their_seed() -> None:
    first = frames.road_pictures(2, width_px=64, height_px=48)
    again = frames.road_pictures(2, width_px=64, height_px=48)
    assert (first[0] != first[1]).any()
    assert (first[0] == again[0]).all()
    assert frames.jpegs(first)[0].startswith(b"\xff\xd8")


def test_the_command_measures_a_real_server(
    bundle_path: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    result = tmp_path / "latency.json"
    options = ["--sessions", "1,3", "--seconds", "0.5", "--json", str(result)]
    assert command_line.main(["latency", "--model", str(bundle_path), *options]) == 0
    report = json.loads(result.read_text())
    assert [item["sessions"] for item in report["results"]] == [1, 3]
    for item in report["results"]:
        assert item["frames"] == item["commands"] + sum(item["skipped"].values())
        assert item["frames"] == 10 * item["sessions"]
        stages = item["latency_ms"]
        assert stages["round_trip"]["p50"] >= stages["server"]["p50"] >= stages["infer"]["p50"] > 0
    assert capsys.readouterr().out.count("20 Hz") == 2


def test_a_broken_bundle_is_one_clear_error(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    broken = tmp_path / "broken.onnx"
    broken.write_bytes(b"no bundle")
    assert command_line.main(["latency", "--model", str(broken)]) == 2
    assert "broken.onnx" in capsys.readouterr().err
