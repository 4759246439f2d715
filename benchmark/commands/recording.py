"""What the flight recorder costs: CPU time with it and without, in turns, and bytes a minute.

At the server, two of them run on the same cores, one of which records every session. At the
vehicle, one client drives with a recorder and without. What is reported is the CPU time of a frame,
so that what else happens on the machine matters little.
"""

from __future__ import annotations

import argparse
import asyncio
import dataclasses
import itertools
import shlex
import statistics
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

import steerstream
import steerstream.recording
from benchmark import progress
from benchmark.commands import server_options as shared
from benchmark.errors import BenchmarkError
from benchmark.host.machine import Moment
from benchmark.loadgen import view_pictures
from benchmark.loadgen.crew import Crew
from benchmark.loadgen.open_loop import Load
from reports import text
from steerstream.command_line import count
from steerstream.testing.server_process import Server

HELP = "what the flight recorder costs a server and a vehicle, in turns"
_RATE_HZ = 20.0
_ORDERS = (("without", "with"), ("with", "without"))
_SHAPE = (480, 640, 3)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the benchmark's options."""
    shared.add_server(parser)
    shared.add_load(parser, seconds=10.0)
    add = parser.add_argument
    add("--vehicles", type=count, default=32, help="that drive at once at the servers")
    add("--rounds", type=count, default=4, help="turns with a recorder and without one")


def run(options: argparse.Namespace) -> dict[str, Any]:
    """Drive with a recorder and without one, in turns.

    Returns:
        `vehicles`; `server` and `vehicle`, each with its `rounds`, the `share` of a core that the
        recorder takes at 20 Hz, and the `megabytes_a_minute` that one vehicle's recording has.

    Raises:
        BenchmarkError: the server was given, or a server or load generator could not do its part.
    """
    if options.target:
        raise BenchmarkError("recording starts its servers itself; leave out --target")
    load = shared.load(options, vehicles=options.vehicles)
    with tempfile.TemporaryDirectory(prefix="recording-") as name:
        folder = Path(name)
        record = f"{options.server_args} --record {shlex.quote(str(folder / 'server'))}"
        recording = argparse.Namespace(**vars(options) | {"server_args": record})
        with (
            shared.server(options) as plain,
            shared.server(recording) as recorded,
            shared.clients(options) as crew,
        ):
            seen = view_pictures.seen(plain.address, load.pictures)
            load = dataclasses.replace(load, pictures=seen)
            servers = {"without": plain, "with": recorded}
            at_server = [
                {each: _at_server(crew, servers[each], load, each) for each in order}
                for order in _orders(options.rounds)
            ]
            server_bytes = _size(folder / "server")
            at_vehicle = [
                {each: _at_vehicle(plain, folder, options.seconds, each) for each in order}
                for order in _orders(options.rounds)
            ]
        frames = sum(each["with"]["frames"] for each in at_server)
        vehicle_frames = sum(each["with"]["frames"] for each in at_vehicle)
        vehicle_bytes = _size(folder / "vehicle")
    return {
        "vehicles": load.vehicles,
        "server": judged(at_server, load.vehicles, server_bytes / frames),
        "vehicle": judged(at_vehicle, 1, vehicle_bytes / vehicle_frames),
    }


def judged(
    rounds: Sequence[Mapping[str, Mapping[str, float]]], vehicles: int, frame_bytes: float
) -> dict[str, Any]:
    """Return the figures of one side.

    Args:
        rounds: of turns `with` and `without`, each with the CPU time of a frame, `cpu_us`.
        vehicles: that drove at once.
        frame_bytes: what a recording has for a frame.
    """
    more_us = statistics.median(
        each["with"]["cpu_us"] - each["without"]["cpu_us"] for each in rounds
    )
    without_us = statistics.median(each["without"]["cpu_us"] for each in rounds)
    return {
        "rounds": list(rounds),
        "more_us": round(more_us, 1),
        "ratio": round((without_us + more_us) / without_us, 3),
        "share": round(more_us * 1e-6 * _RATE_HZ * vehicles, 4),
        "megabytes_a_minute": round(frame_bytes * _RATE_HZ * 60 / 1e6, 2),
    }


