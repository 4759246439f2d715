"""The targets of the benchmarks, each beside the figure that was measured."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import Any

from benchmark.commands.attack import LIMIT_MB
from reports import targets
from reports.targets import Figure

Results = dict[str, dict[str, Any]]
_MANY_FRAMES = 200_000


def table(results: Results) -> str:
    """Return targets and figures as a Markdown table, without targets that were not measured."""
    return targets.table(figure for find in _ALL for figure in find(results))


def _capacity(results: Results) -> Iterator[Figure]:
    for name, result in _named(results, "capacity"):
        share = result["at_80_percent"]
        trip = share["latency_ms"]["round_trip"]
        missed = share["missed_percent"]
        # A short run cannot tell that fewer than one in 10,000 are missed.
        aim = 0.001 if share["frames"] >= _MANY_FRAMES else 0.01
        yield Figure(f"{name}, at 80 %: misses", aim, missed, at_least=False, unit=" %")
        ratio = trip["p99"] / trip["p50"] if trip["p50"] else None
        yield Figure(f"{name}, at 80 %: p99 / p50", 3.0, ratio, at_least=False)


def _overload(results: Results) -> Iterator[Figure]:
    for name, result in _named(results, "overload"):
        runs = result["runs"]
        peak = max(run["goodput_fps"] for run in runs)
        worst = max(run["factor"] for run in runs)
        for run in (run for run in runs if run["factor"] == worst):
            at = f"{name}, {worst:g} times{' hostile' * run['hostile']}"
            missed, refuse_ms = run["missed_percent"], run["refusal_ms"]["p99"]
            share = 100 * run["goodput_fps"] / peak if peak else None
            # Without admission nobody is refused, and all share what the server cannot do.
            if refuse_ms is not None:
                yield Figure(f"{at}: admitted miss", 0.1, missed, at_least=False, unit=" %")
                yield Figure(f"{at}: refusal p99", 5.0, refuse_ms, at_least=False, unit=" ms")
            yield Figure(f"{at}: goodput of peak", 90.0, share, at_least=True, unit=" %")


def _stall(results: Results) -> Iterator[Figure]:
    for name, result in _named(results, "stall"):
        at = f"{name}, {result['stall_ms']:g} ms: until all frames are in time again"
        for which in ("median", "largest"):
            reached_ms = result[f"{which}_ms"]
            reached_ms = math.inf if reached_ms is None else reached_ms
            yield Figure(f"{at}, {which}", 500.0, reached_ms, at_least=False, unit=" ms")


def _peers(results: Results) -> Iterator[Figure]:
    for name, result in _named(results, "peers"):
        carried = {
            peer: found["capacity"]["vehicles"]
            for peer, found in result["peers"].items()
            if found.get("capacity")
        }
        for what, aim, ours, theirs in _CAPACITIES:
            best = max((carried[peer] for peer in theirs if peer in carried), default=0)
            if best and ours in carried:
                yield Figure(f"{name}: {what}", aim, carried[ours] / best, at_least=True)
        p50_ms = {
            peer: found["paced"]["1"]["p50_ms"]
            for peer, found in result["peers"].items()
            if found.get("paced", {}).get("1")
        }
        if {_OURS, _EARLIER} <= p50_ms.keys():
            what = f"{name}: p50 of one vehicle, times that of the earlier revision"
            yield Figure(what, 0.6, p50_ms[_OURS] / p50_ms[_EARLIER], at_least=False)
        if (seen := result["peers"].get(_VIEW, {})).get("bytes_a_frame"):
            kilobytes = seen["bytes_a_frame"] / 1e3
            yield Figure(f"{name}: a frame of the view", 8.0, kilobytes, at_least=False, unit=" kB")


def _attack(results: Results) -> Iterator[Figure]:
    for name, result in _named(results, "attack"):
        for what, count in _ATTACK_COUNTS.items():
            reached = sum(count(found) for found in result["attacks"])
            yield Figure(f"{name}, all together: {what}", 0, reached, at_least=False)
        for what, (aim, unit, value) in _ATTACK_VALUES.items():
            worst = max(result["attacks"], key=value, default=None)
            if worst is None:
                continue
            at = f"{name}, worst of {len(result['attacks'])}, {worst['attack']}: {what}"
            yield Figure(at, aim, value(worst), at_least=False, unit=unit)
        if beside := result.get("neighbours"):
            at = f"{name}, beside neighbours, those that stay: misses"
            missed = beside["settled"]["missed_percent"]
            yield Figure(at, 0.1, missed, at_least=False, unit=" %")
            healed = f"{name}, after neighbours: until vehicles are taken again"
            yield Figure(healed, 60.0, beside["healed_s"], at_least=False, unit=" s")


def _histories(results: Results) -> Iterator[Figure]:
    for name, result in _named(results, "histories"):
        count = f"{name}, {result['histories']:,} histories"
        yield Figure(f"{count}: broken", 0, len(result["broken"]), at_least=False)
        each_ms = 1e3 * result["cpu_s"] / result["histories"]
        yield Figure(f"{count}: each, on one core", 60, each_ms, at_least=False, unit=" ms")


def _failover(results: Results) -> Iterator[Figure]:
    for name, result in _named(results, "failover"):
        if not result.get("faults"):
            continue
        sessions = f"{name}, {result['sessions']:,} sessions: wrong"
        yield Figure(sessions, 0, result["wrong"], at_least=False)
        afresh = f"{name}, {result['sessions']:,} sessions: began afresh"
        yield Figure(afresh, 0, result["fresh"], at_least=False)
        for fault, aim_ms in _WITHOUT_MS.items():
            if fault not in result["faults"]:
                continue
            what = f"{name}, server {fault}: p99 without a command"
            reached = result["faults"][fault]["without_ms"]["p99"]
            yield Figure(what, aim_ms, reached, at_least=False, unit=" ms")
            if fault in _NOTHING_HELD:
                held = result["faults"][fault].get("held")
                yield Figure(f"{name}, server {fault}: frames held", 0, held, at_least=False)
        if (tickets := result.get("tickets")) is not None:
            share = tickets["processor"]["share_percent"]
            what = f"{name}, tickets: share of the server's CPU time"
            yield Figure(what, 3.0, share, at_least=False, unit=" %")
            bundles = tickets["bundles"].values()
            largest = max(found["share_of_pictures_percent"] for found in bundles)
            what = f"{name}, tickets of the worst bundle: share of the pictures' bytes"
            yield Figure(what, 5.0, largest, at_least=False, unit=" %")
            if all("killed" in found for found in bundles):
                views = max(found["views"]["share_of_pictures_percent"] for found in bundles)
                what = f"{name}, tickets of the worst bundle: share of the views' bytes"
                yield Figure(what, 5.0, views, at_least=False, unit=" %")
                wrong = sum(found["killed"]["wrong"] for found in bundles)
                yield Figure(f"{name}, all bundles, killed: wrong", 0, wrong, at_least=False)
                slowest = max(found["killed"]["without_ms"]["p99"] for found in bundles)
                what = f"{name}, the slowest bundle, killed: p99 without a command"
                yield Figure(what, 150.0, slowest, at_least=False, unit=" ms")


_NOTHING_HELD = {"drained", "restarted in turn"}
_WITHOUT_MS = {
    "killed": 150.0,
    "stopped": 300.0,
    "cut off": 300.0,
    "drained": 150.0,
    "restarted in turn": 150.0,
}
"""Four periods at 20 Hz and 100 ms where the server says nothing; the greatest age that the guard
follows where it says that it ends the session."""


def _missed(found: dict[str, Any]) -> float:
    missed = found["vehicle"]["missed_percent"]
    return 100.0 if missed is None else float(missed)


def _growth(found: dict[str, Any]) -> float:
    """Return the server's memory after an attack over that before; infinite if it has ended."""
    memory = found["memory_mb"]
    return memory["after"] / memory["before"] if memory["after"] else math.inf


