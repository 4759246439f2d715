"""Calibration: one factor for each head that makes its predicted deviations cover what they say.

A network is too sure of frames like those that it learned from. So the factors are fitted on
recordings that no training saw: the ones that sources hold out.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from model_export.config import HEADS
from model_export.training.scoring import JudgedSource

_COVERAGES = {1.0: 0.6827, 2.0: 0.9545}
"""Share of normal errors within so many standard deviations."""


def factors(judgement: Sequence[JudgedSource]) -> npt.NDArray[np.float32]:
    """Return the factor [3] on each head's predicted standard deviation.

    Like the mean labels, they come from real frames where a source has such with that label, else
    from all; a head that no held out recording labels keeps what it has.
    """
    return np.array([_factor(judgement, column) for column in range(len(HEADS))], np.float32)


def _factor(judgement: Sequence[JudgedSource], column: int) -> float:
    labelled = [one for one in judgement if one.holdout and HEADS[column] in one.source.heads]
    real = [one for one in labelled if not one.source.kind.rendered]
    ratios = [_ratios(one, column) for one in real or labelled]
    return fitted(np.concatenate(ratios)) if ratios else 1.0


def _ratios(one: JudgedSource, column: int) -> npt.NDArray[np.float32]:
    """Return the errors of a head in units of their predicted deviations."""
    assert one.holdout is not None, "_factor asks for no others"  # noqa: S101
    ratios = one.holdout.errors[:, column] / one.holdout.predicted.stddev[:, column]
    return np.asarray(ratios[np.isfinite(ratios)], np.float32)


def fitted(ratios: npt.NDArray[np.float32]) -> float:
    """Return the factor with which intervals of 1 and 2 deviations hold as many errors as normal.

    One factor cannot fit both where errors are not normal: it is the geometric mean of those two.

    Args:
        ratios: errors in units of their predicted deviations.
    """
    sizes = np.abs(ratios)
    found = [np.quantile(sizes, share) / width for width, share in _COVERAGES.items()]
    return float(np.exp(np.mean(np.log(np.maximum(found, 1e-3)))))
