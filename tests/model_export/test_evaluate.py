"""Evaluation's figures are those of a plain loop, recomputed by hand."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from model_export.__main__ import main
from model_export.bundle_runner import BundleDriver, BundleRunner
from model_export.data.udacity_ch2 import read_picture
from model_export.errors import DataError
from model_export.evaluate import evaluate, report
from model_export.export import export
from model_export.run import RunFolder


@pytest.fixture(scope="module")
def bundle(tiny_run: RunFolder, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("models") / "small.onnx"
    export(tiny_run, path)
    return path


@pytest.fixture
def labels(small_data: Path, tmp_path: Path) -> Path:
    """Ten rows with a break in the middle, angle and speed labelled, torque absent."""
    names = sorted((small_data / "udacity_ch2_hmb3" / "frames").iterdir())
    lines = ["frame_id,filename,steering_angle_rad,speed_mps,block,split"]
    for index in range(10):
        frame_id = 50_000_000 * index + (200_000_000 if index >= 5 else 0)
        split = "validation" if index >= 5 else "train"
        lines.append(f"{frame_id},{names[index].name},{0.1 * index},12,{index // 5},{split}")
    path = tmp_path / "labels.csv"
    path.write_text("\n".join(lines) + "\n")
    return path


@pytest.fixture
def images(small_data: Path) -> Path:
    return small_data / "udacity_ch2_hmb3" / "frames"


def by_hand(bundle: Path, images: Path) -> np.ndarray:
    runner = BundleRunner(bundle)
    driver, frame = BundleDriver(runner), runner.contract.frame
    outputs = []
    for index, path in enumerate(sorted(images.iterdir())[:10]):
        if index == 5:
            driver.reset()
        outputs.append(list(driver.outputs(read_picture(path, frame)).values()))
    return np.array(outputs)


def test_figures_are_those_of_a_plain_loop(bundle: Path, labels: Path, images: Path):
    evaluation = evaluate(bundle, labels, images)
    outputs = by_hand(bundle, images)
    np.testing.assert_array_equal(evaluation.outputs, outputs)
    summary = evaluation.summary()
    truth = 0.1 * np.arange(10)
    mean = evaluation.contract.outputs[0].training_mean
    score = summary["heads"]["steering_wheel_angle"]
    rms = {
        "rmse": outputs[:, 0] - truth,
        "rmse_zero": truth,
        "rmse_mean": truth - mean,
    }
    for name, errors in rms.items():
        assert score[name] == pytest.approx(np.sqrt(np.mean(errors**2)), rel=1e-6)
    assert score["mae"] == pytest.approx(np.abs(outputs[:, 0] - truth).mean(), rel=1e-6)
    assert summary["frames"] == 10
    assert set(summary["heads"]) == {"steering_wheel_angle", "speed"}
    assert summary["heads"]["speed"]["rmse_zero"] == pytest.approx(12)


def test_splits_and_blocks_are_reported_apart(bundle: Path, labels: Path, images: Path):
    summary = evaluate(bundle, labels, images).summary()
    assert summary["splits"]["validation"] == summary["blocks"]["1"]
    assert summary["splits"]["train"]["frames"] == 5
    validation = evaluate(bundle, labels, images, split="validation").summary()
    assert validation["heads"] == summary["splits"]["validation"]["heads"]


def test_the_table_warns_of_training_rows(bundle: Path, labels: Path, images: Path):
    assert any("of training" in line for line in report(evaluate(bundle, labels, images)))
    alone = report(evaluate(bundle, labels, images, split="validation"))
    assert not any("of training" in line for line in alone)


def test_the_command_writes_figures_and_picture(
    bundle: Path, labels: Path, images: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    out, plot = tmp_path / "out" / "e.json", tmp_path / "out" / "e.png"
    command = ["evaluate", str(bundle), "--labels", str(labels), "--images", str(images)]
    assert main([*command, "--json", str(out), "--plot", str(plot)]) == 0
    figures = json.loads(out.read_text())
    assert figures["heads"]["steering_wheel_angle"]["rmse"] > 0
    assert plot.read_bytes().startswith(b"\x89PNG")
    assert "steering_wheel_angle rad" in capsys.readouterr().out


def test_labels_without_pictures_or_heads_are_refused(bundle: Path, tmp_path: Path):
    path = tmp_path / "labels.csv"
    path.write_text("frame_id,speed_mps\n1,2\n")
    with pytest.raises(DataError, match="no column filename"):
        evaluate(bundle, path)
    path.write_text("frame_id,filename\n1,a.jpg\n")
    with pytest.raises(DataError, match="labels none of the heads"):
        evaluate(bundle, path)


@pytest.mark.data
def test_the_shipped_bundle_keeps_its_promise_on_the_real_drive(bundle_path: Path, data_dir: Path):
    labels = data_dir / "udacity_ch2_hmb3" / "labels.csv"
    score = evaluate(bundle_path, labels, split="validation").heads()["steering_wheel_angle"]
    assert score.rmse <= 0.13
    assert score.rmse_zero == pytest.approx(0.251, abs=1e-3)
