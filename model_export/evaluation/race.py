"""How long bundles take for a frame on one thread of the CPU, measured in turns.

They take turns, so that other work on the machine slows all of them alike.
"""

from __future__ import annotations

import time
from collections.abc import Sequence

import numpy as np

from model_export.evaluation.bundle_runner import BundleRunner
from steerstream_bundle.preprocess import Picture


def race(
    runners: Sequence[BundleRunner], batches: Sequence[int], *, rounds: int, round_s: float
) -> list[dict[int, list[float]]]:
    """Return seconds a frame in each round, by batch size, runner by runner.

    Args:
        runners: the bundles.
        batches: frames in one step.
        rounds: turns that each bundle gets with each batch size.
        round_s: about how long a turn takes: long against the clock's steps, short against what
            else the machine does.
    """
    found: list[dict[int, list[float]]] = [{batch: [] for batch in batches} for _ in runners]
    for batch in batches:
        pictures = [_noise(runner, batch) for runner in runners]
        entries = list(zip(found, runners, pictures, strict=True))
        # The second call tells how many steps make up a round: the first allocates.
        tries = [[_step_s(runner, frames, 5) for _ in range(2)] for _, runner, frames in entries]
        steps = [max(1, round(round_s / step_s)) for _, step_s in tries]
        for _ in range(rounds):
            for (seen, runner, frames), count in zip(entries, steps, strict=True):
                seen[batch].append(_step_s(runner, frames, count) / batch)
    return found


def _noise(runner: BundleRunner, batch: int) -> Picture:
    shape = (batch, *runner.contract.frame.shape)
    return np.random.default_rng(0).integers(0, 256, shape, np.uint8)


def _step_s(runner: BundleRunner, frames: Picture, steps: int) -> float:
    """Return the mean seconds of a step, state carried."""
    state = runner.initial_state(len(frames))
    began_s = time.perf_counter()
    for _ in range(steps):
        _, state = runner.step(frames, state)
    return (time.perf_counter() - began_s) / steps
