"""Deviations are calibrated on what is held out: by a factor, and by how much they may differ."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch

from model_export.config import Config
from model_export.data.sources import Source, read_source
from model_export.networks import DrivingNetwork, build
from model_export.training.calibration import calibrated, fitted
from model_export.training.scoring import Judged, JudgedSource, Predicted

FRAMES = 20_000
LAYER = "heads.log_stddev.weight"


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(3)


@pytest.fixture
def source(tiny: Config, small_data: Path, tmp_path: Path) -> Source:
    held = dataclasses.replace(tiny.source[0], options={"holdout": ["1"]}, monitor=2.0)
    return read_source(held, tiny, small_data, tmp_path)


@pytest.fixture
def network(tiny: Config) -> DrivingNetwork:
    network = build(tiny).eval()
    torch.nn.init.normal_(network.get_parameter(LAYER))
    return network


def said(source: Source, split: str, errors: np.ndarray, stddevs: np.ndarray) -> Judged:
    """What a network says whose errors and deviations are these, frame by frame."""
    recording = getattr(source, split)
    like = np.ones_like(recording.labels)
    mean = recording.labels - errors[:, None] * like
    return Judged(recording, Predicted(mean, (stddevs[:, None] * like).astype(np.float32)))


def test_what_is_held_out_decides_and_a_head_without_labels_stays(
    source: Source, network: DrivingNetwork
):
    assert source.holdout is not None
    held, valid = (np.ones(len(one.labels)) for one in (source.holdout, source.validation))
    validation = said(source, "validation", 9.0 * valid, valid)
    judgement = [JudgedSource(source, said(source, "holdout", 0.1 * held, 0.05 * held), validation)]
    weights = calibrated(network, judgement)
    angle, speed, torque = weights["calibration"].tolist()
    # Every error is two deviations: 2 for the inner interval, which counts twice, 1 for the outer.
    assert angle == pytest.approx(2 ** (2 / 3), rel=1e-4)
    assert (speed, torque) == (1.0, 1.0)
    assert torch.equal(weights[LAYER], network.get_parameter(LAYER))
    untouched = calibrated(network, [JudgedSource(source, None, validation)])
    assert untouched["calibration"].tolist() == [1.0] * 3


def test_the_power_stands_in_the_layer_of_its_head_alone(
    source: Source, network: DrivingNetwork, rng: np.random.Generator
):
    assert source.holdout is not None
    unit = float(network.get_buffer("output_scale")[0])
    logs = np.linspace(-2, 2, len(source.holdout.labels))
    signs = rng.choice([-1.0, 1.0], len(logs))
    errors = signs * unit * np.exp(0.5 * logs)
    holdout = said(source, "holdout", errors, unit * np.exp(logs))
    validation = said(source, "validation", *np.ones((2, len(source.validation.labels))))
    weights = calibrated(network, [JudgedSource(source, holdout, validation)])
    ratio = (weights[LAYER] / network.get_parameter(LAYER)).mean(1)
    assert ratio.tolist() == pytest.approx([0.5, 1.0, 1.0], abs=0.03)


@pytest.mark.parametrize("factor", [0.5, 1.0, 3.0])
def test_deviations_that_are_too_small_everywhere_are_made_larger(
    rng: np.random.Generator, factor: float
):
    stddevs = np.exp(rng.normal(0, 0.5, FRAMES))
    law = fitted(rng.normal(0, factor * stddevs), stddevs)
    assert law.power == pytest.approx(1.0, abs=0.06)
    assert law.factor == pytest.approx(factor, rel=0.03)


def test_differences_that_are_half_true_are_halved(rng: np.random.Generator):
    stddevs = np.exp(rng.normal(0, 0.5, FRAMES))
    law = fitted(rng.normal(0, np.sqrt(stddevs)), stddevs)
    assert law.power == pytest.approx(0.5, abs=0.06)


def test_intervals_hold_what_they_say_after_it(rng: np.random.Generator):
    stddevs = np.exp(rng.normal(-1, 0.7, FRAMES))
    errors = rng.normal(0, 0.2 * stddevs**0.6)
    law = fitted(errors, stddevs)
    ratios = np.abs(errors) / (law.factor * stddevs**law.power)
    assert np.mean(ratios < 1) == pytest.approx(0.6827, abs=0.02)
    assert np.mean(ratios < 2) == pytest.approx(0.9545, abs=0.01)


def test_heavy_tails_are_shared_between_both_intervals(rng: np.random.Generator):
    errors = rng.standard_t(3, FRAMES)
    law = fitted(errors, np.ones(FRAMES))
    one, two = (np.mean(np.abs(errors) < width * law.factor) for width in (1, 2))
    assert one > 0.6827
    assert two < 0.9545


def test_differences_that_say_nothing_are_kept_in_part(rng: np.random.Generator):
    law = fitted(rng.normal(0, 1, FRAMES), np.exp(rng.normal(0, 0.5, FRAMES)))
    assert law.power == pytest.approx(0.25)


def test_the_factor_alone_is_fitted_where_no_other_power_is_offered(rng: np.random.Generator):
    stddevs = np.exp(rng.normal(0, 0.5, FRAMES))
    law = fitted(rng.normal(0, np.sqrt(stddevs)), stddevs, powers=np.ones(1))
    assert law.power == 1.0
