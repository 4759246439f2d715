"""Every command on a real server for a second or two; nothing here depends on its speed.

A machine that stands still while vehicles open takes their frames away, so each of several loads
may lack some, but never has too many.
"""

from __future__ import annotations

import itertools
import json
import os
import re
import signal

import pytest

from benchmark.__main__ import COMMANDS, main
from benchmark.commands import attack, capacity, fairness, latency
from benchmark.commands.soak import slope, thinned

FRAMES = ["--size", "64x48", "--encoding", "rgb8", "--budget-ms", "2000"]
# However slow this machine is just now, nobody is refused for it.
FRAMES += ["--settings", "max_load=100,shed_after_s=3600"]


def run(bundle_path, tmp_path, command, *arguments):
    result = tmp_path / "result.json"
    options = ["--model", str(bundle_path), "--json", str(result), *arguments]
    assert main([command, *options]) == 0
    report = json.loads(result.read_text())
    assert report["benchmark"] == command
    assert re.fullmatch(r"python -m benchmark \S.*", report["command"])
    assert str(result) not in report["command"]
    assert report["machine"]["packages"]["grpcio"]
    # What was written is enough to draw the table that was shown.
    assert COMMANDS[command].table(report["results"])
    return report["results"]


def test_latency(bundle_path, tmp_path, capsys):
    options = ["--sessions", "1,3", "--seconds", "0.5", *FRAMES]
    results = run(bundle_path, tmp_path, "latency", *options)
    assert [item["vehicles"] for item in results] == [1, 3]
    assert all(item["frames"] <= 10 * item["vehicles"] for item in results)
    answered = [item["latency_ms"] for item in results if item["commands"]]
    assert answered
    for stages in answered:
        assert stages["round_trip"]["p50"] >= stages["server"]["p50"] >= stages["infer"]["p50"] > 0
    assert "Stages with 3 vehicles" in capsys.readouterr().out


def test_capacity_is_confirmed(bundle_path, tmp_path, monkeypatch):
    monkeypatch.setattr(capacity, "STEP_S", (0.3, 0.3))
    # A machine that is busy just now supersedes frames; the search ends as it does without.
    monkeypatch.setattr(capacity, "ALLOWED_PERCENT", 100.0)
    options = ["--most", "2", "--start", "1", "--seconds", "0.5", *FRAMES]
    results = run(bundle_path, tmp_path, "capacity", *options)
    assert results["vehicles"] == results["confirmed"]["vehicles"] == 2
    assert results["at_80_percent"]["vehicles"] == 1


def test_efficiency_lets_server_loop_and_echo_take_turns(bundle_path, tmp_path):
    options = ["--sessions", "2", "--rounds", "1", "--seconds", "0.2"]
    results = run(bundle_path, tmp_path, "efficiency", *options)
    assert [item["sessions"] for item in results] == [2, 2]
    for item in results:
        # Rates are rounded to 0.1 a second, which is more of a slow machine's.
        rounding = 1e-4 + item["ratio"] * 0.1 / item["bare_fps"]
        ratio = item["served_fps"] / item["bare_fps"]
        assert item["ratio"] == pytest.approx(ratio, abs=rounding)
        ceiling = 1 / (1 + item["bare_fps"] / item["echo_fps"])
        assert item["ceiling"] == pytest.approx(ceiling, abs=1e-3)
        assert item["skipped"] == {}


def test_overload_with_a_capacity_that_is_given(bundle_path, tmp_path):
    options = ["--capacity", "1", "--factors", "1,2", "--seconds", "0.5", *FRAMES]
    results = run(bundle_path, tmp_path, "overload", *options)
    assert [(item["vehicles"], item["hostile"]) for item in results["runs"]] == [
        (1, False),
        (2, False),
        (2, True),
    ]
    goodput_fps = [item["goodput_fps"] for item in results["runs"]]
    assert any(goodput_fps)
    for item, reached_fps in zip(results["runs"], goodput_fps, strict=True):
        assert reached_fps <= 20.0 * item["vehicles"]


def test_tls_and_plain_text_take_turns(bundle_path, tmp_path):
    options = ["--vehicles", "2", "--rounds", "2", "--seconds", "0.5", *FRAMES]
    results = run(bundle_path, tmp_path, "tls", *options)
    assert results["vehicles"] == 2
    assert [list(each) for each in results["rounds"]] == [["plain", "tls"], ["tls", "plain"]]
    times = [each[name]["cpu_us"] for each in results["rounds"] for name in each]
    assert min(times) > 0
    assert min(times) / max(times) <= results["ratio"] <= max(times) / min(times)


def test_a_recorder_and_none_take_turns(bundle_path, tmp_path):
    options = ["--vehicles", "2", "--rounds", "2", "--seconds", "0.5", *FRAMES]
    results = run(bundle_path, tmp_path, "recording", *options)
    for side in ("server", "vehicle"):
        found = results[side]
        orders = [list(each) for each in found["rounds"]]
        assert orders == [["without", "with"], ["with", "without"]]
        assert min(each[name]["cpu_us"] for each in found["rounds"] for name in each) > 0
        # A view is 6 kB, and 1,200 of them are sent in a minute.
        assert 1.0 < found["megabytes_a_minute"] < 50.0


