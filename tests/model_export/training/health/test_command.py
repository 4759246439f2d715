"""The command over real runs: figures, pictures, and where they go."""

from __future__ import annotations

import dataclasses
import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch

from model_export.__main__ import main
from model_export.networks import build
from model_export.run import RunFolder

PNG = b"\x89PNG"
OWN = {"curves.png", "gates.png", "units.png"}


@pytest.fixture
def run(tiny_run: RunFolder, tmp_path: Path) -> RunFolder:
    """A copy of the trained run, an LSTM's."""
    shutil.copytree(tiny_run.path, tmp_path / "runs" / "lstm")
    return RunFolder(tmp_path / "runs" / "lstm")


@pytest.fixture
def plain_run(run: RunFolder) -> RunFolder:
    """The same with a plain cell that halves what it has, and a sleeping unit."""
    plain = RunFolder(run.path.parent / "plain")
    shutil.copytree(run.path, plain.path)
    text = run.config.read_text().replace("{ features", '{ cell = "rnn", features')
    plain.config.write_text(text)
    torch.manual_seed(0)
    network: Any = build(plain.load_config())
    with torch.no_grad():
        mix = network.recurrence.cells[0].mix
        mix.weight.zero_()
        mix.weight[:, 8:] = 0.5 * torch.eye(6)
        network.project.bias[:2] = -1e6
    result = dataclasses.replace(run.load_result(), weights=network.state_dict())
    plain.save_result(result)
    return plain


def look(data: Path, tmp_path: Path, *arguments: str) -> list[dict[str, Any]]:
    figures = tmp_path / "figures" / "health.json"
    cache = str(tmp_path / "cache")
    command = ["health", *arguments, "--data", str(data), "--cache", cache]
    assert main([*command, "--json", str(figures)]) == 0
    found: list[dict[str, Any]] = json.loads(figures.read_text())
    return found


def names(folder: Path) -> set[str]:
    assert all(path.read_bytes().startswith(PNG) for path in folder.glob("*.png"))
    return {path.name for path in folder.iterdir()}


def test_one_run(
    run: RunFolder, small_data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    (found,) = look(small_data, tmp_path, str(run.path))
    folder = run.path / "health"
    assert names(folder) == OWN | {"gradients.png", "moments.png"}
    assert (found["run"], found["network"], found["frames"]) == ("lstm", "pilotnet_lstm", 20)
    steering = run.load_result().scores[0]
    assert found["rmse_rad"] == pytest.approx(steering.rmse, rel=1e-3)
    assert [flow["tensor"] for flow in found["gradients"]] == ["h", "c"]
    assert [use["gate"] for use in found["gates"]] == ["input", "forget", "output", "candidate"]
    assert [layer["units"] for layer in found["units"]] == [24, 36, 48, 64, 64, 8]
    assert [stage["stage"] for stage in found["training"]] == ["frames", "sequences"]
    assert found["training"][-1]["last_step"] == 9
    (moment,) = found["moments"]
    assert abs(moment["error_rad"]) >= found["rmse_rad"]
    printed = capsys.readouterr().out
    assert "steering RMSE" in printed
    assert str(folder / "gradients.png") in printed


def test_several_runs_share_a_picture_and_keep_their_own(
    run: RunFolder, plain_run: RunFolder, small_data: Path, tmp_path: Path
):
    lstm, plain = look(small_data, tmp_path, str(run.path), str(plain_run.path))
    assert names(run.path / "health") == OWN | {"gradients.png", "moments.png"}
    assert names(plain_run.path / "health") == OWN | {"moments.png"}
    (flow,) = plain["gradients"]
    assert flow["decay_per_step"] == pytest.approx(0.5, rel=1e-3)
    assert flow["verdict"] == "vanishing"
    assert lstm["gradients"][1]["decay_per_step"] > 0.5
    assert plain["units"][-1]["dead"] >= 2


def test_frames_of_a_drive_go_nowhere_but_into_the_runs_folder(
    run: RunFolder, plain_run: RunFolder, small_data: Path, tmp_path: Path
):
    out = tmp_path / "out"
    look(small_data, tmp_path, str(run.path), "--out", str(out))
    assert names(out) == OWN | {"gradients.png"}
    assert names(run.path / "health") == {"moments.png"}
    both = tmp_path / "both"
    look(small_data, tmp_path, str(run.path), str(plain_run.path), "--out", str(both))
    assert {path.name for path in both.iterdir()} == {"gradients.png", "lstm", "plain"}
    assert names(both / "lstm") == names(both / "plain") == OWN


def test_a_network_that_remembers_nothing(
    run: RunFolder, small_data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    text = run.config.read_text().replace('kind = "pilotnet_lstm"', 'kind = "pilotnet"')
    run.config.write_text(text.replace("settings = { features = 8, hidden = 6 }", ""))
    network = build(run.load_config())
    run.save_result(dataclasses.replace(run.load_result(), weights=network.state_dict()))
    (found,) = look(small_data, tmp_path, str(run.path))
    assert found["gradients"] == found["gates"] == []
    assert names(run.path / "health") == {"curves.png", "units.png", "moments.png"}
    assert "no recurrent cells" in capsys.readouterr().out


def test_a_run_that_cannot_be_examined_is_refused_in_one_line(
    run: RunFolder, small_data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    twin = tmp_path / "other" / "lstm"
    shutil.copytree(run.path, twin)
    assert main(["health", str(run.path), str(twin)]) == 2
    assert "two runs are called lstm" in capsys.readouterr().err
    run.metrics.write_text("no JSON\n")
    assert main(["health", str(run.path), "--data", str(small_data)]) == 2
    assert "not the record of a run" in capsys.readouterr().err
    run.metrics.unlink()
    assert main(["health", str(run.path), "--data", str(small_data)]) == 2
    error = capsys.readouterr().err
    assert "no evaluation yet" in error
    assert error.count("\n") == 1
