"""One model in the engine: its steps, what they cost, and the frames that wait for one.

A lane belongs to the engine's thread, except where a method says otherwise.
"""

from __future__ import annotations

import contextlib
import threading
import time
from bisect import insort
from collections.abc import Callable, Sequence
from operator import attrgetter

from steerstream_bundle.errors import BundleError, StepError
from steerstream_bundle.loading import Bundle
from steerstream_bundle.preprocess import Picture
from steerstream_service.domain import NEVER_NS, NotStepped, Outcome, SkipReason, Stepped
from steerstream_service.engine import batching
from steerstream_service.engine.state_pool import Slot
from steerstream_service.engine.step_cost import StepCost
from steerstream_service.engine.steppers import open_stepper

_MEASURED_RUNS = 3
"""Runs of each bucket before the server serves, after the one that allocates. The quickest counts:
a cost that a stall had spoilt would be above the budgets that vehicles ask for, and with all of
them refused nothing would ever correct it."""
_PAUSE_NS = 5_000_000
"""Without a step for this long the engine is cold: a few steps' time, far below a camera's period,
so that the frames of one drive alone count as cold and those of a busy server do not."""
_LOOK_AHEAD = 4
"""Batches that are looked at where more frames wait: what is behind them begins so late that the
next step makes little difference, and choosing takes as long for 1,000 frames as for a hundred."""

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
        interval_s: seconds between the captures of this frame and of the last one that the state
            has seen; one period of the contract's rate where it has seen none.
        deadline_ns: when its answer is due, on the server's monotonic clock.
        reply: called with the outcome on the event loop's thread; it must not raise.
    """

    __slots__ = ("_claim", "deadline_ns", "interval_s", "lane", "pixels", "reply", "reset", "slot")

    def __init__(
        self,
        lane: Lane,
        slot: Slot,
        pixels: Picture,
        *,
        reset: bool,
        interval_s: float,
        deadline_ns: int,
        reply: Callable[[Outcome], None],
    ) -> None:
        self.lane = lane
        self.slot = slot
        self.pixels = pixels
        self.reset = reset
        self.interval_s = interval_s
        self.deadline_ns = deadline_ns
        self.reply = reply
        self._claim = threading.Lock()

    @property
    def is_claimed(self) -> bool:
        """Whether somebody took the job; it may be taken right after this was asked."""
        return self._claim.locked()

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
        self.cost = StepCost(max_batch, pads=bundle.runtime.pads_batches)
        self._waiting: list[Job] = []
        self._stepper = open_stepper(bundle, sessions=sessions, buckets=self.cost.buckets)
        self.pool = self._stepper.pool
        self.name = bundle.contract.name
        self._takes_interval = bool(bundle.contract.interval_tensor)
        self._looked_at = _LOOK_AHEAD * max_batch
        self._ended_ns = 0

    @property
    def keep_warm_s(self) -> float | None:
        """After so long without a frame, `keep_warm` is due; None: never."""
        return self._stepper.keep_warm_s

    @property
    def step_cost_ns(self) -> int:
        """What a step of one frame costs at present."""
        return self.cost[1]

    @property
    def waiting(self) -> int:
        """Frames that wait, some of which may have been taken back."""
        return len(self._waiting)

    @property
    def earliest_ns(self) -> int:
        """The earliest deadline of what waits; NEVER_NS where nothing does."""
        return self._waiting[0].deadline_ns if self._waiting else NEVER_NS

    @property
    def start_by_ns(self) -> int:
        """When a step of one frame must begin to meet the earliest deadline."""
        return self.earliest_ns - self.cost[1]

    def put(self, job: Job) -> None:
        """Let a frame wait, in the order of deadlines; of equal ones the first goes first."""
        waiting = self._waiting
        if not waiting or job.deadline_ns >= waiting[-1].deadline_ns:
            waiting.append(job)
        else:
            insort(waiting, job, key=_deadline)

    def warm_up(self) -> None:
        """Run every bucket on the sentinel slot, and measure it.

        Raises:
            BundleError: the network fails, or its outputs are not shaped as its contract says.
        """
        try:
            for size in self.cost.buckets:
                self._warm_up_bucket(size)
        except StepError as error:
            raise BundleError(f"{self.name}: the network fails: {error}") from None

    def keep_warm(self) -> None:
        """Run the smallest bucket on the sentinel slot, so that the next frame's step is quick."""
        # A device that fails says so at that step, where somebody is answered.
        with contextlib.suppress(StepError):
            self._stepper.warm_up(self.cost.buckets[0])

    def choose(self, now_ns: int, free_by_ns: int = NEVER_NS) -> tuple[list[Job], list[Job]]:
        """Take a batch from what waits, earliest deadline first; see `batching`.

        Args:
            now_ns: the time.
            free_by_ns: when other lanes want the engine at the latest.

        Returns:
            The batch, and the frames that are given up because no step can answer them in time, or
            only one that makes more of the others late.
        """
        first = self._take_first()
        if not first:
            return [], []
        late, size = batching.choose(list(map(_deadline, first)), now_ns, self.cost, free_by_ns)
        self._waiting[:0] = first[late + size :]
        if late == len(first) and not self._waiting and now_ns <= first[0].deadline_ns:
            self.cost.doubt()
        return _claimed(first[late : late + size]), _claimed(first[:late])

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
            [job.interval_s for job in batch] if self._takes_interval else None,
        )
        infer_ns = time.monotonic_ns() - began_ns
        cold = began_ns - self._ended_ns > _PAUSE_NS
        self._ended_ns = began_ns + infer_ns
        self.cost.measured(len(batch), infer_ns, cold=cold)
        return [
            Stepped(values, began_ns, infer_ns, len(batch)) if fit else _NOT_FINITE
            for values, fit in zip(rows.outputs, rows.fit, strict=True)
        ]

    def _warm_up_bucket(self, size: int) -> None:
        self._stepper.warm_up(size)
        self.cost.measured(size, min(self._run_ns(size) for _ in range(_MEASURED_RUNS)))

    def _run_ns(self, size: int) -> int:
        began_ns = time.monotonic_ns()
        self._stepper.warm_up(size)
        return time.monotonic_ns() - began_ns

    def _take_first(self) -> list[Job]:
        """Take the frames that are looked at, and drop those before them that were taken back."""
        first: list[Job] = []
        seen = 0
        for job in self._waiting:
            seen += 1
            if not job.is_claimed:
                first.append(job)
                if len(first) == self._looked_at:
                    break
        del self._waiting[:seen]
        return first


def _claimed(jobs: Sequence[Job]) -> list[Job]:
    return [job for job in jobs if job.claim()]
