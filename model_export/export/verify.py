"""Compares a bundle with the network it was made from, in batches whose sessions change."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
import numpy.typing as npt
import torch

from model_export.errors import BundleError, RunError
from model_export.evaluation.bundle_runner import BundleRunner
from model_export.export.tolerances import tolerances
from model_export.networks import DrivingNetwork, build
from model_export.run import RunFolder, load_weights
from steerstream.progress import Progress
from steerstream_bundle.preprocess import Picture, prepare
from steerstream_simulation.labelled_drives import render_drive

FRAMES = 500
LARGEST_BATCH = 8

_INTERVALS_S = (0.02, 0.5)
_ACT_IN_SHARE = (0.0, 1.0)
"""Of the latest that the network was trained for."""
_SEED = 7
_ROAD_SEED = 910_000


FloatArray = npt.NDArray[np.float32]
_Rows = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Verification:
    """The result of a comparison.

    Attributes:
        worst: greatest absolute difference of each output and state tensor, by its name.
        tolerances: the greatest that is allowed, of those that are judged.
        frames: frames that each session has seen at least, in batches of 1 to 8 sessions.
        steps: batches that were compared.
    """

    worst: Mapping[str, float]
    tolerances: Mapping[str, float]
    frames: int
    steps: int

    @property
    def passed(self) -> bool:
        """Whether no tensor differs by more than its tolerance."""
        return all(self.worst[name] <= most for name, most in self.tolerances.items())

    def lines(self) -> Iterator[str]:
        """Return the report, one line a tensor."""
        yield f"{self.frames} frames of carried state, {self.steps} batches of 1 to {LARGEST_BATCH}"
        for name, value in self.worst.items():
            yield f"{name:36} {value:.2e}  {self._judged(name, value)}"

    def _judged(self, name: str, value: float) -> str:
        if name not in self.tolerances:
            return "not judged"
        most = self.tolerances[name]
        return f"ok, at most {most:g}" if value <= most else f"more than {most:g}"


def verify(bundle: Path, run: RunFolder, frames: int = FRAMES) -> Verification:
    """Compare a bundle with the run that it was exported from.

    Eight sessions on one rendered road, each at a place of its own, share batches that are composed
    at random of one to eight of them, until every session has carried its state over so many
    frames. Each side carries its own state, so that errors may add up as they would in use. How
    much they may is a matter of the bundle's precision (`model_export.export.tolerances`).

    Args:
        bundle: the ONNX file.
        run: its training run.
        frames: frames of each session.

    Raises:
        BundleError: the file is no bundle.
        RunError: the run has no weights, or is of another network.
    """
    runner, network = BundleRunner(bundle), _network(run)
    if network.state_tensors != runner.contract.state:
        raise RunError(f"{run.path}: is not the run that {bundle} was exported from")
    return _compare(runner, _TorchSide(network), frames)


def verify_against(bundle: Path, reference: Path, frames: int = FRAMES) -> Verification:
    """Compare a bundle with the FP32 bundle that it was made from, as `verify` does with a run.

    Args:
        bundle: the ONNX file.
        reference: the FP32 bundle.
        frames: frames of each session.

    Raises:
        BundleError: a file is no bundle, or the two do not take and give the same.
    """
    runner, other = BundleRunner(bundle), BundleRunner(reference)
    if not runner.contract.same_network(other.contract):
        raise BundleError(f"{bundle}: is not made from {reference}: their contracts differ")
    return _compare(runner, _BundleSide(other), frames)


def _compare(runner: BundleRunner, reference: _Side, frames: int) -> Verification:
    comparison = _Comparison(runner, reference, _road(runner, frames))
    with Progress("verifying", frames, "frames") as progress:
        while comparison.seen < frames:
            comparison.step()
            progress.reach(comparison.seen)
    found = comparison.worst, tolerances(runner.contract), comparison.seen, comparison.steps
    return Verification(*found)


class _Side(Protocol):
    """One of the two that are compared, with a state of its own for each session."""

    def run(
        self, rows: _Rows, frames: Picture, intervals_s: FloatArray, act_in_s: FloatArray
    ) -> Sequence[FloatArray]:
        """Advance these sessions by a frame each; return heads, deviations and new state."""


class _BundleSide:
    """A bundle in ONNX Runtime."""

    def __init__(self, runner: BundleRunner) -> None:
        self._runner = runner
        self._pools = runner.initial_state(LARGEST_BATCH)

    def run(
        self, rows: _Rows, frames: Picture, intervals_s: FloatArray, act_in_s: FloatArray
    ) -> list[FloatArray]:
        before = [pool[rows] for pool in self._pools]
        outputs, state = self._runner.step(frames, before, intervals_s, act_in_s)
        for pool, new in zip(self._pools, state, strict=True):
            pool[rows] = new
        return [*outputs, *state]


class _TorchSide:
    """A network in PyTorch."""

    def __init__(self, network: DrivingNetwork) -> None:
        self._network = network
        start = network.initial_state(LARGEST_BATCH)
        self._pools = [tensor.detach().numpy().copy() for tensor in start]

    @torch.no_grad()
    def run(
        self, rows: _Rows, frames: Picture, intervals_s: FloatArray, act_in_s: FloatArray
    ) -> list[FloatArray]:
        times = [intervals_s] if self._network.takes_interval else []
        times += [act_in_s] if self._network.takes_act_in else []
        inputs = (frames, *times, *(pool[rows] for pool in self._pools))
        after = self._network(*(torch.from_numpy(array) for array in inputs))
        results = [tensor.numpy() for tensor in after]
        state = results[len(results) - len(self._pools) :]
        for pool, new in zip(self._pools, state, strict=True):
            pool[rows] = new
        return results


class _Comparison:
    """Both sides of the comparison, and where each session is on the road."""

    def __init__(self, runner: BundleRunner, reference: _Side, road: Picture) -> None:
        self._sides: tuple[_Side, _Side] = (_BundleSide(runner), reference)
        self._road = road
        self._max_act_in_s = runner.contract.max_act_in_s
        self._rng = np.random.default_rng(_SEED)
        self._places = np.arange(LARGEST_BATCH) * (len(road) // LARGEST_BATCH)
        self._counts = np.zeros(LARGEST_BATCH, np.int64)
        states = (pair.output for pair in runner.contract.state)
        self._names = (*(value.name for value in runner.contract.values), *states)
        self.worst = dict.fromkeys(self._names, 0.0)
        self.steps = 0

    @property
    def seen(self) -> int:
        """Frames that every session has seen."""
        return int(self._counts.min())

    def step(self) -> None:
        """Run one batch on both sides and keep the worst differences."""
        size = int(self._rng.integers(1, LARGEST_BATCH + 1))
        rows = self._rng.choice(LARGEST_BATCH, size, replace=False)
        frames = self._road[(self._places[rows] + self._counts[rows]) % len(self._road)]
        intervals_s = self._rng.uniform(*_INTERVALS_S, size).astype(np.float32)
        act_in_s = (self._rng.uniform(*_ACT_IN_SHARE, size) * self._max_act_in_s).astype(np.float32)
        ours, theirs = (side.run(rows, frames, intervals_s, act_in_s) for side in self._sides)
        for name, left, right in zip(self._names, ours, theirs, strict=True):
            self.worst[name] = max(self.worst[name], float(np.abs(left - right).max()))
        self._counts[rows] += 1
        self.steps += 1


def _network(run: RunFolder) -> DrivingNetwork:
    network = build(run.load_config())
    load_weights(network, run.load_result())
    return network.eval()


def _road(runner: BundleRunner, frames: int) -> Picture:
    """Return prepared frames uint8 [N, height, width, 3] of a rendered drive."""
    drive = itertools.islice(render_drive(_ROAD_SEED, frames=frames), frames)
    return np.stack([prepare(frame.image, runner.contract.frame) for frame in drive])
