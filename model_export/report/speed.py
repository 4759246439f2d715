"""How long a bundle takes for a frame on one thread of the CPU, beside others in turns."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from model_export.evaluation.bundle_runner import BundleRunner
from model_export.evaluation.race import race

BATCHES = (1, 16)
_ROUND_S = 0.2


def measure(bundles: Sequence[Path], rounds: int) -> list[dict[str, Any]]:
    """Return each bundle's milliseconds a frame, ready for JSON.

    There is `batch_1_ms` and `batch_16_ms`, each with median, least and most over the rounds.

    Raises:
        BundleError: a file is no bundle.
    """
    runners = [BundleRunner(path) for path in bundles]
    found = race(runners, BATCHES, rounds=rounds, round_s=_ROUND_S)
    return [
        {f"batch_{batch}_ms": _summary(seconds) for batch, seconds in of_bundle.items()}
        for of_bundle in found
    ]


def _summary(seconds: Sequence[float]) -> dict[str, float]:
    times = {"median": statistics.median(seconds), "least": min(seconds), "most": max(seconds)}
    return {name: round(1e3 * value, 4) for name, value in times.items()}
