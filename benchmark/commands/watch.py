"""What the live page costs: its own process, and the server that it shows.

First, vehicles drive at `--rate-hz` while one page shows them all and one of them in full; what the
page's process takes of a core is measured. A server that cannot keep up is as good for that, since
it sends the page as much. Then the same sessions send a frame a second, so that the server has
little else to do, and what it takes is compared in turns, with a page that looks and without.
"""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import shlex
import statistics
import threading
import urllib.request
from collections.abc import Iterator
from typing import Any

from benchmark import progress
from benchmark.commands import server_options as shared
from benchmark.host.machine import Moment
from benchmark.live_page import LivePage, live_page
from benchmark.loadgen.crew import Crew
from benchmark.loadgen.open_loop import Load
from reports import text
from steerstream.command_line import count
from steerstream.testing.server_process import Server

HELP = "CPU time of the live page, and of the server that it shows"
_ANY_LOAD = 100.0
"""Of the setting `max_load`: all vehicles are admitted, however busy the machine is."""
_SLOW_HZ = 1.0


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the benchmark's options."""
    shared.add_server(parser)
    shared.add_load(parser, seconds=15.0)
    add = parser.add_argument
    add("--vehicles", type=count, default=100, help="sessions on the page")
    add("--turns", type=count, default=3, help="with a page that looks, and without")


def run(options: argparse.Namespace) -> dict[str, Any]:
    """Measure; return what the page's process and the server took, in cores.

    Raises:
        BenchmarkError: the page or a load generator could not do its part.
    """
    load = shared.load(options, vehicles=options.vehicles)
    slow = dataclasses.replace(load, rate_hz=_SLOW_HZ, budget_ms=5_000.0)
    options.server_args = shlex.join([*shlex.split(options.server_args), "--watch-pictures"])
    with shared.server(options, max_load=_ANY_LOAD) as server, shared.clients(options) as crew:
        with live_page(server.address) as page, _viewer(page, f"{load.name}-0-0") as seen:
            page_cpu = _page_cpu(crew, server, load, page)
        turns = [_turn(crew, server, slow) for _ in range(options.turns)]
    unwatched, watched = (statistics.median(column) for column in zip(*turns, strict=True))
    return {
        "vehicles": load.vehicles,
        "rate_hz": load.rate_hz,
        "page_cpu": page_cpu,
        "page_bytes_per_s": round(seen.bytes / load.total_s),
        "server_cpu_unwatched": round(unwatched, 4),
        "server_cpu_watched": round(watched, 4),
        "turns": turns,
    }


def table(results: dict[str, Any]) -> str:
    """Return the figures as Markdown."""
    sessions = f"{results['vehicles']} sessions"
    cost = results["server_cpu_watched"] - results["server_cpu_unwatched"]
    return text.table(
        ["what", "share of a core"],
        [
            [f"the page's process, {sessions} at {results['rate_hz']:g} Hz",
             f"{100 * results['page_cpu']:.1f} %"],
            [f"the server for being watched, {sessions}", f"{100 * cost:.1f} %"],
        ],
    )  # fmt: skip


class _Seen:
    """What a page was sent."""

    bytes = 0


@contextlib.contextmanager
def _viewer(page: LivePage, vehicle: str) -> Iterator[_Seen]:
    """Read a page's events as a browser does, one vehicle in full, for the time of a block."""
    seen, over = _Seen(), threading.Event()

    def read() -> None:
        with urllib.request.urlopen(f"{page.url}events?vehicle={vehicle}") as events:  # noqa: S310 - our own
            while not over.is_set():
                seen.bytes += len(events.readline())

    reading = threading.Thread(target=read, daemon=True)
    reading.start()
    try:
        yield seen
    finally:
        over.set()
        reading.join()


def _page_cpu(crew: Crew, server: Server, load: Load, page: LivePage) -> float:
    before = Moment.now(page.pid)
    with progress.step(f"{load.vehicles} vehicles on the page", load.total_s):
        crew.run(server.address, load)
    return Moment.now(page.pid).since(before)["server_cpu"]


def _turn(crew: Crew, server: Server, load: Load) -> tuple[float, float]:
    """Return what the server takes without a page and with one, in cores."""
    unwatched = _server_cpu(crew, server, load)
    with live_page(server.address) as page, _viewer(page, f"{load.name}-0-0"):
        return unwatched, _server_cpu(crew, server, load)


def _server_cpu(crew: Crew, server: Server, load: Load) -> float:
    before = Moment.now(server.pid)
    with progress.step(f"{load.vehicles} slow vehicles", load.total_s):
        crew.run(server.address, load)
    return Moment.now(server.pid).since(before)["server_cpu"]
