"""A training run: stages of optimiser steps, evaluations, checkpoints, early stopping, resume.

A run that is killed goes on from its last checkpoint when the same command is given again, and ends
with the very same weights as one that was not, on the same machine.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from model_export.config import HEADS, Config, StageConfig
from model_export.data.delay import delayed
from model_export.data.encoded import FeatureCache
from model_export.data.recording import Recording, open_recording, record
from model_export.data.sequences import BatchSampler, RowSource
from model_export.data.sources import Source, read_source
from model_export.export.exporter import export
from model_export.networks import build
from model_export.run import Result, RunFolder, load_encoder, load_weights, save
from model_export.training import dagger, provenance
from model_export.training.calibration import factors
from model_export.training.history import History
from model_export.training.learner import Learner
from model_export.training.scoring import Judged, JudgedSource, choosers, judge, monitored, scores
from steerstream.progress import Progress
from steerstream_bundle.contract import FrameInput


@dataclass(slots=True)
class _Position:
    """Where in its stages a run is."""

    stage: int = 0
    step: int = 0
    best: float = math.inf
    stale: int = 0
    total_loss: float = 0.0
    total_stddev_loss: float = 0.0

    def ends(self, config: Config) -> bool:
        """Whether the stage that it is in has no step left."""
        return self.step >= config.stage[self.stage].steps or self.stale >= config.training.patience


def is_unfinished(run: RunFolder, config: Config) -> bool:
    """Return whether a run's checkpoint says that training was not through with it."""
    if not run.checkpoint.is_file():
        return False
    position = _position(_checkpoint(run))
    return position.stage + 1 < len(config.stage) or not position.ends(config)


def _checkpoint(run: RunFolder) -> dict[str, Any]:
    content: dict[str, Any] = torch.load(run.checkpoint, weights_only=True)
    return content


def _position(checkpoint: dict[str, Any]) -> _Position:
    return _Position(*checkpoint["progress"])