def test_fairness_measures_the_others(bundle_path, tmp_path):
    options = ["--vehicles", "2", "--rounds", "1", "--seconds", "0.5", *FRAMES]
    results = run(bundle_path, tmp_path, "fairness", *options)
    assert list(results["others"]) == [fairness.PEACE, fairness.EVERY, fairness.LATEST]
    assert max(item["frames"] for item in results["others"].values()) == 20
    assert list(results["floods"]) == [fairness.EVERY, fairness.LATEST]
    assert max(flood["frames"] for flood in results["floods"].values()) > 20


def test_attack_shows_what_a_vehicle_feels(bundle_path, tmp_path, monkeypatch):
    monkeypatch.setattr(attack, "AFTER_S", 0.0)
    chosen = ["--attacks", "resets,no-protobuf", "--scale", "0.1"]
    patient = ["--settings", "max_load=100,shed_after_s=3600"]
    results = run(bundle_path, tmp_path, "attack", *chosen, "--seconds", "0.5", *patient)
    assert [found["attack"] for found in results["attacks"]] == ["resets", "no-protobuf"]
    assert results["neighbours"] is None
    for found in results["attacks"]:
        assert found["alone"]["frames"] <= 10 * attack.VEHICLES
        assert found["vehicle"]["frames"] <= 20 * attack.VEHICLES, "half a second before, too"
        assert found["tried"] > 0
        assert found["newcomers"] > 0
        assert found["memory_mb"]["peak"] >= 10
    assert any(found[way]["frames"] for found in results["attacks"] for way in ("alone", "vehicle"))


def test_soak_counts_slots_and_memory(bundle_path, tmp_path):
    options = ["--minutes", "0.05", "--vehicles", "2", "--lifetime-s", "0.5", *FRAMES]
    results = run(bundle_path, tmp_path, "soak", *options)
    assert results["lost_slots"] == 0
    assert results["minutes"][0]["sessions"]["opened"] > 2
    assert results["memory_mb"]
    assert min(megabytes for _, megabytes in results["memory_mb"]) > 10


def test_the_slope_of_memory_leaves_the_warm_up_out():
    samples = [
        (float(second), 500.0 if second < 25 else 100 + second / 36) for second in range(100)
    ]
    fitted = slope(samples)
    assert fitted["slope_mb_per_h"] == pytest.approx(100.0)
    assert fitted["slope_error_mb_per_h"] == pytest.approx(0.0, abs=1e-6)
    assert slope([])["slope_mb_per_h"] is None


@pytest.mark.parametrize(("count", "kept"), [(0, 0), (2, 2), (360, 360), (361, 181), (3600, 360)])
def test_memory_over_hours_is_thinned_evenly(count, kept):
    samples = [(float(second), 100.0) for second in range(count)]
    left = thinned(samples)
    assert len(left) == kept
    assert left[-1:] == samples[-1:]
    assert len({later[0] - earlier[0] for earlier, later in itertools.pairwise(left)}) <= 1


@pytest.mark.parametrize("command", ["latency", "efficiency"])
def test_a_broken_bundle_is_one_clear_error(command, tmp_path, capsys):
    broken = tmp_path / "broken.onnx"
    broken.write_bytes(b"no bundle")
    assert main([command, "--model", str(broken)]) == 2
    assert "broken.onnx" in capsys.readouterr().err


@pytest.mark.parametrize("command", [[], *([name] for name in COMMANDS), ["report"]])
def test_help_is_there(command, capsys):
    with pytest.raises(SystemExit) as stop:
        main([*command, "--help"])
    assert stop.value.code == 0
    assert "--help" in capsys.readouterr().out


@pytest.mark.parametrize(
    "arguments",
    [
        ["latency", "--sessions", "0"],
        ["latency", "--size", "64"],
        ["capacity", "--client-cores", "first"],
        ["capacity", "--settings", "max_load"],
        ["overload", "--factors", "1,-2"],
        ["overload", "--workers", "0"],
        ["attack", "--attacks", "resets,something"],
        ["attack", "--target", "localhost:50051"],
        ["efficiency", "--workers", "2"],
        [],
    ],
)
def test_a_wrong_option_is_one_line(arguments, capsys):
    with pytest.raises(SystemExit) as stop:
        main(arguments)
    assert stop.value.code == 2
    assert capsys.readouterr().err.count("\n") == 1


def test_sigterm_ends_a_benchmark_as_ctrl_c_does(monkeypatch, capsys):
    monkeypatch.setattr(latency, "run", lambda _: os.kill(os.getpid(), signal.SIGTERM))
    assert main(["latency"]) == 130
    assert capsys.readouterr().out == ""
