"""A training run: stages of optimiser steps, evaluations, checkpoints, early stopping, resume.

A run that is killed goes on from its last checkpoint when the same command is given again, and ends
with the very same weights as one that was not, on the same machine. Ctrl-C and SIGTERM leave a
checkpoint of the step that was at work.

Of several processes each trains on its share of every batch, and the first alone evaluates and
writes. They see the same batches as one process would, and hold the same weights after each step.
"""

from __future__ import annotations

import contextlib
import math
import shutil
from pathlib import Path
from typing import Any

import torch

from model_export import config as configs
from model_export import parallel
from model_export.config import Config, StageConfig
from model_export.data.loaders import in_order
from model_export.data.sources import read_source
from model_export.errors import ConfigError, DivergedError, ModelExportError, ProcessError
from model_export.networks import build
from model_export.networks.parts.losses import Losses
from model_export.run import Result, RunFolder, load_all_but_plan, load_encoder, save
from model_export.training.hardware import Hardware
from model_export.training.history import History
from model_export.training.interrupts import taking_note
from model_export.training.keeper import Keeper
from model_export.training.learner import Learner
from model_export.training.position import Position
from model_export.training.stage_data import StageData, StageDataMaker
from model_export.training.time_limit import TimeLimit
from steerstream.progress import Progress

_SEEDS_APART = 1_000_003
"""Between the seeds of two processes: seeds of runs are nearer to each other."""


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
        self._config, self._run = config, run
        self._hardware = hardware = hardware or Hardware()
        self._limit = limit or TimeLimit()
        self._check_rows()
        torch.manual_seed(config.seed)
        self._network = build(config)
        if any(stage.plan_only for stage in config.stage) and not self._network.planning():
            raise ConfigError("a stage with plan_only needs a network that plans")
        self._network.load_pretrained()
        with parallel.together():
            start = run.load_start() if parallel.is_first() else None
            if start:
                load = load_encoder if config.training.fresh_cell else load_all_but_plan
                load(self._network, start)
        self._network.to(hardware.device)
        parallel.take_first_weights(self._network)
        if not parallel.is_first():
            # Dropout draws something else for each process's rows.
            torch.manual_seed(config.seed + _SEEDS_APART * parallel.rank())
        with parallel.together():
            sources = [
                read_source(source, config, data, cache, loaders=hardware.loaders)
                for source in config.source
            ]
        self._maker = StageDataMaker(
            config, run, self._network, sources, start=start, cache=cache, loaders=hardware.loaders
        )
        self._keeper = Keeper(config, run, self._network, sources, start=start)
        self._position = Position()

    def train(self) -> Result:
        """Run all stages that are left; return the best weights of the last.

        Raises:
            RunError: a file of the run is damaged.
            DivergedError: the weights are no numbers any more.
            KeyboardInterrupt: Ctrl-C or SIGTERM came; the run can go on from here.
        """
        with parallel.together():
            checkpoint = self._run.load_checkpoint() if parallel.is_first() else None
        checkpoint = parallel.from_first(checkpoint)
        if checkpoint:
            self._position = Position.of(checkpoint)
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
            data = self._maker.make(index)
        learner = Learner(self._network, self._config, stage, data.rows)
        if checkpoint is None:
            self._position = Position(stage=index)
        else:
            data.sampler.load_state_dict(checkpoint["sampler"])
            learner.load_state_dict(checkpoint["learner"])
        self._learn(stage, learner, data, history)

    def _learn(
        self, stage: StageConfig, learner: Learner, data: StageData, history: History | None
    ) -> None:
        sampler = data.sampler
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
                    raise DivergedError(
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
                    self._judge(learner, data, history, spent)
                if judges or came:
                    self._save_checkpoint(learner, data, history)
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
        self, learner: Learner, data: StageData, history: History | None, spent: float
    ) -> None:
        """Let the first process evaluate; all go on from what it found."""
        now = self._position
        with parallel.together():
            if history is not None:
                self._keeper.evaluate(learner, data, now, history, spent)
        now.best, now.stale = parallel.from_first((now.best, now.stale))
        now.total_loss = now.total_stddev_loss = 0.0

    def _save_checkpoint(self, learner: Learner, data: StageData, history: History | None) -> None:
        learned = learner.state_dict()
        with parallel.together():
            if history is not None:
                content = {
                    "progress": self._position.stored(),
                    "sampler": data.sampler.state_dict(),
                    "learner": learned,
                    "history": history.entries,
                }
                save(content, self._run.checkpoint)


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
