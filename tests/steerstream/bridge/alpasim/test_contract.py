"""The contract before its own caller, `FakeLoop` of carla-driver-interface 2.3.1."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import pytest

from steerstream.testing.server_process import serve

PYTHON = os.environ.get("STEERSTREAM_ALPASIM")
ROOT = Path(__file__).resolve().parents[4]


@pytest.mark.skipif(not PYTHON, reason="needs carla-driver-interface: make bridge-test")
@pytest.mark.timeout(900)
@pytest.mark.parametrize("offset_m", [0.0, 0.7])
def test_the_default_network_keeps_fake_loop_s_lane(offset_m):
    script = Path(__file__).with_name("fake_loop.py")
    with serve(ROOT / "models" / "pilotnet_lstm.onnx") as server:
        run = subprocess.run(
            [str(PYTHON), script, server.address, str(offset_m)],
            capture_output=True, text=True, cwd=ROOT, check=False,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
        )  # fmt: skip
    assert run.returncode == 0, run.stderr
    result = json.loads(run.stdout.splitlines()[-1])
    assert result["steps"] == 100
    assert result["distance_m"] > 50.0
    assert result["largest_offset_m"] < 1.0
    assert abs(result["last_offset_m"]) < 0.3
    assert result["contract"] == "2"
