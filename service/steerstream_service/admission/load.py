"""Forecasts load from the rates and budgets of all sessions and from measured costs; no clock.

Three resources can run out: the engine's thread, the event loop's thread, and the CPU as a whole.
The share of a resource that the sessions ask for is the larger of two figures:

- utilisation: frames a second times the cost of a frame;
- how full the tightest budget is if all sessions send a frame at once. Cameras keep their phases,
  so that an unlucky one stays unlucky. This is the demand bound of EDF without preemption (George,
  Rivierre and Spuri 1996) with its linear upper bound (Albers and Slomka 2004): all frames that are
  due within t, plus one step that has just begun for frames that are due later.

A share of 1 is the whole resource.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from steerstream_service.engine import batching
from steerstream_service.engine.step_cost import StepCost

_NS = 1e9
_CLASSES_PER_OCTAVE = 32
"""Budgets are rounded down to this many classes in a doubling, 2 % apart, so that a forecast adds
up a few rows however many sessions there are."""

_AT_ONCE = 0.85
"""Weight of a full budget beside a full utilisation. All sessions sending at once is the worst case
of their phases and rare, so a budget may be fuller than a resource may be used."""


@dataclass(frozen=True, slots=True)
class Demand:
    """The demand of one session: frames a second of a model, each answered within a budget."""

    model: str
    rate_hz: float
    budget_ns: int


@dataclass(frozen=True, slots=True)
class Costs:
    """Measured costs.

    Attributes:
        steps: cost of steps, by model.
        cpu_ns: CPU time of all threads for one frame.
        loop_ns: CPU time of the event loop's thread for one frame.
        cores: CPU cores that the process may use.
        most_ns: upper bound of the engine's time for one frame. The measured duration of a step is
            longer where other threads keep it off its core, but that is counted as CPU time.
    """

    steps: Mapping[str, StepCost]
    cpu_ns: float
    loop_ns: float
    cores: float
    most_ns: float = math.inf


class Share(NamedTuple):
    """The share of a resource that is asked for."""

    value: float
    resource: str


class _Row(NamedTuple):
    model: str
    budget_ns: float
    sessions: int
    rate_hz: float


class Load:
    """The demands of all sessions, summed up by model and budget."""

    def __init__(self) -> None:
        self._sessions: defaultdict[tuple[int, str], int] = defaultdict(int)
        self._rates_hz: defaultdict[tuple[int, str], float] = defaultdict(float)

    def add(self, demand: Demand) -> None:
        """Count a session."""
        key = _key(demand)
        self._sessions[key] += 1
        self._rates_hz[key] += demand.rate_hz

    def remove(self, demand: Demand) -> None:
        """Take a session out, with the demand that it was added with."""
        key = _key(demand)
        self._sessions[key] -= 1
        self._rates_hz[key] -= demand.rate_hz
        if not self._sessions[key]:
            del self._sessions[key], self._rates_hz[key]

    def shares(self, costs: Costs) -> list[Share]:
        """Return the share of each resource that all sessions together ask for."""
        rows = list(self._rows())
        sizes = self._sizes(costs.steps)
        one_ns = max((steps[1] for steps in costs.steps.values()), default=0)
        each_ns = {
            model: min(costs.steps[model][size] / size, costs.most_ns)
            for model, size in sizes.items()
        }
        at_loop_ns = dict.fromkeys(sizes, costs.loop_ns)
        at_cpu_ns = dict.fromkeys(sizes, costs.cpu_ns / costs.cores)
        begun_ns = _begun(rows, costs.steps, sizes)
        none_ns = [0] * len(rows)
        return [
            Share(_share(rows, each_ns, begun_ns, costs.loop_ns), "engine"),
            Share(_share(rows, at_loop_ns, none_ns, one_ns), "event loop"),
            Share(_share(rows, at_cpu_ns, none_ns, 0.0), "CPU"),
        ]

    def _rows(self) -> Iterator[_Row]:
        for key in sorted(self._sessions):
            budget_ns = 2.0 ** (key[0] / _CLASSES_PER_OCTAVE)
            yield _Row(key[1], budget_ns, self._sessions[key], self._rates_hz[key])

    def _sizes(self, steps: Mapping[str, StepCost]) -> dict[str, int]:
        """Return the batch size in which the sessions of a model are served, by model."""
        sessions: defaultdict[str, int] = defaultdict(int)
        for (_, model), count in self._sessions.items():
            sessions[model] += count
        return {model: batching.paying(count, steps[model]) for model, count in sessions.items()}


def _key(demand: Demand) -> tuple[int, str]:
    return math.floor(math.log2(demand.budget_ns) * _CLASSES_PER_OCTAVE), demand.model


def _begun(
    rows: Sequence[_Row], steps: Mapping[str, StepCost], sizes: Mapping[str, int]
) -> list[int]:
    """Return, for each row, the longest step that holds only frames with larger budgets."""
    begun_ns, longest_ns = [0] * len(rows), 0
    sessions = dict.fromkeys(sizes, 0)
    for index in range(len(rows) - 1, 0, -1):
        model = rows[index].model
        sessions[model] += rows[index].sessions
        step_ns = steps[model][min(sessions[model], sizes[model])]
        begun_ns[index - 1] = longest_ns = max(longest_ns, step_ns)
    return begun_ns


def _share(
    rows: Sequence[_Row],
    each_ns: Mapping[str, float],
    begun_ns: Sequence[int],
    elsewhere_ns: float,
) -> float:
    """Return the share of one resource that is asked for.

    Args:
        rows: the demands, ascending by budget.
        each_ns: cost of a frame on this resource, by model.
        begun_ns: for each row, the longest step that may have begun just before its frames arrive.
        elsewhere_ns: part of each budget that a frame spends on other resources.
    """
    in_use = sum(row.rate_hz * each_ns[row.model] for row in rows) / _NS
    closeness = max(_closeness(rows, each_ns, begun_ns, elsewhere_ns), default=0.0)
    return max(in_use, _AT_ONCE * closeness, 0.0)


def _closeness(
    rows: Sequence[_Row],
    each_ns: Mapping[str, float],
    begun_ns: Sequence[int],
    elsewhere_ns: float,
) -> Iterator[float]:
    """Yield, for each budget, the work that is due within it as a share of it."""
    at_once_ns, per_ns = 0.0, 0.0
    for (model, budget_ns, sessions, rate_hz), step_ns in zip(rows, begun_ns, strict=True):
        cost_ns = each_ns[model]
        # Frames of a row that are due within t: sessions + rate * (t - budget), a line in t.
        at_once_ns += cost_ns * (sessions - rate_hz * budget_ns / _NS)
        per_ns += cost_ns * rate_hz / _NS
        room_ns = budget_ns - elsewhere_ns
        due_ns = at_once_ns + per_ns * budget_ns + step_ns
        yield due_ns / room_ns if room_ns > 0 else math.inf
