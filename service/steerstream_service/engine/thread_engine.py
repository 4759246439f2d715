"""The engine on its own thread: steps run beside decoding and the event loop."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Sequence
from queue import Empty, SimpleQueue

from steerstream_service.engine.engine import Engine, deliver
from steerstream_service.engine.model_queue import ModelQueue
from steerstream_service.errors import StuckError
from steerstream_service.session.frame_stages import FrameRecord
from steerstream_service.telemetry.observer import Observer

_STOP_S = 5.0
"""For the step that runs when the server stops: a hundred periods of a 20 Hz camera."""


class ThreadEngine(Engine):
    """Turns on one thread, which waits where there is no work.

    Args:
        queues: one for each model.
        observer: is told of every step.
    """

    def __init__(self, queues: Sequence[ModelQueue], observer: Observer | None = None) -> None:
        super().__init__(queues, observer)
        waits = [queue.keep_warm_s for queue in queues if queue.keep_warm_s is not None]
        self._keep_warm_s = min(waits, default=None)
        # Bounded by the sessions: each has at most one frame here, and those that it took back.
        self._inbox: SimpleQueue[tuple[ModelQueue, FrameRecord] | None] = SimpleQueue()
        self._thread: threading.Thread | None = None

    async def start(self) -> None:
        """Start the thread; see `Engine.start`."""
        loop = asyncio.get_running_loop()
        warm: asyncio.Future[None] = loop.create_future()
        thread = threading.Thread(target=self._main, args=(loop, warm), name="engine", daemon=True)
        thread.start()
        self._thread = thread
        await warm

    def submit(self, queue: ModelQueue, record: FrameRecord) -> None:
        """Give a frame to the thread; see `Engine.submit`."""
        self._inbox.put((queue, record))

    async def stop(self) -> None:
        """End the thread after the step that it is in; see `Engine.stop`."""
        if self._thread is not None:
            self._inbox.put(None)
            await asyncio.to_thread(self._thread.join, _STOP_S)
            if self._thread.is_alive():
                raise StuckError(f"a step has not ended within {_STOP_S:g} s after the drain")

    def _main(self, loop: asyncio.AbstractEventLoop, warm: asyncio.Future[None]) -> None:
        try:
            self._warm_up()
        except Exception as error:  # noqa: BLE001 - raised where the start is waited for
            loop.call_soon_threadsafe(warm.set_exception, error)
            return
        loop.call_soon_threadsafe(warm.set_result, None)
        while self._collect():
            for records in self._turn():
                loop.call_soon_threadsafe(deliver, records)

    def _collect(self) -> bool:
        """Take what has come; wait only if there is nothing to do. False ends the thread."""
        idle = not self._has_work
        while idle or not self._inbox.empty():
            try:
                submitted = self._inbox.get(timeout=self._keep_warm_s)
            except Empty:
                self._step_began_ns = time.monotonic_ns()
                for queue in self._queues:
                    queue.keep_warm()
                self._step_began_ns = None
                continue
            if submitted is None:
                return False
            queue, record = submitted
            queue.put(record)
            idle = False
        return True
