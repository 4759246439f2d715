"""A training run: stages of optimiser steps, evaluations, checkpoints, early stopping, resume.

A run that is killed goes on from its last checkpoint when the same command is given again, and ends
with the very same weights as one that was not, on the same machine. Ctrl-C and SIGTERM leave a
checkpoint of the step that was at work.

Of several processes each trains on its share of every batch, and the first alone evaluates and
writes. They see the same batches as one process would, and hold the same weights after each step.
"""

from __future__ import annotations

import contextlib
import dataclasses
import math
import shutil
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from model_export import config as configs
from model_export import parallel
from model_export.config import HEADS, Config, StageConfig
from model_export.data.delay import delayed
from model_export.data.encoded import FeatureCache
from model_export.data.loaders import in_order
from model_export.data.recording import Recording, open_recording, record
from model_export.data.sequences import BatchSampler, RowSource
from model_export.data.sources import Source, read_source
from model_export.errors import ConfigError, ModelExportError, ProcessError, RunError
from model_export.export.exporter import export
from model_export.networks import build
from model_export.networks.parts.losses import Losses
from model_export.run import Result, RunFolder, load_all_but_plan, load_encoder, save
from model_export.training import dagger, own_drives, provenance
from model_export.training.calibration import factors
from model_export.training.hardware import Hardware
from model_export.training.history import History
from model_export.training.interrupts import taking_note
from model_export.training.learner import Learner
from model_export.training.scoring import Judged, JudgedSource, choosers, judge, monitored, scores
from model_export.training.time_limit import TimeLimit
from steerstream.progress import Progress
from steerstream_bundle.contract import Crop, FrameInput

_SEEDS_APART = 1_000_003
"""Between the seeds of two processes: seeds of runs are nearer to each other."""


@dataclass(slots=True)
class _Position:
    """Where in its stages a run is; plain numbers, so that a checkpoint can hold it."""

    stage: int = 0
    step: int = 0
    best: float = math.inf
    stale: int = 0
    total_loss: float = 0.0
    total_stddev_loss: float = 0.0
    is_time_up: bool = False

    def ends(self, config: Config) -> bool:
        """Whether the stage that it is in has no step left."""
        steps, patience = config.stage[self.stage].steps, config.training.patience
        return self.step >= steps or self.stale >= patience or self.is_time_up


def is_unfinished(run: RunFolder, config: Config) -> bool:
    """Return whether a run's checkpoint says that training was not through with it."""
    checkpoint = run.load_checkpoint()
    if checkpoint is None:
        return False
    position = _position(checkpoint)
    return position.stage + 1 < len(config.stage) or not position.ends(config)


def _position(checkpoint: dict[str, Any]) -> _Position:
    return _Position(*checkpoint["progress"])


