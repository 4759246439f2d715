"""The command: a bundle is made, measured, and left or not, and what is left can be served."""

from __future__ import annotations

import csv
import hashlib
import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from model_export.__main__ import main
from model_export.errors import BundleError
from model_export.evaluation import unseen
from model_export.evaluation.bundle_runner import BundleDriver, BundleRunner
from model_export.evaluation.evaluate import evaluate
from model_export.export.verify import verify_against
from tests.service.vehicle import pictures, running


@pytest.fixture(scope="module", autouse=True)
def short_roads() -> Iterator[None]:
    """Judge on a short rendered drive beside the real one; all of them take minutes."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(unseen, "PARTS", {unseen.ROADS: {"validation_roads": 1, "seconds": 2.0}})
        yield


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(scope="module")
def half(bundle: Path, small_data: Path, cache: Path) -> Path:
    """An FP16 bundle, accepted."""
    command = ["optimize", str(bundle), "--to", "fp16"]
    assert main([*command, "--data", str(small_data), "--cache", str(cache)]) == 0
    return bundle.with_name("tiny.fp16.onnx")


@pytest.fixture
def own_words(bundle: Path, small_data: Path, tmp_path: Path) -> Path:
    """Data whose labels the FP32 bundle hits almost exactly: any other bundle is worse by far."""
    folder = small_data / "udacity_ch2_hmb3"
    said = iter(evaluate(bundle, folder / "labels.csv", split="validation").outputs[:, 0])
    with (folder / "labels.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    path = tmp_path / "data" / folder.name / "labels.csv"
    path.parent.mkdir(parents=True)
    (path.parent / "frames").symlink_to(folder / "frames")
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, rows[0].keys())
        writer.writeheader()
        for row in rows:
            judged = row["split"] == "validation"
            writer.writerow(row | ({"steering_angle_rad": next(said) + 1e-6} if judged else {}))
    return tmp_path / "data"


def test_the_contract_survives_and_says_what_changed(bundle: Path, half: Path):
    before, after = BundleRunner(bundle).contract, BundleRunner(half).contract
    assert (before.provenance.precision, after.provenance.precision) == ("fp32", "fp16")
    assert after.same_network(before)
    assert after.provenance.reduced_from == hashlib.sha256(bundle.read_bytes()).hexdigest()
    assert after.provenance.sources == before.provenance.sources
    real, *rendered = after.provenance.scores
    assert (real.head, real.frames) == ("steering_wheel_angle", 20)
    assert real.source == unseen.SOURCES[unseen.REAL]
    assert {score.source for score in rendered} == {unseen.SOURCES[unseen.ROADS]}
    assert [score.frames for score in rendered] == [40, 40, 40]
    assert all(0.98 < score.ratio <= 1.02 for score in after.provenance.scores)
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
        rows = await (await run.vehicle(model="tiny")).replay(film)
    driver = BundleDriver(BundleRunner(half))
    expected = [list(driver.outputs(picture).values()) for picture in film]
    np.testing.assert_allclose(rows, expected, rtol=1e-4, atol=1e-4)


def test_a_bundle_that_lost_accuracy_is_refused_and_not_left(
    bundle: Path,
    cache: Path,
    own_words: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
):
    out, figures = tmp_path / "out" / "eighth.onnx", tmp_path / "out" / "figures.json"
    command = ["optimize", str(bundle), "--to", "int8", "--out", str(out)]
    command += ["--data", str(own_words), "--cache", str(cache), "--json", str(figures)]
    assert main(command) == 1
    assert not out.exists()
    told = json.loads(figures.read_text())
    assert told["verdict"] == "refused"
    assert told["rmse_ratio"][unseen.REAL]["steering_wheel_angle"] > 1.02
    assert set(told["speed_ratio"]) == {"1", "8", "16"}
    assert told["size_ratio"] < 1
    assert "refused: RMSE of steering_wheel_angle" in capsys.readouterr().out
    assert main([*command, "--keep"]) == 1
    assert BundleRunner(out).contract.provenance.precision == "int8"


def test_a_bundle_of_reduced_precision_is_refused(half: Path, small_data: Path, tmp_path: Path):
    from model_export.export.reduced_precision.command import optimize

    with pytest.raises(BundleError, match="reduced precision already"):
        optimize(half, "int8", tmp_path / "x.onnx", small_data, tmp_path)


def test_labels_without_training_rows_are_refused(
    bundle: Path, own_words: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    labels = own_words / "udacity_ch2_hmb3" / "labels.csv"
    labels.write_text(labels.read_text().replace(",train", ",validation"))
    command = ["optimize", str(bundle), "--to", "int8", "--out", str(tmp_path / "x.onnx")]
    assert main([*command, "--data", str(own_words)]) == 2
    assert "no row of split 'train'" in capsys.readouterr().err
