"""Attacks on a server, each beside a vehicle that behaves: what does the vehicle feel of it?

The vehicle sends 20 frames a second and has a budget of 50 ms. It drives alone first, and then
beside the attack, while the server's health is probed five times a second and a new vehicle comes
every half second. Every attack has a fresh
server on loopback, with its default settings; the attacker's process yields the core to the others.
`memory` is the server's resident memory before, at its peak, and ten seconds after. Lost are slots
that cannot be taken again after that; `room at 20 Hz` is how many vehicles the server admits before
and after.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from benchmark import progress
from benchmark.attacks.attacks import ATTACKS
from benchmark.commands import server_options as shared
from benchmark.errors import BenchmarkError, JobError
from benchmark.host.jobs import Helper, helper
from benchmark.host.machine import Moment, split_cores
from benchmark.host.memory import MemorySampler, resident_mb
from benchmark.loadgen import synthetic_road
from benchmark.loadgen.crew import Crew, crew
from benchmark.loadgen.open_loop import Load
from reports import text
from steerstream.command_line import positive
from steerstream.drive.histogram import Histogram
from steerstream.testing.server_process import Server, serve

HELP = "attacks on our own server, each beside a vehicle that behaves"
SLOTS = 64
"""The server's default for `max_sessions`."""
RATE_HZ, BUDGET_MS = 20.0, 50.0
AFTER_S = 10.0
"""From the end of an attack until memory and slots are looked at."""
LIMIT_MB = 6_000.0
"""An attack that makes the server hold more is stopped: the machine is not to suffer."""
WARM_UP_S = 2.0
DELAY_S = 1.0
"""The vehicle and the witnesses begin so much before the attack."""
_SAMPLE_S = 0.1
_CAMERA = {"rate_hz": RATE_HZ, "budget_ms": 45.0}
_SILENT = {"rate_hz": 1.0, "budget_ms": 5_000.0}
"""Terms of which the load admits as many as there are slots."""
_NICE = 10


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the benchmark's options; there is none for another server than its own."""
    server, clients = split_cores()
    add = parser.add_argument
    add("--model", type=Path, default=shared.DEFAULT_MODEL, help="bundle to serve")
    add("--attacks", type=_names, default=list(ATTACKS), help="names, with commas")
    add("--seconds", type=positive, default=10.0, help="length of each attack")
    add("--scale", type=positive, default=1.0, help="share of each attack's size")
    add("--settings", type=shared.settings, default="", help="of the server: max_load=0.7")
    add("--server-cores", type=shared.cores, default=server, help="cores of the server")
    add("--client-cores", type=shared.cores, default=clients, help="cores of all others")


def run(options: argparse.Namespace) -> dict[str, Any]:
    """Run all attacks, each on a fresh server.

    Raises:
        BenchmarkError: the server or a load generator could not do its part.
    """
    results = []
    with surroundings(options.client_cores) as around:
        for name in options.attacks:
            settings: dict[str, float | str] = {"max_sessions": SLOTS} | options.settings
            with serve(options.model, settings=settings, cores=options.server_cores) as server:
                found = besiege(
                    server, around, name, options.seconds, scale=options.scale, after_s=AFTER_S
                )
            results.append(found)
    return {"budget_ms": BUDGET_MS, "rate_hz": RATE_HZ, "slots": SLOTS, "attacks": results}


class Surroundings:
    """The processes around a server under attack.

    Args:
        crew: drives the vehicle that behaves.
        witness: probes, and lets vehicles come.
        cores: where the attacker runs.
    """

    def __init__(self, crew: Crew, witness: Helper, cores: list[int]) -> None:
        self.crew = crew
        self.cores = cores
        self._witness = witness
        self.pictures = synthetic_road.picture_set("jpeg", 640, 480)

    def begin_watch(self, address: str, seconds: float) -> None:
        """Let the witnesses watch for a time."""
        self._witness.begin("watch", seconds=seconds, **self._place(address))

    def watched(self) -> dict[str, Any]:
        """Return what they saw."""
        found: dict[str, Any] = self._witness.result()
        return found

    def room(self, address: str, **values: float) -> int:
        """Return how many silent sessions a server admits; see `witnesses.room`."""
        try:
            return int(self._witness.do("room", **values, **self._place(address)))
        except JobError:  # It accepts no connection.
            return 0

    def _place(self, address: str) -> dict[str, str]:
        return {"address": address, "pictures": str(self.crew.file(self.pictures))}


@contextlib.contextmanager
def surroundings(cores: list[int]) -> Iterator[Surroundings]:
    """Start the processes around a server under attack; the context ends them.

    Args:
        cores: where they run.
    """
    with crew(1, cores) as started, helper("benchmark.attacks", cores=cores) as witness:
        yield Surroundings(started, witness, cores)


