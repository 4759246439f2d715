"""A server that stands still for a moment: how soon is every frame in time again?

Vehicles drive at 80 % of what the server can carry. Its processes are stopped (SIGSTOP) for 300 ms
and go on (SIGCONT), several times. The time after each stall is cut into windows of one period of
the cameras, so that every vehicle has one frame due in each. The server has recovered when ten
windows follow each other in which every vehicle's frame was answered within the budget; the time
counts from the stall's end to the first of them, in whole windows.
"""

from __future__ import annotations

import argparse
import asyncio
import collections
import contextlib
import dataclasses
import gc
import math
import os
import random
import signal
import statistics
import time
from collections.abc import Collection, Iterator, Sequence
from typing import Any

from benchmark import progress
from benchmark.commands import server_options as shared
from benchmark.commands.overload import searched_capacity
from benchmark.errors import BenchmarkError
from benchmark.host import cpu_time
from benchmark.host.machine import Moment
from benchmark.loadgen import open_loop, transport
from benchmark.loadgen.open_loop import Load, Retry
from benchmark.loadgen.tally import Tally
from benchmark.loadgen.timing import NS_PER_MS, NS_PER_S
from benchmark.loadgen.transport import Answer
from reports import text
from steerstream.command_line import count, positive
from steerstream.testing.server_process import Server

HELP = "a server that is stopped for 300 ms: until all frames are in time again"
SHARE = 0.8
"""Of the capacity."""
SETTLED_WINDOWS = 10


@dataclasses.dataclass(slots=True, kw_only=True)
class Timeline(Tally):
    """A tally that keeps when the frames were due that were answered in time."""

    in_time_due_ns: list[int] = dataclasses.field(default_factory=list)

    def add_answer(self, answer: Answer, received_ns: int, due_ns: int) -> None:
        """Count the answer to a frame; see `Tally`."""
        before = self.in_time
        # Without arguments, super() does not work in a dataclass with slots.
        Tally.add_answer(self, answer, received_ns, due_ns)
        if self.in_time > before:
            self.in_time_due_ns.append(due_ns)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the benchmark's options."""
    shared.add_server(parser)
    shared.add_load(parser, seconds=3.0)
    add = parser.add_argument
    add("--capacity", type=count, help="vehicles that are carried; searched if not given")
    add("--stalls", type=count, default=10, help="one after the other; --seconds follow on each")
    add("--stall-ms", type=positive, default=300.0, help="length of each")
    add("--seed", type=int, default=0, help="of the moments of the stalls")


def run(options: argparse.Namespace) -> dict[str, Any]:
    """Drive, stop the server several times, and return how soon it recovers.

    Raises:
        BenchmarkError: the server was not started here, or a load generator failed.
    """
    with shared.server(options) as server:
        if server.pid is None:
            raise BenchmarkError("only a server that is started here is stopped; omit --target")
        load = shared.as_sent(shared.load(options, retry=Retry.AFTER_HINT), server, options)
        capacity = options.capacity or _capacity(options, server, load)
        stalls = _stalls(options, load.rate_hz)
        load = dataclasses.replace(
            load,
            vehicles=max(1, round(SHARE * capacity)),
            seconds=options.seconds + sum(pause_s + stall_s for pause_s, stall_s in stalls),
        )
        before = Moment.now(server.pid)
        what = f"{load.vehicles} vehicles, {len(stalls)} stalls"
        with progress.step(what, load.total_s), _on(options.client_cores):
            timeline, ends_ns = asyncio.run(_drive(server, load, stalls))
        taken = Moment.now(server.pid).since(before, clients=timeline.client_cpu)
    recoveries = [
        recovery(timeline.in_time_due_ns, end_ns, load, windows=int(options.seconds * load.rate_hz))
        for end_ns in ends_ns
    ]
    return {
        "capacity": capacity,
        "vehicles": load.vehicles,
        "stall_ms": options.stall_ms,
        "budget_ms": load.budget_ms,
        **summary(recoveries),
        **timeline.summary(),
        **taken,
    }


