"""The folder of one training run: its files, and whether a command may go on with it."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import pickle
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from model_export import config as configs
from model_export.config import Config
from model_export.errors import RunError
from model_export.networks.base import DrivingNetwork
from steerstream.whole_file import replacing
from steerstream_bundle.contract import Score, TrainingSource

CHECKPOINT = ("progress", "sampler", "learner", "history")
"""What a checkpoint holds."""

_DAMAGE = (
    RuntimeError, EOFError, pickle.UnpicklingError, LookupError, ValueError, TypeError,
    AttributeError, OverflowError,
)  # fmt: skip
"""What torch raises over files that it did not write, and the rest over what `save` did not."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """A finished stage's best weights, and what a bundle's metadata says of them.

    Attributes:
        weights: the network's `state_dict`.
        sources: what it was trained on.
        scores: RMSE on validation, by source and head.
        training_mean: mean label of each head over all sources that label it.
    """

    weights: dict[str, Any]
    sources: tuple[TrainingSource, ...]
    scores: tuple[Score, ...]
    training_mean: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class RunFolder:
    """Paths of a run."""

    path: Path

    @property
    def config(self) -> Path:
        """The configuration that the run was started with."""
        return self.path / "config.toml"

    @property
    def checkpoint(self) -> Path:
        """Everything that a killed run needs to go on."""
        return self.path / "checkpoint.pt"

    @property
    def best(self) -> Path:
        """The best weights so far."""
        return self.path / "best.pt"

    @property
    def start(self) -> Path:
        """The weights of another run that this one began with, if any."""
        return self.path / "start.pt"

    @property
    def metrics(self) -> Path:
        """One JSON line for each evaluation."""
        return self.path / "metrics.jsonl"

    @property
    def curves(self) -> Path:
        """Picture of the loss and of the validation scores."""
        return self.path / "curves.png"

    @property
    def tensorboard(self) -> Path:
        """Event files for TensorBoard."""
        return self.path / "tensorboard"

    def dagger(self, stage: str) -> Path:
        """The relabelled drives that were recorded before a stage."""
        return self.path / "dagger" / stage

    def begin(self, config: Path, start: RunFolder | None = None) -> Config:
        """Make the folder, or check that it is of the same configuration; return that.

        A folder in which nothing was trained yet takes any configuration, so that a mistake in one
        can be mended.

        Args:
            config: the TOML file.
            start: the run whose best weights a new run begins with.

        Raises:
            ConfigError: the configuration is malformed.
            RunError: the folder has weights of another configuration, or `start` has no weights.
        """
        wanted = configs.load(config)
        if not self.checkpoint.is_file() and not self.best.is_file():
            self._make(config, start)
        elif configs.load(self.config) != wanted:
            raise RunError(
                f"{self.path}: holds a run of another configuration; choose another --out"
            )
        return wanted

    def _make(self, config: Path, start: RunFolder | None) -> None:
        if start is not None:
            start.load_result()
        self.path.mkdir(parents=True, exist_ok=True)
        self.start.unlink(missing_ok=True)
        if start is not None:
            shutil.copyfile(start.best, self.start)
        shutil.copyfile(config, self.config)

    def load_config(self) -> Config:
        """Return the run's configuration.

        Raises:
            RunError: the folder is no run.
        """
        if not self.config.is_file():
            raise RunError(f"{self.path}: no training run; make one with the train command")
        return configs.load(self.config)

    def save_result(self, result: Result) -> None:
        """Store the best weights, whole or not at all."""
        about = dataclasses.asdict(result)
        about.pop("weights")
        save({"weights": result.weights, "about": json.dumps(about)}, self.best)

    def load_result(self) -> Result:
        """Return the best weights.

        Raises:
            RunError: the run has none yet, or their file is damaged.
        """
        if not self.best.is_file():
            raise RunError(f"{self.path}: no trained weights yet; let the train command go on")
        return _read(self.best)

    def load_start(self) -> Result | None:
        """Return what the run began with, if that was another run.

        Raises:
            RunError: its file is damaged.
        """
        return _read(self.start) if self.start.is_file() else None

    def load_checkpoint(self) -> dict[str, Any] | None:
        """Return what a killed run goes on from; None where it has no checkpoint yet.

        Raises:
            RunError: the file is damaged.
        """
        if not self.checkpoint.is_file():
            return None
        with _whole(self.checkpoint):
            content = torch.load(self.checkpoint, map_location="cpu", weights_only=True)
            return {name: content[name] for name in CHECKPOINT}


def load_weights(network: nn.Module, result: Result) -> None:
    """Give a network stored weights.

    Raises:
        RunError: they are another network's.
    """
    try:
        network.load_state_dict(result.weights)
    except RuntimeError as error:
        reason = " ".join(str(error).split())
        raise RunError(f"the weights are not this network's: {reason}") from None


def load_all_but_plan(network: DrivingNetwork, result: Result) -> None:
    """Give a network its stored weights; what it plans with may be new.

    Raises:
        RunError: they are another network's.
    """
    modules = set(network.planning())
    new = tuple(f"{name}." for name, module in network.named_modules() if module in modules)
    plan = {name: one for name, one in network.state_dict().items() if new and name.startswith(new)}
    load_weights(network, dataclasses.replace(result, weights=plan | result.weights))


def load_encoder(network: DrivingNetwork, result: Result) -> None:
    """Give a network the stored weights of its encoder, and leave all others.

    Raises:
        RunError: the encoder is another network's.
    """
    modules = set(network.encoder())
    inside = tuple(f"{name}." for name, module in network.named_modules() if module in modules)
    own = network.state_dict()
    seen = {name: value for name, value in result.weights.items() if name.startswith(inside)}
    if missing := {name for name in own if name.startswith(inside)} - set(seen):
        raise RunError(f"the run to start with has no weights for {min(missing)!r} of the encoder")
    load_weights(network, dataclasses.replace(result, weights=own | seen))


def _read(path: Path) -> Result:
    with _whole(path):
        stored = torch.load(path, map_location="cpu", weights_only=True)
        about = json.loads(stored["about"])
        return Result(
            weights=stored["weights"],
            sources=tuple(
                TrainingSource(**item | {"heads": tuple(item["heads"])})
                for item in about["sources"]
            ),
            scores=tuple(Score(**item) for item in about["scores"]),
            training_mean=tuple(about["training_mean"]),
        )


@contextlib.contextmanager
def _whole(path: Path) -> Iterator[None]:
    """Say in one line that a file is not as `save` wrote it, where reading it says so at length.

    Raises:
        RunError: it is not.
    """
    try:
        yield
    except _DAMAGE:
        raise RunError(
            f"{path}: is damaged; bring it back from a copy, or remove the run's folder and train"
            " again"
        ) from None


def save(content: dict[str, Any], path: Path) -> None:
    """Write a file of tensors and plain values, whole or not at all."""
    with replacing(path) as part:
        torch.save(content, part)
