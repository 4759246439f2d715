"""The run that made a bundle is found by its scores."""

from __future__ import annotations

import shutil
from pathlib import Path

import torch

from model_export.networks import build
from model_export.report.origin import measure
from model_export.run import RunFolder


def test_a_bundle_s_run_tells_parameters_time_and_seed(bundle: Path, tiny_run: RunFolder):
    found = measure(bundle, tiny_run.path.parent)
    network = build(tiny_run.load_config())
    assert found["parameters"] == sum(item.numel() for item in network.parameters())
    assert found["about"] == "PilotNet's convolutions, then recurrent cells: the default network."
    assert found["seconds"] >= 0
    assert [(seed["seed"], seed["ships"]) for seed in found["seeds"]] == [(3, True)]


def test_the_same_training_with_another_seed_stands_beside_it(
    bundle: Path, tiny_run: RunFolder, tmp_path: Path
):
    for name, seed in (("own", 3), ("other", 4)):
        shutil.copytree(tiny_run.path, tmp_path / name)
        config = tmp_path / name / "config.toml"
        config.write_text(config.read_text().replace("seed = 3", f"seed = {seed}"))
    shutil.copytree(tiny_run.path, tmp_path / "wider")
    config = tmp_path / "wider" / "config.toml"
    config.write_text(config.read_text().replace("hidden = 6", "hidden = 7"))
    seeds = measure(bundle, tmp_path)["seeds"]
    assert [seed["seed"] for seed in seeds] == [3, 4]


def test_a_run_that_was_cut_short_is_no_seed(bundle: Path, tiny_run: RunFolder, tmp_path: Path):
    for name, seed in (("own", 3), ("cut", 4)):
        shutil.copytree(tiny_run.path, tmp_path / name)
        config = tmp_path / name / "config.toml"
        config.write_text(config.read_text().replace("seed = 3", f"seed = {seed}"))
    checkpoint = torch.load(tmp_path / "cut" / "checkpoint.pt", weights_only=True)
    checkpoint["progress"][1] -= 1
    torch.save(checkpoint, tmp_path / "cut" / "checkpoint.pt")
    assert [seed["seed"] for seed in measure(bundle, tmp_path)["seeds"]] == [3]


def test_without_its_run_nothing_is_said(bundle: Path, tmp_path: Path):
    (tmp_path / "empty").mkdir()
    assert measure(bundle, tmp_path) == {}
    assert measure(bundle, tmp_path / "none") == {}
