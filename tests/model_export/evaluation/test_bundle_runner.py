"""The bare loop takes the interval and gives the standard deviations that the contract names."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from model_export.evaluation.bundle_runner import BundleDriver, BundleRunner
from tests.service import bundles
from tests.service.vehicle import pictures

KNOWN_S = [0.05, 0.1, 0.25, 0.02]
INTERVALS_S = [None, *KNOWN_S]
HEADS = ("steering_wheel_angle", "speed", "steering_torque")


@pytest.fixture
def runner(tmp_path: Path) -> BundleRunner:
    return BundleRunner(bundles.timed(tmp_path / "timed.onnx"))


def test_a_driver_gives_heads_and_standard_deviations(runner: BundleRunner):
    driver, film = BundleDriver(runner), pictures(5, 0)
    found = [driver.predict(*step) for step in zip(film, INTERVALS_S, strict=True)]
    assert {tuple(prediction.outputs) for prediction in found} == {HEADS}
    assert {tuple(prediction.stddevs) for prediction in found} == {(HEADS[0], HEADS[2])}
    rows = [[*item.outputs.values(), *item.stddevs.values()] for item in found]
    expected = bundles.expected_timed(film, [0.05, *KNOWN_S])
    np.testing.assert_allclose(rows, expected, atol=1e-5)
    driver.reset()
    again = [driver.outputs(*step) for step in zip(film, INTERVALS_S, strict=True)]
    assert again == [prediction.outputs for prediction in found]


def test_a_driver_tells_when_the_command_acts_as_a_server_does(tmp_path: Path):
    driver = BundleDriver(BundleRunner(bundles.acting(tmp_path / "acting.onnx")))
    picture = pictures(1, 0)[0]
    found = []
    for act_in_s in (0.0, 0.2, 0.4, None):
        driver.reset()
        found.append(driver.predict(picture, None, act_in_s).outputs[HEADS[0]])
    np.testing.assert_allclose(np.array(found) - found[0], [0.0, 0.2, 0.25, 0.05], atol=1e-6)


def test_each_row_of_a_batch_has_its_own_interval(runner: BundleRunner):
    film, intervals_s = pictures(2, 1), np.array([0.05, 0.2], np.float32)
    values, state = runner.step(film, runner.initial_state(2), intervals_s)
    for row in range(2):
        expected = bundles.expected_timed(film[row : row + 1], intervals_s[row : row + 1])[0]
        np.testing.assert_allclose([value[row] for value in values], expected, atol=1e-5)
    assert [new.shape for new in state] == [(2, 3)]


def test_a_bundle_without_either_needs_neither(tmp_path: Path):
    driver = BundleDriver(BundleRunner(bundles.recurrent(tmp_path / "tiny.onnx")))
    film = pictures(3, 2)
    found = [driver.predict(picture, 0.3) for picture in film]
    assert all(prediction.stddevs == {} for prediction in found)
    rows = [list(prediction.outputs.values()) for prediction in found]
    np.testing.assert_allclose(rows, bundles.expected(film), atol=1e-5)
