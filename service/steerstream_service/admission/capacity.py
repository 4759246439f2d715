"""Compares the load that sessions ask for with measured costs, and admits what still fits."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from steerstream_service.admission.frame_cost import FrameCost, Reading
from steerstream_service.admission.lateness import Lateness
from steerstream_service.admission.load import Claim, Costs, Demand, Load
from steerstream_service.admission.picture_cost import (
    NO_PICTURE,
    PictureTime,
    Spent,
    guess,
    slowdown,
    typical,
)
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
_IDLE_NS = 5_000_000_000
"""The same of what a step costs, and sooner: a vehicle is refused whose budget is less than that,
and nobody may drive beside it who would correct it. A machine that is still slow says so again to
the one that then comes in."""
_DEAR = 1.5
"""A frame that costs more than this many times another one is dear beside it."""
_DEAR_GAP = 4.0
"""From one dear picture beyond its grant to the next, as a multiple of its cost: together they take
a quarter of a core."""
_DEAR_AHEAD_NS = 60_000_000
"""Dear pictures that come together are taken up to this time ahead of their turns: 15 ms of work.
So a crowd of vehicles with pictures of 2 ms begins at once, but no more than two of the dearest."""
_MOST_DEAR_NS = 500_000_000
"""By how much one picture puts off the turns of all others at most, whatever it seems to cost: four
times what the dearest takes that is accepted."""
_DEAR_KEPT_NS = 200_000_000
"""For how long a turn is kept for a session: some frames of a camera. Those that nobody uses must
not be saved up for a crowd."""
_MS = 1e6


class DearTurn(NamedTuple):
    """When a session's dear pictures have their turn.

    Attributes:
        is_now: whether the one that has just come has it.
        next_ns: when the next one has it.
    """

    is_now: bool
    next_ns: int


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
        # In the order in which they came.
        self._claims: dict[Claim, None] = {}
        self._typical: dict[str, PictureTime] = {}
        # Reused for the next vehicle of a crowd, which asks for the same while nothing changes.
        self._refused: tuple[Demand, str] | None = None
        # So many times what pictures were granted the machine has come to take for them.
        self._slowdown = 1.0
        self._granted_work_ns: float | None = None
        # Before the costs that the next review finds.
        self._load_before: float | None = None
        self._busy_until_ns = 0
        self._next_dear_ns = 0
        self._driven_ns = 0
        self._is_idle = False
        self.is_busy = False
        self.lateness = Lateness()

    @property
    def load(self) -> float:
        """The load of all sessions, as a multiple of what an undisturbed server admits."""
        return self._fullest / self._max_load

    @property
    def rate_hz(self) -> float:
        """The frames a second that all sessions stated."""
        return self._load.rate_hz

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
        # Once measured, the event loop's time per frame includes the step.
        is_known = not frame.is_guess and not self._is_idle
        return frame.loop_ns + self.picture(model).cpu_ns if is_known else step_ns

    def picture(self, model: str) -> PictureTime:
        """Return what a typical picture for a model costs, by which newcomers are judged."""
        return self._typical.get(model) or guess(in_loop=self._in_loop)

    def take(self, demand: Demand, picture: PictureTime | None = None) -> Claim:
        """Admit a session.

        The first session makes no other one late, and is always admitted.

        Args:
            demand: what it asks for.
            picture: what its pictures cost; None for what is typical.

        Raises:
            TooManySessionsError: with this one, not all sessions would stay within their budgets.
        """
        if self.lateness.lasts and self._claims and self._max_load <= 1.0:
            raise TooManySessionsError(
                f"the server misses {self.lateness.missed:.1%} of its frames, for want of time on "
                "its cores; try again later"
            )
        if self._refused is not None and self._refused[0] == demand:
            raise TooManySessionsError(self._refused[1])
        claim = (
            Claim(demand, self.picture(demand.model))
            if picture is None
            else Claim(demand, picture, is_measured=True)
        )
        costs = self._costs()
        before = self._load.shares(costs)
        self._load.add(claim)
        fullest, was = max(zip(self._load.shares(costs), before, strict=True))
        if fullest.value > self._bound and self._claims:
            self._load.remove(claim)
            text = (
                f"{demand.rate_hz:g} Hz within {demand.budget_ns / _MS:g} ms asks for "
                f"{fullest.value - was.value:.1%} of the {fullest.resource}, of which "
                f"{max(0.0, self._bound - was.value):.1%} is left; try again later"
            )
            self._refused = demand, text
            raise TooManySessionsError(text)
        self._claims[claim] = None
        return claim

    def check(self, demand: Demand, instead_of: Claim | None = None) -> None:
        """Check that a session could be admitted now, and leave all as it is.

        Args:
            demand: what it asks for.
            instead_of: the session whose place it would take; None for none.

        Raises:
            TooManySessionsError: as `take` does.
        """
        if instead_of is not None:
            self.give_back(instead_of)
        try:
            self.give_back(self.take(demand))
        finally:
            if instead_of is not None:
                self.take_again(instead_of)

    def take_again(self, claim: Claim) -> None:
        """Put a session back into the load that was taken out of it a moment ago."""
        self._load.add(claim)
        self._claims[claim] = None

    def give_back(self, claim: Claim) -> None:
        """Take an ended session out of the load."""
        del self._claims[claim]
        self._load.remove(claim)
        self._refused = None
        if not self._claims:
            # What they missed is no reason to refuse those that come now.
            self.lateness = Lateness()

    def measured(self, claim: Claim, mean: Spent, ratio: float | None = None) -> None:
        """Note what the pictures of an admitted session cost, just before a review.

        Args:
            claim: the session's.
            mean: what one of its pictures takes.
            ratio: how many times its estimate it takes to decode one; None where none was.
        """
        if self._load_before is None:
            self._load_before = self.load
        receive, decode = mean.by_thread()
        claim.is_measured = True
        claim.ratio = ratio
        self._load.change(claim, receive.plus(decode, 1))

    def weight(self, claim: Claim, picture_ns: float) -> float:
        """Return for how many frames one counts: 1, unless its picture is dearer than was granted.

        Args:
            claim: the session's.
            picture_ns: CPU time that the picture will take.
        """
        frame_ns = self._frame.cpu_ns
        times = (frame_ns + picture_ns) / (frame_ns + self._slowdown * claim.granted_ns)
        return times if times > _DEAR else 1.0

    def is_dear(self, claim: Claim, picture_ns: float) -> bool:
        """Whether a frame costs far more than a typical one.

        Args:
            claim: the session's.
            picture_ns: CPU time that its picture takes.
        """
        frame_ns = self._frame.cpu_ns
        typical_ns = frame_ns + self.picture(claim.demand.model).cpu_ns
        return frame_ns + picture_ns > _DEAR * typical_ns

    def dear_turn(
        self, claim: Claim, now_ns: int, picture_ns: float, *, may_refuse: bool = False
    ) -> DearTurn:
        """Give a session with a dear picture beyond its grant a turn, after those of all others.

        Args:
            claim: the session's.
            now_ns: when the picture came.
            picture_ns: CPU time that it takes.
            may_refuse: whether the picture is refused where it has no turn. One that comes before
                the turn that its session has costs nobody another one then.
        """
        turn_ns = NEVER_NS if claim.turn_ns is None else claim.turn_ns
        if may_refuse and claim.turn_took_ns and now_ns < turn_ns:
            return DearTurn(is_now=False, next_ns=turn_ns)
        took_ns = min(round(_DEAR_GAP * picture_ns), _MOST_DEAR_NS)
        # A turn that pictures of 2 ms have won is none of one of 50.
        is_like_last = took_ns <= _DEAR * claim.turn_took_ns
        is_kept = is_like_last and 0 <= now_ns - turn_ns < _DEAR_KEPT_NS
        is_now = is_kept or self._next_dear_ns <= now_ns + _DEAR_AHEAD_NS
        claim.turn_took_ns = took_ns
        self._next_dear_ns = max(now_ns, self._next_dear_ns) + claim.turn_took_ns
        claim.turn_ns = self._next_dear_ns
        return DearTurn(is_now, self._next_dear_ns)

    def give_turn_back(self, claim: Claim, now_ns: int) -> None:
        """Give what is left of the time that a session's last dear picture put others off by.

        It was refused or taken back before it cost anything, or its session has ended.

        Args:
            claim: the session's.
            now_ns: the present time.
        """
        if claim.turn_ns is not None:
            self._next_dear_ns -= min(claim.turn_took_ns, max(0, claim.turn_ns - now_ns))
            claim.turn_took_ns = 0

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
            budget_ns: the budget that three of four sessions have at least, or less.

        Returns:
            The load to go back to by letting sessions go, or None.
        """
        self._refused = None
        before = self.load if self._load_before is None else self._load_before
        self._load_before = None
        if self._claims:
            self._driven_ns = reading.at_ns
        undriven_ns = reading.at_ns - self._driven_ns
        if undriven_ns >= _FORGET_NS:
            self._measured = None
            self._typical.clear()
        self._is_idle = undriven_ns >= _IDLE_NS
        if self._is_idle:
            for steps in self._steps.values():
                steps.forget()
        self._frame.update(reading)
        self._review_pictures()
        if before:
            self._shedding.priced(self.load / before)
        faithful = [count for count in counts if count.keeps_promise]
        if self._frame.in_use >= self._max_load and faithful:
            self._busy_until_ns = reading.at_ns + _BUSY_NS
        self.is_busy = reading.at_ns < self._busy_until_ns
        self.lateness.update(reading.at_ns, faithful, lags_ns, budget_ns)
        missed = self.lateness.missed if self.lateness.is_late else 0.0
        return self._shedding.update(reading.at_ns, self.load, missed)

    def _review_pictures(self) -> None:
        """Find out what is typical, and grant each session what its pictures cost if all fit."""
        of_model: defaultdict[str, list[tuple[float, PictureTime]]] = defaultdict(list)
        for claim in self._claims:
            if claim.is_measured and claim.picture is not NO_PICTURE:
                of_model[claim.demand.model].append((claim.demand.rate_hz, claim.picture))
        self._typical |= {model: typical(found) for model, found in of_model.items()}
        for claim in self._claims:
            if not claim.is_measured:
                self._load.change(claim, self.picture(claim.demand.model))
        if self._fullest <= self._bound:
            for claim in self._claims:
                claim.granted_ns = claim.picture.cpu_ns
                claim.granted_ratio = claim.ratio
            self._granted_work_ns = self._work_ns
        of_pictures = slowdown(
            [
                (claim.demand.rate_hz, claim.ratio / claim.granted_ratio)
                for claim in self._claims
                if claim.ratio and claim.granted_ratio
            ]
        )
        of_work = self._work_ns / (self._granted_work_ns or self._work_ns or 1.0)
        # A crowd that sends other pictures changes the one, and a busy core the other.
        self._slowdown = max(1.0, min(of_pictures, of_work))

    @property
    def _work_ns(self) -> float:
        """What the processor takes for work that is the same whatever clients send."""
        if self._steps_on_cpu:
            return max(steps[1] for steps in self._steps.values())
        return self._frame.cpu_ns

    @property
    def _bound(self) -> float:
        """The share of a resource up to which sessions are admitted."""
        return self._max_load * self._shedding.limit

    @property
    def _fullest(self) -> float:
        return max(share.value for share in self._load.shares(self._costs()))

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