def _load_lost(found: dict[str, Any]) -> float:
    """Return by how many percent fewer vehicles are admitted than before an attack."""
    before, after = found["room_at_rate"]
    return 100.0 * max(0.0, 1.0 - after / before) if before else 100.0


_ATTACK_COUNTS: dict[str, Callable[[dict[str, Any]], int]] = {
    "slots lost": lambda found: found["slots_lost"],
    "times the vehicle was shut out": lambda found: found["is_shut_out"],
    "newcomers shut out": lambda found: sum(found["shut_out"].values()),
    "failed health probes": lambda found: sum(found["health_failed"].values()),
}
_ATTACK_VALUES: dict[str, tuple[float, str, Callable[[dict[str, Any]], float]]] = {
    "misses": (0.1, " %", _missed),
    "health p99": (100.0, " ms", lambda found: found["health_ms"]["p99"]),
    "memory after / before": (1.3, "", _growth),
    "peak of memory": (LIMIT_MB, " MB", lambda found: found["memory_mb"]["peak"] or math.inf),
    "load lost": (20.0, " %", _load_lost),
}


_OURS, _VIEW, _EARLIER = "steerstream", "steerstream-view", "steerstream-earlier"
_CAPACITIES = (
    ("vehicles with the view, times those of Triton", 2.0, _VIEW, ("triton",)),
    ("vehicles with the view, times those of openpi", 1.0, _VIEW, ("openpi",)),
    ("vehicles with whole pictures, times those of Triton", 1.3, _OURS, ("triton",)),
    (
        "vehicles with whole pictures, times those of the best peer with our 8 bits",
        1.05,
        _OURS,
        ("triton-int8", "threads-int8", "openpi-int8"),
    ),
    ("vehicles with whole pictures, times those of the earlier revision", 1.6, _OURS, (_EARLIER,)),
    ("vehicles with the view, times those of the earlier revision", 2.4, _VIEW, (_EARLIER,)),
)
"""What is said of it, the target, whose capacity, and over the best of which peers."""


def _tls(results: Results) -> Iterator[Figure]:
    for name, result in _named(results, "tls"):
        what = f"{name}: vehicles with TLS / in plain text"
        yield Figure(what, 0.9, result["ratio"], at_least=True)


_ALL: tuple[Callable[[Results], Iterator[Figure]], ...] = (
    _capacity,
    _overload,
    _stall,
    _peers,
    _attack,
    _failover,
    _histories,
    _tls,
)


def _named(results: Results, benchmark: str) -> Iterator[tuple[str, Any]]:
    for name, result in results.items():
        if result["benchmark"] == benchmark:
            yield name, result["results"]
