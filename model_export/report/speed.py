"""How long a bundle takes for a frame, on one thread of the CPU.

Bundles take turns within each round, so that a machine that is slow for a while slows them all.
What counts is the median over the rounds.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from model_export.evaluation.bundle_runner import BundleRunner

BATCHES = (1, 16)
ROUNDS = 11
_ROUND_S = 0.2
"""That each bundle and batch runs in a round, about."""


def measure(bundles: Sequence[Path], rounds: int = ROUNDS) -> list[dict[str, Any]]:
    """Return each bundle's milliseconds a frame, ready for JSON.

    There is `batch_1_ms` and `batch_16_ms`, each with median, least and most over the rounds.

    Raises:
        BundleError: a file is no bundle.
    """
    runners = [BundleRunner(path) for path in bundles]
    takers = [[_Taker(runner, batch) for batch in BATCHES] for runner in runners]
    times: list[list[list[float]]] = [[[] for _ in BATCHES] for _ in bundles]
    for _ in range(rounds):
        for row, found in zip(takers, times, strict=True):
            for taker, seen in zip(row, found, strict=True):
                seen.append(taker.frame_ms())
    return [
        {
            f"batch_{batch}_ms": {
                "median": round(statistics.median(seen), 4),
                "least": round(min(seen), 4),
                "most": round(max(seen), 4),
            }
            for batch, seen in zip(BATCHES, found, strict=True)
        }
        for found in times
    ]


class _Taker:
    """Runs one bundle over batches of noise, state carried."""

    def __init__(self, runner: BundleRunner, batch: int) -> None:
        self._runner, self._batch = runner, batch
        shape = (batch, *runner.contract.frame.shape)
        self._frames = np.random.default_rng(0).integers(0, 256, shape, np.uint8)
        self._state = runner.initial_state(batch)
        self._steps = 1
        # The first step allocates; the second says how many make up a round.
        self.frame_ms()
        self._steps = max(1, round(_ROUND_S * 1e3 / (self.frame_ms() * batch)))

    def frame_ms(self) -> float:
        """Run the steps of a round; return the milliseconds a frame."""
        began_s = time.perf_counter()
        for _ in range(self._steps):
            _, self._state = self._runner.step(self._frames, self._state)
        elapsed_s = time.perf_counter() - began_s
        return elapsed_s / self._steps / self._batch * 1e3
