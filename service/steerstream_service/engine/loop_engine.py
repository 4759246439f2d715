"""The engine on the event loop's own thread, for a server that has one core.

There a second thread gains nothing: it hands frames over and back, and loses the core in the middle
of a step whenever a message comes. Here the loop does one thing at a time: it decodes a picture or
steps a batch, then reads and answers what came in the meantime. The gain is in
`docs/decisions/0012-one-core.md`.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable, Sequence

from steerstream_service.engine.engine import Engine, deliver
from steerstream_service.engine.model_queue import ModelQueue
from steerstream_service.session.frame_stages import FrameRecord
from steerstream_service.telemetry.observer import Observer

LARGEST_STEP = 8
"""Frames in a step, of any model: nothing is read, refused or answered during a step."""
_ENOUGH = 4
"""With this many frames decoded, a step comes before the next picture: otherwise the first frame
of a crowd would wait until all of it is decoded. After that step a picture has its turn, however
many frames came that need no decoding."""
_PASSES = 3
"""Passes of the event loop from one turn to the next. A message that came during a step wakes
gRPC's poller, then its future, then the stream's reader; with fewer passes the next step begins
with one or two of the frames that are here already, and a new stream waits for many turns."""
_MOST_PASSES = 48
"""Passes between two turns at most. After each message that comes in between, `_PASSES` begin
again: a server that decodes while frames wait unread decodes old frames and answers late, more so
the more come. The bound lets turns go on where the messages alone fill the core."""
_LONGEST_NS = 5_000_000
"""CPU time of the loop from one turn to the next at most: messages of megabytes take milliseconds a
pass, and so does a crowd that opens sessions. A turn that had to wait so long is followed by
others, for as long."""


class LoopEngine(Engine):
    """Turns between passes of the event loop.

    Args:
        queues: one for each model; on a CPU, because the event loop would wait for a device.
        observer: is told of every step.
    """

    def __init__(self, queues: Sequence[ModelQueue], observer: Observer | None = None) -> None:
        super().__init__(queues, observer)
        self._loop: asyncio.AbstractEventLoop | None = None
        self._next: asyncio.Handle | None = None
        self._heard = False
        self._passes = 0
        self._has_stepped = False
        self._since_ns = self._since_cpu_ns = 0
        # Bounded by the sessions: each has at most one picture with the decoder.
        self._calls: deque[Callable[[], bool]] = deque()

    async def start(self) -> None:
        """Warm up beside the event loop, which has no sessions yet; see `Engine.start`."""
        self._loop = asyncio.get_running_loop()
        await asyncio.to_thread(self._warm_up)

    def submit(self, queue: ModelQueue, record: FrameRecord) -> None:
        """Give a frame to one of the next turns; see `Engine.submit`."""
        queue.put(record)
        self._go_on()

    def call(self, call: Callable[[], bool]) -> None:
        """Call a function in one of the next turns, alone.

        Args:
            call: returns whether there was anything left to do; it must not raise.
        """
        self._calls.append(call)
        self._go_on()

    def heard(self) -> None:
        """Let what comes be read before the next turn; see `Engine.heard`."""
        self._heard = True

    async def stop(self) -> None:
        """Take no further turn."""
        if self._next is not None:
            self._next.cancel()

    def _go_on(self) -> None:
        if self._next is None:
            self._passes = 0
            self._since_ns, self._since_cpu_ns = time.monotonic_ns(), time.thread_time_ns()
            self._pass(_PASSES)

    def _pass(self, left: int) -> None:
        assert self._loop is not None, "the engine was started"
        self._passes += 1
        if self._heard and self._passes < _MOST_PASSES:
            left = _PASSES
        self._heard = False
        # CPU time is at most the time that passed, which is known without a call of the kernel.
        is_overdue = time.monotonic_ns() - self._since_ns > _LONGEST_NS and self._is_overdue
        if left and not is_overdue:
            self._next = self._loop.call_soon(self._pass, left - 1)
            return
        self._next = None
        if is_overdue:
            self._catch_up()
        else:
            self._decode_or_step()
        if self._is_needed:
            self._go_on()

    @property
    def _is_overdue(self) -> bool:
        return time.thread_time_ns() - self._since_cpu_ns > _LONGEST_NS

    def _catch_up(self) -> None:
        began_ns = time.thread_time_ns()
        self._decode_or_step()
        while self._is_needed and time.thread_time_ns() - began_ns < _LONGEST_NS:
            self._decode_or_step()

    @property
    def _is_needed(self) -> bool:
        return bool(self._calls) or self._has_work

    @property
    def _has_enough(self) -> bool:
        waiting = 0
        for queue in self._queues:
            waiting += queue.waiting
        return waiting >= _ENOUGH

    def _decode_or_step(self) -> None:
        if self._calls and (self._has_stepped or not self._has_enough):
            self._has_stepped = False
            while self._calls and not self._calls.popleft()():
                pass
        else:
            self._has_stepped = True
            for records in self._turn():
                deliver(records)


class TurnExecutor:
    """Calls functions in turns of an engine, on the event loop's thread.

    Args:
        engine: whose turns they are.
    """

    def __init__(self, engine: LoopEngine) -> None:
        self._engine = engine

    def submit(self, fn: Callable[[FrameRecord], None], record: FrameRecord, /) -> Turn:
        """Call a function in one of the next turns; see `decode_queue.Decoders`."""
        turn = Turn(fn, record)
        self._engine.call(turn.take)
        return turn

    def shutdown(self, *, cancel_futures: bool = False) -> None:
        """There is no thread to end; see `Executor`."""


class Turn:
    """A call that has its turn later, and what came of it; see `decode_queue.Decoding`.

    It belongs to one thread. The lock and the condition of a future took 11 us a picture.

    Args:
        fn: what is called.
        record: with what.
    """

    __slots__ = ("_callback", "_error", "_fn", "_has_begun", "_record")

    def __init__(self, fn: Callable[[FrameRecord], None], record: FrameRecord) -> None:
        self._fn: Callable[[FrameRecord], None] | None = fn
        self._record = record
        self._has_begun = False
        self._error: Exception | None = None
        self._callback: Callable[[Turn], object] | None = None

    def take(self) -> bool:
        """Make the call; returns whether it was still wanted."""
        fn, self._fn = self._fn, None
        if fn is None:
            return False
        self._has_begun = True
        try:
            fn(self._record)
        except Exception as error:  # noqa: BLE001 - it is handed on
            self._error = error
        if self._callback is not None:
            self._callback(self)
        return True

    def cancel(self) -> bool:
        """Take the call back; returns False where it has begun."""
        self._fn = None
        return not self._has_begun

    def cancelled(self) -> bool:
        """Whether the call was taken back."""
        return self._fn is None and not self._has_begun

    def exception(self) -> Exception | None:
        """Return what the call raised."""
        return self._error

    def add_done_callback(self, fn: Callable[[Turn], object], /) -> None:
        """Call a function after the call, unless it is taken back; one function at most."""
        self._callback = fn
