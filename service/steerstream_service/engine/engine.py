"""The one place that runs ONNX Runtime and owns the recurrent state of all models.

The engine works in turns, each for one model:

- *schedule*: give back what would be late, choose a batch;
- *execute*: run the network once over the batch;
- *update*: commit the state and send the results to the event loop, in one call for the batch.

There is no timer: an idle engine begins with the first frame that comes, and frames that come while
a step runs make up the next batch. Frames are taken by their deadlines. A session submits one frame
at a time (`session/machine.py`), so a batch never holds two of one session.

With more than one core, or a GPU, the turns have their own thread
(`steerstream_service.engine.thread_engine`); on one core they are turns of the event loop
(`steerstream_service.engine.loop_engine`).

Where the server can do a thing in several ways (`Engine`, `Stepper`, `Accelerator`), an abstract
base class holds what the ways share, and Python refuses to make an object that lacks a method. The
methods of `Observer` do nothing instead, so that an observer has only those that it needs.
"""

from __future__ import annotations

import logging
import time
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from operator import attrgetter

from steerstream_service.domain import NEVER_NS, NotStepped, SkipReason
from steerstream_service.engine.model_queue import ModelQueue
from steerstream_service.session.frame_stages import FrameRecord
from steerstream_service.telemetry.logs import fields
from steerstream_service.telemetry.observer import Observer

_log = logging.getLogger(__name__)

_LATE = NotStepped(SkipReason.LATE, "no step could answer within the budget; hold the last command")
_FAILED = NotStepped(SkipReason.FAILED, "the step failed; the state is as it was before this frame")


class Engine(ABC):
    """Runs the queues of all models in turns.

    `start`, `submit` and `stop` belong to the event loop's thread.

    Args:
        queues: one for each model.
        observer: is told of every step.
    """

    def __init__(self, queues: Sequence[ModelQueue], observer: Observer | None = None) -> None:
        # Replaced and never changed, because the engine's thread reads it.
        self._queues = tuple(queues)
        self._observer = observer or Observer()
        self._step_began_ns: int | None = None

    @property
    def step_s(self) -> float:
        """How long the present step has taken; 0.0 between steps. Safe to read from any thread."""
        began_ns = self._step_began_ns
        return 0.0 if began_ns is None else (time.monotonic_ns() - began_ns) / 1e9

    @abstractmethod
    async def start(self) -> None:
        """Return when every network is warm.

        Raises:
            BundleError: a network fails when it is run.
        """

    def add(self, queue: ModelQueue) -> None:
        """Take a queue whose network is warm; its model is served from now on."""
        self._queues = (*self._queues, queue)

    def remove(self, queue: ModelQueue) -> None:
        """Let go of a queue that no session uses any more."""
        self._queues = tuple(other for other in self._queues if other is not queue)

    @abstractmethod
    def submit(self, queue: ModelQueue, record: FrameRecord) -> None:
        """Give a frame to the engine, which owns it until it calls `reply`, or somebody claims it.

        Args:
            queue: the model that drives the session.
            record: the frame; its session has no other one here.
        """

    def heard(self) -> None:  # noqa: B027 - most engines do not share the event loop's thread
        """A message came; more may wait behind it. To be called on the event loop's thread."""

    @abstractmethod
    async def stop(self) -> None:
        """Take no further turn; returns after the step that runs.

        Raises:
            StuckError: the step does not end.
        """

    def _warm_up(self) -> None:
        for queue in self._queues:
            queue.warm_up()

    @property
    def _has_work(self) -> bool:
        for queue in self._queues:  # noqa: SIM110 - `any` takes twice as long, and this comes often
            if queue.waiting:
                return True
        return False

    def _turn(self) -> Iterator[Sequence[FrameRecord]]:
        """Choose a batch and step it; yields frames with their outcomes, late ones first."""
        queue = min(self._queues, key=attrgetter("earliest_ns"))
        others_ns = (other.start_by_ns for other in self._queues if other is not queue)
        batch, late = queue.choose(time.monotonic_ns(), min(others_ns, default=NEVER_NS))
        if late:
            for record in late:
                record.outcome = _LATE
            yield late
        if batch:
            self._step(queue, batch)
            yield batch

    def _step(self, queue: ModelQueue, batch: Sequence[FrameRecord]) -> None:
        self._step_began_ns = began_ns = time.monotonic_ns()
        try:
            queue.step(batch)
        except Exception:  # noqa: BLE001 - one of four: a fault costs this batch, never the engine
            _log.exception("step_failed", extra=fields(batch_size=len(batch)))
            for record in batch:
                record.outcome = _FAILED
            return
        finally:
            self._step_began_ns = None
        step_ns = time.monotonic_ns() - began_ns
        self._observer.stepped(queue.name, len(batch), step_ns, queue.waiting)


def deliver(records: Sequence[FrameRecord]) -> None:
    """Give frames back to their sessions; on the event loop's thread."""
    for record in records:
        record.reply(record)
