"""The measurements, each of one peer at a time; the comparison runs them in turns."""

from __future__ import annotations

import math
import os
import signal
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmark.peers import cores, judge
from benchmark.peers.servers import Server
from benchmark.peers.worker import Worker

RATE_HZ = 20.0
BUDGET_MS = 50.0
ALLOWED_PERCENT = 0.1
"""Misses of the budget that a capacity allows."""
CHECKED_SESSIONS, CHECKED_FRAMES = 8, 24
VANISHING = 32
BARE_S = 0.8
"""Length of a bare loop, before and after each measurement that is compared with it."""
_SILENT_LIMIT_S = 20.0
_FULL_RANGE = 1.25
"""A capacity is looked for up to this share of the closed loop's throughput."""

Figures = dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Bench:
    """What measurements share.

    Attributes:
        client: the load generator, on a core of its own.
        bare: the bare loop and the reference, on the servers' core.
        frames: the file of the frames, by encoding.
        pictures: how many each file holds.
        seconds: counted time of one measurement.
        vanisher: starts another client, for one that shall vanish.
    """

    client: Worker
    bare: Worker
    frames: Mapping[str, Path]
    pictures: int
    seconds: float
    vanisher: Callable[[], Any]

    def bare_fps(self, encoding: str) -> float:
        """Return the frames a second of the bare loop now."""
        found = self.bare.do("loop", frames=str(self.frames[encoding]), seconds=BARE_S)
        return float(found["fps"])


def state_check(bench: Bench, server: Server, encoding: str) -> Figures:
    """Compare interleaved sessions with the reference, twice in a row.

    The second turn finds the slots that the first one left.

    Raises:
        StateDiffersError: an output differs.
    """
    largest = 0.0
    path = bench.frames[encoding]
    for turn in range(2):
        wanted = judge.sequences(CHECKED_SESSIONS, CHECKED_FRAMES, bench.pictures, turn=turn)
        found = bench.client.do("outputs", sequences=wanted, **server.job(path))
        reference = bench.bare.do("reference", frames=str(path), sequences=wanted)
        largest = max(largest, judge.check_state(found, reference))
    return {
        "ok": True,
        "sessions": CHECKED_SESSIONS,
        "frames": 2 * CHECKED_FRAMES,
        "largest_difference": largest,
    }


def throughput(bench: Bench, server: Server, encoding: str, sessions: int) -> Figures:
    """Return the closed loop's frames a second, beside the bare loop's."""
    return _with_bare(
        bench,
        server,
        encoding,
        lambda: bench.client.do(
            "closed",
            sessions=sessions,
            seconds=bench.seconds,
            **server.job(bench.frames[encoding]),
        ),
    )


def paced(bench: Bench, server: Server, sessions: int, seconds: float) -> Figures:
    """Return what becomes of JPEG frames at a camera's rate."""
    with cores.Watch(server.pid, bench.client.pid) as watch:
        figures: Figures = bench.client.do(
            "paced",
            sessions=sessions,
            rate_hz=RATE_HZ,
            seconds=seconds,
            budget_ms=BUDGET_MS,
            **server.job(bench.frames["jpeg"]),
        )
    server.settle()
    return figures | watch.found.as_json()


def capacity(bench: Bench, server: Server, fps: float) -> Figures:
    """Return the most vehicles whose frames are in time, all but one in a thousand.

    Args:
        bench: what measurements share.
        server: the peer.
        fps: the closed loop's throughput with the same frames.
    """
    probes: list[Figures] = []

    def holds(vehicles: int) -> bool:
        # A neighbour on the machine may spoil one try; a server that is too slow fails both.
        return any(_in_time(probe(vehicles)) for _ in range(2))

    def probe(vehicles: int) -> Figures:
        probes.append(paced(bench, server, vehicles, 1.5 * bench.seconds))
        return probes[-1]

    before = bench.bare_fps("jpeg")
    high = max(2, math.ceil(_FULL_RANGE * fps / RATE_HZ))
    vehicles = judge.most(holds, low=max(1, high // 2), high=high)
    return {
        "vehicles": vehicles,
        "bare_fps": (before + bench.bare_fps("jpeg")) / 2,
        "probes": probes,
        "disturbed": any(item["disturbed"] for item in probes),
    }


def overload(bench: Bench, server: Server, factor: float, fps: float) -> Figures:
    """Offer a multiple of the closed loop's throughput at a camera's rate."""
    return paced(bench, server, max(1, math.ceil(factor * fps / RATE_HZ)), bench.seconds)


def vanish(bench: Bench, server: Server, how: str) -> Figures:
    """Return how long slots stay lost after as many clients as there are slots have vanished.

    Args:
        bench: what measurements share.
        server: the peer, with as many slots.
        how: `killed`, the system closes the connections; `silent`, nobody does, as when a
            vehicle drives into a tunnel.
    """
    job = server.job(bench.frames["rgb8"])
    with bench.vanisher() as client:
        client.do("hold", sessions=VANISHING, **job)
        os.kill(client.pid, signal.SIGKILL if how == "killed" else signal.SIGSTOP)
        lost_s = bench.client.do("reopen", sessions=VANISHING, limit_s=_SILENT_LIMIT_S, **job)
        os.kill(client.pid, signal.SIGKILL)
    server.settle()
    return {"lost_s": lost_s, "waited_s": _SILENT_LIMIT_S}


def _with_bare(
    bench: Bench, server: Server, encoding: str, measure: Callable[[], Figures]
) -> Figures:
    before = bench.bare_fps(encoding)
    with cores.Watch(server.pid, bench.client.pid) as watch:
        figures = measure()
    bare_fps = (before + bench.bare_fps(encoding)) / 2
    return {
        **figures,
        "bare_fps": bare_fps,
        "ratio": figures["fps"] / bare_fps,
        **watch.found.as_json(),
    }


def _in_time(figures: Figures) -> bool:
    return bool(figures["missed_percent"] <= ALLOWED_PERCENT)
