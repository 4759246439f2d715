"""Minutes of coming and going: memory, lost slots and latency over time.

Vehicles open sessions, drive for a while and leave; some vanish without a goodbye. The latency is
taken down once a minute, and the server's resident memory every second.
"""

from __future__ import annotations

import argparse
import dataclasses
import time
from pathlib import Path
from typing import Any

import numpy as np

from benchmark.commands import plots
from benchmark.commands import server_options as shared
from benchmark.commands.measure import measure
from benchmark.host.memory import MemorySampler
from benchmark.loadgen.crew import Crew
from benchmark.loadgen.open_loop import Load
from reports import text
from steerstream.command_line import count, positive, share
from steerstream.testing.server_process import Server

HELP = "minutes of sessions that come and go: memory slope, lost slots, p99 by minute"
MINUTE_S = 60.0
SAMPLE_S = 1.0
SLOTS = 64
"""Of the server: few, so that every slot is used again and again, and a lost one shows."""
WARM_UP = 0.25
"""The share of the time before memory is fitted: allocators and pools fill up first."""
KEPT = 360
"""Samples of memory in the results; of a longer run every second one, every third, and so on."""
_IDLE_S = 2.0
"""After which the server ends a session of a vehicle that has vanished."""
_TRIES, _BETWEEN_TRIES_S = 10, 6.0
"""To open all slots at the end: a minute, in which a busy server is no longer late."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the benchmark's options."""
    shared.add_server(parser)
    shared.add_load(parser, seconds=MINUTE_S)
    add = parser.add_argument
    add("--minutes", type=positive, default=2.0, help="how long")
    add("--vehicles", type=count, default=8, help="vehicles at once")
    add("--lifetime-s", type=positive, default=5.0, help="mean length of a session")
    add("--vanishing", type=share, default=0.3, help="share of sessions without a goodbye")


def run(options: argparse.Namespace) -> dict[str, Any]:
    """Soak the server; return memory over time, figures by minute, and slots that did not return.

    Raises:
        BenchmarkError: the server or a load generator could not do its part.
    """
    load = shared.load(
        options,
        vehicles=options.vehicles,
        lifetime_s=options.lifetime_s,
        vanishing=options.vanishing,
    )
    with (
        shared.server(
            options, max_sessions=SLOTS, idle_timeout_s=_IDLE_S, expiring_notice_s=0.5
        ) as server,
        shared.clients(options) as crew,
    ):
        with MemorySampler(server.pid, SAMPLE_S) as memory:
            minutes = _minutes(crew, server, load, options.minutes)
        lost = _lost_slots(crew, server, load)
    return {"minutes": minutes, "slots": SLOTS, "lost_slots": lost, **figures(memory.samples)}


def _minutes(crew: Crew, server: Server, load: Load, minutes: float) -> list[dict[str, Any]]:
    """Run the load minute by minute; the last part may be shorter."""
    found: list[dict[str, Any]] = []
    left_s = minutes * MINUTE_S
    while left_s > 0:
        part = dataclasses.replace(load, seconds=min(left_s, MINUTE_S), seed=len(found))
        found.append(measure(crew, server, part, f"minute {len(found) + 1}: ")[1])
        left_s -= MINUTE_S
    return found


def _lost_slots(crew: Crew, server: Server, load: Load) -> int:
    """Return how many sessions cannot be opened at once though all have ended.

    A server that a neighbour on the machine keeps from its work refuses sessions for a while, and a
    lost slot stays lost: so the most that one of the tries opened counts.
    """
    time.sleep(2 * _IDLE_S)
    slow = dataclasses.replace(
        load,
        vehicles=SLOTS,
        rate_hz=1.0,
        seconds=1.0,
        lifetime_s=None,
        budget_ms=5_000.0,
    )
    opened = 0
    for _ in range(_TRIES):
        opened = max(opened, measure(crew, server, slow, "lost slots: ")[0].opened)
        if opened == SLOTS:
            break
        time.sleep(_BETWEEN_TRIES_S)
    return SLOTS - opened


def figures(samples: list[tuple[float, float]]) -> dict[str, Any]:
    """Return some of the samples, and the slope of a line through all after the warm-up."""
    kept = [[round(at, 1), round(mb, 2)] for at, mb in thinned(samples)]
    return {"memory_mb": kept, **slope(samples)}


def thinned(samples: list[tuple[float, float]]) -> list[tuple[float, float]]:
    """Return evenly spaced samples, the last one among them, at most `KEPT`."""
    step = -(-len(samples) // KEPT) or 1
    return samples[::-step][::-1]


def slope(samples: list[tuple[float, float]]) -> dict[str, float | None]:
    """Fit a line through memory after the warm-up, by least squares.

    Args:
        samples: seconds and megabytes.

    Returns:
        `slope_mb_per_h` and its standard error; None where there are too few samples.
    """
    kept = samples[int(len(samples) * WARM_UP) :]
    if len(kept) < 4:
        return {"slope_mb_per_h": None, "slope_error_mb_per_h": None}
    seconds, megabytes = np.array(kept).T
    hours = (seconds - seconds.mean()) / 3600
    per_h = float(hours @ megabytes / (hours @ hours))
    residuals = megabytes - megabytes.mean() - per_h * hours
    error = float(np.sqrt(residuals @ residuals / (len(kept) - 2) / (hours @ hours)))
    return {"slope_mb_per_h": round(per_h, 2), "slope_error_mb_per_h": round(error, 2)}


def table(results: dict[str, Any]) -> str:
    """Return the results as a Markdown table and two lines."""
    columns = ["minute", "sessions", "frames", "p50", "p99", "p99.9", "missed"]
    rows = [_row(index, minute) for index, minute in enumerate(results["minutes"], 1)]
    memory = results["memory_mb"]
    lines = [
        text.table(columns, rows),
        "",
        f"Slots lost: {results['lost_slots']} of {results['slots']}.",
    ]
    if memory and results["slope_mb_per_h"] is not None:
        lines[-1] += (
            f" Memory {memory[0][1]:.0f} MB at first, {memory[-1][1]:.0f} MB at last; slope after "
            f"the first quarter {results['slope_mb_per_h']:+.1f} MB/h, standard error "
            f"{results['slope_error_mb_per_h']:.1f}."
        )
    return "\n".join(lines)


def plot(results: dict[str, Any], path: Path) -> None:
    """Draw memory over time."""
    plots.curves(
        path,
        [seconds / 60 for seconds, _ in results["memory_mb"]],
        {"resident memory": [megabytes for _, megabytes in results["memory_mb"]]},
        labels=("minutes", "MB"),
    )


def _row(index: int, minute: dict[str, Any]) -> list[str]:
    trip = minute["latency_ms"]["round_trip"]
    return [
        str(index),
        text.number(minute["sessions"]["opened"]),
        text.number(minute["frames"]),
        *(text.ms(trip[key]) for key in ("p50", "p99", "p99_9")),
        text.percent(minute["missed_percent"]),
    ]
