"""Calibration: two numbers for each head that make its predicted deviations cover what they say.

A network is too sure of frames like those that it learned from, and what it says of the differences
between frames is less true of others. So a factor and a power of the predicted deviations are
fitted on recordings that no training saw: the ones that sources hold out.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import torch

from model_export.config import HEADS
from model_export.networks import DrivingNetwork
from model_export.training.scoring import JudgedSource

_COVERAGES = {1.0: 0.6827, 2.0: 0.9545}
"""Share of normal errors within so many standard deviations."""
_SHARES = (2 / 3, 1 / 3)
"""What each of them counts: of the outer one's few errors less is known."""
_POWERS = np.linspace(1.0, 0.25, 16)
"""Where several are as likely, the first one stands: where all deviations are alike, say."""
_ALIKE_DIGITS = 6

Values = npt.NDArray[np.float64]


class Law(NamedTuple):
    """A head's deviations become `factor * deviation ** power`, in units of what 0 stands for."""

    power: float = 1.0
    factor: float = 1.0


def calibrated(
    network: DrivingNetwork, judgement: Sequence[JudgedSource]
) -> dict[str, torch.Tensor]:
    """Return a network's weights with its deviations calibrated.

    Like the mean labels, the errors come from real frames where a source has such with that label,
    else from all; a head that no held out recording labels keeps what it has.

    Args:
        network: which was judged.
        judgement: what it said.
    """
    weights: dict[str, Any] = {
        name: value.detach().cpu().clone() for name, value in network.state_dict().items()
    }
    units = (weights["output_scale"] * weights["calibration"]).numpy()
    # What members say together is more than each of them says: there the factor is fitted alone.
    layers = network.log_stddevs if len(network.log_stddevs) == 1 else ()
    laws = [
        _law(judgement, column, float(unit), fits_power=bool(layers))
        for column, unit in enumerate(units)
    ]
    weights["calibration"] *= torch.tensor([law.factor for law in laws])
    powers = torch.tensor([law.power for law in laws])
    for name, module in network.named_modules():
        if module in layers:
            for part in ("weight", "bias"):
                rows = weights[f"{name}.{part}"]
                rows *= powers.repeat_interleave(len(rows) // len(HEADS)).view(
                    -1, *[1] * (rows.dim() - 1)
                )
    return weights


def _law(judgement: Sequence[JudgedSource], column: int, unit: float, *, fits_power: bool) -> Law:
    labelled = [one for one in judgement if one.holdout and HEADS[column] in one.source.heads]
    real = [one for one in labelled if not one.source.kind.rendered]
    held_out = [one.holdout for one in real or labelled if one.holdout]
    if not held_out:
        return Law()
    errors = np.concatenate([one.errors[:, column] for one in held_out]) / unit
    stddevs = np.concatenate([one.predicted.stddev[:, column] for one in held_out]) / unit
    known = np.isfinite(errors)
    return fitted(
        errors[known].astype(np.float64),
        stddevs[known].astype(np.float64),
        powers=_POWERS if fits_power else np.ones(1),
    )


def fitted(errors: Values, stddevs: Values, powers: npt.NDArray[np.float64] = _POWERS) -> Law:
    """Return the law under which the errors are most likely, and cover as many as normal ones.

    The likelihood chooses the power. With the factor, intervals of 1 and 2 deviations are to hold
    as many errors as normal: one factor cannot fit both where errors are not normal, so it is a
    geometric mean of those two.

    Args:
        errors: in any unit.
        stddevs: their predicted deviations, in the same.
        powers: those to choose from.
    """
    logs = np.log(stddevs)
    surprise = [
        power * logs.mean() + 0.5 * np.log(np.mean(np.square(errors / stddevs**power)) + 1e-12)
        for power in powers
    ]
    power = float(powers[int(np.argmin(np.round(surprise, _ALIKE_DIGITS)))])
    sizes = np.abs(errors) / stddevs**power
    found = [np.quantile(sizes, share) / width for width, share in _COVERAGES.items()]
    return Law(power, float(np.exp(np.dot(_SHARES, np.log(np.maximum(found, 1e-3))))))
