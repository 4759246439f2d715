"""One model in the engine: its steps, what they cost, and the frames that wait for one.

A queue belongs to the engine's thread; `step_cost_ns`, `ring_length`, `waiting` and `pool` may be
read from the event loop's.
"""

from __future__ import annotations

import contextlib
import time
from bisect import insort
from collections.abc import Sequence
from operator import attrgetter
from typing import TypeAlias

from steerstream_bundle.errors import BundleError, StepError
from steerstream_bundle.loading import Bundle
from steerstream_service.domain import NEVER_NS, NotStepped, SkipReason, Stepped
from steerstream_service.engine import batching
from steerstream_service.engine.host_stepper import HostStepper
from steerstream_service.engine.ring_length import ring_length
from steerstream_service.engine.step_cost import StepCost
from steerstream_service.engine.stepper import Stepper
from steerstream_service.session.frame_stages import FrameRecord

_MEASURED_RUNS = 3
"""Runs of each bucket before the server serves, after the one that allocates. The quickest counts:
a cost that a stall raised above every budget would have every vehicle refused, and only frames
correct a cost."""
_PAUSE_NS = 5_000_000
"""Without a step for this long the engine is cold: a few steps' time, far below a camera's period,
so that the frames of one drive alone count as cold and those of a busy server do not."""
_LOOK_AHEAD = 4
"""Batches to choose among where more frames wait: frames behind them begin so late that the next
step makes little difference to them, and the choice takes no longer for a thousand frames."""

_Frames: TypeAlias = list[FrameRecord]

_deadline = attrgetter("deadline_ns")
_NOT_FINITE = NotStepped(
    SkipReason.FAILED, "the network's state was not a number; it is as it was before this frame"
)


class ModelQueue:
    """One model in the engine: its network, its sessions' state, and the frames that wait for it.

    Args:
        bundle: the network.
        sessions: slots of its state pool.
        max_batch: frames in one step.
        name: the name that it is served under; by default its contract's.
    """

    def __init__(self, bundle: Bundle, *, sessions: int, max_batch: int, name: str = "") -> None:
        self.cost = StepCost(max_batch, pads=bundle.runtime.pads_batches)
        self._waiting: _Frames = []
        self._stepper = _open_stepper(bundle, sessions, self.cost.buckets)
        self.pool = self._stepper.pool
        self.name = name or bundle.contract.name
        self._times = [attrgetter(item.name) for item in bundle.contract.time_inputs]
        self._looked_at = _LOOK_AHEAD * max_batch
        self._ended_ns = 0
        self.ring_length = 0
        """Frames that decide what the network's rings hold; known once it is warm."""

    @property
    def keep_warm_s(self) -> float | None:
        """After so long without a frame, `keep_warm` is due; None: never."""
        return self._stepper.keep_warm_s

    @property
    def step_cost_ns(self) -> int:
        """The present cost of a step of one frame."""
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

    def put(self, record: FrameRecord) -> None:
        """Let a frame wait, in the order of deadlines; of equal ones the first stays first."""
        waiting = self._waiting
        if not waiting or record.deadline_ns >= waiting[-1].deadline_ns:
            waiting.append(record)
        else:
            insort(waiting, record, key=_deadline)

    def warm_up(self) -> None:
        """Run every bucket on the sentinel slot, and measure it and the length of its rings.

        Raises:
            BundleError: the network fails, or its outputs are not shaped as its contract says.
        """
        try:
            for size in self.cost.buckets:
                self._warm_up_bucket(size)
            self.ring_length = ring_length(self._stepper)
        except StepError as error:
            raise BundleError(f"{self.name}: the network fails: {error}") from None

    def keep_warm(self) -> None:
        """Run the smallest bucket on the sentinel slot, so that the next frame's step is quick."""
        # A device that fails says so at that step, where somebody is answered.
        with contextlib.suppress(StepError):
            self._stepper.warm_up(self.cost.buckets[0])

    def choose(self, now_ns: int, free_by_ns: int = NEVER_NS) -> tuple[_Frames, _Frames]:
        """Take a batch from what waits, earliest deadline first; see `batching`.

        Args:
            now_ns: the time.
            free_by_ns: when other queues want the engine at the latest.

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

    def step(self, batch: Sequence[FrameRecord]) -> None:
        """Run one step over a batch, commit the new state, and set the frames' outcomes.

        Raises:
            StepError: the network failed; the state is as it was.
        """
        saved = {at: item.saves_rings for at, item in enumerate(batch) if item.saves_state}
        began_ns = time.monotonic_ns()
        rows = self._stepper.step(
            [record.pixels for record in batch],
            [record.slot for record in batch],
            [record.reset for record in batch],
            [list(map(time_s, batch)) for time_s in self._times],
            load={at: item.state for at, item in enumerate(batch) if item.state is not None},
            save=saved,
        )
        infer_ns = time.monotonic_ns() - began_ns
        cold = began_ns - self._ended_ns > _PAUSE_NS
        self._ended_ns = began_ns + infer_ns
        self.cost.measured(len(batch), infer_ns, cold=cold)
        for record, values, fit in zip(batch, rows.outputs, rows.fit, strict=True):
            record.outcome = Stepped(values, began_ns, infer_ns, len(batch)) if fit else _NOT_FINITE
        for at, state in zip(saved, rows.saved, strict=True):
            outcome = batch[at].outcome
            if isinstance(outcome, Stepped):
                outcome.state = state

    def _warm_up_bucket(self, size: int) -> None:
        self._stepper.warm_up(size)
        self.cost.measured(size, min(self._run_ns(size) for _ in range(_MEASURED_RUNS)))

    def _run_ns(self, size: int) -> int:
        began_ns = time.monotonic_ns()
        self._stepper.warm_up(size)
        return time.monotonic_ns() - began_ns

    def _take_first(self) -> _Frames:
        """Take the frames that are looked at, and drop those before them that were taken back."""
        first: _Frames = []
        seen = 0
        for record in self._waiting:
            seen += 1
            if not record.is_claimed:
                first.append(record)
                if len(first) == self._looked_at:
                    break
        del self._waiting[:seen]
        return first


def _claimed(records: Sequence[FrameRecord]) -> _Frames:
    return [record for record in records if record.claim()]


def _open_stepper(bundle: Bundle, sessions: int, buckets: Sequence[int]) -> Stepper:
    """Return a stepper with its state on the GPU if one runs the bundle, else on the host."""
    if not bundle.runtime.provider.pool_on_device:
        return HostStepper(bundle, sessions=sessions, buckets=buckets)
    try:
        # It needs the package onnx, which a server without a GPU does not have.
        from steerstream_service.engine import device_stepper  # noqa: PLC0415
    except ModuleNotFoundError as error:
        raise BundleError(f"{error}; install it with: pip install onnx") from None
    return device_stepper.open_on_gpu(bundle, sessions=sessions, buckets=buckets)
