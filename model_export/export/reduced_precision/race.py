"""Speed of two bundles, measured in turns so that what else the machine does hits both alike."""

from __future__ import annotations

import time
from collections.abc import Sequence

import numpy as np

from model_export.evaluation.bundle_runner import BundleRunner
from steerstream_bundle.preprocess import Picture

BATCHES = (1, 8, 16)
"""Frames in one step."""
_ROUNDS = 60
_ROUND_S = 0.01
"""Long against the clock's steps, short against the machine's moods."""

_SEED = 0


def race(runners: Sequence[BundleRunner], rounds: int = _ROUNDS) -> list[dict[int, float]]:
    """Return each runner's frames a second on one thread of the CPU, by batch size.

    Args:
        runners: of bundles that take the same frames.
        rounds: turns that each gets; the median counts.
    """
    rng = np.random.default_rng(_SEED)
    shape = runners[0].contract.frame.shape
    speeds: list[dict[int, float]] = [{} for _ in runners]
    for batch in BATCHES:
        frames = rng.integers(0, 256, (batch, *shape), np.uint8)
        seconds = _in_turns(runners, frames, rounds)
        for speed, found in zip(speeds, seconds, strict=True):
            speed[batch] = batch / float(np.median(found))
    return speeds


def _in_turns(runners: Sequence[BundleRunner], frames: Picture, rounds: int) -> list[list[float]]:
    """Return the mean seconds of a step in each round, runner by runner."""
    steps = [max(1, round(_ROUND_S / _seconds(runner, frames, 5))) for runner in runners]
    found: list[list[float]] = [[] for _ in runners]
    for _ in range(rounds):
        for at, runner in enumerate(runners):
            found[at].append(_seconds(runner, frames, steps[at]))
    return found


def _seconds(runner: BundleRunner, frames: Picture, steps: int) -> float:
    state = runner.initial_state(len(frames))
    begin = time.perf_counter()
    for _ in range(steps):
        runner.step(frames, state)
    return (time.perf_counter() - begin) / steps
