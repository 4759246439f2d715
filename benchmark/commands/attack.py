"""Attacks on a server, each beside vehicles that behave: what do they feel of it?

Six vehicles send 20 frames a second each and have a budget of 50 ms. They drive alone once, and
then beside each attack, while the server's health is probed five times a second and a new vehicle
comes every half second. Every attack has a fresh server on loopback, with its default settings; the
attacker's process yields the core to the others. `memory` is the server's resident memory before,
at its peak, and after; `back` says how long after the attack it was at 1.3 times the start again.
Lost are slots that cannot be taken again after that; `room at 20 Hz` is how many vehicles the
server admits before and after.

`neighbours` attacks the machine: processes that the server knows nothing of keep its cores busy.
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
VEHICLES = 6
AFTER_S = 10.0
"""How long the memory of a server may take to come back."""
NEIGHBOURS = "neighbours"
"""An attack on the machine, beside those of `ATTACKS` on the server."""
LIMIT_MB = 4_600.0
"""An attack that makes the server hold more is stopped: `serve --explain-bounds` states more for
these settings, but the machine is not to suffer."""
WARM_UP_S = 1.0
"""The vehicles drive so long before they are counted."""
BEFORE_S = 0.5
"""They are counted so long before the attack: its first moments are the worst of many."""
_SAMPLE_S = 0.1
_CAMERA = {"rate_hz": RATE_HZ, "budget_ms": 45.0}
_SILENT = {"rate_hz": 1.0, "budget_ms": 5_000.0}
"""Terms of which the load admits as many as there are slots."""
_NAMES = (*ATTACKS, NEIGHBOURS)
_NICE = 10
_BACK = 1.3
"""Times its start, at which a server's memory is back."""
_LOOK_S = 0.2
_BUSY = 40
"""Processes of the neighbours."""
_BEFORE_S, _BESIDE_S, _SETTLED_S = 2.0, 16.0, 6.0
"""Until the neighbours come, until they go, and of that how long the server must be settled."""
_HEAL_S = 60.0


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the benchmark's options; there is none for another server than its own."""
    server, clients = split_cores()
    add = parser.add_argument
    add("--model", type=Path, default=shared.DEFAULT_MODEL, help="bundle to serve")
    add("--attacks", type=_names, default=list(_NAMES), help="names, with commas")
    add("--seconds", type=positive, default=8.5, help="length of each attack")
    add("--scale", type=positive, default=1.0, help="share of each attack's size")
    add("--settings", type=shared.settings, default="", help="of the server: max_load=0.7")
    add("--server-cores", type=shared.cores, default=server, help="cores of the server")
    add("--client-cores", type=shared.cores, default=clients, help="cores of all others")


def run(options: argparse.Namespace) -> dict[str, Any]:
    """Run all attacks, each on a fresh server.

    Raises:
        BenchmarkError: the server or a load generator could not do its part.
    """
    results, beside = [], None
    settings: dict[str, float | str] = {"max_sessions": SLOTS} | options.settings

    def served() -> contextlib.AbstractContextManager[Server]:
        return serve(options.model, settings=settings, cores=options.server_cores)

    with surroundings(options.client_cores) as around:
        with served() as server:
            alone = drive_alone(server, around, options.seconds)
        for name in options.attacks:
            with served() as server:
                if name == NEIGHBOURS:
                    beside = beside_neighbours(server, around, options.server_cores)
                    continue
                found = besiege(
                    server, around, name, options.seconds, scale=options.scale, after_s=AFTER_S
                )
            results.append(found | {"alone": alone})
    return {
        "budget_ms": BUDGET_MS,
        "rate_hz": RATE_HZ,
        "slots": SLOTS,
        "attacks": results,
        NEIGHBOURS: beside,
    }


