"""Scores of the report are those of the evaluation, on every source."""

from __future__ import annotations

import csv
import math
from pathlib import Path

import numpy as np
import pytest

from model_export.config import HEADS
from model_export.data.recording import Sample, record, spans
from model_export.evaluation import unseen
from model_export.evaluation.bundle_runner import BundleDriver, BundleRunner
from model_export.evaluation.evaluate import evaluate
from model_export.report import accuracy, baselines
from tests.service import bundles

PARTS = {
    unseen.TRACES: {"chunk_s": 1.0, "validation_every": 4},
    unseen.ROADS: {"validation_roads": 1, "seconds": 1.0},
}
GAIN = (0.2, 3.0, -0.1, 0.05)
"""Torque of an invented vehicle: constant, and a share of angle, its change a frame, and speed."""


def trace(path: Path, phase: float) -> None:
    """Write a drive of 5 s whose torque is linear in what the baseline is told."""
    time_s = np.arange(100) / 20
    angle = 0.2 * np.sin(time_s + phase)
    speed = 15 + 2 * np.cos(time_s / 2 + phase)
    torque = GAIN[0] + GAIN[1] * angle + GAIN[2] * np.gradient(angle) + GAIN[3] * speed
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["frame_id", "steering_angle_rad", "speed_mps", "steering_torque_nm"])
        for index, row in enumerate(zip(angle, speed, torque, strict=True)):
            writer.writerow([index * 50_000_000, *row])


@pytest.fixture(scope="module")
def data(small_data: Path) -> Path:
    for index, name in enumerate(("HMB_1", "HMB_2", "HMB_4", "HMB_6")):
        trace(small_data / "udacity_ch2_traces" / f"{name}.csv", float(index))
    return small_data


def test_every_source_is_scored(bundle: Path, data: Path, tmp_path: Path):
    found = accuracy.measure(bundle, data, tmp_path, PARTS)
    real = evaluate(bundle, data / "udacity_ch2_hmb3" / "labels.csv", split="validation")
    angle = found["sources"]["udacity_ch2"]["heads"]["steering_wheel_angle"]
    assert angle["rmse"] == real.heads()["steering_wheel_angle"].rmse
    assert [len(source["heads"]) for source in found["sources"].values()] == [1, 3, 3]
    linear = found["sources"]["udacity_traces"]["rmse_linear"]
    assert linear["steering_torque"] == pytest.approx(0.0, abs=1e-5)
    assert linear["speed"] > 0.1
    assert [loss["drop"] for loss in found["losses"]] == [0.0, 0.1, 0.3, 0.5, 0.0]
    assert found["losses"][0]["rmse"] == angle["rmse"]
    assert found["losses"][-1]["shown"] == math.ceil(real.shown.sum() / 2)


@pytest.mark.parametrize("foresees", [False, True])
def test_a_recording_is_run_as_a_vehicle_s_pictures_are(
    foresees: bool, bundle: Path, tmp_path: Path
):
    path = bundles.horizon(tmp_path / "horizon.onnx") if foresees else bundle
    runner = BundleRunner(path)
    frame = runner.contract.frame
    films = np.random.default_rng(0).integers(0, 256, (2, 5, 240, 320, 3), np.uint8)
    samples = (
        Sample(picture, np.zeros(3, np.float32), index == 0, index / 20)
        for film in films
        for index, picture in enumerate(film)
    )
    found = unseen.evaluate(runner, record(samples, frame, tmp_path / "recorded"))
    expected = []
    for film in films:
        driver = BundleDriver(runner)
        expected += [driver.predict(picture) for picture in film]
    rows = [list(said.outputs.values()) for said in expected]
    np.testing.assert_allclose(found.outputs, rows, rtol=1e-6)
    for head in runner.contract.stddev_columns:
        stddevs = found.stddevs[:, HEADS.index(head)]
        np.testing.assert_allclose(stddevs, [said.stddevs[head] for said in expected], rtol=1e-6)


def test_the_intervals_of_true_deviations_cover_what_they_say(bundle: Path, tmp_path: Path):
    runner = BundleRunner(bundle)
    picture = np.zeros((240, 320, 3), np.uint8)
    samples = (
        Sample(picture, np.zeros(3, np.float32), index == 0, index / 20) for index in range(2000)
    )
    found = unseen.evaluate(runner, record(samples, runner.contract.frame, tmp_path / "recorded"))
    found.table.labels[:] = np.random.default_rng(0).normal(found.outputs, found.stddevs)
    covered = accuracy._covered(found, "speed")
    np.testing.assert_allclose(covered, accuracy.LEVELS, atol=0.04)


def test_the_line_is_fitted_to_the_training_drives_alone(data: Path):
    labels = np.full((40, 3), 1.0, np.float32)
    parts = spans(np.arange(40) % 20 == 0)
    expected = abs(GAIN[0] + GAIN[1] + GAIN[3] - 1.0)
    found = baselines.linear_rmse(data, labels, parts)
    assert found["steering_torque"] == pytest.approx(expected, rel=1e-3)
