"""The command: a bundle is made, measured, and left or not, and what is left can be served."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest

from model_export.__main__ import main
from model_export.errors import BundleError
from model_export.evaluation.bundle_runner import BundleDriver, BundleRunner
from model_export.evaluation.evaluate import evaluate
from model_export.export.exporter import export
from model_export.export.verify import verify_against
from model_export.run import RunFolder
from tests.service.vehicle import pictures, running


@pytest.fixture(scope="module")
def bundle(tiny_run: RunFolder, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("models") / "small.onnx"
    export(tiny_run, path)
    return path


@pytest.fixture(scope="module")
def labels(small_data: Path) -> Path:
    return small_data / "udacity_ch2_hmb3" / "labels.csv"


@pytest.fixture(scope="module")
def half(bundle: Path, labels: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An FP16 bundle, accepted."""
    out = tmp_path_factory.mktemp("half") / "small_fp16.onnx"
    command = ["optimize", str(bundle), "--to", "fp16", "--out", str(out), "--labels", str(labels)]
    assert main(command) == 0
    return out


@pytest.fixture
def own_words(bundle: Path, labels: Path, tmp_path: Path) -> Path:
    """Labels that the FP32 bundle hits almost exactly: any other bundle is worse by far."""
    said = iter(evaluate(bundle, labels, split="validation").outputs[:, 0])
    with labels.open(newline="") as file:
        rows = list(csv.DictReader(file))
    path = tmp_path / "labels.csv"
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, rows[0].keys())
        writer.writeheader()
        for row in rows:
            judged = row["split"] == "validation"
            writer.writerow(row | ({"steering_angle_rad": next(said) + 1e-6} if judged else {}))
    return path


def test_the_contract_survives_and_says_what_changed(bundle: Path, half: Path):
    before, after = BundleRunner(bundle).contract, BundleRunner(half).contract
    assert (before.provenance.precision, after.provenance.precision) == ("fp32", "fp16")
    assert (before.name, after.name) == ("small", "small_fp16")
    assert (after.frame, after.state, after.outputs) == (before.frame, before.state, before.outputs)
    assert after.provenance.sources == before.provenance.sources
    (score,) = after.provenance.scores
    assert (score.head, score.frames) == ("steering_wheel_angle", 20)
    assert score.source == "udacity_ch2_hmb3/labels.csv, split validation"
    assert half.stat().st_size < 0.7 * bundle.stat().st_size


def test_verify_holds_it_to_the_tolerance_of_its_precision(bundle: Path, half: Path):
    result = verify_against(half, bundle, frames=20)
    assert result.passed
    assert result.tolerances["speed"] == 0.03
    assert "h_next" not in result.tolerances
    assert any("h_next" in line and line.endswith("not judged") for line in result.lines())


def test_verify_needs_the_bundle_that_it_was_made_from(
    half: Path, bundle_path: Path, capsys: pytest.CaptureFixture[str]
):
    assert main(["verify", str(half), "--against", str(bundle_path)]) == 2
    assert "is not made from" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        main(["verify", str(half)])


async def test_a_server_answers_what_the_bundle_says(half: Path):
    film = pictures(6, 0, (240, 320, 3))
    async with running(half, max_load=100.0, shed_after_s=3600.0) as run:
        rows = await (await run.vehicle(model="small_fp16")).replay(film)
    driver = BundleDriver(BundleRunner(half))
    expected = [list(driver.outputs(picture).values()) for picture in film]
    np.testing.assert_allclose(rows, expected, rtol=1e-4, atol=1e-4)


def test_a_bundle_that_lost_accuracy_is_refused_and_not_left(
    bundle: Path,
    labels: Path,
    own_words: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
):
    out, figures = tmp_path / "out" / "eighth.onnx", tmp_path / "out" / "figures.json"
    command = ["optimize", str(bundle), "--to", "int8", "--out", str(out)]
    command += ["--labels", str(own_words), "--images", str(labels.parent), "--json", str(figures)]
    assert main(command) == 1
    assert not out.exists()
    told = json.loads(figures.read_text())
    assert told["verdict"] == "refused"
    assert told["rmse_ratio"]["steering_wheel_angle"] > 1.02
    assert set(told["speed_ratio"]) == {"1", "8", "16"}
    assert told["size_ratio"] < 1
    assert "refused: RMSE of steering_wheel_angle" in capsys.readouterr().out
    assert main([*command, "--keep"]) == 1
    assert BundleRunner(out).contract.provenance.precision == "int8"


def test_a_bundle_of_reduced_precision_is_refused(half: Path, labels: Path, tmp_path: Path):
    from model_export.export.reduced_precision.command import optimize

    with pytest.raises(BundleError, match="reduced precision already"):
        optimize(half, "int8", tmp_path / "x.onnx", labels)


def test_labels_without_training_rows_are_refused(
    bundle: Path, labels: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    text = labels.read_text().replace(",train", ",validation")
    (tmp_path / "labels.csv").write_text(text)
    command = ["optimize", str(bundle), "--to", "int8", "--out", str(tmp_path / "x.onnx")]
    assert main([*command, "--labels", str(tmp_path / "labels.csv")]) == 2
    assert "no row of split 'train'" in capsys.readouterr().err
