"""Measures what a bundle loses where its frames come as views, on every source."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from model_export.config import HEADS
from model_export.data.udacity_ch2 import LABELS
from model_export.evaluation import unseen
from model_export.evaluation.bundle_runner import BundleRunner
from model_export.evaluation.evaluate import Evaluation, evaluate
from model_export.evaluation.viewed import Views
from steerstream.view import declared


def measure(
    bundle: Path, data: Path, cache: Path, parts: Mapping[str, Mapping[str, float]]
) -> dict[str, Any]:
    """Return a bundle's errors with whole frames and with views, ready for JSON.

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
    frame = runner.contract.frame
    whole, seen = (
        evaluate(bundle, labels, split=unseen.SPLIT, as_views=as_views)
        for as_views in (False, True)
    )
    sources = {unseen.REAL: _figures(whole, seen)}
    for kind, options in parts.items():
        recorded = unseen.recording(kind, options, runner, data, cache)
        whole, seen = (unseen.evaluate(runner, recorded, views) for views in (None, Views(frame)))
        sources[kind] = _figures(whole, seen)
    view = declared(frame)
    return {
        "width_px": view.width_px,
        "height_px": view.height_px,
        "encoding": view.encodings[0].name,
        "jpeg_quality": view.jpeg_quality,
        "sources": sources,
    }


def _figures(whole: Evaluation, seen: Evaluation) -> dict[str, Any]:
    """Return both errors of each head, and how far single outputs lie apart at most."""
    before, after = whole.heads(), seen.heads()
    apart = np.abs(whole.outputs - seen.outputs)
    return {
        "frames": len(apart),
        "frame_bytes": round(seen.view_bytes or 0.0),
        "heads": {
            head: {
                "rmse_whole": before[head].rmse,
                "rmse_view": after[head].rmse,
                "rmse_ratio": after[head].rmse / before[head].rmse,
                "largest_difference": float(apart[:, HEADS.index(head)].max()),
            }
            for head in before
        },
    }
