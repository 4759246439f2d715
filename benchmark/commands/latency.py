"""Latency by stage for numbers of vehicles at a camera's rate, open loop."""

from __future__ import annotations

import argparse
import dataclasses
from pathlib import Path
from typing import Any

from benchmark.commands import plots
from benchmark.commands import server_options as shared
from benchmark.commands.measure import measure
from benchmark.loadgen.tally import STAGES
from reports import text

HELP = "latency by stage, open loop, from when a frame was due"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the benchmark's options."""
    shared.add_server(parser)
    shared.add_workers(parser)
    shared.add_load(parser, seconds=15.0)
    parser.add_argument(
        "--sessions", type=shared.counts, default="1,4,8,16", help="vehicles at once, one run each"
    )


def run(options: argparse.Namespace) -> list[dict[str, Any]]:
    """Run one load for each number of vehicles and return their figures.

    Raises:
        BenchmarkError: the server or a load generator could not do its part.
    """
    load = shared.load(options)
    with shared.server(options) as server, shared.clients(options) as crew:
        load = shared.as_sent(load, server, options)
        return [
            measure(crew, server, dataclasses.replace(load, vehicles=vehicles))[1]
            for vehicles in options.sessions
        ]


def table(results: list[dict[str, Any]]) -> str:
    """Return the results as Markdown: round trips, what was missed and why, stages."""
    columns = ["vehicles", "p50", "p90", "p99", "p99.9", "p99.99", "max"]
    columns += ["server p50", "infer p50", "client late p99", "stolen", "frames", "missed"]
    rows = [_row(result) for result in results]
    parts = [text.table(columns, rows), "Misses by cause:", _causes(results)]
    parts += [f"Stages with {results[-1]['vehicles']} vehicles:", _stages(results[-1])]
    return "\n\n".join(parts)


def brief(results: list[dict[str, Any]]) -> str:
    """Return the results as the README shows them."""
    columns = ["vehicles", "p50", "p99", "p99.9", "server p50", "infer p50", "missed"]
    keep = (0, 1, 3, 4, 7, 8, 12)
    return text.table(columns, ([_row(result)[index] for index in keep] for result in results))


def _causes(results: list[dict[str, Any]]) -> str:
    return "\n".join(
        f"- with {result['vehicles']}: {text.counts(result['misses'])}" for result in results
    )


def _stages(result: dict[str, Any]) -> str:
    latency = result["latency_ms"]
    columns = ["stage", "p50", "p90", "p99", "p99.9", "p99.99", "max"]
    rows = ([stage.replace("_", " "), *map(text.ms, latency[stage].values())] for stage in STAGES)
    return text.table(columns, rows)


def plot(results: list[dict[str, Any]], path: Path) -> None:
    """Draw the percentiles of the round trip."""
    lines = {
        f"{result['vehicles']} vehicles": result["latency_ms"]["round_trip"] for result in results
    }
    plots.percentiles(path, lines, "round trip from when a frame was due, ms")


def _vehicles(result: dict[str, Any]) -> str:
    vehicles, opened = result["vehicles"], result["sessions"]["opened"]
    return str(vehicles) if opened == vehicles else f"{vehicles}, {opened} admitted"


def _row(result: dict[str, Any]) -> list[str]:
    latency = result["latency_ms"]
    return [
        _vehicles(result),
        *map(text.ms, latency["round_trip"].values()),
        text.ms(latency["server"]["p50"]),
        text.ms(latency["infer"]["p50"]),
        text.ms(result["client"]["sent_late_ms"]["p99"]),
        text.percent(100 * result["stolen"]),
        text.number(result["frames"]),
        text.percent(result["missed_percent"]),
    ]