class Trainer:
    """Carries out one run.

    Args:
        config: the run's configuration.
        run: where the run is kept.
        data: folder of the driving data.
        cache: folder of prepared frames, shared by runs.

    Raises:
        ConfigError: the configuration names something unknown.
        DataError: the data is missing or malformed.
    """

    def __init__(self, config: Config, run: RunFolder, data: Path, cache: Path) -> None:
        self._config, self._run, self._cache = config, run, cache
        torch.manual_seed(config.seed)
        self._network = build(config)
        self._network.load_pretrained()
        self._start = run.load_start()
        if self._start:
            load = load_encoder if config.training.fresh_cell else load_weights
            load(self._network, self._start)
        self._sources = [read_source(source, config, data, cache) for source in config.source]
        self._staged = self._sources
        self._drives: list[Recording] = []
        self._position = _Position()

    def train(self) -> Result:
        """Run all stages that are left; return the best weights of the last."""
        checkpoint = self._load_checkpoint()
        history = History(self._run, checkpoint["history"] if checkpoint else [])
        try:
            for index in range(self._position.stage, len(self._config.stage)):
                self._run_stage(index, history, checkpoint)
                checkpoint = None
        finally:
            history.close()
        return self._run.load_result()

    def _run_stage(self, index: int, history: History, checkpoint: dict[str, Any] | None) -> None:
        stage = self._config.stage[index]
        if checkpoint is None and index > 0:
            self._network.load_state_dict(self._run.load_result().weights)
        self._drives = self._recorded_drives(index)
        self._encode(stage, index)
        sampler = self._sampler(index)
        learner = Learner(self._network, self._config, stage, len(self._rows(stage)))
        if checkpoint is None:
            self._position = _Position(stage=index)
        else:
            sampler.load_state_dict(checkpoint["sampler"])
            learner.load_state_dict(checkpoint["learner"])
        self._learn(stage, learner, sampler, history)

    def _learn(
        self, stage: StageConfig, learner: Learner, sampler: BatchSampler, history: History
    ) -> None:
        now, every = self._position, self._config.training.evaluate_every
        with Progress(stage.name, stage.steps, "steps", done=now.step) as progress:
            while not now.ends(self._config):
                losses = learner.step(sampler.next_batch(), now.step)
                now.total_loss += float(losses.mean)
                now.total_stddev_loss += float(losses.stddev)
                now.step += 1
                progress.step(f"loss {float(losses.mean):.4f}, best score {now.best:.4f}")
                if now.step % every == 0 or now.step == stage.steps:
                    self._evaluate(stage, learner, history)
                    self._save_checkpoint(learner, sampler, history)

    def _evaluate(self, stage: StageConfig, learner: Learner, history: History) -> None:
        now, every = self._position, self._config.training.evaluate_every
        network = learner.averaged
        judgement = judge(network, self._staged, carry=stage.window > 1)
        value = monitored(judgement)
        better = value < now.best or self._config.training.keep_last or stage.stddev_only
        now.stale = 0 if better else now.stale + 1
        if better:
            now.best = value
            self._run.save_result(self._result(network.state_dict(), judgement))
        steps = now.step % every or every
        history.add(
            {
                "stage": stage.name,
                "step": now.step + sum(item.steps for item in self._config.stage[: now.stage]),
                "loss": now.total_loss / steps,
                "stddev_loss": now.total_stddev_loss / steps,
                "learning_rate": learner.learning_rate(now.step - 1),
                "score": value,
                "rmse": _table((one.source, one.validation) for one in judgement),
                "held_out": _table((one.source, one.holdout) for one in judgement),
            }
        )
        now.total_loss = now.total_stddev_loss = 0.0

    def _result(self, weights: dict[str, Any], judgement: Sequence[JudgedSource]) -> Result:
        kept = {name: value.clone() for name, value in weights.items()}
        kept["calibration"] *= torch.from_numpy(factors(judgement))
        before = self._start.scores if self._start else ()
        return Result(
            weights=kept,
            sources=provenance.joined(
                provenance.sources(self._sources, self._drives),
                self._start.sources if self._start else self._network.pretraining,
            ),
            scores=scores(
                judgement,
                choosers(self._config, self._sources, before),
                delay_ms=self._config.training.label_delay_ms,
            ),
            training_mean=provenance.training_mean(self._sources),
        )

    def _sampler(self, index: int) -> BatchSampler:
        stage = self._config.stage[index]
        return BatchSampler(
            self._rows(stage),
            self._config.frame.contract(),
            window=stage.window,
            pass_frames=stage.pass_frames,
            period_s=1 / self._config.serving.rate_hz,
            seed=self._config.seed * 1000 + index,
            after_s=self._network.label_times_s,
        )

    def _rows(self, stage: StageConfig) -> list[RowSource]:
        rows = []
        for source in self._staged:
            drives = self._drives if source.config.kind == "rendered" else []
            row = RowSource(
                recordings=(source.train, *drives),
                heads=source.heads,
                augment=None if stage.stored_features else source.config.augment,
                loss_weight=source.config.loss_weight,
            )
            rows += [row] * (source.config.batch_size * stage.batch_factor)
        return rows

    def _encode(self, stage: StageConfig, index: int) -> None:
        """Put features in the place of frames, where a stage trains on stored features."""
        self._staged = self._sources
        if stage.stored_features:
            frame = self._config.frame.contract()
            cache = FeatureCache(
                self._network,
                frame,
                seed=index,
                folder=self._cache,
                after_s=self._network.label_times_s,
            )
            self._staged = [cache.source(source) for source in self._sources]
            for source in (one.config for one in self._sources if one.config.kind == "rendered"):
                self._drives = [cache.training(drive, source) for drive in self._drives]

    def _recorded_drives(self, last: int) -> list[Recording]:
        """Return the relabelled drives of all stages so far; those of the last may be to drive."""
        frame = self._config.frame.contract()
        stages = list(enumerate(self._config.stage[: last + 1]))
        drives = [
            self._drive(index, frame) if index == last else open_recording(folder, frame)
            for index, stage in stages
            if stage.dagger_roads and (folder := self._run.dagger(stage.name))
        ]
        return [delayed(drive, self._config.training.label_delay_ms / 1e3) for drive in drives]

    def _drive(self, index: int, frame: FrameInput) -> Recording:
        stage = self._config.stage[index]
        folder = self._run.dagger(stage.name)
        if folder.is_dir():
            return open_recording(folder, frame)
        bundle = folder.with_suffix(".onnx")
        export(self._run, bundle)
        return record(dagger.drives(bundle, stage, index), frame, folder)

    def _save_checkpoint(self, learner: Learner, sampler: BatchSampler, history: History) -> None:
        now = self._position
        content = {
            "progress": [now.stage, now.step, now.best, now.stale],
            "sampler": sampler.state_dict(),
            "learner": learner.state_dict(),
            "history": history.entries,
        }
        save(content, self._run.checkpoint)

    def _load_checkpoint(self) -> dict[str, Any] | None:
        if not self._run.checkpoint.is_file():
            return None
        content = _checkpoint(self._run)
        self._position = _position(content)
        return content


def _table(found: Iterable[tuple[Source, Judged | None]]) -> dict[str, float]:
    """Return the RMSE of every head and source that teaches it."""
    return {
        f"{head}: {source.kind.name}": rmse
        for source, judged in found
        if judged
        for column, head in enumerate(HEADS)
        if head in source.heads and math.isfinite(rmse := judged.rmse(column))
    }


def train(
    config: Path, run: RunFolder, data: Path, cache: Path, start: RunFolder | None = None
) -> Result:
    """Train as a configuration file says, or go on where the run's folder stands.

    Args:
        config: the TOML file.
        run: the run's folder.
        data: folder of the driving data.
        cache: folder of prepared frames.
        start: another run, with whose best weights a new run begins.

    Raises:
        ModelExportError: configuration, data or folder are not usable.
    """
    return Trainer(run.begin(config, start), run, data, cache).train()
