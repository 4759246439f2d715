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
from tqdm import tqdm

from model_export.config import HEADS, Config, StageConfig
from model_export.data.delay import delayed
from model_export.data.encoded import FeatureCache
from model_export.data.recording import Recording, open_recording, record
from model_export.data.sequences import LaneSampler, LaneSource
from model_export.data.sources import Source, read_source
from model_export.export.exporter import export
from model_export.networks import build
from model_export.run import Result, RunFolder, load_encoder, load_weights, save
from model_export.training import dagger, provenance
from model_export.training.calibration import factors
from model_export.training.history import History
from model_export.training.scoring import Judged, JudgedSource, choosers, judge, monitored, scores
from model_export.training.training_step import Optimisation
from steerstream_bundle.contract import FrameInput


@dataclass(slots=True)
class _Progress:
    """How far a run is."""

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
    progress = _progress(_checkpoint(run))
    return progress.stage + 1 < len(config.stage) or not progress.ends(config)


def _checkpoint(run: RunFolder) -> dict[str, Any]:
    content: dict[str, Any] = torch.load(run.checkpoint, weights_only=True)
    return content


def _progress(checkpoint: dict[str, Any]) -> _Progress:
    return _Progress(*checkpoint["progress"])


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
        self._progress = _Progress()

    def train(self) -> Result:
        """Run all stages that are left; return the best weights of the last."""
        checkpoint = self._load_checkpoint()
        history = History(self._run, checkpoint["history"] if checkpoint else [])
        try:
            for index in range(self._progress.stage, len(self._config.stage)):
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
        optimisation = Optimisation(self._network, self._config, stage, len(self._lanes(stage)))
        if checkpoint is None:
            self._progress = _Progress(stage=index)
        else:
            sampler.load_state_dict(checkpoint["sampler"])
            optimisation.load_state_dict(checkpoint["optimisation"])
        self._optimise(stage, optimisation, sampler, history)

    def _optimise(
        self, stage: StageConfig, optimisation: Optimisation, sampler: LaneSampler, history: History
    ) -> None:
        now, every = self._progress, self._config.training.evaluate_every
        bar = tqdm(initial=now.step, total=stage.steps, desc=stage.name, unit="step", disable=None)
        with bar:
            while not now.ends(self._config):
                losses = optimisation.step(sampler.next_batch(), now.step)
                now.total_loss += float(losses.mean)
                now.total_stddev_loss += float(losses.stddev)
                now.step += 1
                bar.update()
                if now.step % every == 0 or now.step == stage.steps:
                    self._evaluate(stage, optimisation, history)
                    bar.set_postfix(best=f"{now.best:.4f}")
                    self._save_checkpoint(optimisation, sampler, history)

    def _evaluate(self, stage: StageConfig, optimisation: Optimisation, history: History) -> None:
        now, every = self._progress, self._config.training.evaluate_every
        network = optimisation.averaged
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
                "learning_rate": optimisation.learning_rate(now.step - 1),
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

    def _sampler(self, index: int) -> LaneSampler:
        stage = self._config.stage[index]
        return LaneSampler(
            self._lanes(stage),
            self._config.frame.contract(),
            window=stage.window,
            pass_frames=stage.pass_frames,
            period_s=1 / self._config.serving.rate_hz,
            seed=self._config.seed * 1000 + index,
        )

    def _lanes(self, stage: StageConfig) -> list[LaneSource]:
        lanes = []
        for source in self._staged:
            drives = self._drives if source.config.kind == "rendered" else []
            lane = LaneSource(
                recordings=(source.train, *drives),
                heads=source.heads,
                augment=None if stage.stored_features else source.config.augment,
                loss_weight=source.config.loss_weight,
            )
            lanes += [lane] * (source.config.lanes * stage.lanes)
        return lanes

    def _encode(self, stage: StageConfig, index: int) -> None:
        """Put features in the place of frames, where a stage trains on stored features."""
        self._staged = self._sources
        if stage.stored_features:
            frame = self._config.frame.contract()
            cache = FeatureCache(self._network, frame, seed=index, folder=self._cache)
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

    def _save_checkpoint(
        self, optimisation: Optimisation, sampler: LaneSampler, history: History
    ) -> None:
        now = self._progress
        content = {
            "progress": [now.stage, now.step, now.best, now.stale],
            "sampler": sampler.state_dict(),
            "optimisation": optimisation.state_dict(),
            "history": history.entries,
        }
        save(content, self._run.checkpoint)

    def _load_checkpoint(self) -> dict[str, Any] | None:
        if not self._run.checkpoint.is_file():
            return None
        content = _checkpoint(self._run)
        self._progress = _progress(content)
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
