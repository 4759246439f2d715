"""Which training made a bundle: its run, the same run with other seeds, and how long it took.

A bundle's provenance repeats the scores of its run to the last digit; the run is found by them.
"""

from __future__ import annotations

import dataclasses
import inspect
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tensorboard.backend.event_processing.event_file_loader import EventFileLoader

from model_export.config import Config
from model_export.errors import ModelExportError
from model_export.evaluation.bundle_runner import BundleRunner
from model_export.networks import build
from model_export.run import Result, RunFolder
from model_export.training.position import is_unfinished


@dataclasses.dataclass(frozen=True)
class _Run:
    """A run that has weights."""

    folder: RunFolder
    config: Config
    result: Result

    @property
    def recipe(self) -> Config:
        """The configuration but for what tells seeds apart."""
        return dataclasses.replace(self.config, seed=0, name="")

    @property
    def seconds(self) -> float:
        """How long it took, by TensorBoard's record; what lay between two sittings is left out."""
        return sum(map(_seconds, self.folder.tensorboard.glob("events.*")))


def measure(bundle: Path, runs: Path) -> dict[str, Any]:
    """Return what is known of a bundle's training, ready for JSON; nothing where no run made it.

    Args:
        bundle: the ONNX file.
        runs: folder of training runs.

    Raises:
        BundleError: the file is no bundle.
    """
    scores = BundleRunner(bundle).contract.provenance.scores
    found = list(_runs(runs))
    own = next((run for run in found if run.result.scores == scores), None)
    if own is None:
        return {}
    network = build(own.config)
    return {
        "about": (inspect.getdoc(inspect.getmodule(network)) or "").partition("\n")[0],
        "parameters": sum(
            own.result.weights[name].numel()
            for name, _ in network.named_parameters()
            if name in own.result.weights
        ),
        "seconds": round(sum(run.seconds for run in _began_with(own, found))),
        "seeds": [
            {
                "seed": run.config.seed,
                "ships": run is own,
                "scores": [dataclasses.asdict(score) for score in run.result.scores],
            }
            for run in sorted(found, key=lambda run: run.config.seed)
            if run.recipe == own.recipe
        ],
    }


def _runs(folder: Path) -> Iterator[_Run]:
    """Yield the finished runs that can be read; some are of earlier versions."""
    for path in sorted(folder.iterdir()) if folder.is_dir() else ():
        run = RunFolder(path)
        try:
            found = _Run(run, run.load_config(), run.load_result())
        except ModelExportError:
            continue
        if not is_unfinished(run, found.config):
            yield found


def _began_with(run: _Run, found: list[_Run]) -> Iterator[_Run]:
    """Yield a run, the run whose weights it began with, and so on."""
    seen: _Run | None = run
    while seen is not None:
        yield seen
        start = seen.folder.load_start()
        same = [one for one in found if start and one.result.scores == start.scores]
        # A copy of a run has its weights, and not always its record.
        seen = max(same, key=lambda one: one.seconds, default=None)


def _seconds(events: Path) -> float:
    times: list[float] = [event.wall_time for event in EventFileLoader(str(events)).Load()]
    return max(times) - min(times)
