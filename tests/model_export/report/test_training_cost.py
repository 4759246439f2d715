"""What a step of training costs is told for every stage, without data."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from model_export.__main__ import main

FILLED = (
    r"{}: filled from %s frames on disk, a batch takes [\d.]+ ms of a core; \d+ MB are resident"
)
LINES = (
    FILLED % "2,000",
    FILLED % "32,000",
    r"{}: a step of {} rows of {} is [\d,]+ operations, [\d.]+ ms on cpu; {} steps",
)


def test_a_configurations_stages_are_measured(
    tiny_config: Path, capsys: pytest.CaptureFixture[str]
):
    stored = "pass_frames = 12\nencoder_rate = 0.0\nstored_features = true"
    tiny_config.write_text(tiny_config.read_text().replace("pass_frames = 12", stored))
    assert main(["measure", "training", str(tiny_config), "--device", "cpu"]) == 0
    said = capsys.readouterr().out.splitlines()
    stages = (("frames", 4, 1, 4), ("sequences", 2, 4, 5))
    expected = [line.format(*stage) for stage in stages for line in LINES]
    for line, wanted in zip(said, expected, strict=True):
        assert re.fullmatch(wanted, line), line
