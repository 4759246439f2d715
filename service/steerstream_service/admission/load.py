"""The load that sessions ask for against what was measured: data in, data out, no clock.

A server has three things that can run out: the engine's thread, the event loop's thread, and the
CPU as a whole. Of each, the sessions together ask for a share, the larger of two:

- what is in use in the long run: frames a second times what a frame costs;
- how close the tightest budget is, if all sessions send a frame at once. Cameras keep their phases,
  so that an unlucky one stays unlucky. By the demand bound of EDF without preemption (George,
  Rivierre and Spuri 1996; its upper line after Albers and Slomka 2004): of all frames that are due
  within t, and of one step that has just begun for frames that are due later.

A share of 1 is all that there is.
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
"""Budgets are rounded down to this many classes in a doubling, 2 % apart. So however many sessions
there are, a forecast adds up a few rows."""

_AT_ONCE = 0.85
"""What a full budget counts, where a resource that is in use all the time counts 1. That all
sessions send at once is the worst that their phases can do, and seldom comes; so a budget may be
fuller than a resource, which needs room for what nobody foresees."""


@dataclass(frozen=True, slots=True)
class Demand:
    """What one session asks for: frames a second, each answered within a budget."""

    model: str
    rate_hz: float
    budget_ns: int


@dataclass(frozen=True, slots=True)
class Costs:
    """What was measured.

    Attributes:
        steps: what steps cost, by model.
        cpu_ns: CPU time of all threads for one frame.
        loop_ns: CPU time of the event loop's thread for one frame.
        cores: what the process may use.
        most_ns: what a step takes of the engine's thread for one frame at most. A step's duration
            says more where other threads keep it off its core, and that is the CPU's share.
    """

    steps: Mapping[str, StepCost]
    cpu_ns: float
    loop_ns: float
    cores: float
    most_ns: float = math.inf


class Share(NamedTuple):
    """A share of what there is of a resource."""

    value: float
    resource: str


class _Row(NamedTuple):
    model: str
    budget_ns: float
    sessions: int
    rate_hz: float


class Load:
    """What all sessions ask for, summed up by model and budget."""

    def __init__(self) -> None:
        self._sessions: defaultdict[tuple[int, str], int] = defaultdict(int)
        self._rates_hz: defaultdict[tuple[int, str], float] = defaultdict(float)

    def add(self, demand: Demand) -> None:
        """Count a session."""
        key = _key(demand)
        self._sessions[key] += 1
        self._rates_hz[key] += demand.rate_hz

    def remove(self, demand: Demand) -> None:
        """Count a session no longer; it was counted with the same demand."""
        key = _key(demand)
        self._sessions[key] -= 1
        self._rates_hz[key] -= demand.rate_hz
        if not self._sessions[key]:
            del self._sessions[key], self._rates_hz[key]

    def shares(self, costs: Costs) -> list[Share]:
        """Return what is asked for of each resource, by what was measured."""
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
        """The size of the steps in which all sessions of a model are served, by model."""
        sessions: defaultdict[str, int] = defaultdict(int)
        for (_, model), count in self._sessions.items():
            sessions[model] += count
        return {model: batching.paying(count, steps[model]) for model, count in sessions.items()}


def _key(demand: Demand) -> tuple[int, str]:
    return math.floor(math.log2(demand.budget_ns) * _CLASSES_PER_OCTAVE), demand.model


def _begun(
    rows: Sequence[_Row], steps: Mapping[str, StepCost], sizes: Mapping[str, int]
) -> list[int]:
    """Return, for each row, the longest step of frames with larger budgets alone."""
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
    """Return the share of one resource.

    Args:
        rows: what is asked for, ascending by budget.
        each_ns: what a frame costs here, by model.
        begun_ns: for each row, what may have begun just before its frames come.
        elsewhere_ns: what a frame takes of its budget in other places.
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
    """Yield, for each budget, what is due within it as a share of it."""
    at_once_ns, per_ns = 0.0, 0.0
    for (model, budget_ns, sessions, rate_hz), step_ns in zip(rows, begun_ns, strict=True):
        cost_ns = each_ns[model]
        # Frames of a row that are due within t: sessions + rate * (t - budget), a line in t.
        at_once_ns += cost_ns * (sessions - rate_hz * budget_ns / _NS)
        per_ns += cost_ns * rate_hz / _NS
        room_ns = budget_ns - elsewhere_ns
        due_ns = at_once_ns + per_ns * budget_ns + step_ns
        yield due_ns / room_ns if room_ns > 0 else math.inf
