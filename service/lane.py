"""One model in the engine: its network, its sessions' state, what a step costs, and what waits.

A lane belongs to the engine's thread, except where a method says otherwise.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from operator import attrgetter

import numpy as np

from service.bundle import Bundle
from service.domain import NotStepped, Outcome, SkipReason, Stepped
from service.errors import BundleError, StepError
from service.preprocess import Picture
from service.runtime import Array
from service.state import Slot, StatePool

_WARM_UP_RUNS = 3
"""Runs of each bucket before the server serves: the first allocates, the others are measured."""
_COST_WEIGHT = 0.1
"""Weight of the newest step in the running mean: a lasting change is known after some 20 steps."""
_COST_JUMP = 4.0
"""A step counts as at most this many times the mean, so that one stall does not look like load."""
_COST_DECAY = 0.9
"""What is left of a cost each time that it kept the engine from working. Without it, a cost that
was once too high would give back every frame and never be measured again."""

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


class StepCost:
    """What a step of each bucket costs, in nanoseconds: a running mean of what was measured.

    Any thread may read it.
    """

    def __init__(self, max_batch: int) -> None:
        self.buckets = _buckets(max_batch)
        self._index = [self._bucket_index(size) for size in range(max_batch + 1)]
        self._mean_ns = [0.0] * len(self.buckets)

    def __getitem__(self, size: int) -> int:
        """Cost of a batch of this many frames, in nanoseconds."""
        return int(self._mean_ns[self._index[size]])

    def bucket(self, size: int) -> int:
        """The smallest bucket that holds this many frames."""
        return self.buckets[self._index[size]]

    def measured(self, size: int, cost_ns: int) -> None:
        """A step of this size was measured."""
        mean = self._mean_ns[self._index[size]]
        sample = min(float(cost_ns), _COST_JUMP * mean) if mean else float(cost_ns)
        weight = _COST_WEIGHT if mean else 1.0
        self._mean_ns[self._index[size]] = mean + weight * (sample - mean)

    def doubt(self) -> None:
        """Lower the cost of one frame: it kept the engine from a step that might have been."""
        self._mean_ns[0] *= _COST_DECAY

    def _bucket_index(self, size: int) -> int:
        return next(index for index, bucket in enumerate(self.buckets) if bucket >= size)


class Lane:
    """One model in the engine: its network, its sessions' state, and the frames that wait for it.

    Args:
        bundle: the network.
        sessions: slots of its state pool.
        max_batch: frames in one step.
    """

    def __init__(self, bundle: Bundle, *, sessions: int, max_batch: int) -> None:
        self.bundle = bundle
        self.pool = StatePool(bundle.contract.state, sessions)
        self.cost = StepCost(max_batch)
        self.waiting: list[Job] = []
        self._max_batch = max_batch
        self._frames = np.zeros((max_batch, *bundle.contract.frame.shape), np.uint8)

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
            raise BundleError(f"{self.bundle.contract.name}: the network fails: {error}") from None

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
        slots, reset = [job.slot for job in batch], [job.reset for job in batch]
        frames = self._gathered(batch)
        padding = len(frames) - len(batch)
        outputs, state = self._run(
            frames, slots + [self.pool.sentinel] * padding, reset + [True] * padding
        )
        count = len(batch)
        fit = self.pool.commit(slots, [rows[:count] for rows in state])
        infer_ns = time.monotonic_ns() - began_ns
        self.cost.measured(count, infer_ns)
        rows = zip(*(values[:count].tolist() for values in outputs), strict=True)
        return [
            Stepped(values, began_ns, infer_ns, count) if ok else _NOT_FINITE
            for values, ok in zip(rows, fit.tolist(), strict=True)
        ]

    def _warm_up_bucket(self, size: int) -> None:
        slots, reset = [self.pool.sentinel] * size, [True] * size
        for run in range(_WARM_UP_RUNS):
            began_ns = time.monotonic_ns()
            self._check(*self._run(self._frames[:size], slots, reset), size)
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

    def _gathered(self, batch: Sequence[Job]) -> Picture:
        if len(batch) == 1 and not self.bundle.runtime.pads_batches:
            return batch[0].pixels[np.newaxis]
        for row, job in zip(self._frames, batch, strict=False):
            row[...] = job.pixels
        size = len(batch)
        return self._frames[: self.cost.bucket(size) if self.bundle.runtime.pads_batches else size]

    def _run(
        self, frames: Picture, slots: Sequence[Slot], reset: Sequence[bool]
    ) -> tuple[Sequence[Array], Sequence[Array]]:
        return self.bundle.step(frames, self.pool.gather(slots, reset))

    def _check(self, outputs: Sequence[Array], state: Sequence[Array], size: int) -> None:
        contract = self.bundle.contract
        for output, values in zip(contract.outputs, outputs, strict=True):
            if values.shape != (size,):
                raise BundleError(f"output {output.tensor!r} came as {values.shape}, not ({size},)")
        for pair, values in zip(contract.state, state, strict=True):
            if values.shape != (size, *pair.shape):
                raise BundleError(f"state {pair.output!r} came as {values.shape}")


def _buckets(max_batch: int) -> list[int]:
    """Powers of two up to the largest batch, and that one."""
    sizes = [1 << power for power in range(max_batch.bit_length()) if 1 << power < max_batch]
    return [*sizes, max_batch]
