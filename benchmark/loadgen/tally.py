"""What vehicles saw under a load, in bounded memory; tallies of several processes add up."""

from __future__ import annotations

import collections
import dataclasses
from typing import TYPE_CHECKING, Any

from steerstream.drive.histogram import Histogram
from steerstream.v1 import command_pb2

if TYPE_CHECKING:
    from collections.abc import Iterable

    from benchmark.loadgen.stream import Response

STAGES = ("round_trip", "server", "queue", "decode", "infer")
"""`round_trip` counts from when a frame was due; `server` from its arrival to its answer, of
which `queue`, `decode` and `infer` are parts."""
NS_PER_MS = 1e6
_US_PER_MS = 1e3


@dataclasses.dataclass(slots=True, kw_only=True)
class Tally:
    """Counts frames, answers and sessions.

    Attributes:
        budget_ms: a command that came later than this, from when its frame was due, is a miss.
        stages: latencies of commands.
        sent_late: how late the client itself sent its frames; what it measures is no better.
        refusal: how long the server took to refuse a session.
        held_back: the same for vehicles that asked again sooner than they were told; a server may
            let them wait.
        frames: frames that were due and sent.
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

    def add_answer(self, response: Response, received_ns: int, due_ns: int) -> None:
        """Count a command or a skip that came for a frame that was due at a moment."""
        if response.WhichOneof("message") == "skipped":
            name = command_pb2.SkipReason.Name(response.skipped.reason)
            self.skipped[name.removeprefix("SKIP_REASON_")] += 1
            return
        command = response.command
        latency_ms = (received_ns - due_ns) / NS_PER_MS
        self.commands += 1
        self.over_budget += latency_ms > self.budget_ms
        timings, stages = command.timings, self.stages
        stages["round_trip"].add(latency_ms)
        stages["server"].add(timings.total_us / _US_PER_MS)
        stages["queue"].add(timings.queue_us / _US_PER_MS)
        stages["decode"].add(timings.decode_us / _US_PER_MS)
        stages["infer"].add(timings.infer_us / _US_PER_MS)

    @property
    def unanswered(self) -> int:
        """Frames that got no answer at all."""
        return self.frames - self.commands - self.skipped.total()

    @property
    def missed(self) -> int:
        """Frames without a command within the budget."""
        return self.frames - self.commands + self.over_budget

    @property
    def missed_percent(self) -> float | None:
        """Misses among the frames; None if there were no frames."""
        return round(100 * self.missed / self.frames, 4) if self.frames else None

    def merge(self, other: Tally) -> None:
        """Count all that another tally has counted."""
        for stage, histogram in self.stages.items():
            histogram.merge(other.stages[stage])
        self.sent_late.merge(other.sent_late)
        self.refusal.merge(other.refusal)
        self.held_back.merge(other.held_back)
        self.frames += other.frames
        self.commands += other.commands
        self.over_budget += other.over_budget
        self.opened += other.opened
        self.skipped += other.skipped
        self.refused += other.refused
        self.ended += other.ended
        self.client_cpu += other.client_cpu

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


def total(tallies: Iterable[Tally]) -> Tally:
    """Return tallies of one budget as one; at least one."""
    first, *others = tallies
    whole = Tally(budget_ms=first.budget_ms)
    for tally in (first, *others):
        whole.merge(tally)
    return whole
