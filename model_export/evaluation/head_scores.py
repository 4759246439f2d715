"""Figures of one head: its errors, and how far they lie within its predicted deviations."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.float64]

STDDEVS_OF_68, STDDEVS_OF_95 = 1.0, 1.96
"""Within so many standard deviations lie 68.27 % and 95 % of normal errors."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Calibration:
    """Predicted standard deviations beside the errors that came.

    Attributes:
        mean_stddev: mean of the predicted standard deviations, in the head's unit.
        coverage_68: share of errors within 1 predicted standard deviation; 0.6827 is right.
        coverage_95: share of errors within 1.96; 0.95 is right.
    """

    mean_stddev: float
    coverage_68: float
    coverage_95: float


@dataclass(frozen=True, slots=True, kw_only=True)
class HeadScore:
    """Errors of one head, beside those of two predictors that need no picture.

    Attributes:
        rmse: root mean square error.
        mae: mean absolute error.
        rmse_zero: RMSE of always zero.
        rmse_mean: RMSE of always the mean label of training, from the bundle's contract.
        calibration: of its standard deviations; None where the bundle predicts none.
    """

    rmse: float
    mae: float
    rmse_zero: float
    rmse_mean: float
    calibration: Calibration | None = None

    def plain(self) -> dict[str, Any]:
        """Return the figures as plain values, without a calibration where there is none."""
        figures = dataclasses.asdict(self)
        return {name: value for name, value in figures.items() if value is not None}


def score(
    truth: FloatArray, outputs: FloatArray, mean: float, stddevs: FloatArray | None = None
) -> HeadScore:
    """Return the figures of one head over the frames that have a label.

    Args:
        truth: labels [N].
        outputs: the head's values [N].
        mean: the training labels' mean.
        stddevs: its standard deviations [N]; None where the bundle predicts none.
    """
    errors = outputs - truth
    return HeadScore(
        rmse=_rms(errors),
        mae=float(np.abs(errors).mean()),
        rmse_zero=_rms(truth),
        rmse_mean=_rms(truth - mean),
        calibration=None if stddevs is None else calibration(errors, stddevs),
    )


def calibration(errors: FloatArray, stddevs: FloatArray) -> Calibration:
    """Return what errors [N] say of the standard deviations [N] that were predicted for them."""
    sizes = np.abs(errors)
    return Calibration(
        mean_stddev=float(stddevs.mean()),
        coverage_68=float(np.mean(sizes <= STDDEVS_OF_68 * stddevs)),
        coverage_95=float(np.mean(sizes <= STDDEVS_OF_95 * stddevs)),
    )


def _rms(values: FloatArray) -> float:
    return float(np.sqrt(np.mean(np.square(values))))
