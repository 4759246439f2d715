"""Adds up a drive: answers, latencies, errors. It takes data and returns data."""

from __future__ import annotations

import collections
import dataclasses
import math

from steerstream.answers import Command, ControlValues, FrameAnswer, Skipped
from steerstream.drive.histogram import Histogram
from steerstream.guard import Action

HEADS = {
    "steering_wheel_angle": ("steering_wheel_angle_rad", "rad"),
    "speed": ("speed_mps", "m/s"),
    "steering_torque": ("steering_torque_nm", "Nm"),
}
"""Each head's field and unit."""

STAGES = ("queue", "decode", "infer", "total")
"""Stages of the server, as `StageTimings` names them."""


@dataclasses.dataclass(slots=True)
class HeadError:
    """Errors of one head over the labelled frames that got a command, in the head's unit."""

    frames: int = 0
    _square: float = 0.0
    _absolute: float = 0.0
    _square_limited: float = 0.0
    _square_zero: float = 0.0

    def add(self, truth: float, raw: float, limited: float) -> None:
        """Count a frame.

        Args:
            truth: its label.
            raw: what the network said.
            limited: what was left of that after the server's limits.
        """
        self.frames += 1
        self._square += (raw - truth) ** 2
        self._absolute += abs(raw - truth)
        self._square_limited += (limited - truth) ** 2
        self._square_zero += truth**2

    @property
    def rmse(self) -> float:
        """Root mean square error of the raw output."""
        return math.sqrt(self._square / self.frames)

    @property
    def mae(self) -> float:
        """Mean absolute error of the raw output."""
        return self._absolute / self.frames

    @property
    def rmse_limited(self) -> float:
        """Root mean square error of the limited output."""
        return math.sqrt(self._square_limited / self.frames)

    @property
    def rmse_zero(self) -> float:
        """Root mean square error of always saying zero."""
        return math.sqrt(self._square_zero / self.frames)


class Tally:
    """Counts the answers of a drive.

    Args:
        budget_ms: a frame without a command within it is over the budget.

    Attributes:
        frames: frames that were sent.
        passed_over: pictures that were not sent, because a full server asked for fewer.
        sent_bytes: bytes of all of them on the wire.
        commands: commands that came.
        skips: skips that came, by the name of their reason.
        last_skip: what the last of them said.
        over_budget: frames without a command within the budget.
        latency: from when a frame was due to its command.
        stages: the server's stages.
        actions: what the guard said at each answer.
        heads: errors by head, where there are labels.
    """

    def __init__(self, budget_ms: float) -> None:
        self.budget_ms = budget_ms
        self.frames = 0
        self.passed_over = 0
        self.sent_bytes = 0
        self.commands = 0
        self.skips: collections.Counter[str] = collections.Counter()
        self.last_skip = ""
        self.latency = Histogram()
        self.stages = {stage: Histogram() for stage in STAGES}
        self.actions: collections.Counter[Action] = collections.Counter()
        self.heads = {head: HeadError() for head in HEADS}
        self._in_budget = 0

    @property
    def over_budget(self) -> int:
        """Frames without a command within the budget."""
        return self.frames - self._in_budget

    @property
    def unanswered(self) -> int:
        """Frames that got neither a command nor a skip."""
        return self.frames - self.commands - self.skips.total()

    def sent(self) -> None:
        """Count a frame."""
        self.frames += 1

    def answered(
        self, answer: FrameAnswer, *, due_ns: int, truth: ControlValues | None, action: Action
    ) -> float:
        """Count an answer.

        Args:
            answer: a command or a skip.
            due_ns: when its frame was due, by the client's clock.
            truth: the frame's labels.
            action: what the guard says now.

        Returns:
            Milliseconds from when the frame was due to the answer.
        """
        latency_ms = (answer.received_ns - due_ns) / 1e6
        self.actions[action] += 1
        if isinstance(answer, Skipped):
            self.skips[answer.reason.name] += 1
            self.last_skip = answer.detail
            return latency_ms
        self.commands += 1
        self.latency.add(latency_ms)
        self._in_budget += latency_ms <= self.budget_ms
        for stage, histogram in self.stages.items():
            histogram.add(getattr(answer.timings, f"{stage}_us") / 1e3)
        if truth is not None:
            self._compare(answer, truth)
        return latency_ms

    def _compare(self, command: Command, truth: ControlValues) -> None:
        for head, (field, _) in HEADS.items():
            true = getattr(truth, field)
            raw, limited = getattr(command.raw, field), getattr(command.limited, field)
            if None not in (true, raw, limited):
                self.heads[head].add(true, raw, limited)
