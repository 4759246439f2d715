"""Evaluates a network while it learns, and keeps its best weights, or its last."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

from model_export.config import HEADS, Config
from model_export.data.sources import Source
from model_export.errors import DivergedError
from model_export.networks import DrivingNetwork
from model_export.run import Result, RunFolder
from model_export.training import provenance
from model_export.training.calibration import calibrated
from model_export.training.history import History
from model_export.training.learner import Learner
from model_export.training.position import Position
from model_export.training.scoring import Judged, JudgedSource, choosers, judge, monitored, scores
from model_export.training.stage_data import StageData


class Keeper:
    """Judges the averaged weights of a learner, and stores what a run is to end with.

    Args:
        config: of the run.
        run: where weights are stored.
        network: that trains.
        sources: of the run.
        start: what the run began with, if that was another run.
    """

    def __init__(
        self,
        config: Config,
        run: RunFolder,
        network: DrivingNetwork,
        sources: Sequence[Source],
        *,
        start: Result | None,
    ) -> None:
        self._config, self._run, self._sources = config, run, sources
        self._scores_before = start.scores if start else ()
        self._sources_before = start.sources if start else network.pretraining

    def evaluate(
        self, learner: Learner, data: StageData, now: Position, history: History, spent: float
    ) -> None:
        """Judge the weights as they are now, keep them where they are better, and record it.

        Args:
            learner: at work.
            data: what its stage trains on and is judged on.
            now: where the run is; its `best` and `stale` follow from the score.
            history: gets the figures.
            spent: share of the stage's time that is spent.

        Raises:
            DivergedError: a weight is no number; none is kept then.
        """
        stage, training = self._config.stage[now.stage], self._config.training
        network = learner.averaged
        # The loss of a step is that of the weights before it, so it says nothing of the last step.
        if not all(value.isfinite().all() for value in network.state_dict().values()):
            raise DivergedError(
                f"stage {stage.name!r}: a weight is no number after step {now.step}; lower its"
                " learning_rate, and train to another --out"
            )
        judgement = judge(network, data.sources, carry=stage.window > 1)
        value = monitored(judgement)
        aside = stage.stddev_only or stage.plan_only
        better = value < now.best or training.keep_last or aside
        now.stale = 0 if better else now.stale + 1
        if better:
            now.best = value
            self._run.save_result(self._result(network, judgement, data, now))
        steps = now.step % training.evaluate_every or training.evaluate_every
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

    def _result(
        self,
        network: DrivingNetwork,
        judgement: Sequence[JudgedSource],
        data: StageData,
        now: Position,
    ) -> Result:
        own = provenance.sources(
            self._sources, data.drives, planned=self._config.stage[now.stage].plan_only
        )
        return Result(
            weights=calibrated(network, judgement),
            sources=provenance.joined(own, self._sources_before),
            scores=scores(
                judgement,
                choosers(self._config, self._sources, self._scores_before),
                delay_ms=self._config.training.label_delay_ms,
            ),
            training_mean=provenance.training_mean(self._sources),
        )


def _table(found: Iterable[tuple[Source, Judged | None]]) -> dict[str, float]:
    """Return the RMSE of every head and source that teaches it."""
    return {
        f"{head}: {source.kind.name}": rmse
        for source, judged in found
        if judged
        for column, head in enumerate(HEADS)
        if head in source.heads and math.isfinite(rmse := judged.rmse(column))
    }
