"""The whole comparison: environments, servers, and measurements in turns."""

from __future__ import annotations

import argparse
import contextlib
import json
import statistics
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from benchmark.errors import BenchmarkError, JobError, StateDiffersError
from benchmark.host.jobs import helper
from benchmark.host.machine import split_cores
from benchmark.loadgen.crew import crew
from benchmark.peers import drive_pictures, environments, phases, registry
from benchmark.peers.peer import Peer
from benchmark.peers.phases import Figures
from benchmark.peers.servers import CLIENT, Bench, PeerServer, serve

PHASES = ("throughput", "paced", "capacity", "overload", "vanish")
USUAL_PHASES = ("paced", "capacity", "overload")
"""What the targets need, and overload: 11 minutes for all peers, Ray and an earlier revision."""
SLOTS = 512
"""More than any load opens, so that no peer is short of slots where slots are not the question."""
CLOSED_LOOPS = (("rgb8", 1), ("rgb8", 8), ("rgb8", 32), ("jpeg", 8))
PACED_SESSIONS = (1, 8, 16)
OVERLOADS = (2, 4)
_QUICK = {"seconds": 0.5, "rounds": 1}

Results = dict[str, Figures]
"""By peer."""


def run(options: argparse.Namespace) -> dict[str, Any]:
    """Compare peers; see `benchmark.commands.peers`."""
    if options.quick:
        vars(options).update(_QUICK)
    chosen = _peers(options)
    pythons = _install(chosen, options.environments)
    results: dict[str, Any] = {"model": options.model.stem, "failed": [], "peers": {}}
    if not options.install_only:
        with _bench(options, chosen, pythons) as (bench, about):
            results["frames"] = about
            results["peers"] = _compare(bench, chosen, options)
    results["failed"] = [name for name, found in results["peers"].items() if "failed" in found]
    return _merged(results, options.json) if options.merge and options.json else results


def _peers(options: argparse.Namespace) -> list[Peer]:
    for name in (*options.peers, *options.also):
        if name not in registry.PEERS:
            raise BenchmarkError(f"no peer {name!r}; there are: {', '.join(registry.PEERS)}")
    for name in options.phases:
        if name not in PHASES:
            raise BenchmarkError(f"no phase {name!r}; there are: {', '.join(PHASES)}")
    if not options.model.is_file():
        raise BenchmarkError(f"{options.model}: no such bundle; give --model FILE")
    chosen = registry.chosen(options.peers, options.also)
    if options.earlier:
        checkout = environments.check_out(options.earlier, options.environments)
        chosen.insert(0, registry.earlier(options.earlier, checkout))
    return chosen


def _install(chosen: list[Peer], folder: Path) -> dict[str, Path]:
    """Return each peer's interpreter; the load generator's stands under `client`."""
    ours = Path(sys.executable)
    pythons = {
        peer.name: environments.install(peer.requirements, folder, resolve=peer.resolve)
        if peer.requirements
        else ours
        for peer in chosen
    }
    # Some transports need packages of their own; without such a peer this environment will do.
    installs = any(peer.requirements for peer in chosen)
    pythons[CLIENT] = environments.install(CLIENT, folder) if installs else ours
    return pythons


@contextlib.contextmanager
def _bench(
    options: argparse.Namespace, chosen: list[Peer], pythons: Mapping[str, Path]
) -> Iterator[tuple[Bench, dict[str, object]]]:
    (server_core, *_), (*_, client_core) = split_cores()
    pictures = drive_pictures.load(options.data or drive_pictures.default_data())
    models = {options.model, *(peer.model for peer in chosen if peer.model)}
    with contextlib.ExitStack() as stack:
        client = stack.enter_context(crew(1, [client_core], python=pythons[CLIENT]))
        bares = {
            model: stack.enter_context(
                helper("benchmark.peers.hosts.bare", ["--model", str(model)], cores=[server_core])
            )
            for model in models
        }
        yield (
            Bench(
                model=options.model,
                pythons=pythons,
                client=client,
                bares=bares,
                pictures={"jpeg": pictures.jpeg, "rgb8": pictures.rgb8},
                seconds=options.seconds,
                server_core=server_core,
                client_core=client_core,
            ),
            pictures.about(),
        )


def _compare(bench: Bench, chosen: list[Peer], options: argparse.Namespace) -> Results:
    results: Results = {peer.name: {"title": peer.title} for peer in chosen}
    _carry(bench, chosen, options, results)
    right = [peer for peer in chosen if "failed" not in results[peer.name]]
    if "overload" in options.phases:
        # In their usual settings, so that a peer may refuse what it cannot carry.
        with contextlib.ExitStack() as stack:
            servers = {
                peer.name: stack.enter_context(serve(bench, peer, slots=SLOTS, admits_all=False))
                for peer in right
            }
            _overload(bench, servers, results)
    if "vanish" in options.phases:
        for peer in right:
            _say(f"{peer.name}: {phases.VANISHING} clients vanish")
            results[peer.name]["vanish"] = _vanish(bench, peer)
    return results


def _carry(bench: Bench, chosen: list[Peer], options: argparse.Namespace, results: Results) -> None:
    """Check every peer's state, then measure what those that pass carry."""
    with contextlib.ExitStack() as stack:
        servers = {}
        for peer in chosen:
            server = stack.enter_context(serve(bench, peer, slots=SLOTS, admits_all=True))
            found = results[peer.name]
            found["versions"] = environments.versions(bench.pythons[peer.name], peer.packages)
            found["start_s"] = server.start_s
            sent = server.pictures(bench)["jpeg"].pictures
            found["bytes_a_frame"] = round(statistics.mean(map(len, sent)))
            if _checked(bench, server, found):
                servers[peer.name] = server
        for name, measure in _MEASURES.items():
            if name in options.phases:
                measure(bench, servers, results, options)
        if "overload" in options.phases:
            for _, server in _standing(servers, results):
                with _excused(server, results):
                    _jpeg_fps(bench, server, results)


