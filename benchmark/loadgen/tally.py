"""Counts and latencies of a load, in bounded memory; tallies of several processes add up."""

from __future__ import annotations

import collections
import dataclasses
from collections.abc import Iterable
from typing import Any

from benchmark.loadgen.timing import NS_PER_MS
from benchmark.loadgen.transport import Answer
from steerstream.drive.histogram import Histogram

STAGES = ("round_trip", "server", "queue", "decode", "infer")
"""`round_trip` counts from when a frame was due; `server` from its arrival to its answer, of which
`queue`, `decode` and `infer` are parts."""


@dataclasses.dataclass(slots=True, kw_only=True)
class Tally:
    """Counts frames, answers and sessions.

    Attributes:
        budget_ms: a command that came later than this, from when its frame was due, is a miss.
        stages: latencies of commands; of servers that tell no stages, the round trip alone.
        sent_late: how late the client itself sent its frames; what it measures is no better.
        refusal: how long the server took to refuse a session.
        held_back: the same for vehicles that asked again sooner than they were told; a server may
            let them wait.
        frames: frames that were due while their session was open.
        commands: commands that came.
        over_budget: commands that came too late.
        skipped: frames that were skipped, by reason.
        opened: sessions that the server admitted.
        refused: sessions that it refused, by reason.
        ended: sessions that it ended, by reason.
        client_cpu: share of one core that the client took.
    """

    budget_ms: float
    stages: dict[str, Histogram] = dataclasses.field(
        default_factory=lambda: {stage: Histogram() for stage in STAGES}
    )
    sent_late: Histogram = dataclasses.field(default_factory=Histogram)
    refusal: Histogram = dataclasses.field(default_factory=Histogram)
    held_back: Histogram = dataclasses.field(default_factory=Histogram)
    frames: int = 0
    commands: int = 0
    over_budget: int = 0
    opened: int = 0
    skipped: collections.Counter[str] = dataclasses.field(default_factory=collections.Counter)
    refused: collections.Counter[str] = dataclasses.field(default_factory=collections.Counter)
    ended: collections.Counter[str] = dataclasses.field(default_factory=collections.Counter)
    client_cpu: float = 0.0

    def add_answer(self, answer: Answer, received_ns: int, due_ns: int) -> None:
        """Count the answer to a frame.

        Args:
            answer: a command or a skip.
            received_ns: when it came, in nanoseconds of the monotonic clock.
            due_ns: when its frame was due, by the same clock.
        """
        if answer.skipped is not None:
            self.skipped[answer.skipped] += 1
            return
        latency_ms = (received_ns - due_ns) / NS_PER_MS
        self.commands += 1
        self.over_budget += latency_ms > self.budget_ms
        for stage, duration_ms in zip(STAGES, (latency_ms, *answer.stages_ms), strict=False):
            self.stages[stage].add(duration_ms)

    @property
    def in_time(self) -> int:
        """Commands within the budget."""
        return self.commands - self.over_budget

    @property
    def unanswered(self) -> int:
        """Frames that got no answer at all."""
        return self.frames - self.commands - self.skipped.total()

    @property
    def missed(self) -> int:
        """Frames without a command within the budget."""
        return self.frames - self.in_time

    @property
    def missed_percent(self) -> float | None:
        """Misses among the frames; None if there were no frames."""
        return round(100 * self.missed / self.frames, 4) if self.frames else None

    def merge(self, other: Tally) -> None:
        """Count all that another tally has counted; the budget stays this one's."""
        for stage, histogram in self.stages.items():
            histogram.merge(other.stages[stage])
        for name in _HISTOGRAMS:
            getattr(self, name).merge(getattr(other, name))
        for name in _COUNTS:
            setattr(self, name, getattr(self, name) + getattr(other, name))

    def summary(self) -> dict[str, Any]:
        """Return the figures by name, ready for JSON; a figure without data is None."""
        return {
            "frames": self.frames,
            "commands": self.commands,
            "missed": self.missed,
            "missed_percent": self.missed_percent,
            "misses": {"OVER_BUDGET": self.over_budget, "UNANSWERED": self.unanswered}
            | dict(self.skipped),
            "latency_ms": {stage: values.summary() for stage, values in self.stages.items()},
            "sessions": {
                "opened": self.opened,
                "refused": dict(self.refused),
                "ended": dict(self.ended),
            },
            "client": {"sent_late_ms": self.sent_late.summary(), "cpu": round(self.client_cpu, 3)},
        }

    def to_json(self) -> dict[str, Any]:
        """Return all that was counted as values that JSON can hold."""
        return {
            "budget_ms": self.budget_ms,
            "stages": {stage: values.to_json() for stage, values in self.stages.items()},
            **{name: getattr(self, name).to_json() for name in _HISTOGRAMS},
            **{name: getattr(self, name) for name in _COUNTS},
        }

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> Tally:
        """Read what `to_json` wrote."""
        read = Histogram.from_json
        stages = {stage: read(held) for stage, held in values["stages"].items()}
        histograms = {name: read(values[name]) for name in _HISTOGRAMS}
        counters = {name: collections.Counter(values[name]) for name in _COUNTERS}
        return cls(**values | histograms | counters | {"stages": stages})


_HISTOGRAMS = ("sent_late", "refusal", "held_back")
_COUNTERS = ("skipped", "refused", "ended")
_COUNTS = ("frames", "commands", "over_budget", "opened", "client_cpu", *_COUNTERS)


def total(tallies: Iterable[Tally]) -> Tally:
    """Return tallies of one budget as one; at least one."""
    first, *others = tallies
    whole = Tally(budget_ms=first.budget_ms)
    for tally in (first, *others):
        whole.merge(tally)
    return whole