def recovery(
    in_time_due_ns: Sequence[int], end_ns: int, load: Load, *, windows: int
) -> float | None:
    """Return the milliseconds from a stall's end until all frames are in time again.

    Args:
        in_time_due_ns: when the frames were due that were answered in time, of all vehicles.
        end_ns: of the stall, by the same clock.
        load: what the vehicles did.
        windows: of one camera's period each, that were measured after the stall.

    Returns:
        A multiple of the period; None if the server did not recover in these windows.
    """
    period_ns = NS_PER_S / load.rate_hz
    in_time = collections.Counter(int((due - end_ns) // period_ns) for due in in_time_due_ns)
    good = 0
    for window in range(windows):
        good = good + 1 if in_time[window] >= load.vehicles else 0
        if good == SETTLED_WINDOWS:
            return (window + 1 - good) * period_ns / NS_PER_MS
    return None


def summary(recoveries: Sequence[float | None]) -> dict[str, Any]:
    """Return the median and the largest of the times, which are None where they are not known."""
    known = sorted(math.inf if each is None else each for each in recoveries)
    median, largest = statistics.median_high(known), known[-1]
    return {
        "stalls": len(recoveries),
        "not_recovered": recoveries.count(None),
        "recovered_ms": list(recoveries),
        "median_ms": None if median == math.inf else median,
        "largest_ms": None if largest == math.inf else largest,
    }


def table(results: dict[str, Any]) -> str:
    """Return the results as a Markdown table."""
    columns = ["vehicles", "stalls", "each", "all in time again, median", "largest"]
    columns += ["not recovered", "sessions ended", "others' CPU", "stolen"]
    row = [
        str(results["vehicles"]),
        str(results["stalls"]),
        text.ms(results["stall_ms"]),
        text.ms(results["median_ms"]),
        text.ms(results["largest_ms"]),
        str(results["not_recovered"]),
        str(sum(results["sessions"]["ended"].values())),
        text.number(results["others_cpu"], 2),
        text.percent(100 * results["stolen"]),
    ]
    return text.table(columns, [row])


def _capacity(options: argparse.Namespace, server: Server, load: Load) -> int:
    with shared.clients(options) as generators:
        return searched_capacity(generators, server, load)


def _stalls(options: argparse.Namespace, rate_hz: float) -> list[tuple[float, float]]:
    """Return the seconds before each stall and its length, at different points of the period."""
    moments = random.Random(options.seed)
    return [
        (options.seconds + moments.uniform(0.0, 1 / rate_hz), options.stall_ms / 1e3)
        for _ in range(options.stalls)
    ]


async def _drive(
    server: Server, load: Load, stalls: Sequence[tuple[float, float]]
) -> tuple[Timeline, list[int]]:
    """Drive, and return when frames were due that were in time, and when each stall ended."""
    timeline = Timeline(budget_ms=load.budget_ms)
    vehicles = transport.make("drive", server.address, load.pictures)
    driving = asyncio.create_task(open_loop.run(vehicles, load, timeline))
    await asyncio.sleep(load.opening_s + load.warm_up_s)
    ends_ns = []
    for pause_s, stall_s in stalls:
        await asyncio.sleep(pause_s)
        ends_ns.append(await _stop(server.pid or 0, stall_s))
    await driving
    return timeline, ends_ns


async def _stop(pid: int, seconds: float) -> int:
    """Stop a server's processes, let them go on, and return when."""
    members = cpu_time.family(pid)
    try:
        _signal(members, signal.SIGSTOP)
        await asyncio.sleep(seconds)
    finally:
        _signal(members, signal.SIGCONT)
    return time.monotonic_ns()


def _signal(pids: Collection[int], number: signal.Signals) -> None:
    for pid in pids:
        os.kill(pid, number)


@contextlib.contextmanager
def _on(cores: Collection[int]) -> Iterator[None]:
    """Run this process on the load generators' cores, without collections that would delay it."""
    allowed = os.sched_getaffinity(0)
    os.sched_setaffinity(0, cores)
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        gc.enable()
        os.sched_setaffinity(0, allowed)