class Surroundings:
    """The processes around a server under attack.

    Args:
        crew: drives the vehicles that behave.
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
    with crew(2, cores) as started, helper("benchmark.attacks", cores=cores) as witness:
        yield Surroundings(started, witness, cores)


def drive_alone(server: Server, around: Surroundings, seconds: float) -> dict[str, Any]:
    """Return what vehicles see of a server that nobody else uses.

    Args:
        server: it.
        around: the other processes.
        seconds: how long it is measured.
    """
    load = _vehicles(seconds, around)
    with progress.step("alone", load.total_s):
        (tally,) = around.crew.run_all(server.address, [load])
    summary: dict[str, Any] = tally.summary()
    return summary


def beside_neighbours(
    server: Server,
    around: Surroundings,
    cores: list[int],
    *,
    beside_s: float = _BESIDE_S,
    settled_s: float = _SETTLED_S,
) -> dict[str, Any]:
    """Take the cores of a server for a while.

    Args:
        server: on loopback, and our own.
        around: the other processes.
        cores: the server's.
        beside_s: how long the cores are taken.
        settled_s: the last part of that, in which those that stay are to be answered.

    Returns:
        What half of the vehicles missed in all of that time, and what the other half missed in its
        last part, when the server has let the newest go; how many had to go, how many newcomers
        were refused, and after how many seconds the server took a vehicle again.
    """
    total_s = _BEFORE_S + beside_s
    loads = [
        _vehicles(part_s, around, warm_up_s=total_s - part_s, name=name)
        for name, part_s in (("whole", total_s - 1.0), ("settled", settled_s))
    ]
    what = f"{NEIGHBOURS}, {total_s:.3g} s"
    with progress.step(what, total_s), helper("benchmark.attacks", cores=cores) as neighbours:
        neighbours.do("ready")
        around.begin_watch(server.address, total_s)
        busy = {"count": _BUSY, "cores": cores, "seconds": beside_s, "delay_s": _BEFORE_S}
        neighbours.begin("be_busy", **busy)
        whole, settled = around.crew.run_all(server.address, loads)
        seen = around.watched()
        neighbours.result()
    return {
        "processes": _BUSY,
        "seconds": beside_s,
        "vehicles": 2 * VEHICLES,
        "whole": whole.summary(),
        "settled": settled.summary(),
        "let_go": sum(sum(tally.ended.values()) for tally in (whole, settled)),
        "newcomers": seen["newcomers"],
        "refused": seen["shut_out"],
        "healed_s": _healed_s(server, around),
    }


def _healed_s(server: Server, around: Surroundings) -> float | None:
    """Return how long a server takes to admit two vehicles; None if it does not."""
    began_s = time.monotonic()
    while (passed_s := time.monotonic() - began_s) < _HEAL_S:
        if around.room(server.address, most=2, **_CAMERA) == 2:
            return round(passed_s, 1)
        time.sleep(_LOOK_S)
    return None


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
        seconds: how long it lasts.
        slots: the server's `max_sessions`.
        scale: share of the attack's size.
        after_s: how long memory may take to come back, until slots are looked at.

    Returns:
        What the vehicles, the witnesses and the server's memory showed, and what was lost.

    Raises:
        BenchmarkError: the server is not ours, or a process around it failed.
    """
    if server.pid is None:
        raise BenchmarkError("only a server that was started here is attacked")
    address, load = server.address, _vehicles(BEFORE_S + seconds, around)
    before = {"mb": resident_mb(server.pid), "room": around.room(address, most=slots, **_CAMERA)}
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
        attacker.begin("attack", name=name, seconds=seconds, delay_s=begins_s(load), **siege)
        (tally,) = around.crew.run_all(address, [load])
        seen, tried = around.watched(), _tried(attacker)
        taken = Moment.now(server.pid).since(began, clients=tally.client_cpu)
    back_s = _back_s(server.pid, before["mb"], after_s)
    return {
        "attack": name,
        "what": (ATTACKS[name].__doc__ or "").strip(),
        "tried": tried,
        "seconds": seconds,
        "vehicle": tally.summary(),
        "is_shut_out": tally.opened < load.vehicles or bool(tally.ended),
        "health_ms": Histogram.from_json(seen["health"]).summary(),
        "health_failed": seen["health_failed"],
        "newcomers": seen["newcomers"],
        "shut_out": seen["shut_out"],
        "memory_mb": _memory(before["mb"], memory.peak_mb, server.pid) | {"back_s": back_s},
        "slots_lost": slots - _most_room(around, address, slots),
        "room_at_rate": [before["room"], around.room(address, most=slots, **_CAMERA)],
        **taken,
    }


def begins_s(load: Load) -> float:
    """Return how long after its vehicles an attack begins, in the time that is measured."""
    return load.opening_s + load.warm_up_s + BEFORE_S


def _most_room(around: Surroundings, address: str, slots: int) -> int:
    """Return how many silent sessions a server takes, once it is not late any more."""
    end_s = time.monotonic() + _HEAL_S
    while True:
        room = around.room(address, most=slots, **_SILENT)
        if room == slots or time.monotonic() > end_s:
            return room
        time.sleep(1.0)


def _back_s(pid: int, before_mb: float, most_s: float) -> float | None:
    """Wait until a server's memory is back; return how long that took, None for too long."""
    began_s = time.monotonic()
    while True:
        with contextlib.suppress(OSError):  # The server has ended.
            if resident_mb(pid) <= _BACK * before_mb:
                return round(time.monotonic() - began_s, 1)
        if time.monotonic() - began_s >= most_s:
            return None
        time.sleep(_LOOK_S)


def _vehicles(
    seconds: float, around: Surroundings, *, warm_up_s: float = WARM_UP_S, name: str = "honest"
) -> Load:
    return Load(
        vehicles=VEHICLES,
        rate_hz=RATE_HZ,
        seconds=seconds,
        budget_ms=BUDGET_MS,
        pictures=around.pictures,
        warm_up_s=warm_up_s,
        name=name,
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
    columns += ["newcomers shut out", "health p99", "failed", "memory, MB", "back", "slots lost"]
    rows = [_row(found) for found in results["attacks"]]
    meanings = [f"- `{found['attack']}`: {found['what']}" for found in results["attacks"]]
    table = text.table([*columns, "room at 20 Hz", "others' CPU"], rows)
    whole = table + "\n\n" + "\n".join(meanings)
    return "\n\n".join([whole, *_beside(results.get(NEIGHBOURS))])


def _beside(found: dict[str, Any] | None) -> Iterator[str]:
    if found is None:
        return
    healed_s = found["healed_s"]
    yield (
        f"Beside {found['processes']} busy processes on the server's cores for "
        f"{found['seconds']:g} s, {found['vehicles']} vehicles missed "
        f"{text.percent(found['whole']['missed_percent'])} of their frames. The server let "
        f"{found['let_go']} go; those that stayed missed "
        f"{text.percent(found['settled']['missed_percent'])} at the end. Of {found['newcomers']} "
        f"newcomers {sum(found['refused'].values())} were refused. It took vehicles again "
        + ("not within a minute." if healed_s is None else f"{healed_s:g} s after that.")
    )


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
        _seconds(memory.get("back_s")),
        str(found["slots_lost"]),
        " / ".join(str(room) for room in found["room_at_rate"]),
        text.number(found["others_cpu"], 2),
    ]


def _seconds(value: float | None) -> str:
    return "-" if value is None else f"{value:g} s"


def _names(given: str) -> list[str]:
    names = [name for name in given.split(",") if name]
    for name in names:
        if name not in _NAMES:
            raise argparse.ArgumentTypeError(f"no attack {name!r}; there are: {', '.join(_NAMES)}")
    return names
