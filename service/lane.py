"""One model in the engine: its steps, what they cost, and the frames that wait for one.

A lane belongs to the engine's thread, except where a method says otherwise.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from operator import attrgetter

from service.bundle import Bundle
from service.cost import StepCost
from service.domain import NotStepped, Outcome, SkipReason, Stepped
from service.errors import BundleError, StepError
from service.preprocess import Picture
from service.state import Slot
from service.stepper import Stepper

_WARM_UP_RUNS = 3
"""Runs of each bucket before the server serves: the first allocates, the others are measured."""

_deadline = attrgetter("deadline_ns")
_NOT_FINITE = NotStepped(
    SkipReason.FAILED, "the network's state was not a number; it is as it was before this frame"
)


class Job:
    """One frame for the engine.

    Args:
        lane: the model that drives the session.
        slot: the session's state.
        pixels: uint8 [height, width, 3], the network's input.
        reset: whether the step begins from the initial state.
        deadline_ns: when its answer is due, on the server's monotonic clock.
        reply: called with the outcome on the event loop's thread; it must not raise.
    """

    __slots__ = ("_claim", "deadline_ns", "lane", "pixels", "reply", "reset", "slot")

    def __init__(
        self,
        lane: Lane,
        slot: Slot,
        pixels: Picture,
        *,
        reset: bool,
        deadline_ns: int,
        reply: Callable[[Outcome], None],
    ) -> None:
        self.lane = lane
        self.slot = slot
        self.pixels = pixels
        self.reset = reset
        self.deadline_ns = deadline_ns
        self.reply = reply
        self._claim = threading.Lock()

    def claim(self) -> bool:
        """Take the job for good; only the first caller, of either thread, gets True."""
        return self._claim.acquire(blocking=False)


class Lane:
    """One model in the engine: its network, its sessions' state, and the frames that wait for it.

    Args:
        bundle: the network.
        sessions: slots of its state pool.
        max_batch: frames in one step.
    """

    def __init__(self, bundle: Bundle, *, sessions: int, max_batch: int) -> None:
        self.cost = StepCost(max_batch)
        self.waiting: list[Job] = []
        self._stepper = Stepper(bundle, sessions=sessions, buckets=self.cost.buckets)
        self.pool = self._stepper.pool
        self._name = bundle.contract.name
        self._max_batch = max_batch

    @property
    def step_cost_ns(self) -> int:
        """What a step of one frame costs at present."""
        return self.cost[1]

    @property
    def earliest_ns(self) -> int:
        """The earliest deadline of what waits."""
        return min(job.deadline_ns for job in self.waiting)

    def warm_up(self) -> None:
        """Run every bucket on the sentinel slot, and measure it.

        Raises:
            BundleError: the network fails, or its outputs are not shaped as its contract says.
        """
        try:
            for size in self.cost.buckets:
                self._warm_up_bucket(size)
        except StepError as error:
            raise BundleError(f"{self._name}: the network fails: {error}") from None

    def choose(self, now_ns: int) -> tuple[list[Job], list[Job]]:
        """Take a batch from what waits, earliest deadline first.

        Returns:
            The batch, of the largest bucket that still meets its earliest deadline; and the frames
            that no step can answer in time any more.
        """
        self.waiting.sort(key=_deadline)
        late = self._take_late(now_ns)
        size = min(len(self.waiting), self._max_batch)
        while size > 1 and now_ns + self.cost[size] > self.waiting[0].deadline_ns:
            size = self._next_smaller(size)
        batch = [job for job in self.waiting[:size] if job.claim()]
        del self.waiting[:size]
        return batch, late

    def step(self, batch: Sequence[Job]) -> list[Outcome]:
        """Run one step over a batch and commit the new state.

        Raises:
            StepError: the network failed; the state is as it was.
        """
        began_ns = time.monotonic_ns()
        rows = self._stepper.step(
            [job.pixels for job in batch],
            [job.slot for job in batch],
            [job.reset for job in batch],
        )
        infer_ns = time.monotonic_ns() - began_ns
        self.cost.measured(len(batch), infer_ns)
        return [
            Stepped(values, began_ns, infer_ns, len(batch)) if fit else _NOT_FINITE
            for values, fit in zip(rows.outputs, rows.fit, strict=True)
        ]

    def _warm_up_bucket(self, size: int) -> None:
        for run in range(_WARM_UP_RUNS):
            began_ns = time.monotonic_ns()
            self._stepper.warm_up(size)
            if run:
                self.cost.measured(size, time.monotonic_ns() - began_ns)

    def _take_late(self, now_ns: int) -> list[Job]:
        cost_ns, late, overdue = self.cost[1], [], False
        while self.waiting and now_ns + cost_ns > self.waiting[0].deadline_ns:
            job = self.waiting.pop(0)
            overdue = overdue or now_ns > job.deadline_ns
            if job.claim():
                late.append(job)
        if late and not overdue and not self.waiting:
            self.cost.doubt()
        return late

    def _next_smaller(self, size: int) -> int:
        return max(bucket for bucket in self.cost.buckets if bucket < size)
