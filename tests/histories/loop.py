"""An event loop with virtual time for several processes, each with clocks that are its own.

Every callback belongs to a process, by its context. A process runs its callbacks one after the
other, in passes as asyncio does, and each takes time that is drawn from the seed; the others go on
in the same time. So a step or a pause of one process delays nobody else, and a whole fleet runs in
one thread. What asyncio promises is kept: callbacks run in the order in which they were scheduled.
Where it promises nothing, as to whether messages or timers come first, the seed decides.

`looptime` has virtual time, but one clock for all and no seed. `simloop` and `seedloop` have both,
and want Python 3.12.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import time
from collections import deque
from collections.abc import Callable, Coroutine, Iterator
from contextvars import Context, ContextVar, copy_context
from heapq import heappop, heappush
from itertools import count
from typing import Any, TypeVar, TypeVarTuple
from unittest import mock

MS = 1_000_000
_T = TypeVar("_T")
_Ts = TypeVarTuple("_Ts")
_NEVER = 1 << 62
_TIMERS_FIRST = 0.3
"""Share of the passes that run timers before messages, as uvloop does."""


class StuckError(Exception):
    """Nothing can happen any more, although somebody waits."""


class Process:
    """One process, or a thread of one: its clocks, and what it has still to run.

    Args:
        name: for people.
        callback_ns: what a callback takes on average; 0 for the one that looks on.
        clock_ns: its monotonic clock at the beginning of the history.
        wall_skew_ns: its wall clock less the true time.
        main: the process of a thread, which runs what the thread posts to it.
    """

    def __init__(
        self,
        name: str,
        *,
        callback_ns: int = 0,
        clock_ns: int = 0,
        wall_skew_ns: int = 0,
        main: Process | None = None,
    ) -> None:
        self.name = name
        self.main = main or self
        self.callback_ns = callback_ns
        self.clock_ns = clock_ns
        self.wall_skew_ns = wall_skew_ns
        self.is_dead = False
        self.free_ns = 0
        self.wakes_ns = _NEVER
        self.cpu_ns = 0
        self.longest_pass_ns = 0
        self.frozen_ns = 0
        self.ready: deque[asyncio.Handle] = deque()
        self.timers: list[tuple[int, int, asyncio.Handle]] = []
        self.messages: list[tuple[int, int, asyncio.Handle]] = []

    def freeze(self, until_ns: int) -> None:
        """Run nothing before this time: stopped by a signal, or by its machine."""
        self.frozen_ns += max(0, until_ns - self.free_ns)
        self.free_ns = max(self.free_ns, until_ns)


_process: ContextVar[Process] = ContextVar("process")


class VirtualLoop(asyncio.BaseEventLoop):
    """The event loop of all processes of one history.

    Args:
        rng: where every choice comes from.

    Attributes:
        local_ns: the time of the process that runs, or of the history between callbacks.
        faults: what asyncio reported to its exception handler.
        looker_on: the process of whoever directs the history; it takes no time.
    """

    def __init__(self, rng: random.Random) -> None:
        super().__init__()
        self._random = rng.random
        self._numbers = count()
        self._wakes: list[tuple[int, int, Process]] = []
        self._runs: Process | None = None
        self.local_ns = 0
        self.faults: list[str] = []
        self.looker_on = Process("looker-on")
        self.set_exception_handler(self._note_fault)
        self.ends_ns = _NEVER

    # What asyncio asks of a loop.

    def time(self) -> float:
        """The monotonic clock of the process that runs."""
        return (self.local_ns + self.process.clock_ns) / 1e9

    def call_soon(
        self, callback: Callable[[*_Ts], object], *args: *_Ts, context: Context | None = None
    ) -> asyncio.Handle:
        context = context or copy_context()
        handle = asyncio.Handle(callback, args, self, context)
        process = context.get(_process, self.looker_on)
        process.ready.append(handle)
        if process is not self._runs:
            self._plan(process, self.local_ns)
        return handle

    def call_soon_threadsafe(
        self, callback: Callable[[*_Ts], object], *args: *_Ts, context: Context | None = None
    ) -> asyncio.Handle:
        return self.at(self.process.main, self.local_ns, callback, *args)

    def call_later(
        self,
        delay: float,
        callback: Callable[[*_Ts], object],
        *args: *_Ts,
        context: Context | None = None,
    ) -> asyncio.TimerHandle:
        return self.call_at(self.time() + delay, callback, *args, context=context)

    def call_at(
        self,
        when: float,
        callback: Callable[[*_Ts], object],
        *args: *_Ts,
        context: Context | None = None,
    ) -> asyncio.TimerHandle:
        context = context or copy_context()
        handle = asyncio.TimerHandle(when, callback, args, self, context)
        process = context.get(_process, self.looker_on)
        when_ns = max(round(when * 1e9) - process.clock_ns, self.local_ns)
        heappush(process.timers, (when_ns, next(self._numbers), handle))
        if process is not self._runs:
            self._plan(process, when_ns)
        return handle

    def run_in_executor(
        self, executor: object, func: Callable[[*_Ts], _T], *args: *_Ts
    ) -> asyncio.Future[_T]:
        """Run a function as if in another thread: its result comes a while later."""
        future: asyncio.Future[_T] = self.create_future()

        def run() -> None:
            try:
                result = func(*args)
            except Exception as error:  # noqa: BLE001 - raised where the result is awaited
                if not future.done():
                    future.set_exception(error)
            else:
                if not future.done():
                    future.set_result(result)

        self.at(self.process, self.local_ns + int(2 * MS * self._random()), run)
        return future

    def _timer_handle_cancelled(self, handle: asyncio.TimerHandle) -> None:
        """Cancelled timers stay until their time."""

    def _write_to_self(self) -> None:
        """There is no other thread to wake."""

    def _run_once(self) -> None:
        while True:
            if not self._wakes:
                raise StuckError("nothing can happen any more")
            when_ns, _, process = heappop(self._wakes)
            if when_ns != process.wakes_ns or process.is_dead:
                continue
            process.wakes_ns = _NEVER
            if when_ns < process.free_ns:
                self._plan(process, process.free_ns)
                continue
            if when_ns > self.ends_ns:
                raise StuckError("the history does not end")
            self._pass(process, when_ns)
            return

    # Beyond asyncio.

    @property
    def process(self) -> Process:
        """The process whose callback runs."""
        return _process.get(self.looker_on)

    def at(
        self, process: Process, when_ns: int, callback: Callable[..., Any], *args: Any
    ) -> asyncio.Handle:
        """Call a function in a process at a time of the history, as a message that arrives."""
        context = copy_context()
        context.run(_process.set, process)
        handle = asyncio.Handle(callback, args, self, context)
        heappush(process.messages, (when_ns, next(self._numbers), handle))
        if process is not self._runs:
            self._plan(process, when_ns)
        return handle

    def spawn(self, process: Process, coroutine: Coroutine[Any, Any, Any]) -> asyncio.Task[Any]:
        """Begin a task in a process."""
        context = copy_context()
        context.run(_process.set, process)
        return context.run(self.create_task, coroutine)

    def spend(self, duration_ns: int) -> None:
        """The callback that runs takes this much longer."""
        self.local_ns += duration_ns

    def kill(self, process: Process) -> None:
        """Run nothing of a process any more."""
        process.is_dead = True

    def revive(self, process: Process) -> None:
        """Run what a dead process had to run, so that its tasks can be cancelled and end."""
        process.is_dead, process.free_ns, process.wakes_ns = False, 0, _NEVER
        self._plan(process, self.local_ns)

    def _plan(self, process: Process, when_ns: int) -> None:
        when_ns = max(when_ns, process.free_ns)
        if when_ns < process.wakes_ns:
            process.wakes_ns = when_ns
            heappush(self._wakes, (when_ns, next(self._numbers), process))

    def _pass(self, process: Process, began_ns: int) -> None:
        """Run what is ready, as one pass of asyncio's loop does."""
        self.local_ns, self._runs = began_ns, process
        self._take_due(process, began_ns)
        ready, callback_ns = process.ready, process.callback_ns
        for _ in range(len(ready)):
            handle = ready.popleft()
            if handle._cancelled:
                continue
            if callback_ns:
                self.local_ns += int(2 * callback_ns * self._random())
            handle._run()
            if process.is_dead:
                break
        took_ns = self.local_ns - began_ns
        process.cpu_ns += took_ns
        process.longest_pass_ns = max(process.longest_pass_ns, took_ns)
        process.free_ns = max(self.local_ns, process.free_ns)
        self._runs = None
        due_ns = [source[0][0] for source in (process.messages, process.timers) if source]
        if ready:
            due_ns.append(process.free_ns)
        if due_ns:
            self._plan(process, min(due_ns))

    def _take_due(self, process: Process, now_ns: int) -> None:
        sources = [process.messages, process.timers]
        if self._random() < _TIMERS_FIRST:
            sources.reverse()
        for source in sources:
            while source and source[0][0] <= now_ns:
                handle = heappop(source)[2]
                if not handle._cancelled:
                    process.ready.append(handle)

    def _note_fault(self, _loop: object, context: dict[str, Any]) -> None:
        error = context.get("exception")
        self.faults.append(f"{context.get('message')}: {error!r}")


@contextlib.contextmanager
def virtual_time(loop: VirtualLoop, seed: int) -> Iterator[None]:
    """Let the clocks and the chances of this process come from the loop and the seed."""

    def monotonic_ns() -> int:
        return loop.local_ns + loop.process.clock_ns

    def cpu_ns() -> int:
        return loop.process.cpu_ns

    def wall_s() -> float:
        return 1.7e9 + (loop.local_ns + loop.process.wall_skew_ns) / 1e9

    before = random.getstate()
    random.seed(seed)
    try:
        with (
            mock.patch.object(time, "monotonic_ns", monotonic_ns),
            mock.patch.object(time, "monotonic", loop.time),
            mock.patch.object(time, "process_time_ns", cpu_ns),
            mock.patch.object(time, "thread_time_ns", cpu_ns),
            mock.patch.object(time, "time", wall_s),
        ):
            yield
    finally:
        random.setstate(before)
