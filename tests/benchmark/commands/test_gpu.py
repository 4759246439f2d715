"""The GPU's benchmark, rehearsed on the CPU: the same graph and the same steps on the host."""

from __future__ import annotations

import json
import sys

import onnxruntime
import pytest

from benchmark.__main__ import main, parser
from benchmark.commands import capacity, gpu
from benchmark.errors import BenchmarkError

FRAMES = ["--size", "64x48", "--encoding", "rgb8", "--budget-ms", "2000"]
SHORT = ["--steps", "3", "--sessions", "1", "--seconds", "0.5", "--most", "1", "--start", "1"]
pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")


def test_it_measures_the_network_and_the_server(bundle_path, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(capacity, "STEP_S", (0.3, 0.3))
    # A machine that is busy just now supersedes frames; the search ends as it does without.
    monkeypatch.setattr(capacity, "ALLOWED_PERCENT", 100.0)
    path = tmp_path / "gpu.json"
    arguments = ["gpu", "--model", str(bundle_path), "--provider", "cpu", "--json", str(path)]
    assert main([*arguments, *SHORT, *FRAMES]) == 0
    results = json.loads(path.read_text())["results"]
    comparison = results["comparison"]
    assert comparison["agrees"]
    assert comparison["state_bytes"] == 0
    assert set(comparison["bytes_to_device"]) - {"interval_s", "act_in_s"} == {"frames", "routes"}
    assert comparison["bytes_to_device"]["frames"] == comparison["frames"] * 66 * 200 * 3
    assert [step["bucket"] for step in results["steps"]] == [1, 2, 4, 8, 16, 32, 64]
    assert all(step["p50_ms"] > 0 for step in results["steps"])
    assert results["latency"][0]["vehicles"] == results["capacity"]["vehicles"] == 1
    assert "of these, state: 0" in capsys.readouterr().out


@pytest.mark.skipif(
    "CUDAExecutionProvider" in onnxruntime.get_available_providers(), reason="CUDA is installed"
)
def test_without_a_gpu_it_says_so_in_one_line(bundle_path, capsys):
    assert main(["gpu", "--model", str(bundle_path)]) == 2
    said = capsys.readouterr().err.strip().splitlines()[-1]
    assert said.startswith("benchmark: device_steps: provider 'cuda' cannot be used: ")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"agrees": False, "worst": {"speed": 0.5}}, "answers otherwise than the CPU: "),
        ({"state_bytes": 512}, "state crossed the bus: 512 bytes"),
    ],
)
def test_a_gpu_that_is_wrong_is_no_result(tmp_path, monkeypatch, changes, message):
    found = {"comparison": {"agrees": True, "state_bytes": 0} | changes}
    program = tmp_path / "python"
    program.write_text(f"#!/bin/sh\necho '{json.dumps(found)}'\n")
    program.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(program))
    with pytest.raises(BenchmarkError, match=message):
        gpu.run(parser().parse_args(["gpu"]))
