"""Forecasts load from the rates and budgets of all sessions and from measured costs; no clock.

Three resources can run out: the engine's thread, the event loop's thread, and the CPU as a whole.
The share of a resource that the sessions ask for is the larger of two figures:

- utilisation: frames a second times the cost of a frame, which is the same for all sessions of a
  model but for its picture;
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

from steerstream_service.admission.picture_cost import NO_PICTURE, PictureTime
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
    """Measured costs of a frame, without those of its picture.

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


class Claim:
    """What one session asks for.

    Args:
        demand: its frames.
        picture: what one of their pictures costs.
        is_measured: whether that was measured, and is not what is typical.

    Attributes:
        granted_ns: CPU time that a picture may take; more than that counts as several frames.
        ratio: how many times its estimate it takes to decode one; None where that is not known.
        granted_ratio: the same when that time was granted.
        turn_ns: when a picture that takes more may come again; None where none has come.
        turn_took_ns: by how much that put off the turns of all others.
    """

    __slots__ = ("demand", "granted_ns", "granted_ratio", "is_measured", "picture", "ratio",
        "turn_ns", "turn_took_ns")  # fmt: skip

    def __init__(self, demand: Demand, picture: PictureTime, *, is_measured: bool = False) -> None:
        self.demand = demand
        self.picture = picture
        self.is_measured = is_measured
        self.granted_ns = picture.cpu_ns
        self.ratio: float | None = None
        self.granted_ratio: float | None = None
        self.turn_ns: int | None = None
        self.turn_took_ns = 0


@dataclass(slots=True)
class _Row:
    """Sessions of one model and one class of budgets.

    Attributes:
        model: their model.
        budget_ns: their budget.
        sessions: how many there are.
        rate_hz: the frames a second of all.
        at_once_ns: what a picture of each costs together, on the event loop and of CPU time.
        per_s_ns: what their pictures cost in a second, in the same order.
    """

    model: str
    budget_ns: float
    sessions: int = 0
    rate_hz: float = 0.0
    at_once_ns: PictureTime = NO_PICTURE
    per_s_ns: PictureTime = NO_PICTURE

    def add(self, claim: Claim, sign: int) -> None:
        rate_hz = claim.demand.rate_hz
        self.sessions += sign
        self.rate_hz += sign * rate_hz
        self.at_once_ns = self.at_once_ns.plus(claim.picture, sign)
        self.per_s_ns = self.per_s_ns.plus(claim.picture, sign * rate_hz)


class _Work(NamedTuple):
    """What a row asks of one resource.

    Attributes:
        at_once_ns: for one frame of each session.
        per_s_ns: for the frames of a second.
        budget_ns: of each frame.
    """

    at_once_ns: float
    per_s_ns: float
    budget_ns: float


class Load:
    """The claims of all sessions, summed up by model and budget."""

    def __init__(self) -> None:
        self._by_key: dict[tuple[int, str], _Row] = {}

    @property
    def rate_hz(self) -> float:
        """The frames a second of all sessions."""
        return sum(row.rate_hz for row in self._by_key.values())

    def add(self, claim: Claim) -> None:
        """Count a session."""
        key = _key(claim.demand)
        row = self._by_key.get(key)
        if row is None:
            budget_ns = 2.0 ** (key[0] / _CLASSES_PER_OCTAVE)
            self._by_key[key] = row = _Row(claim.demand.model, budget_ns)
        row.add(claim, 1)

    def remove(self, claim: Claim) -> None:
        """Take a session out; it must not have changed since it was added."""
        key = _key(claim.demand)
        self._by_key[key].add(claim, -1)
        if not self._by_key[key].sessions:
            del self._by_key[key]

    def change(self, claim: Claim, picture: PictureTime) -> None:
        """Note that the pictures of a session that was added cost something else."""
        self.remove(claim)
        claim.picture = picture
        self.add(claim)

    def shares(self, costs: Costs) -> list[Share]:
        """Return the share of each resource that all sessions together ask for."""
        rows = [self._by_key[key] for key in sorted(self._by_key)]
        sizes = self._sizes(costs.steps)
        one_ns = max((steps[1] for steps in costs.steps.values()), default=0)
        each_ns = {
            model: min(costs.steps[model][size] / size, costs.most_ns)
            for model, size in sizes.items()
        }
        steps = [_work(row, each_ns[row.model]) for row in rows]
        loop = [
            _work(row, costs.loop_ns, row.at_once_ns.loop_ns, row.per_s_ns.loop_ns) for row in rows
        ]
        cpu = [
            _work(row, costs.cpu_ns, row.at_once_ns.cpu_ns, row.per_s_ns.cpu_ns, costs.cores)
            for row in rows
        ]
        begun_ns = _begun(rows, costs.steps, sizes)
        none_ns = [0] * len(rows)
        return [
            Share(_share(steps, begun_ns, costs.loop_ns), "engine"),
            Share(_share(loop, none_ns, one_ns), "event loop"),
            Share(_share(cpu, none_ns, 0.0), "CPU"),
        ]

    def _sizes(self, steps: Mapping[str, StepCost]) -> dict[str, int]:
        """Return the batch size in which the sessions of a model are served, by model."""
        sessions: defaultdict[str, int] = defaultdict(int)
        for row in self._by_key.values():
            sessions[row.model] += row.sessions
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


def _work(
    row: _Row, frame_ns: float, at_once_ns: float = 0.0, per_s_ns: float = 0.0, cores: float = 1.0
) -> _Work:
    """Return what a row asks of one resource.

    Args:
        row: the sessions.
        frame_ns: cost of a frame without its picture.
        at_once_ns: cost of a picture of each session.
        per_s_ns: cost of the pictures of a second.
        cores: among which the work is divided.
    """
    return _Work(
        (row.sessions * frame_ns + at_once_ns) / cores,
        (row.rate_hz * frame_ns + per_s_ns) / cores,
        row.budget_ns,
    )


def _share(works: Sequence[_Work], begun_ns: Sequence[int], elsewhere_ns: float) -> float:
    """Return the share of one resource that is asked for.

    Args:
        works: what each row asks for, ascending by budget.
        begun_ns: for each row, the longest step that may have begun just before its frames arrive.
        elsewhere_ns: part of each budget that a frame spends on other resources.
    """
    in_use = sum(work.per_s_ns for work in works) / _NS
    closeness = max(_closeness(works, begun_ns, elsewhere_ns), default=0.0)
    return max(in_use, _AT_ONCE * closeness, 0.0)


def _closeness(
    works: Sequence[_Work], begun_ns: Sequence[int], elsewhere_ns: float
) -> Iterator[float]:
    """Yield, for each budget, the work that is due within it as a share of it."""
    at_once_ns, per_ns = 0.0, 0.0
    for work, step_ns in zip(works, begun_ns, strict=True):
        budget_ns = work.budget_ns
        # Frames of a row that are due within t: sessions + rate * (t - budget), a line in t.
        at_once_ns += work.at_once_ns - work.per_s_ns * budget_ns / _NS
        per_ns += work.per_s_ns / _NS
        room_ns = budget_ns - elsewhere_ns
        due_ns = at_once_ns + per_ns * budget_ns + step_ns
        yield due_ns / room_ns if room_ns > 0 else math.inf
