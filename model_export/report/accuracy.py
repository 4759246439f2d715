"""Measures a bundle's errors: on every source, with lost frames, and by its own deviations."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from statistics import NormalDist
from typing import Any

import numpy as np

from model_export.config import HEADS
from model_export.data.udacity_ch2 import LABELS
from model_export.evaluation import unseen
from model_export.evaluation.bundle_runner import BundleRunner
from model_export.evaluation.evaluate import Evaluation, evaluate
from model_export.evaluation.frame_loss import FrameLoss
from model_export.report import baselines
from steerstream_bundle.contract import STEERING_WHEEL_ANGLE

LOSSES = (
    FrameLoss(drop=0.1),
    FrameLoss(drop=0.3),
    FrameLoss(drop=0.5),
    FrameLoss(rate_hz=10.0),
)
LEVELS = tuple(round(0.05 * step, 2) for step in range(1, 20))
"""Intervals that are to hold so much of the errors."""


def measure(
    bundle: Path, data: Path, cache: Path, parts: Mapping[str, Mapping[str, float]] = unseen.PARTS
) -> dict[str, Any]:
    """Return a bundle's figures on every source, ready for JSON.

    Args:
        bundle: the ONNX file.
        data: folder of the driving data.
        cache: folder of prepared frames.
        parts: options of the rendered sources' readers, by source.

    Raises:
        BundleError: the file is no bundle.
        DataError: a source's data is missing or malformed.
    """
    runner, labels = BundleRunner(bundle), data / LABELS
    real = evaluate(bundle, labels, split=unseen.SPLIT)
    sources = {unseen.REAL: _figures(real)}
    for kind, options in parts.items():
        recorded = unseen.recording(kind, options, runner, data, cache)
        sources[kind] = _figures(unseen.evaluate(runner, recorded))
        if kind == unseen.TRACES:
            linear = baselines.linear_rmse(data, recorded.labels, recorded.spans)
            sources[kind]["rmse_linear"] = linear
    losses = [_loss(evaluate(bundle, labels, split=unseen.SPLIT, loss=loss)) for loss in LOSSES]
    return {
        "is_told_the_interval": bool(runner.contract.interval_tensor),
        "sources": sources,
        "losses": [_loss(real), *losses],
    }


def _figures(evaluation: Evaluation) -> dict[str, Any]:
    heads = {head: found.plain() for head, found in evaluation.heads().items()}
    for head in heads.keys() & evaluation.contract.stddev_columns.keys():
        heads[head]["covered"] = _covered(evaluation, head)
    return {"frames": len(evaluation.outputs), "heads": heads}


def _covered(evaluation: Evaluation, head: str) -> list[float]:
    """Return the share of errors within each of the intervals of `LEVELS`."""
    column = HEADS.index(head)
    errors = evaluation.outputs[:, column] - evaluation.table.labels[:, column]
    ratios = np.abs(errors / evaluation.stddevs[:, column])
    ratios = ratios[np.isfinite(ratios)]
    widths = [NormalDist().inv_cdf((1 + level) / 2) for level in LEVELS]
    return [round(float(np.mean(ratios <= width)), 4) for width in widths]


def _loss(evaluation: Evaluation) -> dict[str, Any]:
    """Return the steering's error over the frames shown, and over all with the last output held."""
    return {
        "drop": evaluation.loss.drop,
        "rate_hz": evaluation.loss.rate_hz,
        "shown": int(evaluation.shown.sum()),
        "rmse": evaluation.heads()[STEERING_WHEEL_ANGLE].rmse,
        "rmse_held": evaluation.held_heads()[STEERING_WHEEL_ANGLE].rmse,
    }