def besiege(
    server: Server,
    around: Surroundings,
    name: str,
    seconds: float,
    *,
    slots: int = SLOTS,
    scale: float = 1.0,
    after_s: float,
) -> dict[str, Any]:
    """Run one attack on a server that nobody else uses.

    Args:
        server: on loopback, and our own.
        around: the other processes.
        name: of the attack.
        seconds: how long it is measured.
        slots: the server's `max_sessions`.
        scale: share of the attack's size.
        after_s: from its end until memory and slots are looked at.

    Returns:
        What the vehicle, the witnesses and the server's memory showed, and what was lost.

    Raises:
        BenchmarkError: the server is not ours, or a process around it failed.
    """
    if server.pid is None:
        raise BenchmarkError("only a server that was started here is attacked")
    address, load = server.address, _vehicle(seconds, around)
    before = {"mb": resident_mb(server.pid), "room": around.room(address, most=slots, **_CAMERA)}
    with progress.step("alone", load.total_s):
        (alone,) = around.crew.run_all(address, [load])
    began = Moment.now(server.pid)
    with (
        progress.step(f"{name}, {seconds:.3g} s", load.total_s + after_s),
        helper("benchmark.attacks", cores=around.cores, niceness=_NICE) as attacker,
        MemorySampler(
            server.pid,
            _SAMPLE_S,
            limit_mb=LIMIT_MB,
            exceeded=lambda: os.kill(attacker.pid, signal.SIGKILL),
        ) as memory,
    ):
        siege = {"address": address, "scale": scale}
        attacker.do("ready")  # Its imports take longer than the delay.
        around.begin_watch(address, load.total_s)
        lasts_s = load.total_s - DELAY_S
        attacker.begin("attack", name=name, seconds=lasts_s, delay_s=DELAY_S, **siege)
        (tally,) = around.crew.run_all(address, [load])
        seen, tried = around.watched(), _tried(attacker)
        taken = Moment.now(server.pid).since(began, clients=tally.client_cpu)
    time.sleep(after_s)
    return {
        "attack": name,
        "what": (ATTACKS[name].__doc__ or "").strip(),
        "tried": tried,
        "seconds": seconds,
        "alone": alone.summary(),
        "vehicle": tally.summary(),
        "is_shut_out": not tally.opened or bool(tally.ended),
        "health_ms": Histogram.from_json(seen["health"]).summary(),
        "health_failed": seen["health_failed"],
        "newcomers": seen["newcomers"],
        "shut_out": seen["shut_out"],
        "memory_mb": _memory(before["mb"], memory.peak_mb, server.pid),
        "slots_lost": slots - around.room(address, most=slots, **_SILENT),
        "room_at_rate": [before["room"], around.room(address, most=slots, **_CAMERA)],
        **taken,
    }


def _vehicle(seconds: float, around: Surroundings) -> Load:
    return Load(
        vehicles=1,
        rate_hz=RATE_HZ,
        seconds=seconds,
        budget_ms=BUDGET_MS,
        pictures=around.pictures,
        warm_up_s=WARM_UP_S,
        name="honest",
    )


def _tried(attacker: Helper) -> int | None:
    """Return how often the attack did what it does; None if it was stopped."""
    try:
        return int(attacker.result())
    except JobError:
        return None


def _memory(before_mb: float, peak_mb: float | None, pid: int) -> dict[str, float | None]:
    try:
        after_mb = round(resident_mb(pid), 1)
    except OSError:  # The server has ended.
        after_mb = None
    return {
        "before": round(before_mb, 1),
        "peak": None if peak_mb is None else round(peak_mb, 1),
        "after": after_mb,
    }


def table(results: dict[str, Any]) -> str:
    """Return the results as a Markdown table, and what each attack does."""
    columns = ["attack", "times", "p99 alone", "p99", "missed alone", "missed"]
    columns += ["newcomers shut out", "health p99", "failed", "memory, MB", "slots lost"]
    rows = [_row(found) for found in results["attacks"]]
    meanings = [f"- `{found['attack']}`: {found['what']}" for found in results["attacks"]]
    table = text.table([*columns, "room at 20 Hz", "others' CPU"], rows)
    return table + "\n\n" + "\n".join(meanings)


def _row(found: dict[str, Any]) -> list[str]:
    alone, vehicle, memory = found["alone"], found["vehicle"], found["memory_mb"]
    return [
        found["attack"],
        text.number(found["tried"]) if found["tried"] is not None else "stopped",
        *(text.ms(seen["latency_ms"]["round_trip"]["p99"]) for seen in (alone, vehicle)),
        text.percent(alone["missed_percent"]),
        "shut out" if found["is_shut_out"] else text.percent(vehicle["missed_percent"]),
        f"{sum(found['shut_out'].values())} of {found['newcomers']}",
        text.ms(found["health_ms"]["p99"]),
        text.number(sum(found["health_failed"].values())),
        " / ".join(text.number(memory[key]) for key in ("before", "peak", "after")),
        str(found["slots_lost"]),
        " / ".join(str(room) for room in found["room_at_rate"]),
        text.number(found["others_cpu"], 2),
    ]


def _names(given: str) -> list[str]:
    names = [name for name in given.split(",") if name]
    for name in names:
        if name not in ATTACKS:
            raise argparse.ArgumentTypeError(f"no attack {name!r}; there are: {', '.join(ATTACKS)}")
    return names
