"""The one place that runs ONNX Runtime and owns the recurrent state of all models.

It turns in three beats, for one model at a time:

- *schedule*: give back what would be late, choose a batch;
- *execute*: run the network once over the batch;
- *update*: commit the state and send the results to the event loop, in one call for the batch.

There is no timer: an idle engine begins with the first frame that comes, and frames that come while
a step runs make up the next batch. Frames are taken by their deadlines. A session has at most one
frame here at a time, which `machine` sees to, so a batch never holds two of one.

Where there is more than one core, or a GPU, the turns have a thread of their own
(`steerstream_service.engine.thread_engine`); on one core they are turns of the event loop
(`steerstream_service.engine.loop_engine`).
"""

from __future__ import annotations

import logging
import time
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Sequence
from operator import attrgetter

from steerstream_service.domain import NEVER_NS, NotStepped, Outcome, SkipReason
from steerstream_service.engine.model_queue import Job, Lane
from steerstream_service.telemetry.logs import fields
from steerstream_service.telemetry.observer import Observer

_log = logging.getLogger(__name__)

_LATE = NotStepped(SkipReason.LATE, "no step could answer within the budget; hold the last command")
_FAILED = NotStepped(SkipReason.FAILED, "the step failed; the state is as it was before this frame")

Results = Iterable[tuple[Job, Outcome]]


class Engine(ABC):
    """Runs the lanes of all models in turns.

    `start`, `submit` and `stop` belong to the event loop's thread.

    Args:
        lanes: one for each model.
        observer: is told of every step.
    """

    def __init__(self, lanes: Sequence[Lane], observer: Observer | None = None) -> None:
        self._lanes = lanes
        self._observer = observer or Observer()

    @abstractmethod
    async def start(self) -> None:
        """Return when every lane is warm.

        Raises:
            BundleError: a network fails when it is run.
        """

    @abstractmethod
    def submit(self, job: Job) -> None:
        """Give a frame to the engine; its reply comes unless the job is claimed back before."""

    @abstractmethod
    async def stop(self) -> None:
        """Take no further turn; returns after the step that runs."""

    def _warm_up(self) -> None:
        for lane in self._lanes:
            lane.warm_up()

    @property
    def _has_work(self) -> bool:
        return any(lane.waiting for lane in self._lanes)

    def _turn(self) -> Iterator[Results]:
        """Choose a batch and step it; yields what comes of it, late frames before the step."""
        lane = min(self._lanes, key=attrgetter("earliest_ns"))
        others_ns = (other.start_by_ns for other in self._lanes if other is not lane)
        batch, late = lane.choose(time.monotonic_ns(), min(others_ns, default=NEVER_NS))
        if late:
            yield [(job, _LATE) for job in late]
        if batch:
            yield zip(batch, self._step(lane, batch), strict=True)

    def _step(self, lane: Lane, batch: list[Job]) -> list[Outcome]:
        began_ns = time.monotonic_ns()
        try:
            outcomes = lane.step(batch)
        except Exception:  # noqa: BLE001 - one of three: a fault costs this batch, never the engine
            _log.exception("step_failed", extra=fields(batch_size=len(batch)))
            return [_FAILED] * len(batch)
        step_ns = time.monotonic_ns() - began_ns
        self._observer.stepped(lane.name, len(batch), step_ns, lane.waiting)
        return outcomes


def deliver(results: Results) -> None:
    """Answer jobs; on the event loop's thread."""
    for job, outcome in results:
        job.reply(outcome)
