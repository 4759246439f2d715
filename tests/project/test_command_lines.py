"""Every command line, in an environment without its extra and in a broken checkout."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
WITHOUT = """
import runpy, sys
missing, command, *sys.argv[1:] = sys.argv[1:]
sys.modules.update(dict.fromkeys(missing.split(",")))
runpy.run_module(command, run_name="__main__", alter_sys=True)
"""
OPTIONAL = "cv2,grpc_health,gymnasium,matplotlib,onnx,onnxruntime,torch,tqdm"


def run_without(missing, command, *arguments):
    return subprocess.run(
        [sys.executable, "-c", WITHOUT, missing, command, *arguments],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


@pytest.mark.parametrize(
    ("extra", "name", "command"),
    [
        ("steerstream[cpu]", "serve", ["steerstream_service", "--model", "models"]),
        (
            "steerstream[sim]",
            "simulate",
            ["steerstream", "simulate", "sheet", "--save", "none.png"],
        ),
        ("steerstream[cpu,sim]", "benchmark", ["benchmark", "latency"]),
        (
            "steerstream[train]",
            "model_export",
            ["model_export", "train", "--config", "none", "--out", "none"],
        ),
    ],
)
def test_a_missing_extra_is_named_in_one_line(extra, name, command):
    result = run_without(OPTIONAL, *command)
    assert result.returncode == 2
    assert result.stderr.startswith((f"{name}: ", f"steerstream {name}: "))
    assert f"is not installed; pip install '{extra}'" in result.stderr
    assert result.stderr.count("\n") == 1


def test_a_module_of_ours_that_is_missing_shows_itself():
    result = run_without(
        "steerstream_service.process.server", "steerstream_service", "--model", "models"
    )
    assert result.returncode == 1
    assert "ModuleNotFoundError" in result.stderr
    assert "steerstream_service.process.server" in result.stderr
