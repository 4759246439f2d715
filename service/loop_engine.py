"""The engine on the event loop's own thread, for a server that has one core.

There a second thread runs nothing beside the first: it hands frames over and back, and is taken off
the core in the middle of a step whenever a message comes. Here a step runs to its end, and what
came meanwhile is read after it. What that gains is in ``docs/decisions/0012-one-core.md``.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from service.engine import Engine, deliver
from service.lane import Job, Lane
from service.observer import Observer

LARGEST_STEP = 8
"""Frames in a step, of any model: nothing is read, refused or answered while one runs."""
_PASSES = 3
"""Passes of the event loop from one step to the next. A message that came during a step wakes
gRPC's poller, then its future, then the stream's reader; with fewer passes the next step begins
with one or two of the frames that are here already."""


class LoopEngine(Engine):
    """Turns between passes of the event loop.

    Args:
        lanes: one for each model; on a CPU, for a device would be waited for here.
        observer: is told of every step.
    """

    def __init__(self, lanes: Sequence[Lane], observer: Observer | None = None) -> None:
        super().__init__(lanes, observer)
        self._loop: asyncio.AbstractEventLoop | None = None
        self._next: asyncio.Handle | None = None

    async def start(self) -> None:
        """Warm up beside the event loop, which has no sessions yet; see :meth:`Engine.start`."""
        self._loop = asyncio.get_running_loop()
        await asyncio.to_thread(self._warm_up)

    def submit(self, job: Job) -> None:
        """Give a frame to one of the next turns; see :meth:`Engine.submit`."""
        job.lane.put(job)
        if self._next is None:
            self._pass(_PASSES)

    async def stop(self) -> None:
        """Take no further turn."""
        if self._next is not None:
            self._next.cancel()

    def _pass(self, left: int) -> None:
        assert self._loop is not None, "the engine was started"  # noqa: S101
        if left:
            self._next = self._loop.call_soon(self._pass, left - 1)
            return
        self._next = None
        for results in self._turn():
            deliver(results)
        if self._next is None and self._has_work:
            self._pass(_PASSES)
