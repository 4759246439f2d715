"""Where in its stages a run is."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from model_export.config import Config
from model_export.run import RunFolder


@dataclass(slots=True)
class Position:
    """Where in its stages a run is; plain numbers, so that a checkpoint can hold it.

    Attributes:
        stage: index of the stage that is at work.
        step: optimiser steps of this stage so far.
        best: least score of this stage so far.
        stale: evaluations since then.
        total_loss: of the steps since the last evaluation.
        total_stddev_loss: of the same steps.
        is_time_up: whether this stage has used the time that it may take.
    """

    stage: int = 0
    step: int = 0
    best: float = math.inf
    stale: int = 0
    total_loss: float = 0.0
    total_stddev_loss: float = 0.0
    is_time_up: bool = False

    @classmethod
    def of(cls, checkpoint: dict[str, Any]) -> Position:
        """Return where a checkpoint stands."""
        return cls(*checkpoint["progress"])

    def stored(self) -> Sequence[float]:
        """Return what a checkpoint holds as its `progress`."""
        return [*dataclasses.astuple(self)]

    def ends(self, config: Config) -> bool:
        """Whether the stage that it is in has no step left."""
        steps, patience = config.stage[self.stage].steps, config.training.patience
        return self.step >= steps or self.stale >= patience or self.is_time_up


def is_unfinished(run: RunFolder, config: Config) -> bool:
    """Return whether a run's checkpoint says that training was not through with it."""
    checkpoint = run.load_checkpoint()
    if checkpoint is None:
        return False
    position = Position.of(checkpoint)
    return position.stage + 1 < len(config.stage) or not position.ends(config)
