"""Figures of a head against ones that are known beforehand."""

from __future__ import annotations

import numpy as np
import pytest

from model_export.evaluation import head_scores


def test_errors_are_those_of_the_outputs_and_of_two_simple_predictors():
    truth, outputs = np.array([1.0, -3.0]), np.array([4.0, -7.0])
    found = head_scores.score(truth, outputs, mean=1.0)
    assert found.rmse == pytest.approx(np.sqrt(12.5))
    assert found.mae == 3.5
    assert found.rmse_zero == pytest.approx(np.sqrt(5))
    assert found.rmse_mean == pytest.approx(np.sqrt(8))
    assert found.calibration is None
    assert set(found.plain()) == {"rmse", "mae", "rmse_zero", "rmse_mean"}


@pytest.mark.parametrize(
    ("factor", "within_68", "within_95"), [(1, 0.6827, 0.95), (2, 0.383, 0.673)]
)
def test_normal_errors_are_covered_as_their_deviations_say(factor, within_68, within_95):
    """Who halves the deviations covers what lies within half of them."""
    rng = np.random.default_rng(0)
    stddevs = rng.uniform(0.1, 2, 40_000)
    found = head_scores.calibration(rng.normal(0, stddevs), stddevs / factor)
    assert found.coverage_68 == pytest.approx(within_68, abs=0.01)
    assert found.coverage_95 == pytest.approx(within_95, abs=0.01)
    assert found.mean_stddev == pytest.approx(1.05 / factor, abs=0.01)


def test_an_error_at_the_edge_is_within():
    errors, stddevs = np.array([1.0, -1.0, 1.96, 2.0]), np.ones(4)
    found = head_scores.score(np.zeros(4), errors, 0.0, stddevs).calibration
    assert found == head_scores.Calibration(mean_stddev=1.0, coverage_68=0.5, coverage_95=0.75)
