"""A time limit: what is left of the time is shared by the stages that are left."""

from __future__ import annotations

import math
import time


class TimeLimit:
    """Says when each stage of a command has to be over.

    Args:
        minutes: from now on; infinite by default.
        stages: stages that share them.
    """

    def __init__(self, minutes: float = math.inf, stages: int = 1) -> None:
        self._ends_s = time.monotonic() + 60 * minutes
        self._stages = stages
        self._stage_ends_s = self._learns_from_s = 0.0

    def begin_stage(self) -> None:
        """Begin a stage: an equal share of the time that is left is its own."""
        now_s = time.monotonic()
        self._stage_ends_s = now_s + (self._ends_s - now_s) / max(self._stages, 1)
        self._stages -= 1

    def begin_learning(self) -> None:
        """Begin the steps of a stage, whose frames are prepared."""
        self._learns_from_s = time.monotonic()

    def spent(self) -> float:
        """Return the share of the time of a stage's steps that is spent, 0 to 1."""
        now_s = time.monotonic()
        if now_s >= self._stage_ends_s:
            return 1.0
        return (now_s - self._learns_from_s) / (self._stage_ends_s - self._learns_from_s)