def _checked(bench: Bench, server: PeerServer, found: Figures) -> bool:
    """Check the state with both encodings; a peer that fails gets no figures."""
    try:
        checks = {each: phases.state_check(bench, server, each) for each in ("rgb8", "jpeg")}
    except StateDiffersError as error:
        print(f"{server.peer.name}: WRONG STATE: {error}; it gets no figures", file=sys.stderr)
        found["state_check"] = {"ok": False, "reason": str(error)}
        found["failed"] = f"wrong state: {error}"
        return False
    largest = max(check["largest_difference"] for check in checks.values())
    found["state_check"] = checks["rgb8"] | {"largest_difference": largest}
    return True


def _standing(
    servers: Mapping[str, PeerServer], results: Results
) -> Iterator[tuple[str, PeerServer]]:
    """Yield the servers that nothing has gone wrong with until their turn comes."""
    for name, server in servers.items():
        if "failed" not in results[name]:
            yield name, server


@contextlib.contextmanager
def _excused(server: PeerServer, results: Results) -> Iterator[None]:
    """Go on without a peer that breaks down in a measurement; its row says why."""
    try:
        yield
    except JobError as error:
        print(f"{server.peer.name}: BROKE DOWN: {error}; it gets no figures", file=sys.stderr)
        results[server.peer.name]["failed"] = f"broke down: {error}"


def _throughput(
    bench: Bench, servers: Mapping[str, PeerServer], results: Results, options: argparse.Namespace
) -> None:
    for encoding, sessions in CLOSED_LOOPS:
        _say(f"throughput, {encoding}, sessions: {sessions}")
        rounds: dict[str, list[Figures]] = {name: [] for name in servers}
        for _ in range(options.rounds):
            for name, server in _standing(servers, results):
                with _excused(server, results):
                    rounds[name].append(phases.throughput(bench, server, encoding, sessions))
        for name, _ in _standing(servers, results):
            found = results[name].setdefault("throughput", {}).setdefault(encoding, {})
            found[str(sessions)] = _median(rounds[name])


def _paced(
    bench: Bench, servers: Mapping[str, PeerServer], results: Results, options: argparse.Namespace
) -> None:
    for sessions in PACED_SESSIONS:
        _say(f"20 Hz, sessions: {sessions}")
        for name, server in _standing(servers, results):
            with _excused(server, results):
                figures = phases.paced(bench, server, sessions, 2 * options.seconds)
                results[name].setdefault("paced", {})[str(sessions)] = figures


def _capacity(
    bench: Bench, servers: Mapping[str, PeerServer], results: Results, options: argparse.Namespace
) -> None:
    del options
    fps = {}
    for name, server in _standing(servers, results):
        with _excused(server, results):
            fps[name] = _jpeg_fps(bench, server, results)
    _say("capacity")
    standing = {name: server for name, server in _standing(servers, results) if name in fps}
    found = phases.capacities(bench, standing, fps, lambda server: _excused(server, results))
    for name, figures in found.items():
        results[name]["capacity"] = figures


def _overload(bench: Bench, servers: Mapping[str, PeerServer], results: Results) -> None:
    for factor in OVERLOADS:
        for name, server in _standing(servers, results):
            _say(f"{name}: {factor} times its throughput")
            with _excused(server, results):
                fps = _jpeg_fps(bench, server, results)
                figures = phases.overload(bench, server, factor, fps)
                results[name].setdefault("overload", {})[str(factor)] = figures


_MEASURES: dict[str, Callable[..., None]] = {
    "throughput": _throughput,
    "paced": _paced,
    "capacity": _capacity,
}


def _jpeg_fps(bench: Bench, server: PeerServer, results: Results) -> float:
    """Return the closed loop's frames a second with JPEG; measured now if it was not before."""
    by_encoding = results[server.peer.name].setdefault("throughput", {})
    by_sessions = by_encoding.setdefault("jpeg", {})
    if "8" not in by_sessions:
        by_sessions["8"] = phases.throughput(bench, server, "jpeg", 8)
    return float(by_sessions["8"]["fps"])


def _vanish(bench: Bench, peer: Peer) -> Figures:
    found = {}
    for how in ("killed", "silent"):
        with serve(bench, peer, slots=phases.VANISHING, admits_all=False) as server:
            found[how] = phases.vanish(bench, server, how)
    return found


def _median(rounds: list[Figures]) -> Figures:
    """Return the median of each figure over rounds; disturbed where any round was."""
    medians: Figures = {
        name: statistics.median(figures[name] for figures in rounds)
        for name in rounds[0]
        if name != "disturbed"
    }
    return medians | {"disturbed": any(figures["disturbed"] for figures in rounds)}


def _merged(results: dict[str, Any], path: Path) -> dict[str, Any]:
    """Add results to what a file holds of other peers and phases."""
    if not path.exists():
        return results
    peers = json.loads(path.read_text())["results"]["peers"]
    for name in results["peers"]:
        peers.get(name, {}).pop("failed", None)
    _update(peers, results["peers"])
    failed = [name for name, found in peers.items() if "failed" in found]
    return results | {"peers": peers, "failed": failed}


def _update(held: dict[str, Any], new: Mapping[str, Any]) -> None:
    """Put new figures over those that are held, level by level: other sessions' ones stay."""
    for name, value in new.items():
        if isinstance(value, dict) and isinstance(held.get(name), dict):
            _update(held[name], value)
        else:
            held[name] = value


def _say(text: str) -> None:
    print(f"{text} ...", file=sys.stderr)
