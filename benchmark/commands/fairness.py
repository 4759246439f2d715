"""One client that floods the server, beside vehicles that behave: what do the others feel?

Two ways to flood take turns with peace: EVERY, sending whenever flow control lets it, and LATEST at
ten times the rate that it declared. The flood comes from a separate process, which yields the
core to the vehicles that are measured.
"""

from __future__ import annotations

import argparse
import dataclasses
from pathlib import Path
from typing import Any

from benchmark import progress
from benchmark.commands import plots
from benchmark.commands import server_options as shared
from benchmark.loadgen.crew import Crew, Job, crew
from benchmark.loadgen.flood import Flood
from benchmark.loadgen.open_loop import Load
from benchmark.loadgen.tally import Tally, total
from reports import text
from steerstream.command_line import count
from steerstream.testing.server_process import Server

HELP = "what vehicles that behave feel of one that floods"
PEACE, EVERY, LATEST = "alone", "beside EVERY without end", "beside LATEST at ten times its rate"
TIMES_ITS_RATE = 10
_NICE = 10


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the benchmark's options."""
    shared.add_server(parser)
    shared.add_load(parser, seconds=6.0)
    add = parser.add_argument
    add("--vehicles", type=count, default=8, help="vehicles that behave")
    add("--rounds", type=count, default=3, help="turns of each way")


def run(options: argparse.Namespace) -> dict[str, Any]:
    """Let peace and both floods take turns and return what the others saw in each.

    Raises:
        BenchmarkError: the server or a load generator could not do its part.
    """
    others = shared.load(options, vehicles=options.vehicles)
    felt: dict[str, list[Tally]] = {PEACE: [], EVERY: [], LATEST: []}
    floods: dict[str, list[Tally]] = {EVERY: [], LATEST: []}
    with (
        shared.server(options) as server,
        crew(2, options.client_cores, niceness=[0, _NICE]) as generators,
    ):
        for _ in range(options.rounds):
            for way, tallies in felt.items():
                tally, *flood = _turn(generators, server, others, way)
                tallies.append(tally)
                if flood:
                    floods[way] += flood
    return {
        "vehicles": others.vehicles,
        "rate_hz": others.rate_hz,
        "budget_ms": others.budget_ms,
        "others": {way: total(tallies).summary() for way, tallies in felt.items()},
        "floods": {way: total(tallies).summary() for way, tallies in floods.items()},
    }


def _turn(generators: Crew, server: Server, others: Load, way: str) -> list[Tally]:
    jobs: list[Job] = [others, *_flood(others, way)]
    with progress.step(f"{others.vehicles} vehicles {way}", others.total_s):
        return generators.run_all(server.address, jobs)


def _flood(others: Load, way: str) -> list[Job]:
    if way == EVERY:
        return [Flood(seconds=others.total_s, pictures=others.pictures)]
    if way == LATEST:
        fast = dataclasses.replace(
            others,
            vehicles=1,
            rate_hz=TIMES_ITS_RATE * others.rate_hz,
            declared_rate_hz=others.rate_hz,
            name="flood",
        )
        return [fast]
    return []


def table(results: dict[str, Any]) -> str:
    """Return the results as a Markdown table."""
    columns = [f"{results['vehicles']} vehicles", "p50", "p99", "p99.9", "missed", "p99 / alone"]
    columns += ["client late p99", "frames sent by the flood", "of them answered by a command"]
    quiet = results["others"][PEACE]["latency_ms"]["round_trip"]["p99"]
    return text.table(columns, (_row(results, way, quiet) for way in results["others"]))


def plot(results: dict[str, Any], path: Path) -> None:
    """Draw the percentiles of the others' round trip."""
    lines = {way: seen["latency_ms"]["round_trip"] for way, seen in results["others"].items()}
    plots.percentiles(path, lines, "round trip of the others, ms")


def _row(results: dict[str, Any], way: str, quiet_ms: float | None) -> list[str]:
    seen, flood = results["others"][way], results["floods"].get(way)
    trip = seen["latency_ms"]["round_trip"]
    is_known = quiet_ms and trip["p99"] is not None
    return [
        way,
        *(text.ms(trip[key]) for key in ("p50", "p99", "p99_9")),
        text.percent(seen["missed_percent"]),
        f"{trip['p99'] / quiet_ms:.2f}" if is_known else text.ABSENT,
        text.ms(seen["client"]["sent_late_ms"]["p99"]),
        text.number(flood["frames"] if flood else None),
        text.number(flood["commands"] if flood else None),
    ]
