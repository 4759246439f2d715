"""Load generators in processes of their own, on cores of their own.

A generator that shares a core with the server takes from it what it measures. The processes live
as long as the crew, so that a search that runs many loads pays for their start once.
"""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import gc
import multiprocessing
import os
import selectors
from collections.abc import Coroutine, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool

from benchmark.errors import BenchmarkError
from benchmark.loadgen import closed_loop, open_loop
from benchmark.loadgen.flood import Flood, flood
from benchmark.loadgen.tally import Tally, total
from steerstream.failures import RpcFailed

Job = open_loop.Load | closed_loop.ClosedLoop | Flood


class Crew:
    """Processes that generate load; `crew` makes it."""

    def __init__(self, workers: Sequence[ProcessPoolExecutor]) -> None:
        self._workers = workers

    def run(self, target: str, job: open_loop.Load) -> Tally:
        """Run one load, its vehicles shared out among the processes.

        Raises:
            BenchmarkError: a process could not do its part.
        """
        return total(self.run_all(target, _shares(job, len(self._workers))))

    def run_all(self, target: str, jobs: Sequence[Job]) -> list[Tally]:
        """Run several loads at once, each in a process of its own.

        Raises:
            BenchmarkError: a process could not do its part.
        """
        started = [
            worker.submit(_work, target, job)
            for worker, job in zip(self._workers, jobs, strict=False)
        ]
        return [_result(future) for future in started]


@contextlib.contextmanager
def crew(processes: int, cores: Sequence[int], *, niceness: Sequence[int] = ()) -> Iterator[Crew]:
    """Start processes that generate load and end them with the context.

    Args:
        processes: how many.
        cores: where they run.
        niceness: one for each process; 0 where there are fewer.
    """
    context = multiprocessing.get_context("spawn")
    nice = [*niceness, *[0] * processes][:processes]
    with contextlib.ExitStack() as stack:
        yield Crew(
            [
                stack.enter_context(
                    ProcessPoolExecutor(
                        1, mp_context=context, initializer=_settle, initargs=(list(cores), value)
                    )
                )
                for value in nice
            ]
        )


def _shares(job: open_loop.Load, processes: int) -> list[open_loop.Load]:
    """Split a load's vehicles evenly; the shares differ in name and seed."""
    counts = [
        job.vehicles // processes + (index < job.vehicles % processes) for index in range(processes)
    ]
    return [
        dataclasses.replace(
            job, vehicles=count, name=f"{job.name}-{index}", seed=job.seed * processes + index
        )
        for index, count in enumerate(counts)
        if count
    ]


def _settle(cores: Sequence[int], niceness: int) -> None:
    os.sched_setaffinity(0, cores)
    os.nice(niceness)


def _work(target: str, job: Job) -> Tally:
    # A collection in the middle of a run would make the client late.
    gc.collect()
    gc.disable()
    try:
        with asyncio.Runner(loop_factory=_precise_loop) as runner:
            return runner.run(_run(target, job))
    except RpcFailed as failure:
        # An error of gRPC does not travel between processes.
        raise BenchmarkError(str(failure)) from None
    finally:
        gc.enable()


def _run(target: str, job: Job) -> Coroutine[None, None, Tally]:
    match job:
        case open_loop.Load():
            return open_loop.run(target, job)
        case closed_loop.ClosedLoop():
            return closed_loop.run(target, job)
        case Flood():
            return flood(target, job)


def _precise_loop() -> asyncio.AbstractEventLoop:
    """Return an event loop that keeps time to microseconds; epoll's rounds up to milliseconds."""
    return asyncio.SelectorEventLoop(selectors.SelectSelector())


def _result(future: Future[Tally]) -> Tally:
    try:
        return future.result()
    except BrokenProcessPool:
        raise BenchmarkError("a load generator died; is there memory for it?") from None
