"""More vehicles than the server can carry: who is served, who is refused, and how fast.

Goodput counts commands that came within the budget. Refused vehicles try again after the server's
hint; in the hostile variant they try again at once, from a separate process. The time to refuse
is that of vehicles that ask when they may; the server holds back vehicles that ask too soon.
Without admission by load (`--admission off`) nobody is refused. Vehicles then send as often as the
server asks them to, and frames that they do not send for that count as misses.
"""

from __future__ import annotations

import argparse
import dataclasses
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

from benchmark import progress
from benchmark.commands import plots
from benchmark.commands import server_options as shared
from benchmark.commands.capacity import find
from benchmark.host.machine import Moment
from benchmark.loadgen.crew import Crew, crew
from benchmark.loadgen.open_loop import Load, Retry
from benchmark.loadgen.tally import Tally, total
from reports import text
from steerstream.command_line import count, positive
from steerstream.testing.server_process import Server

HELP = "0.5 to 4 times what the server can carry: goodput, misses, refusals"
FACTORS = "0.5,0.8,1,1.5,2,3,4"
ADMITS_ALL: Mapping[str, float] = MappingProxyType({"max_load": 100.0, "shed_after_s": 3600.0})
"""Settings of a server that admits regardless of load."""
SEARCH_S = 6.0
"""Of the run that confirms the capacity where none was given."""
_NICE = 10
"""Of the process of vehicles that hammer, so that it takes no time from those that are measured."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the benchmark's options."""
    shared.add_server(parser)
    shared.add_workers(parser)
    shared.add_load(
        parser, seconds=8.0, runs="each run; a search before them, without --capacity, has its own"
    )
    add = parser.add_argument
    add("--capacity", type=count, help="vehicles that are carried; searched if not given")
    add(
        "--admission",
        choices=("on", "off"),
        default="on",
        help="off admits every vehicle: what is then answered in time beyond capacity",
    )
    add("--factors", type=_factors, default=FACTORS, help="times the capacity, one run each")


def run(options: argparse.Namespace) -> dict[str, Any]:
    """Run one load for each factor, and the largest once more with vehicles that hammer.

    Raises:
        BenchmarkError: the server or a load generator could not do its part.
    """
    load = shared.load(options, warm_up_s=2.0)
    everything = dict(ADMITS_ALL) if options.admission == "off" else {}
    with (
        shared.server(options, **everything) as server,
        crew(2, options.client_cores, niceness=[0, _NICE]) as generators,
    ):
        load = shared.as_sent(load, server, options)
        capacity = options.capacity or searched_capacity(generators, server, load)
        polite = dataclasses.replace(load, retry=Retry.AFTER_HINT)
        runs = [
            _measure(generators, server, [_sized(polite, capacity, factor)], factor)
            for factor in options.factors
        ]
        worst = max(options.factors)
        if worst > 1 and options.admission == "on":
            hammering = dataclasses.replace(load, retry=Retry.AT_ONCE, name="hostile")
            loads = _together(_sized(load, capacity, 1), _sized(hammering, capacity, worst - 1))
            runs.append(_measure(generators, server, loads, worst))
    return {"capacity": capacity, "budget_ms": load.budget_ms, "runs": runs}


def searched_capacity(generators: Crew, server: Server, load: Load) -> int:
    """Return how many vehicles the server carries, by a short search; at least 1.

    Args:
        generators: the load generators.
        server: what is measured.
        load: what each vehicle does.

    Raises:
        BenchmarkError: a load generator could not do its part.
    """
    brief = dataclasses.replace(load, seconds=SEARCH_S, warm_up_s=1.0)
    return max(1, int(find(generators, server, brief, start=8, most=1024)["vehicles"]))


def _sized(load: Load, capacity: int, factor: float) -> Load:
    return dataclasses.replace(load, vehicles=max(1, round(capacity * factor)))


def _together(*loads: Load) -> list[Load]:
    """Let loads of different sizes, which take different times to open, be measured at once."""
    longest_s = max(load.opening_s for load in loads)
    return [
        dataclasses.replace(load, warm_up_s=load.warm_up_s + longest_s - load.opening_s)
        for load in loads
    ]


def _measure(generators: Crew, server: Server, loads: list[Load], factor: float) -> dict[str, Any]:
    before, first = Moment.now(server.pid), loads[0]
    vehicles = sum(load.vehicles for load in loads)
    is_hostile = any(load.retry is Retry.AT_ONCE for load in loads)
    what = f"{factor:g} times the capacity, {vehicles} vehicles{', hostile' * is_hostile}"
    with progress.step(what, max(load.total_s for load in loads)):
        tally = total(generators.run_all(server.address, loads))
    return {
        "factor": factor,
        "vehicles": vehicles,
        "hostile": is_hostile,
        "goodput_fps": round(tally.in_time / first.seconds, 1),
        "admitted": _admitted(tally),
        "refusals": tally.refused.total(),
        "refusal_ms": tally.refusal.summary(),
        "held_back_ms": tally.held_back.summary(),
        **tally.summary(),
        **Moment.now(server.pid).since(before, clients=tally.client_cpu),
    }


def _admitted(tally: Tally) -> int:
    """Return how many of the admitted sessions stayed to the end."""
    return tally.opened - tally.ended.total()


def table(results: dict[str, Any]) -> str:
    """Return the results as a Markdown table."""
    columns = ["load", "vehicles", "goodput/s", "of its peak", "carried", "missed by them", "p99"]
    columns += ["refusals", "to refuse, p50", "p99", "others' CPU", "stolen"]
    peak = max(run["goodput_fps"] for run in results["runs"])
    return text.table(columns, (_row(run, peak) for run in results["runs"]))


def plot(results: dict[str, Any], path: Path) -> None:
    """Draw the goodput over the load."""
    runs = [run for run in results["runs"] if not run["hostile"]]
    plots.curves(
        path,
        [run["factor"] for run in runs],
        {"goodput": [run["goodput_fps"] for run in runs]},
        labels=("load, times the capacity", "commands within the budget, a second"),
    )


def _row(run: dict[str, Any], peak: float) -> list[str]:
    return [
        f"{run['factor']:g}{' hostile' * run['hostile']}",
        str(run["vehicles"]),
        text.number(run["goodput_fps"]),
        text.percent(100 * run["goodput_fps"] / peak if peak else None),
        str(run["admitted"]),
        text.percent(run["missed_percent"]),
        text.ms(run["latency_ms"]["round_trip"]["p99"]),
        text.number(run["refusals"]),
        text.ms(run["refusal_ms"]["p50"]),
        text.ms(run["refusal_ms"]["p99"]),
        text.number(run["others_cpu"], 2),
        text.percent(100 * run["stolen"]),
    ]


def _factors(given: str) -> list[float]:
    return [positive(item) for item in given.split(",")]
