"""Compares the load that sessions ask for with measured costs, and admits what still fits."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from steerstream_service.admission.frame_cost import FrameCost, Reading
from steerstream_service.admission.lateness import Lateness
from steerstream_service.admission.load import Costs, Demand, Load
from steerstream_service.admission.rate_meter import FrameCounts
from steerstream_service.admission.shedding import Shedding
from steerstream_service.domain import NEVER_NS
from steerstream_service.engine.step_cost import StepCost
from steerstream_service.errors import TooManySessionsError

_BUSY_NS = 2_000_000_000
"""A server counts as busy for this long after it last was, so that the treatment of surplus frames
does not flip with every review."""
_FORGET_NS = 60_000_000_000
"""Without a session for this long, the cost of a frame is guessed again: it may have been measured
under an attack, and only frames would correct it."""
_MS = 1e6


class Capacity:
    """Admits demands as long as the server can keep all their budgets.

    Args:
        steps: measured cost of steps, by model.
        cores: CPU cores that the process may use.
        max_load: share of each resource that admitted sessions may ask for.
        shedding: decides when sessions are let go.
        steps_on_cpu: whether a step takes CPU time, and not an accelerator's.
        in_loop: whether steps and decoding run on the event loop's thread.
    """

    def __init__(
        self,
        steps: Mapping[str, StepCost],
        cores: float,
        max_load: float,
        shedding: Shedding,
        *,
        steps_on_cpu: bool,
        in_loop: bool = False,
    ) -> None:
        self._steps = dict(steps)
        self._in_loop = in_loop
        self._steps_on_cpu = steps_on_cpu
        self._cores = cores
        self._measured: FrameCost | None = None
        self._max_load = max_load
        self._shedding = shedding
        self._load = Load()
        self._sessions = 0
        # Reused for the next vehicle of a crowd, which asks for the same while nothing changes.
        self._refused: tuple[Demand, str] | None = None
        self._busy_until_ns = 0
        self._driven_ns = 0
        self.is_busy = False
        self.lateness = Lateness()

    @property
    def load(self) -> float:
        """The load of all sessions, as a multiple of what an undisturbed server admits."""
        return max(share.value for share in self._load.shares(self._costs())) / self._max_load

    def add_model(self, name: str, steps: StepCost) -> None:
        """Take the measured cost of one more model's steps."""
        self._steps[name] = steps

    def remove_model(self, name: str) -> None:
        """Forget a model that no admitted session uses."""
        del self._steps[name]

    def smallest_budget_ns(self, model: str) -> float:
        """Return what a frame of a model takes on a server without other load."""
        step_ns, frame = self._steps[model][1], self._frame
        if not self._in_loop:
            return step_ns + frame.loop_ns
        # Once measured, the event loop's time per frame includes decoding and the step.
        return step_ns if frame.is_guess else frame.loop_ns

    def take(self, demand: Demand) -> None:
        """Admit a session.

        The first session makes no other one late, and is always admitted.

        Raises:
            TooManySessionsError: with this one, not all sessions would stay within their budgets.
        """
        if self.lateness.lasts and self._sessions and self._max_load <= 1.0:
            raise TooManySessionsError(
                f"the server misses {self.lateness.missed:.1%} of its frames, for want of time on "
                "its cores; try again later"
            )
        if self._refused is not None and self._refused[0] == demand:
            raise TooManySessionsError(self._refused[1])
        costs = self._costs()
        before = self._load.shares(costs)
        self._load.add(demand)
        bound = self._max_load * self._shedding.limit
        fullest, was = max(zip(self._load.shares(costs), before, strict=True))
        if fullest.value > bound and self._sessions:
            self._load.remove(demand)
            text = (
                f"{demand.rate_hz:g} Hz within {demand.budget_ns / _MS:g} ms asks for "
                f"{fullest.value - was.value:.1%} of the {fullest.resource}, of which "
                f"{max(0.0, bound - was.value):.1%} is left; try again later"
            )
            self._refused = demand, text
            raise TooManySessionsError(text)
        self._sessions += 1

    def take_again(self, demand: Demand) -> None:
        """Put a session back into the load that was taken out of it a moment ago."""
        self._load.add(demand)
        self._sessions += 1

    def give_back(self, demand: Demand) -> None:
        """Take an ended session out of the load."""
        self._load.remove(demand)
        self._sessions -= 1
        self._refused = None

    def review(
        self,
        reading: Reading,
        counts: Sequence[FrameCounts],
        lags_ns: Sequence[int] = (),
        budget_ns: int = NEVER_NS,
    ) -> float | None:
        """Update costs and overload from what happened since the last review.

        Args:
            reading: the counters of this moment.
            counts: each session's frames since the last review.
            lags_ns: how late timers of the event loop fired since then.
            budget_ns: the budget that three of four sessions have at least.

        Returns:
            The load to go back to by letting sessions go, or None.
        """
        self._refused = None
        if self._sessions:
            self._driven_ns = reading.at_ns
        elif reading.at_ns - self._driven_ns >= _FORGET_NS:
            self._driven_ns = reading.at_ns
            self._measured = None
        self._frame.update(reading)
        faithful = [count for count in counts if count.keeps_promise]
        if self._frame.in_use >= self._max_load and faithful:
            self._busy_until_ns = reading.at_ns + _BUSY_NS
        self.is_busy = reading.at_ns < self._busy_until_ns
        self.lateness.update(reading.at_ns, faithful, lags_ns, budget_ns)
        missed = self.lateness.missed if self.lateness.is_late else 0.0
        return self._shedding.update(reading.at_ns, self.load, missed)

    def _costs(self) -> Costs:
        frame = self._frame
        is_known = self._steps_on_cpu and not frame.is_guess
        most_ns = frame.cpu_ns - frame.loop_ns if is_known else math.inf
        return Costs(self._steps, frame.cpu_ns, frame.loop_ns, frame.cores, most_ns)

    @property
    def _frame(self) -> FrameCost:
        """The cost of frames. Made on first use, when the warm-up has measured the steps."""
        if self._measured is None:
            step_ns = max(steps[1] for steps in self._steps.values())
            self._measured = FrameCost(self._cores, step_ns, in_loop=self._in_loop)
        return self._measured
