"""Servers that go away in the middle of drives: is any answer other than without that?

Vehicles drive on two servers that share a key for tickets. At a random moment the one that they
drive on is killed (SIGKILL), stopped (SIGSTOP: its connections stay and it says nothing), or
drained (SIGTERM), and another one is started for the next round. In lock-step many vehicles at once
compare every answer with those of a drive without a fault, and every history is held to a reference
model; `wrong` counts the rules that are broken, and `began afresh` the sessions without their
state. At a camera's pace few vehicles measure the longest time without a fresh command, from the
last one before the fault.
"""

from __future__ import annotations

import argparse
import asyncio
import base64
import contextlib
import os
import random
import signal
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Self

import numpy as np

from benchmark import progress
from benchmark.commands import server_options as shared
from benchmark.errors import BenchmarkError
from benchmark.failover.model import violations
from benchmark.failover.vehicles import PERIOD_S, LockStep, Paced
from benchmark.loadgen import synthetic_road
from reports import text
from steerstream import Command
from steerstream.command_line import count, positive
from steerstream.testing.server_process import Server, serve

HELP = "servers that are killed, stopped and drained: wrong answers, and the time without any"
FAULTS = {"killed": signal.SIGKILL, "stopped": signal.SIGSTOP, "drained": signal.SIGTERM}
FILMS = 4
"""Different drives in lock-step; each is driven without a fault once."""
_SHOWN = 5
"""Broken rules that are written out; the others are counted."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the benchmark's options."""
    add = parser.add_argument
    add("--model", type=Path, default=shared.DEFAULT_MODEL, help="bundle to serve")
    add("--sessions", type=count, default=400, help="lock-step sessions that lose their server")
    add("--vehicles", type=count, default=40, help="of them at once")
    add("--frames", type=count, default=60, help="of each session")
    add("--rounds", type=count, default=4, help="of each fault at a camera's pace")
    add("--paced", type=count, default=4, help="vehicles at once at a camera's pace")
    add("--seconds", type=positive, default=4.0, help="length of a round at a camera's pace")
    add("--budget-ms", type=positive, default=50.0, help="at a camera's pace")
    add("--size", type=shared.size, default="320x240", help="WIDTHxHEIGHT of the JPEG pictures")
    add("--seed", type=int, default=0, help="of the moments of the faults")


def run(options: argparse.Namespace) -> dict[str, Any]:
    """Drive, break, and return what was wrong and how long it took.

    Raises:
        BenchmarkError: a drive without a fault was not answered.
    """
    pictures = synthetic_road.picture_set("jpeg", *options.size).pictures
    moments = random.Random(options.seed)
    with _fleet(options) as fleet:
        unbroken, warm_up_steps = asyncio.run(_unbroken(fleet.targets[0], pictures, options))
        lock_step = _lock_step(
            fleet, pictures, unbroken, warm_up_steps, options=options, moments=moments
        )
        paced = _paced(fleet, pictures, options, moments)
    faults = {name: {**lock_step[name], **paced[name]} for name in FAULTS}
    return {
        "vehicles": options.vehicles,
        "frames": options.frames,
        "sessions": sum(found["sessions"] for found in faults.values()),
        "answers": sum(found["answers"] for found in faults.values()),
        "wrong": sum(found["wrong"] for found in faults.values()),
        "fresh": sum(found["fresh"] for found in faults.values()),
        "faults": faults,
    }


def table(results: dict[str, Any]) -> str:
    """Return the results as Markdown."""
    columns = ["the server is", "sessions", "answers", "wrong", "began afresh"]
    columns += ["without a command, p50", "p99"]
    columns += ["max", "of changes"]
    rows = [
        [
            name,
            text.number(found["sessions"]),
            text.number(found["answers"]),
            text.number(found["wrong"]),
            text.number(found["fresh"]),
            *(text.ms(found["without_ms"][key]) for key in ("p50", "p99", "max")),
            text.number(found["changes"]),
        ]
        for name, found in results["faults"].items()
    ]
    parts = [text.table(columns, rows)]
    shown = [f"- {line}" for found in results["faults"].values() for line in found["shown"]]
    return "\n\n".join([*parts, *shown])


class _Fleet:
    """Two servers, of which the first one is broken and replaced again and again."""

    def __init__(self, options: argparse.Namespace, keys: Path) -> None:
        self._model = options.model
        self._settings: dict[str, float | str] = {
            "ticket_keys": str(keys),
            # Chosen at the start, it may be another one in each server, and tickets tell.
            "precision": "f32",
            "max_sessions": shared.MAX_SESSIONS,
            # Vehicles that come together from a dead server are not what is measured.
            "max_load": 100.0,
            "shed_after_s": 3600.0,
        }
        self._stack = contextlib.ExitStack()
        self._servers: list[Server] = []

    def __enter__(self) -> Self:
        self._servers = [self._start(), self._start()]
        return self

    def __exit__(self, *_: object) -> None:
        for server in self._servers:
            _signal(server, signal.SIGKILL)
        self._stack.close()

    @property
    def targets(self) -> list[str]:
        """The servers' addresses, the one to be broken first."""
        return [server.address for server in self._servers]

    def break_first(self, number: signal.Signals) -> int:
        """Send the first server a signal; returns when, on the monotonic clock."""
        now_ns = time.monotonic_ns()
        _signal(self._servers[0], number)
        return now_ns

    def replace_first(self) -> None:
        """Go on with the server that was left, and a new one behind it."""
        _signal(self._servers.pop(0), signal.SIGKILL)
        self._servers.append(self._start())

    def _start(self) -> Server:
        return self._stack.enter_context(serve(self._model, settings=self._settings))


