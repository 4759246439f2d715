"""Verification: ONNX Runtime against PyTorch over carried state, in batches of changing company."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from tqdm import tqdm

from model_export.bundle_runner import BundleRunner
from model_export.errors import RunError
from model_export.networks import DrivingNetwork, build
from model_export.run import RunFolder, load_weights
from service.preprocess import Picture, prepare
from simulation.drives import render_drive

TOLERANCE = 1e-4
FRAMES = 500
LARGEST_BATCH = 8

_INTERVALS_S = (0.02, 0.5)
_SEED = 7
_ROAD_SEED = 910_000


@dataclass(frozen=True, slots=True)
class Verification:
    """What a comparison found.

    Attributes:
        worst: greatest absolute difference of each output and state tensor, by its name.
        frames: frames that each session has seen at least, in batches of 1 to 8 sessions.
        steps: batches that were compared.
    """

    worst: dict[str, float]
    frames: int
    steps: int

    @property
    def passed(self) -> bool:
        """Whether no tensor differs by more than the tolerance."""
        return all(value <= TOLERANCE for value in self.worst.values())

    def lines(self) -> Iterator[str]:
        """Return the report, one line a tensor."""
        yield f"{self.frames} frames of carried state, {self.steps} batches of 1 to {LARGEST_BATCH}"
        for name, value in self.worst.items():
            verdict = "ok" if value <= TOLERANCE else f"more than {TOLERANCE:g}"
            yield f"{name:28} {value:.2e}  {verdict}"


def verify(bundle: Path, run: RunFolder, frames: int = FRAMES) -> Verification:
    """Compare a bundle with the run that it was exported from.

    Eight sessions on one rendered road, each at a place of its own, share batches that are composed
    at random of one to eight of them, until every session has carried its state over so many
    frames. Each side carries its own state, so that errors may add up as they would in use.

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
    comparison = _Comparison(runner, network, _road(runner, frames))
    with tqdm(total=frames, desc="verifying", unit="frame", disable=None) as bar:
        while comparison.seen < frames:
            comparison.step()
            bar.update(comparison.seen - bar.n)
    return Verification(comparison.worst, comparison.seen, comparison.steps)


class _Comparison:
    """Both sides of the comparison, and their states session by session."""

    def __init__(self, runner: BundleRunner, network: DrivingNetwork, road: Picture) -> None:
        self._runner, self._network, self._road = runner, network, road
        self._rng = np.random.default_rng(_SEED)
        self._onnx = runner.initial_state(LARGEST_BATCH)
        start = network.initial_state(LARGEST_BATCH)
        self._torch = [tensor.detach().numpy().copy() for tensor in start]
        self._places = np.arange(LARGEST_BATCH) * (len(road) // LARGEST_BATCH)
        self._counts = np.zeros(LARGEST_BATCH, np.int64)
        states = (pair.output for pair in runner.contract.state)
        self._names = (*runner.contract.value_tensors, *states)
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
        ours = self._run_onnx(rows, frames, intervals_s)
        theirs = self._run_torch(rows, frames, intervals_s)
        for name, left, right in zip(self._names, ours, theirs, strict=True):
            self.worst[name] = max(self.worst[name], float(np.abs(left - right).max()))
        self._counts[rows] += 1
        self.steps += 1

    def _run_onnx(
        self, rows: npt.NDArray[np.int64], frames: Picture, intervals_s: npt.NDArray[np.float32]
    ) -> list[npt.NDArray[np.float32]]:
        before = [pool[rows] for pool in self._onnx]
        outputs, state = self._runner.step(frames, before, intervals_s)
        for pool, new in zip(self._onnx, state, strict=True):
            pool[rows] = new
        return [*outputs, *state]

    @torch.no_grad()
    def _run_torch(
        self, rows: npt.NDArray[np.int64], frames: Picture, intervals_s: npt.NDArray[np.float32]
    ) -> list[npt.NDArray[np.float32]]:
        inputs = [pool[rows] for pool in self._torch]
        if self._network.takes_interval:
            inputs = [intervals_s, *inputs]
        after = self._network(*(torch.from_numpy(array) for array in (frames, *inputs)))
        results = [tensor.numpy() for tensor in after]
        state = results[len(results) - len(self._torch) :]
        for pool, new in zip(self._torch, state, strict=True):
            pool[rows] = new
        return results


def _network(run: RunFolder) -> DrivingNetwork:
    network = build(run.load_config())
    load_weights(network, run.load_result())
    return network.eval()


def _road(runner: BundleRunner, frames: int) -> Picture:
    """Return prepared frames uint8 [N, height, width, 3] of a rendered drive."""
    drive = itertools.islice(render_drive(_ROAD_SEED, frames=frames), frames)
    return np.stack([prepare(frame.image, runner.contract.frame) for frame in drive])