def table(results: dict[str, Any]) -> str:
    """Return the medians over the rounds as Markdown."""
    rows = []
    for side, what in (
        ("server", f"server, {results['vehicles']} vehicles"),
        ("vehicle", "vehicle"),
    ):
        found = results[side]
        median = {
            each: statistics.median(one[each]["cpu_us"] for one in found["rounds"])
            for each in ("without", "with")
        }
        rows.append(
            [
                what,
                text.number(median["without"], 1),
                text.number(median["with"], 1),
                text.number(100 * found["share"], 2),
                text.number(found["megabytes_a_minute"], 2),
            ]
        )
    columns = ["", "CPU of a frame, us", "recorded, us", "recorder, % of a core", "MB a minute"]
    return text.table(columns, rows)


def _orders(rounds: int) -> Sequence[tuple[str, str]]:
    # Each is first in every other round, so that a machine that slows down favours neither.
    return list(itertools.islice(itertools.cycle(_ORDERS), rounds))


def _at_server(crew: Crew, server: Server, load: Load, what: str) -> dict[str, float]:
    before = Moment.now(server.pid)
    with progress.step(f"server {what} a recorder, {load.vehicles} vehicles", load.total_s):
        tally = crew.run(server.address, load, ca_file=server.ca_file)
    cpu_s = Moment.now(server.pid).cpu_since(before)
    if not tally.commands:
        raise BenchmarkError(f"no frame was answered: {text.counts(tally.refused)}")
    summary = tally.summary()
    # Frames of the warm-up are not counted, but cost the same.
    frames = tally.frames * (load.warm_up_s + load.seconds) / load.seconds
    return {
        "cpu_us": round(1e6 * cpu_s / frames, 1),
        "frames": frames,
        "p50_ms": summary["latency_ms"]["round_trip"]["p50"],
        "p99_ms": summary["latency_ms"]["round_trip"]["p99"],
        "missed_percent": summary["missed_percent"],
    }


def _at_vehicle(server: Server, folder: Path, seconds: float, what: str) -> dict[str, float]:
    path = folder / "vehicle" / f"{time.monotonic_ns()}.mcap"
    with progress.step(f"vehicle {what} a recorder", seconds):
        return asyncio.run(_drive(server.address, path if what == "with" else None, seconds))


async def _drive(target: str, path: Path | None, seconds: float) -> dict[str, float]:
    # By its package, which imports the recorder and its extra where it is asked for.
    recorder = None if path is None else steerstream.recording.FlightRecorder(path)
    pictures = [_picture(seed) for seed in range(8)]
    frames = round(seconds * _RATE_HZ)
    async with (
        steerstream.connect(target) as client,
        client.open_session(vehicle_id="recording", observer=recorder) as session,
    ):
        began_s, before_s = time.monotonic(), time.process_time()
        for number in range(frames):
            await asyncio.sleep(max(0.0, began_s + number / _RATE_HZ - time.monotonic()))
            await session.request(pictures[number % len(pictures)])
            session.safe_command()
        if recorder is not None:
            await asyncio.to_thread(recorder.close)
        cpu_s = time.process_time() - before_s
    return {"cpu_us": round(1e6 * cpu_s / frames, 1), "frames": float(frames)}


def _picture(seed: int) -> NDArray[np.uint8]:
    # Smooth, as a camera's is; noise would compress to many times its bytes.
    rows, columns = np.mgrid[: _SHAPE[0], : _SHAPE[1]]
    waves = np.sin(rows[..., None] / (20.0 + seed) + columns[..., None] / (31.0, 37.0, 43.0))
    return np.asarray(127.5 * (waves + 1), np.uint8)


def _size(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*.mcap"))
