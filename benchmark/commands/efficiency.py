"""Frames a second over gRPC, divided by those of a bare loop: how much of the machine is left.

Server, bare loop and an empty echo server run on the same core and take turns, the client on
another; a figure is the median of its turns. The echo server bounds what any server on the same
gRPC can reach: echo/s is what a core could answer by the time that each message took of it, and the
ceiling is 1 / (1 + bare/s / echo/s). Rounds in which others took the bare loop's core are left out
where there are better ones.
"""

from __future__ import annotations

import argparse
import dataclasses
import statistics
from pathlib import Path
from typing import Any

from benchmark import progress
from benchmark.commands import plots
from benchmark.commands import server_options as shared
from benchmark.host.jobs import Helper, helper
from benchmark.host.machine import Moment
from benchmark.loadgen import synthetic_road
from benchmark.loadgen.closed_loop import ClosedLoop
from benchmark.loadgen.crew import Crew
from benchmark.loadgen.tally import Tally, total
from reports import text
from steerstream.command_line import count, positive
from steerstream.testing.server_process import Server

HELP = "frames a second served, divided by those of a bare loop"
PICTURES = {"raw 200x66": ("rgb8", 200, 66), "JPEG 640x480": ("jpeg", 640, 480)}
"""Encoding, columns and rows: pictures that need no work, and a camera's."""
WHOLE_CORE = 0.93
"""Share of its core that an undisturbed bare loop has at least."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the benchmark's options."""
    shared.add_server(parser)
    add = parser.add_argument
    add("--sessions", type=shared.counts, default="1,8,32", help="sessions at once")
    add("--rounds", type=count, default=3, help="turns of each")
    add("--seconds", type=positive, default=2.0, help="length of a turn")


def run(options: argparse.Namespace) -> list[dict[str, Any]]:
    """Measure all pictures with all numbers of sessions.

    Raises:
        BenchmarkError: the server, the bare loop or the load generator could not do its part.
    """
    model = ["--model", str(options.model)]
    if options.provider:
        model += ["--provider", options.provider]
    if "precision" in options.settings:
        model += ["--precision", options.settings["precision"]]
    with (
        # Sessions that send as fast as they are answered are beyond any camera's load.
        shared.server(options, max_load=100.0) as server,
        helper("benchmark.programs.bare_loop", model, cores=options.server_cores) as bare,
        helper("benchmark.programs.echo", cores=options.server_cores) as echo_process,
        shared.clients(options) as crew,
    ):
        echo = Server(echo_process.result(), echo_process.pid)
        return [
            _compare(crew, server, bare, echo, pictures=name, sessions=sessions, options=options)
            for name in PICTURES
            for sessions in options.sessions
        ]


def _compare(
    crew: Crew,
    server: Server,
    bare: Helper,
    echo: Server,
    *,
    pictures: str,
    sessions: int,
    options: argparse.Namespace,
) -> dict[str, Any]:
    """Let bare loop, server and echo take turns and return their medians."""
    load = ClosedLoop(
        sessions=sessions,
        seconds=options.seconds,
        pictures=synthetic_road.picture_set(*PICTURES[pictures]),
    )
    order = {"pictures": str(crew.file(load.pictures)), "sessions": sessions}
    before = Moment.now()
    with progress.step(
        f"{pictures}, {sessions} sessions",
        options.rounds * 3 * (options.seconds + load.warm_up_s),
    ):
        turns = [
            _Turn(
                bare=bare.do("run", **order, seconds=options.seconds),
                served=crew.run_all(server.address, [load])[0],
                echo_fps=_echo_fps(crew, echo, load),
            )
            for _ in range(options.rounds)
        ]
    undisturbed = [turn for turn in turns if turn.bare["cpu"] >= WHOLE_CORE]
    return {
        "pictures": pictures,
        "sessions": sessions,
        **_figures(undisturbed or turns, sessions, options.seconds),
        "rounds": len(turns),
        "undisturbed": len(undisturbed),
        "stolen": Moment.now().since(before)["stolen"],
        "provider": bare.do("provider"),
    }


@dataclasses.dataclass(frozen=True, slots=True)
class _Turn:
    """Figures of one round: bare loop, server and echo server, one after the other."""

    bare: dict[str, Any]
    served: Tally
    echo_fps: float


def _figures(turns: list[_Turn], sessions: int, seconds: float) -> dict[str, Any]:
    """Return the medians of some rounds."""
    bare_fps = statistics.median(turn.bare["fps"] for turn in turns)
    served_fps = statistics.median(turn.served.commands / seconds for turn in turns)
    echo_fps = statistics.median(turn.echo_fps for turn in turns)
    round_trips = [turn.served.stages["round_trip"] for turn in turns]
    # A machine that stands still for a whole turn answers nothing in it.
    known_ms = [trip.percentile_ms(50) for trip in round_trips if trip.count]
    p50_ms = statistics.median(known_ms) if known_ms else None
    ratios = [turn.served.commands / seconds / turn.bare["fps"] for turn in turns]
    return {
        "bare_fps": round(bare_fps, 1),
        "served_fps": round(served_fps, 1),
        "ratio": round(served_fps / bare_fps, 4),
        "spread": round(max(ratios) - min(ratios), 4),
        "echo_fps": round(echo_fps, 1),
        "ceiling": round(echo_fps / (echo_fps + bare_fps), 4),
        "bare_batch": turns[-1].bare["batch"],
        "bare_cpu": round(statistics.median(turn.bare["cpu"] for turn in turns), 3),
        "bare_frame_ms": round(1e3 / bare_fps, 4),
        "p50_ms": p50_ms and round(p50_ms, 4),
        "p50_ratio": p50_ms and round(p50_ms * bare_fps / 1e3 / sessions, 4),
        "skipped": dict(total(turn.served for turn in turns).skipped),
        "client_cpu": round(statistics.median(turn.served.client_cpu for turn in turns), 3),
    }


def _echo_fps(crew: Crew, echo: Server, load: ClosedLoop) -> float:
    """Return the messages that the echo server answers in a second of its core's time.

    By the clock it would be the client's limit: it has as much to do as a server that does nothing.
    """
    before = Moment.now(echo.pid)
    (tally,) = crew.run_all(echo.address, [dataclasses.replace(load, warm_up_s=0.0)])
    return tally.commands / max(Moment.now(echo.pid).cpu_since(before), 1e-3)


def table(results: list[dict[str, Any]]) -> str:
    """Return the results as a Markdown table."""
    columns = ["pictures", "sessions", "bare/s", "served/s", "ratio", "spread"]
    columns += ["echo/s", "ceiling", "p50", "p50 / bare", "rounds"]
    return text.table(columns, (_row(result) for result in results))


def plot(results: list[dict[str, Any]], path: Path) -> None:
    """Draw ratio and ceiling as bars."""
    groups = [f"{result['pictures']}\n{result['sessions']}" for result in results]
    values = {key: [result[key] for result in results] for key in ("ratio", "ceiling")}
    plots.bars(path, groups, values, "of the bare loop")


def _row(result: dict[str, Any]) -> list[str]:
    return [
        result["pictures"],
        str(result["sessions"]),
        text.number(result["bare_fps"]),
        text.number(result["served_fps"]),
        f"{result['ratio']:.2f}",
        f"{result['spread']:.2f}",
        text.number(result["echo_fps"]),
        f"{result['ceiling']:.2f}",
        text.ms(result["p50_ms"]),
        text.number(result["p50_ratio"], 2),
        f"{result['undisturbed']} of {result['rounds']}",
    ]
