"""What open sessions cost: CPU time of a frame and memory, with more and more of them.

One vehicle drives at the full rate while the others are slow, as most sessions of a large server
are: parked, waiting, or at a camera of few frames. Each size is measured on the same server, so
that its memory is that of all sessions so far. The slopes are those of straight lines through the
points, by least squares.
"""

from __future__ import annotations

import argparse
import dataclasses
import threading
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from benchmark import progress
from benchmark.commands import plots
from benchmark.commands import server_options as shared
from benchmark.commands.overload import ADMITS_ALL
from benchmark.errors import BenchmarkError
from benchmark.host import cpu_time
from benchmark.host.memory import resident_mb
from benchmark.loadgen.crew import Crew, crew
from benchmark.loadgen.open_loop import Load
from benchmark.loadgen.tally import total
from reports import text
from steerstream.command_line import positive
from steerstream.testing.server_process import Server

HELP = "CPU time of a frame and memory of a session, as more sessions are open"
_MARGIN_S = 0.5
"""Between the last opening and the window in which CPU time counts, and after it."""


class _Usage(NamedTuple):
    cpu_s: float
    resident_mb: float

    @classmethod
    def of(cls, pid: int) -> _Usage:
        return cls(cpu_time.used_s(cpu_time.family(pid)), resident_mb(pid))


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the benchmark's options."""
    shared.add_server(parser)
    shared.add_load(parser, seconds=10.0)
    add = parser.add_argument
    add("--sessions", type=shared.counts, default="1,16,64,256", help="open at once, in turn")
    add("--slow-hz", type=positive, default=1.0, help="frames a second of all vehicles but one")


def run(options: argparse.Namespace) -> dict[str, Any]:
    """Measure each number of sessions, from the smallest.

    Raises:
        BenchmarkError: the server or a load generator could not do its part, or it runs elsewhere.
    """
    load = shared.load(options, vehicles=1)
    with (
        shared.server(options, **ADMITS_ALL) as server,
        crew(2, options.client_cores) as generators,
    ):
        load = shared.as_sent(load, server, options)
        points = [
            _point(generators, server, load, sessions, options.slow_hz)
            for sessions in sorted(options.sessions)
        ]
    return {"slow_hz": options.slow_hz, "points": points, "slopes": slopes(points)}


def slopes(points: list[dict[str, Any]]) -> dict[str, float | None]:
    """Return what one more session adds; None where all points have the same number.

    Args:
        points: with `sessions`, `cpu_us_a_frame` and `resident_mb`.
    """
    sessions = [point["sessions"] for point in points]
    if len(set(sessions)) < 2:
        return {"cpu_us_a_frame": None, "bytes": None}

    def slope(name: str) -> float:
        return float(np.polyfit(sessions, [point[name] for point in points], 1)[0])

    return {
        "cpu_us_a_frame": round(slope("cpu_us_a_frame"), 4),
        "bytes": round(1e6 * slope("resident_mb")),
    }


def _point(
    generators: Crew, server: Server, load: Load, sessions: int, slow_hz: float
) -> dict[str, Any]:
    """Measure one number of sessions."""
    if server.pid is None:
        raise BenchmarkError("CPU time is measured on this machine alone; leave out --target")
    slow = dataclasses.replace(load, vehicles=sessions - 1, rate_hz=slow_hz, name="slow")
    opening_s = slow.opening_s + 2 * _MARGIN_S
    loads = [dataclasses.replace(load, warm_up_s=opening_s - load.opening_s)]
    if sessions > 1:
        loads.append(dataclasses.replace(slow, warm_up_s=opening_s - slow.opening_s))
    # Frames are counted from the end of the warm-up on, and so is CPU time.
    before: list[_Usage] = []
    timer = threading.Timer(opening_s, lambda: before.append(_Usage.of(server.pid or 0)))
    after: list[_Usage] = []
    later = threading.Timer(
        opening_s + load.seconds, lambda: after.append(_Usage.of(server.pid or 0))
    )
    with progress.step(f"{sessions} sessions", opening_s + load.seconds):
        for each in (timer, later):
            each.start()
        tally = total(generators.run_all(server.address, loads))
        for each in (timer, later):
            each.join()
    if not tally.commands:
        raise BenchmarkError(f"no command came with {sessions} sessions open")
    cpu_s = after[0].cpu_s - before[0].cpu_s
    return {
        "sessions": sessions,
        "frames": tally.frames,
        "missed_percent": tally.missed_percent,
        "cpu_us_a_frame": round(1e6 * cpu_s / tally.frames, 1),
        "cpu_share": round(cpu_s / load.seconds, 4),
        "resident_mb": round(after[0].resident_mb, 1),
    }


def table(results: dict[str, Any]) -> str:
    """Return the results as Markdown."""
    columns = ["sessions", "frames", "CPU, us a frame", "share of a core", "memory", "missed"]
    rows = [
        [
            str(point["sessions"]),
            text.number(point["frames"]),
            text.number(point["cpu_us_a_frame"]),
            text.number(point["cpu_share"], 3),
            f"{point['resident_mb']:.1f} MB",
            text.percent(point["missed_percent"]),
        ]
        for point in results["points"]
    ]
    found = results["slopes"]
    if found["bytes"] is None:
        return text.table(columns, rows)
    line = (
        f"One more open session adds {found['cpu_us_a_frame']:.2f} us to a frame, and "
        f"{found['bytes'] / 1e3:,.0f} kB of memory."
    )
    return f"{text.table(columns, rows)}\n\n{line}"


def plot(results: dict[str, Any], path: Path) -> None:
    """Draw the CPU time of a frame over the sessions."""
    points = results["points"]
    plots.curves(
        path,
        [point["sessions"] for point in points],
        {"CPU time of a frame": [point["cpu_us_a_frame"] for point in points]},
        labels=("open sessions", "us"),
    )