class Trainer:
    """Carries out one run.

    Args:
        config: the run's configuration.
        run: where the run is kept.
        data: folder of the driving data.
        cache: folder of prepared frames, shared by runs.
        hardware: what it computes on; the processor by default.
        limit: the time that it may take; none by default.

    Raises:
        ConfigError: the configuration names something unknown.
        DataError: the data is missing or malformed.
        ProcessError: there are more processes than rows in a batch.
    """

    def __init__(
        self,
        config: Config,
        run: RunFolder,
        data: Path,
        cache: Path,
        *,
        hardware: Hardware | None = None,
        limit: TimeLimit | None = None,
    ) -> None:
        self._config, self._run, self._cache = config, run, cache
        self._hardware = hardware = hardware or Hardware()
        self._limit = limit or TimeLimit()
        self._check_rows()
        torch.manual_seed(config.seed)
        self._network = build(config)
        if any(stage.plan_only for stage in config.stage) and not self._network.planning():
            raise ConfigError("a stage with plan_only needs a network that plans")
        self._network.load_pretrained()
        with parallel.together():
            self._start = run.load_start() if parallel.is_first() else None
            if self._start:
                load = load_encoder if config.training.fresh_cell else load_all_but_plan
                load(self._network, self._start)
        self._network.to(hardware.device)
        parallel.take_first_weights(self._network)
        if not parallel.is_first():
            # Dropout draws something else for each process's rows.
            torch.manual_seed(config.seed + _SEEDS_APART * parallel.rank())
        with parallel.together():
            self._sources = [
                read_source(source, config, data, cache, loaders=hardware.loaders)
                for source in config.source
            ]
        self._staged = self._sources
        self._drives: list[Recording] = []
        self._position = _Position()

    def train(self) -> Result:
        """Run all stages that are left; return the best weights of the last.

        Raises:
            RunError: a file of the run is damaged, or the weights are no numbers any more.
            KeyboardInterrupt: Ctrl-C or SIGTERM came; the run can go on from here.
        """
        with parallel.together():
            checkpoint = self._run.load_checkpoint() if parallel.is_first() else None
        checkpoint = parallel.from_first(checkpoint)
        if checkpoint:
            self._position = _position(checkpoint)
        with contextlib.ExitStack() as stack:
            history: History | None = None
            if parallel.is_first():
                entries = checkpoint["history"] if checkpoint else []
                history = stack.enter_context(contextlib.closing(History(self._run, entries)))
            for index in range(len(self._config.stage)):
                self._limit.begin_stage()
                if index >= self._position.stage:
                    self._run_stage(index, history, checkpoint)
                    checkpoint = None
        result: Result = parallel.from_first(
            self._run.load_result() if parallel.is_first() else None
        )
        return result

    def _check_rows(self) -> None:
        for stage in self._config.stage:
            rows = stage.batch_factor * sum(one.batch_size for one in self._config.source)
            if rows < parallel.size():
                raise ProcessError(
                    f"{parallel.size()} processes for the {rows} rows of a batch of stage"
                    f" {stage.name!r}: start at most {rows}, or raise batch_size"
                )

    def _run_stage(
        self, index: int, history: History | None, checkpoint: dict[str, Any] | None
    ) -> None:
        stage = self._config.stage[index]
        if checkpoint is None and index > 0:
            if parallel.is_first():
                self._network.load_state_dict(self._run.load_result().weights)
            parallel.take_first_weights(self._network)
        with parallel.together():
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
        self, stage: StageConfig, learner: Learner, sampler: BatchSampler, history: History | None
    ) -> None:
        now, every, spent = self._position, self._config.training.evaluate_every, 0.0
        self._limit.begin_learning()
        with contextlib.ExitStack() as stack:
            progress = Progress(stage.name, stage.steps, "steps", done=now.step)
            if parallel.is_first():
                stack.enter_context(progress)
            interrupts = stack.enter_context(taking_note())
            filled = in_order(sampler.filled, sampler.windows_ahead(), self._hardware.loaders)
            batches = stack.enter_context(contextlib.closing(filled))
            while not now.ends(self._config):
                part = learner.step(next(batches), now.step, spent)
                # What was drawn ahead of its turn is drawn now, so a checkpoint goes on from here.
                sampler.next_windows()
                now.step += 1
                loss, stddev_loss, spent, came = self._agreed(part, came=interrupts.came)
                if not math.isfinite(loss + stddev_loss):
                    # Nor is any weight from here on.
                    raise RunError(
                        f"stage {stage.name!r}: the loss is no number at step {now.step}; lower"
                        " its learning_rate, and train to another --out"
                    )
                now.total_loss += loss
                now.total_stddev_loss += stddev_loss
                now.is_time_up = spent >= 1
                if parallel.is_first():
                    best = f", best score {now.best:.4f}" if math.isfinite(now.best) else ""
                    progress.step(f"loss {loss:.4f}{best}")
                judges = now.step % every == 0 or now.step == stage.steps or now.is_time_up
                if judges:
                    self._judge(stage, learner, history, spent)
                if judges or came:
                    self._save_checkpoint(learner, sampler, history)
                if came:
                    raise KeyboardInterrupt

    def _agreed(self, part: Losses, *, came: bool) -> tuple[float, float, float, bool]:
        """Return what all processes go on from: both losses, the time spent, and an interrupt.

        Args:
            part: this process's part of the losses.
            came: whether an interrupt came to this process.
        """
        spent = self._limit.spent() if parallel.is_first() else 0.0
        own = part.mean.new_tensor([spent, float(came)])
        loss, stddev_loss, spent, interrupts = parallel.summed(
            torch.cat((torch.stack(part), own))
        ).tolist()
        return loss, stddev_loss, spent, interrupts > 0

    def _judge(
        self, stage: StageConfig, learner: Learner, history: History | None, spent: float
    ) -> None:
        """Let the first process evaluate; all go on from what it found."""
        now = self._position
        with parallel.together():
            if history is not None:
                self._evaluate(stage, learner, history, spent)
        now.best, now.stale = parallel.from_first((now.best, now.stale))
        now.total_loss = now.total_stddev_loss = 0.0

    def _evaluate(
        self, stage: StageConfig, learner: Learner, history: History, spent: float
    ) -> None:
        now, every = self._position, self._config.training.evaluate_every
        network = learner.averaged
        judgement = judge(network, self._staged, carry=stage.window > 1)
        value = monitored(judgement)
        aside = stage.stddev_only or stage.plan_only
        better = value < now.best or self._config.training.keep_last or aside
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
                "learning_rate": learner.learning_rate(now.step - 1, spent),
                "score": value,
                "rmse": _table((one.source, one.validation) for one in judgement),
                "held_out": _table((one.source, one.holdout) for one in judgement),
            }
        )

    def _result(self, weights: dict[str, Any], judgement: Sequence[JudgedSource]) -> Result:
        kept = {name: value.cpu().clone() for name, value in weights.items()}
        kept["calibration"] *= torch.from_numpy(factors(judgement))
        before = self._start.scores if self._start else ()
        return Result(
            weights=kept,
            sources=provenance.joined(
                provenance.sources(
                    self._sources,
                    self._drives,
                    planned=self._config.stage[self._position.stage].plan_only,
                ),
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
            share=parallel.share(),
        )

    def _rows(self, stage: StageConfig) -> list[RowSource]:
        if stage.plan_only:
            row = RowSource(
                recordings=tuple(self._drives), heads=HEADS, augment=None, loss_weight=1
            )
            return [row] * (stage.batch_factor * sum(one.batch_size for one in self._config.source))
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
                loaders=self._hardware.loaders,
            )
            if stage.plan_only:
                self._staged = [cache.judged(source) for source in self._sources]
                self._drives = [cache.unchanged(drive) for drive in self._drives]
                return
            self._staged = [cache.source(source) for source in self._sources]
            for source in (one.config for one in self._sources if one.config.kind == "rendered"):
                self._drives = [cache.training(drive, source) for drive in self._drives]

    def _recorded_drives(self, last: int) -> list[Recording]:
        """Return the relabelled drives of all stages so far; those of the last may be to drive."""
        frame = self._config.frame.contract()
        if self._config.stage[last].plan_only:
            return [self._drive(last, frame)]
        stages = list(enumerate(self._config.stage[: last + 1]))
        drives = [
            self._drive(index, frame) if index == last else open_recording(folder, frame)
            for index, stage in stages
            if stage.dagger_roads
            and not stage.plan_only
            and (folder := self._run.dagger(stage.name))
        ]
        return [delayed(drive, self._config.training.label_delay_ms / 1e3) for drive in drives]

    def _drive(self, index: int, frame: FrameInput) -> Recording:
        stage = self._config.stage[index]
        folder = self._run.dagger(stage.name)
        with parallel.together():
            if parallel.is_first() and not folder.is_dir():
                if index == 0 and self._start:
                    # What drives is what the run began with.
                    weights = self._network.state_dict()
                    self._run.save_result(dataclasses.replace(self._start, weights=weights))
                bundle = folder.with_suffix(".onnx")
                export(self._run, bundle)
                if stage.plan_only:
                    samples = own_drives.drives(bundle, stage, self._sources, self._config.seed)
                    record(samples, dataclasses.replace(frame, crop=Crop()), folder)
                else:
                    record(dagger.drives(bundle, stage, index), frame, folder)
        return open_recording(folder, frame)

    def _save_checkpoint(
        self, learner: Learner, sampler: BatchSampler, history: History | None
    ) -> None:
        learned = learner.state_dict()
        with parallel.together():
            if history is not None:
                content = {
                    "progress": [*dataclasses.astuple(self._position)],
                    "sampler": sampler.state_dict(),
                    "learner": learned,
                    "history": history.entries,
                }
                save(content, self._run.checkpoint)


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
    config: Path,
    run: RunFolder,
    data: Path,
    cache: Path,
    start: RunFolder | None = None,
    *,
    hardware: Hardware | None = None,
    limit: TimeLimit | None = None,
) -> Result:
    """Train as a configuration file says, or go on where the run's folder stands.

    Args:
        config: the TOML file.
        run: the run's folder.
        data: folder of the driving data.
        cache: folder of prepared frames.
        start: another run, with whose best weights a new run begins.
        hardware: what it computes on; the processor by default.
        limit: the time that it may take; none by default.

    Raises:
        ModelExportError: configuration, data or folder are not usable, or a process is gone.
        KeyboardInterrupt: Ctrl-C or SIGTERM came; the run can go on from here.
    """
    # A run that cannot begin leaves no folder that looks like one.
    is_new = not run.path.exists()
    with parallel.together():
        wanted = run.begin(config, start) if parallel.is_first() else configs.load(config)
    try:
        trainer = Trainer(wanted, run, data, cache, hardware=hardware, limit=limit)
    except ModelExportError:
        if is_new and parallel.is_first():
            shutil.rmtree(run.path, ignore_errors=True)
        raise
    return trainer.train()