def _signal(server: Server, number: signal.Signals) -> None:
    assert server.pid is not None, "the fleet starts its servers itself"  # noqa: S101 - own process
    # A server that was drained has ended.
    with contextlib.suppress(ProcessLookupError):
        os.kill(server.pid, number)


@contextlib.contextmanager
def _fleet(options: argparse.Namespace) -> Iterator[_Fleet]:
    with tempfile.TemporaryDirectory(prefix="steerstream-") as name:
        keys = Path(name) / "keys"
        keys.write_text(f"fleet = {base64.b64encode(os.urandom(32)).decode()}\n")
        with _Fleet(options, keys) as fleet:
            yield fleet


async def _unbroken(
    target: str, pictures: Sequence[bytes], options: argparse.Namespace
) -> tuple[list[dict[int, Command]], int]:
    """Return every film's commands without a fault, and the model's warm-up steps."""
    films = []
    for first in range(FILMS):
        vehicle = LockStep(pictures, first, options.frames)
        await vehicle.drive([target])
        answers = [event for event in vehicle.history if isinstance(event, Command)]
        commands = {answer.sequence_number: answer for answer in answers}
        if len(commands) != options.frames:
            raise BenchmarkError("a drive without a fault was not answered; is the machine busy?")
        films.append(commands)
    return films, vehicle.warm_up_steps


def _lock_step(
    fleet: _Fleet,
    pictures: Sequence[bytes],
    unbroken: Sequence[Mapping[int, Command]],
    warm_up_steps: int,
    *,
    options: argparse.Namespace,
    moments: random.Random,
) -> dict[str, dict[str, Any]]:
    found: dict[str, dict[str, Any]] = {
        name: {"sessions": 0, "answers": 0, "wrong": 0, "fresh": 0, "shown": []} for name in FAULTS
    }
    left, names = options.sessions, list(FAULTS)
    while left > 0:
        name = names[0]
        names.append(names.pop(0))
        vehicles = [
            LockStep(pictures, index % FILMS, options.frames)
            for index in range(min(options.vehicles, left))
        ]
        left -= len(vehicles)
        with progress.step(f"{len(vehicles)} vehicles whose server is {name}", 10.0):
            asyncio.run(_break_lock_step(fleet, vehicles, FAULTS[name], moments, options.frames))
            fleet.replace_first()
        for index, vehicle in enumerate(vehicles):
            broken = violations(vehicle.history, unbroken[index % FILMS], warm_up_steps)
            found[name]["sessions"] += 1
            found[name]["answers"] += vehicle.answered
            found[name]["wrong"] += len(broken)
            found[name]["fresh"] += vehicle.lost_state
            found[name]["shown"] = (found[name]["shown"] + broken)[:_SHOWN]
    return found


async def _break_lock_step(
    fleet: _Fleet,
    vehicles: Sequence[LockStep],
    number: signal.Signals,
    moments: random.Random,
    frames: int,
) -> None:
    """Break the server when a random share of all frames was answered."""
    share = moments.uniform(0.05, 0.9) * frames * len(vehicles)
    targets = fleet.targets
    driving = [asyncio.create_task(vehicle.drive(targets)) for vehicle in vehicles]
    while sum(vehicle.answered for vehicle in vehicles) < share:  # noqa: ASYNC110 - nothing else tells
        await asyncio.sleep(moments.uniform(0.0, 0.005))
    fleet.break_first(number)
    await asyncio.gather(*driving)


def _paced(
    fleet: _Fleet,
    pictures: Sequence[bytes],
    options: argparse.Namespace,
    moments: random.Random,
) -> dict[str, dict[str, Any]]:
    without_ms: dict[str, list[float]] = {name: [] for name in FAULTS}
    for _ in range(options.rounds):
        for name, number in FAULTS.items():
            with progress.step(f"{options.paced} vehicles at 20 Hz, {name}", options.seconds + 2):
                without_ms[name] += asyncio.run(
                    _break_paced(fleet, pictures, options, number, moments)
                )
                fleet.replace_first()
    return {
        name: {"changes": len(times), "without_ms": _summary(times)}
        for name, times in without_ms.items()
    }


async def _break_paced(
    fleet: _Fleet,
    pictures: Sequence[bytes],
    options: argparse.Namespace,
    number: signal.Signals,
    moments: random.Random,
) -> list[float]:
    vehicles = [Paced(pictures, options.budget_ms) for _ in range(options.paced)]
    targets = fleet.targets
    driving = [
        asyncio.create_task(
            vehicle.drive(targets, options.seconds, index * PERIOD_S / len(vehicles))
        )
        for index, vehicle in enumerate(vehicles)
    ]
    await asyncio.sleep(options.seconds * moments.uniform(0.3, 0.6))
    broken_ns = fleet.break_first(number)
    await asyncio.gather(*driving)
    return [vehicle.longest_without_ms(broken_ns) for vehicle in vehicles]


def _summary(times_ms: Sequence[float]) -> dict[str, float]:
    p50, p99, largest = np.percentile(times_ms, [50, 99, 100]).tolist()
    return {"p50": p50, "p99": p99, "max": largest}
