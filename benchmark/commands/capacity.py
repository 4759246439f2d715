"""The most vehicles that are carried at a camera's rate, found by bisection and then confirmed.

A load is carried if the server admits every vehicle and keeps every session, and if at most so many
of the frames got no command within the budget, counted from when they were due.
"""

from __future__ import annotations

import argparse
import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmark.commands import plots
from benchmark.commands import server_options as shared
from benchmark.commands.measure import measure
from benchmark.loadgen.crew import Crew
from benchmark.loadgen.open_loop import Load
from benchmark.loadgen.tally import Tally
from reports import text
from steerstream.command_line import count, positive
from steerstream.testing.server_process import Server

HELP = "the most vehicles that are carried within the budget"
ALLOWED_PERCENT = 0.1
FRAMES_A_STEP = 4_000
"""Four misses are then 0.1 %: less would let chance decide."""
STEP_S = (3.0, 8.0)
"""Shortest and longest step of the search, whatever the frames."""
RUNS = (
    "the run that confirms, and of that at 80 %% of the capacity; the search before them has about "
    f"a dozen steps of {STEP_S[0]:g} to {STEP_S[1]:g} s, the longer the fewer vehicles"
)
"""Which runs `--seconds` is of, for the help."""
TRIES = 2
"""A step that fails is tried again: a neighbour on the machine must not end the search."""
SHARE_PERCENT = 80
"""Of the capacity: the load at which latency is measured as well."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the benchmark's options."""
    shared.add_server(parser)
    shared.add_workers(parser)
    shared.add_load(parser, seconds=20.0, runs=RUNS)
    parser.add_argument("--most", type=count, default=1024, help="vehicles to try at most")
    parser.add_argument("--start", type=count, default=8, help="vehicles to try first")
    parser.add_argument("--share-seconds", type=positive, help=f"length of the run at"
        f" {SHARE_PERCENT} %% of the capacity; by default that of each run")  # fmt: skip


def run(options: argparse.Namespace) -> dict[str, Any]:
    """Search, confirm with a run of `--seconds`, and measure 80 % of what was found.

    Raises:
        BenchmarkError: the server or a load generator could not do its part.
    """
    load = shared.load(options)
    with shared.server(options) as server, shared.clients(options) as crew:
        load = shared.as_sent(load, server, options)
        return find(
            crew,
            server,
            load,
            start=options.start,
            most=options.most,
            share_seconds=options.share_seconds,
        )


def find(
    crew: Crew,
    server: Server,
    load: Load,
    *,
    start: int,
    most: int,
    share_seconds: float | None = None,
) -> dict[str, Any]:
    """Return the capacity of a server, with every step of the search.

    Args:
        crew: who generates the load.
        server: what is measured.
        load: what each vehicle does; its length is that of the confirming run.
        start: vehicles to try first.
        most: vehicles to try at most.
        share_seconds: length of the run at a share of the capacity; None for that of each run.

    Raises:
        BenchmarkError: a load generator could not do its part.
    """
    steps: list[dict[str, Any]] = []

    def is_carried(vehicles: int, seconds: float, what: str) -> bool:
        tally, figures = measure(crew, server, _resized(load, vehicles, seconds), what)
        steps.append(figures | {"carried": carries(tally, vehicles)})
        return bool(steps[-1]["carried"])

    def tried(vehicles: int) -> bool:
        seconds = step_s(vehicles, load.rate_hz)
        return any(is_carried(vehicles, seconds, "search: ") for _ in range(TRIES))

    found = search(tried, start=start, most=most)
    while found and not is_carried(found, load.seconds, "confirm: "):
        found = min(found - 1, found * 19 // 20)
    confirmed = steps[-1] if found else None
    relaxed = max(1, found * SHARE_PERCENT // 100)
    relaxed_load = _resized(load, relaxed, share_seconds or load.seconds)
    share = measure(crew, server, relaxed_load, f"{SHARE_PERCENT} %: ")[1]
    return {
        "vehicles": found,
        "frames_per_s": found * load.rate_hz,
        "allowed_percent": ALLOWED_PERCENT,
        "confirmed": confirmed,
        "at_80_percent": share,
        "steps": steps,
    }


def search(is_carried: Callable[[int], bool], *, start: int, most: int) -> int:
    """Return the largest load that is carried, to one part in 32; 0 if not even one is.

    Args:
        is_carried: measures a load.
        start: where to begin; it is doubled until it is not carried.
        most: where to end.
    """
    carried, load = 0, min(start, most)
    while is_carried(load):
        carried = load
        if load == most:
            return most
        load = min(2 * load, most)
    refused = load
    while refused - carried > max(1, carried // 32):
        middle = (carried + refused) // 2
        if is_carried(middle):
            carried = middle
        else:
            refused = middle
    return carried


def carries(tally: Tally, vehicles: int) -> bool:
    """Return whether all vehicles were admitted and kept, with few enough misses."""
    is_kept = tally.opened == vehicles and not tally.ended
    percent = tally.missed_percent
    return is_kept and percent is not None and percent <= ALLOWED_PERCENT


def step_s(vehicles: int, rate_hz: float) -> float:
    """Return how long a step of the search must be for its misses to mean something."""
    shortest, longest = STEP_S
    return min(longest, max(shortest, FRAMES_A_STEP / (vehicles * rate_hz)))


def table(results: dict[str, Any]) -> str:
    """Return the results as a Markdown table."""
    columns = ["load", "vehicles", "frames/s", "p50", "p99", "p99.9", "missed", "frames"]
    columns += ["client late p99", "server's CPU", "others' CPU", "stolen"]
    rows = [_row("80 % of capacity", results["at_80_percent"])]
    if results["confirmed"]:
        rows.insert(0, _row("capacity", results["confirmed"]))
    return text.table(columns, rows)


def plot(results: dict[str, Any], path: Path) -> None:
    """Draw the latency of every step of the search over its vehicles."""
    steps = sorted(results["steps"], key=lambda step: step["vehicles"])
    round_trips = [step["latency_ms"]["round_trip"] for step in steps]
    plots.curves(
        path,
        [step["vehicles"] for step in steps],
        {name: [trip[name] for trip in round_trips] for name in ("p50", "p99", "p99_9")},
        labels=("vehicles", "round trip, ms"),
        level=(steps[0]["budget_ms"], "budget"),
    )


def _resized(load: Load, vehicles: int, seconds: float) -> Load:
    return dataclasses.replace(load, vehicles=vehicles, seconds=seconds)


def _row(name: str, result: dict[str, Any]) -> list[str]:
    trip = result["latency_ms"]["round_trip"]
    return [
        name,
        str(result["vehicles"]),
        text.number(result["frames"] / result["seconds"]),
        *(text.ms(trip[key]) for key in ("p50", "p99", "p99_9")),
        text.percent(result["missed_percent"]),
        text.number(result["frames"]),
        text.ms(result["client"]["sent_late_ms"]["p99"]),
        text.number(result["server_cpu"], 2),
        text.number(result["others_cpu"], 2),
        text.percent(100 * result["stolen"]),
    ]
