"""The one thread that owns ONNX Runtime and the recurrent state of all models.

It turns in three beats, for one model at a time:

- *schedule*: take what has come, give back what would be late, choose a batch;
- *execute*: run the network once over the batch;
- *update*: commit the state and send the results to the event loop, in one call for the batch.

There is no timer: an idle engine begins with the first frame that comes, and frames that come while
a step runs make up the next batch. Frames are taken by their deadlines. A session has at most one
frame here at a time, which :mod:`service.session` sees to, so a batch never holds two of one.
"""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections.abc import Sequence
from operator import attrgetter
from queue import Empty, SimpleQueue

from service.domain import NEVER_NS, NotStepped, Outcome, SkipReason
from service.errors import BundleError
from service.lane import Job, Lane
from service.observer import Observer
from service.telemetry import fields

_log = logging.getLogger(__name__)

_LATE = NotStepped(SkipReason.LATE, "no step could answer within the budget; hold the last command")
_FAILED = NotStepped(SkipReason.FAILED, "the step failed; the state is as it was before this frame")

Results = list[tuple[Job, Outcome]]


class Engine:
    """Runs the lanes of all models on one thread.

    :meth:`start`, :meth:`submit` and :meth:`stop` belong to the event loop's thread.

    Args:
        lanes: one for each model.
        observer: is told of every step.
    """

    def __init__(self, lanes: Sequence[Lane], observer: Observer | None = None) -> None:
        self._lanes = lanes
        self._observer = observer or Observer()
        waits = [lane.keep_warm_s for lane in lanes if lane.keep_warm_s is not None]
        self._keep_warm_s = min(waits, default=None)
        # Bounded by the sessions: each has at most one frame here, and what it recalled.
        self._inbox: SimpleQueue[Job | None] = SimpleQueue()
        self._thread: threading.Thread | None = None

    async def start(self) -> None:
        """Start the thread and wait until every lane is warm.

        Raises:
            BundleError: a network fails when it is run.
        """
        loop = asyncio.get_running_loop()
        warm: asyncio.Future[None] = loop.create_future()
        self._thread = threading.Thread(
            target=self._main, args=(loop, warm), name="engine", daemon=True
        )
        self._thread.start()
        await warm

    def submit(self, job: Job) -> None:
        """Give a frame to the engine; its reply comes unless the job is claimed back before."""
        self._inbox.put(job)

    async def stop(self) -> None:
        """End the thread after the step that it is in."""
        if self._thread is not None:
            self._inbox.put(None)
            await asyncio.to_thread(self._thread.join)

    def _main(self, loop: asyncio.AbstractEventLoop, warm: asyncio.Future[None]) -> None:
        try:
            for lane in self._lanes:
                lane.warm_up()
        except BundleError as error:
            loop.call_soon_threadsafe(warm.set_exception, error)
            return
        loop.call_soon_threadsafe(warm.set_result, None)
        while self._collect():
            self._turn(loop)

    def _collect(self) -> bool:
        """Take what has come, and wait only if there is nothing to do; False ends the thread."""
        idle = not any(lane.waiting for lane in self._lanes)
        while idle or not self._inbox.empty():
            try:
                job = self._inbox.get(timeout=self._keep_warm_s)
            except Empty:
                for lane in self._lanes:
                    lane.keep_warm()
                continue
            if job is None:
                return False
            job.lane.put(job)
            idle = False
        return True

    def _turn(self, loop: asyncio.AbstractEventLoop) -> None:
        lane = min(self._lanes, key=attrgetter("earliest_ns"))
        others_ns = (other.start_by_ns for other in self._lanes if other is not lane)
        batch, late = lane.choose(time.monotonic_ns(), min(others_ns, default=NEVER_NS))
        if late:
            results: Results = [(job, _LATE) for job in late]
            loop.call_soon_threadsafe(_deliver, results)
        if batch:
            outcomes = self._step(lane, batch)
            loop.call_soon_threadsafe(_deliver, list(zip(batch, outcomes, strict=True)))

    def _step(self, lane: Lane, batch: list[Job]) -> list[Outcome]:
        began_ns = time.monotonic_ns()
        try:
            outcomes = lane.step(batch)
        except Exception:  # noqa: BLE001 - one of two: a fault costs this batch, never the engine
            _log.exception("step_failed", extra=fields(batch_size=len(batch)))
            return [_FAILED] * len(batch)
        step_ns = time.monotonic_ns() - began_ns
        self._observer.stepped(lane.name, len(batch), step_ns, lane.waiting)
        return outcomes


def _deliver(results: Results) -> None:
    for job, outcome in results:
        job.reply(outcome)
