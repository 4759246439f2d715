from __future__ import annotations

import json

from benchmark.__main__ import main


def test_a_result_keeps_a_command_that_anybody_can_repeat(bundle_path, tmp_path):
    result = tmp_path / "result.json"
    options = ["--model", str(bundle_path), "--sessions", "1", "--seconds", "0.2"]
    assert main(["latency", *options, "--encoding", "rgb8", f"--json={result}"]) == 0
    command = json.loads(result.read_text())["command"]
    assert command.startswith("python -m benchmark latency --model")
    assert command.endswith("--seconds 0.2 --encoding rgb8")
