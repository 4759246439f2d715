"""The measurements, each of one peer at a time; the comparison runs them in turns."""

from __future__ import annotations

import math
import os
import signal
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from typing import Any

from benchmark.host.machine import Moment
from benchmark.loadgen.closed_loop import ClosedLoop
from benchmark.loadgen.open_loop import Load
from benchmark.loadgen.tally import Tally
from benchmark.peers import judge
from benchmark.peers.servers import Bench, PeerServer

RATE_HZ = 20.0
BUDGET_MS = 50.0
ALLOWED_PERCENT = 0.1
"""Misses of the budget that a capacity allows."""
CHECKED_SESSIONS, CHECKED_FRAMES = 8, 24
VANISHING = 32
BARE_S = 0.8
"""Length of a bare loop, before and after each measurement that is compared with it."""
DISTURBED_CORES = 0.1
"""Others' use above this share of one core makes a run count as disturbed."""
_SETTLE_S = 0.5
"""Frames that are due before this time has passed are not counted."""
_PATIENCE_S = 0.3
"""For the last answers: what comes later is a miss by any budget in use."""
_TOTAL_RATE_HZ, _HIGHEST_RATE_HZ = 2000.0, 500.0
"""Rates that the sessions of a closed loop state: together, more than any server here answers; and
for one of them, at most."""
_SILENT_LIMIT_S = 20.0
_FULL_RANGE = 1.25
"""A capacity is looked for up to this share of the closed loop's throughput."""

Figures = dict[str, Any]


def state_check(bench: Bench, server: PeerServer, encoding: str) -> Figures:
    """Compare interleaved sessions with the reference, twice in a row.

    The second turn finds the slots that the first one left.

    Args:
        bench: what all measurements share.
        server: the peer.
        encoding: of the pictures.

    Raises:
        JobError: a session was refused, or not answered.
        StateDiffersError: an output differs.
    """
    pictures = bench.pictures[encoding]
    file, count = str(bench.client.file(pictures)), len(pictures.pictures)
    turns = [
        judge.sequences(CHECKED_SESSIONS, CHECKED_FRAMES, count, turn=turn) for turn in range(2)
    ]
    found = [server.probe(bench.client, "outputs", pictures, sequences=each) for each in turns]
    bare = bench.bares[bench.served(server.peer)]
    references = {
        precision: [
            bare.do("reference", precision=precision, pictures=file, sequences=each)
            for each in turns
        ]
        for precision in bare.do("precisions")
    }
    precision, largest = judge.nearest(found, references)
    return {
        "ok": True,
        "precision": precision,
        "sessions": CHECKED_SESSIONS,
        "frames": 2 * CHECKED_FRAMES,
        "largest_difference": largest,
    }


def throughput(bench: Bench, server: PeerServer, encoding: str, sessions: int) -> Figures:
    """Return the closed loop's frames a second, beside the bare loop's.

    Args:
        bench: what all measurements share.
        server: the peer.
        encoding: of the pictures.
        sessions: at once, each with one frame under way.
    """
    load = ClosedLoop(
        sessions=sessions,
        seconds=bench.seconds,
        pictures=server.pictures(bench)[encoding],
        declared_rate_hz=min(_HIGHEST_RATE_HZ, _TOTAL_RATE_HZ / sessions),
    )
    before_fps = _bare_fps(bench, encoding)
    tally, taken = _measured(bench, server, load)
    bare_fps = (before_fps + _bare_fps(bench, encoding)) / 2
    fps = tally.commands / bench.seconds
    times = _times(tally)
    return {"fps": fps, **times, "bare_fps": bare_fps, "ratio": fps / bare_fps, **taken}


def paced(bench: Bench, server: PeerServer, sessions: int, seconds: float) -> Figures:
    """Return what becomes of JPEG frames at a camera's rate.

    Args:
        bench: what all measurements share.
        server: the peer.
        sessions: vehicles at once.
        seconds: counted time.
    """
    load = Load(
        vehicles=sessions,
        rate_hz=RATE_HZ,
        seconds=seconds,
        budget_ms=BUDGET_MS,
        pictures=server.pictures(bench)["jpeg"],
        # The server gets the whole budget: there is no network between.
        network_ms=0.0,
        warm_up_s=_SETTLE_S,
        patience_s=_PATIENCE_S,
        seed=sessions,
    )
    tally, taken = _measured(bench, server, load)
    server.settle()
    return {"sessions": sessions, **paced_figures(tally, load), **taken}


