"""Only what a bundle says of its camera changes, and all that quotes its digest follows."""

from __future__ import annotations

import dataclasses
import hashlib
from pathlib import Path

import numpy as np
import pytest

from model_export.__main__ import main
from model_export.evaluation.bundle_runner import BundleRunner
from steerstream_bundle import loading, quickest
from steerstream_bundle.contract import TrainedCamera
from tests.service import bundles
from tests.service.vehicle import pictures

CAMERA = TrainedCamera(
    horizontal_fov_deg=18.0, aspect_ratio=4 / 3, mount_height_m=1.3, horizon_fraction=0.45
)


def digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def test_a_camera_changes_nothing_but_the_contract(tmp_path: Path):
    path = bundles.recurrent(tmp_path / "tiny.onnx")
    before, film = loading.load(path), pictures(1, 0)
    assert main(["camera", str(path)]) == 0
    after = loading.load(path)
    assert after.contract == dataclasses.replace(before.contract, camera=CAMERA)
    state = [np.zeros((1, 3), np.float32)]
    for left, right in zip(before.step(film, state)[0], after.step(film, state)[0], strict=True):
        np.testing.assert_array_equal(left, right)


def test_the_bundle_of_reduced_precision_beside_it_is_still_its_own(tmp_path: Path):
    path = bundles.recurrent(tmp_path / "tiny.onnx")
    reduced = bundles.reduced(path)
    options = ["--fov-deg", "60", "--aspect", "1.5", "--height-m", "1.6", "--horizon", "0.5"]
    assert main(["camera", str(path), *options]) == 0
    contract = BundleRunner(reduced).contract
    assert contract.camera == TrainedCamera(
        horizontal_fov_deg=60.0, aspect_ratio=1.5, mount_height_m=1.6, horizon_fraction=0.5
    )
    assert contract.provenance.reduced_from == digest(path)
    (chosen,) = quickest.load_all([path], precision="int8").values()
    assert chosen.precision == "int8"


def test_results_that_quote_the_digest_follow_and_others_stay(tmp_path: Path):
    path, results = bundles.recurrent(tmp_path / "tiny.onnx"), tmp_path / "results"
    results.mkdir()
    mine, other = results / "speed-tiny.json", results / "speed-other.json"
    mine.write_text(f'{{"bundle_sha256": "{digest(path)}"}}', encoding="utf-8")
    other.write_text('{"bundle_sha256": "abc"}', encoding="utf-8")
    assert main(["camera", str(path), "--results", str(results)]) == 0
    assert digest(path) in mine.read_text(encoding="utf-8")
    assert other.read_text(encoding="utf-8") == '{"bundle_sha256": "abc"}'


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("tiny.int8.onnx", "is of reduced precision; give the FP32 bundle beside it"),
        ("missing.onnx", "No such file"),
        ("broken.onnx", "not a bundle"),
    ],
)
def test_what_is_no_fp32_bundle_is_refused(tmp_path: Path, capsys, name: str, text: str):
    bundles.reduced(bundles.recurrent(tmp_path / "tiny.onnx"))
    (tmp_path / "broken.onnx").write_bytes(b"no model")
    assert main(["camera", str(tmp_path / name)]) == 2
    assert text in capsys.readouterr().err
