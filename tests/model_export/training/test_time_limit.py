"""What is left of a time limit is shared by the stages that are left."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest

from model_export.__main__ import main
from model_export.run import RunFolder
from model_export.training.time_limit import TimeLimit


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch):
    """A clock that stands still until it is set."""
    now = {"s": 100.0}
    monkeypatch.setattr(time, "monotonic", lambda: now["s"])
    return now


def test_what_a_stage_leaves_goes_to_the_next(clock):
    limit = TimeLimit(2.0, stages=2)
    limit.begin_stage()
    clock["s"] += 20
    limit.begin_learning()
    clock["s"] += 10
    assert limit.spent() == pytest.approx(10 / 40)
    limit.begin_stage()
    limit.begin_learning()
    clock["s"] += 45
    assert limit.spent() == pytest.approx(45 / 90)
    clock["s"] += 60
    assert limit.spent() == 1.0


def test_without_a_limit_no_time_is_spent(clock):
    limit = TimeLimit()
    limit.begin_stage()
    limit.begin_learning()
    clock["s"] += 1e9
    assert limit.spent() == 0.0


def test_a_run_whose_time_is_up_is_finished_and_can_be_exported(
    tiny_config: Path, small_data: Path, tmp_path: Path
):
    second = tmp_path / "second.toml"
    second.write_text(tiny_config.read_text())
    run = RunFolder(tmp_path / "run")
    command = ["train", "--config", str(tiny_config), str(second), "--minutes", "0.000001"]
    command += ["--device", "cpu", "--data", str(small_data), "--out", str(run.path)]
    assert main(command) == 0
    for folder in (run, RunFolder(run.path / "tiny")):
        entries = [json.loads(line) for line in folder.metrics.read_text().splitlines()]
        assert [(entry["stage"], entry["step"]) for entry in entries] == [
            ("frames", 1),
            ("sequences", 5),
        ]
    assert run.start.read_bytes() == RunFolder(run.path / "tiny").best.read_bytes()
    before = run.best.read_bytes()
    assert main(command) == 0
    assert run.best.read_bytes() == before
    assert main(["export", str(run.path), "--out", str(tmp_path / "b.onnx")]) == 0