def paced_figures(tally: Tally, load: Load) -> Figures:
    """Return the figures of an open-loop load.

    Every frame that a refused or ended session would have sent counts as offered.
    """
    offered = load.vehicles * load.rate_hz * load.seconds
    refused_ms = tally.refusal.percentile_ms(99) if tally.refusal.count else 0.0
    return {
        "admitted": tally.opened,
        "ended": tally.ended.total(),
        "offered_fps": offered / load.seconds,
        "goodput_fps": tally.in_time / load.seconds,
        "in_time_percent": 100 * tally.in_time / offered,
        "admitted_in_time_percent": 100 * tally.in_time / tally.frames if tally.frames else 0.0,
        "missed_percent": 100 * (offered - tally.in_time) / offered,
        "skipped": tally.skipped.total(),
        **_times(tally),
        "refused_p99_ms": refused_ms,
    }


def capacities(
    bench: Bench,
    servers: Mapping[str, PeerServer],
    fps: Mapping[str, float],
    excused: Callable[[PeerServer], AbstractContextManager[None]],
) -> Figures:
    """Return for each peer the most vehicles whose frames are in time, all but one in a thousand.

    The peers take turns, a try each, so that all searches meet the same machine.

    Args:
        bench: what measurements share.
        servers: the peers by name.
        fps: each one's throughput in the closed loop with the same frames.
        excused: goes on without a peer that breaks down.
    """
    searches = {}
    for name in servers:
        high = max(2, math.ceil(_FULL_RANGE * fps[name] / RATE_HZ))
        # A neighbour on the machine may spoil one try; a server that is too slow fails both.
        searches[name] = judge.Search(low=max(1, high // 2), high=high, tries=2)
    probes: dict[str, list[Figures]] = {name: [] for name in servers}
    going = list(searches)
    while going:
        for name in list(going):
            search = searches[name]
            going.remove(name)
            with excused(servers[name]):
                tried = paced(bench, servers[name], search.vehicles, 1.5 * bench.seconds)
                probes[name].append(tried)
                search.take(holds=_in_time(tried))
                if not search.is_over:
                    going.append(name)
    return {
        name: {
            "vehicles": search.found,
            "probes": probes[name],
            "disturbed": any(item["disturbed"] for item in probes[name]),
        }
        for name, search in searches.items()
    }


def overload(bench: Bench, server: PeerServer, factor: float, fps: float) -> Figures:
    """Offer a multiple of the closed loop's throughput at a camera's rate.

    Args:
        bench: what all measurements share.
        server: the peer.
        factor: the multiple.
        fps: the closed loop's throughput with the same pictures.
    """
    return paced(bench, server, max(1, math.ceil(factor * fps / RATE_HZ)), bench.seconds)


def vanish(bench: Bench, server: PeerServer, how: str) -> Figures:
    """Return how long slots stay lost after as many clients as there are slots have vanished.

    Args:
        bench: what all measurements share.
        server: the peer, with as many slots.
        how: `killed`: the system closes the connections; `silent`: they stay open, as when a
            vehicle drives into a tunnel.
    """
    pictures = bench.pictures["rgb8"]
    with bench.another_client() as client:
        server.probe(client, "hold", pictures, sessions=VANISHING)
        os.kill(client.pids[0], signal.SIGKILL if how == "killed" else signal.SIGSTOP)
        limits = {"sessions": VANISHING, "limit_s": _SILENT_LIMIT_S}
        lost_s = server.probe(bench.client, "reopen", pictures, **limits)
        os.kill(client.pids[0], signal.SIGKILL)
    server.settle()
    return {"lost_s": lost_s, "waited_s": _SILENT_LIMIT_S}


def _bare_fps(bench: Bench, encoding: str) -> float:
    """Return the frames a second of the bare loop now."""
    file = str(bench.client.file(bench.pictures[encoding]))
    return float(bench.bare.do("loop", pictures=file, seconds=BARE_S)["fps"])


def _measured(bench: Bench, server: PeerServer, load: Load | ClosedLoop) -> tuple[Tally, Figures]:
    """Run a load; return its tally, and what others took of the processor during it.

    Time stolen by a host counts as used by others, and so does that of peers that should be idle.
    """
    pids = (server.pid, *bench.client.pids)
    before = Moment.now(*pids)
    (tally,) = bench.client.run_all(server.address, [load], transport=server.peer.transport)
    taken = Moment.now(*pids).since(before)
    others = round(taken["others_cpu"] + taken["stolen"], 3)
    return tally, {"others_cpu": others, "disturbed": others > DISTURBED_CORES}


def _times(tally: Tally) -> Figures:
    """Return the median and the 99th percentile of the round trip; 0 where there is none."""
    trip = tally.stages["round_trip"]
    is_known = trip.count > 0
    return {f"p{each}_ms": trip.percentile_ms(each) if is_known else 0.0 for each in (50, 99)}


def _in_time(figures: Figures) -> bool:
    return bool(figures["missed_percent"] <= ALLOWED_PERCENT)
