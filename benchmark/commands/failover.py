"""Servers that go away in the middle of drives: is any answer other than without that?

Vehicles drive on two servers that share a key for tickets. At a random moment the one that they
drive on is killed (SIGKILL), stopped (SIGSTOP: its connections stay and it says nothing), cut off
(a relay before it swallows every byte and leaves the connections open), or drained (SIGTERM), and
another one takes its place for the next round; or each is drained in turn and started again. In
lock-step many vehicles at once compare every answer with those of a drive without a fault, and
every history is held to a reference model; `wrong` counts the rules that are broken, and `began
afresh` the sessions without their state. At a camera's pace few vehicles measure the longest time
without a fresh command from the fault on, and `held` counts their frames whose command never came
or was too old to be followed. On a rendered road one vehicle loses its server in a bend: how far
does it leave its lane's centre in the seconds after? And tickets: what they take of the server's
processor, measured in turns; and for each bundle their bytes beside those of the frames, whole
pictures or views, what was wrong when servers of it were killed, the time without a fresh command,
and the hand-over with the most frames to play again.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import itertools
import random
import signal
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any

import numpy as np

from benchmark import progress
from benchmark.commands import server_options as shared
from benchmark.errors import BenchmarkError
from benchmark.failover import road, tickets, triton
from benchmark.failover.fleet import Fleet, keys_file
from benchmark.failover.model import violations
from benchmark.failover.relay import Relay
from benchmark.failover.vehicles import PERIOD_S, LockStep, Paced
from benchmark.loadgen import synthetic_road
from reports import text
from steerstream import Command
from steerstream.command_line import count, positive
from steerstream_bundle import loading

HELP = "servers that are killed, cut off and drained: wrong answers, and the time without any"
FILMS = 4
"""Different drives in lock-step; each is driven without a fault once."""
_SHOWN = 5
"""Broken rules that are written out; the others are counted."""
_ON_THE_ROAD = {"killed", "cut off"}
_BUNDLE_SESSIONS = 20
"""Lock-step sessions of each bundle that lose their server."""
_RESTART_PAUSE_S = 0.1
"""Between two lock-step frames while servers are restarted in turn, which takes seconds."""

Strike = Callable[[], Awaitable[None]]
Exposed = AbstractAsyncContextManager[tuple[list[str], Strike]]


@contextlib.asynccontextmanager
async def _signalled(
    fleet: Fleet, number: signal.Signals
) -> AsyncIterator[tuple[list[str], Strike]]:
    async def strike() -> None:
        fleet.signal_first(number)

    yield fleet.targets, strike
    fleet.replace_first()


@contextlib.asynccontextmanager
async def _cut_off(fleet: Fleet) -> AsyncIterator[tuple[list[str], Strike]]:
    first, second = fleet.targets
    async with Relay(first) as relay:

        async def strike() -> None:
            relay.cut()

        yield [relay.address, second], strike


@contextlib.asynccontextmanager
async def _restarted(fleet: Fleet) -> AsyncIterator[tuple[list[str], Strike]]:
    async def strike() -> None:
        await asyncio.to_thread(fleet.restart_each)

    yield fleet.targets, strike


@contextlib.asynccontextmanager
async def _untouched(fleet: Fleet) -> AsyncIterator[tuple[list[str], Strike]]:
    async def strike() -> None:
        """Nothing happens."""

    yield fleet.targets, strike


FAULTS: dict[str, Callable[[Fleet], Exposed]] = {
    "killed": lambda fleet: _signalled(fleet, signal.SIGKILL),
    "stopped": lambda fleet: _signalled(fleet, signal.SIGSTOP),
    "cut off": _cut_off,
    "drained": lambda fleet: _signalled(fleet, signal.SIGTERM),
    "restarted in turn": _restarted,
}
"""The faults by their names: each yields the vehicles' targets, and what makes it happen."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the benchmark's options."""
    add = parser.add_argument
    add("--model", type=Path, default=shared.DEFAULT_MODEL, help="bundle to serve")
    add("--sessions", type=count, default=1000, help="lock-step sessions that lose their server")
    add("--vehicles", type=count, default=100, help="of them at once")
    add("--frames", type=count, default=45, help="of each session")
    add("--rounds", type=count, default=4, help="of each fault at a camera's pace")
    add("--paced", type=count, default=4, help="vehicles at once at a camera's pace")
    add("--seconds", type=positive, default=3.0, help="before a fault and after it, at that pace")
    add("--budget-ms", type=positive, default=50.0, help="at a camera's pace")
    add("--size", type=shared.size, default="320x240", help="WIDTHxHEIGHT of the JPEG pictures")
    add("--seed", type=int, default=0, help="of the moments of the faults")
    add(
        "--bundles",
        type=Path,
        default=shared.DEFAULT_MODEL.parent,
        help="folder of the bundles whose tickets are measured",
    )
    add("--triton", choices=("no", "also", "only"), default="no", help="ask NVIDIA Triton as well")
    add("--environments", type=Path, default=Path("build/peers"), help="where Triton is installed")


def run(options: argparse.Namespace) -> dict[str, Any]:
    """Drive, break, and return what was wrong and how long it took.

    Raises:
        BenchmarkError: a drive without a fault was not answered.
    """
    results = {} if options.triton == "only" else _ours(options)
    if options.triton != "no":
        with progress.step("Triton, killed and started again", 40.0):
            pictures = synthetic_road.picture_set("jpeg", *options.size)
            results["triton"] = triton.answers(options.model, options.environments, pictures)
    return results


def _ours(options: argparse.Namespace) -> dict[str, Any]:
    pixels = synthetic_road.road_pictures(
        synthetic_road.PICTURES, width_px=options.size[0], height_px=options.size[1]
    )
    pictures = synthetic_road.jpegs(pixels)
    moments = random.Random(options.seed)
    with keys_file() as keys, Fleet(options.model, _settings(keys)) as fleet:
        faults = _faults(
            fleet, pictures, options, moments, names=list(FAULTS), sessions=options.sessions
        )
        on_the_road = _on_the_road(fleet)
        costs = _costs(options, _settings(keys), pictures, pixels, moments)
    return {
        "vehicles": options.vehicles,
        "frames": options.frames,
        "sessions": sum(found["sessions"] for found in faults.values()),
        "answers": sum(found["answers"] for found in faults.values()),
        "wrong": sum(found["wrong"] for found in faults.values()),
        "fresh": sum(found["fresh"] for found in faults.values()),
        "faults": faults,
        "road": on_the_road,
        "tickets": costs,
    }


def table(results: dict[str, Any]) -> str:
    """Return the results as Markdown, without parts that were not measured."""
    parts = [_fault_table(results["faults"])] if results.get("faults") else []
    if results.get("road"):
        parts.append(_road_table(results["road"]))
    if results.get("tickets"):
        parts.append(_ticket_table(results["tickets"]))
    if results.get("triton"):
        parts.append(triton.table(results["triton"]))
    faults = results.get("faults", {}).values()
    return "\n\n".join([*parts, *(f"- {line}" for found in faults for line in found["shown"])])


def _fault_table(faults: dict[str, Any]) -> str:
    columns = ["the server is", "sessions", "answers", "wrong", "began afresh"]
    columns += ["without a command, p50", "p99"]
    columns += ["max", "held", "of changes"]
    rows = [
        [
            name,
            text.number(found["sessions"]),
            text.number(found["answers"]),
            text.number(found["wrong"]),
            text.number(found["fresh"]),
            *(text.ms(found["without_ms"][key]) for key in ("p50", "p99", "max")),
            text.number(found.get("held")),
            text.number(found["changes"]),
        ]
        for name, found in faults.items()
    ]
    return text.table(columns, rows)


def _road_table(on_the_road: dict[str, Any]) -> str:
    columns = ["in a bend, the server is", "next command after", "largest lateral error after"]
    rows = [
        [name, text.ms(found["gap_ms"]), f"{found['lateral_error_max_after_m']:.2f} m"]
        for name, found in on_the_road.items()
    ]
    return text.table(columns, rows)


def _ticket_table(costs: dict[str, Any]) -> str:
    rows = [_ticket_row(name, bundle) for name, bundle in costs["bundles"].items()]
    share = costs["processor"]["share_percent"]
    said = f"Of the server's CPU time for a frame, tickets take {text.percent(share)}."
    return f"{text.table(_TICKET_COLUMNS, rows)}\n\n{said}"


_TICKET_COLUMNS = ["bundle", "ticket, bytes", "frames between", "bytes a second"]
_TICKET_COLUMNS += ["share of whole pictures", "frames between, of views", "bytes a second"]
_TICKET_COLUMNS += ["share", "killed", "wrong", "without a command, p99", "longest hand-over"]
_TICKET_COLUMNS += ["outputs differ by"]


def _ticket_row(name: str, bundle: dict[str, Any]) -> list[str]:
    # Results of an earlier revision have whole pictures alone.
    views, killed = bundle.get("views", {}), bundle.get("killed", {})
    return [
        f"`{name}`",
        text.number(bundle["ticket_bytes"]),
        text.number(bundle["frames_between"]),
        text.number(bundle["bytes_per_s"]),
        text.percent(bundle["share_of_pictures_percent"]),
        text.number(views.get("frames_between")),
        text.number(views.get("bytes_per_s")),
        text.percent(views.get("share_of_pictures_percent")),
        text.number(killed.get("sessions")),
        text.number(killed.get("wrong")),
        text.ms(killed.get("without_ms", {}).get("p99")),
        text.ms(bundle["longest_hand_over_ms"]),
        "-" if (by := bundle.get("largest_difference")) is None else f"{by:.2g}",
    ]


def _on_the_road(fleet: Fleet) -> dict[str, Any]:
    """Return what a loss in a bend costs, beside the same bend without one."""
    faults = {
        "there": _untouched,
        **{name: FAULTS[name] for name in FAULTS if name in _ON_THE_ROAD},
    }
    found = {}
    for name, fault in faults.items():
        with progress.step(f"a vehicle in a bend, whose server is {name}", road.SECONDS):
            found[name] = asyncio.run(_drive_road(fault(fleet)))
    return found


async def _drive_road(exposed: Exposed) -> dict[str, Any]:
    async with exposed as (targets, strike):
        return await road.drive(targets, strike)


def _costs(
    options: argparse.Namespace,
    settings: Mapping[str, float | str],
    pictures: Sequence[bytes],
    pixels: Sequence[tickets.Pixels],
    moments: random.Random,
) -> dict[str, Any]:
    bundles = {}
    for path in loading.full_precision(options.bundles):
        with Fleet(path, settings) as fleet:
            killed = _faults(
                fleet,
                pictures,
                options,
                moments,
                names=["killed"],
                sessions=min(options.sessions, _BUNDLE_SESSIONS),
            )
            with progress.step(f"tickets of {path.stem}", 10.0):
                bundles[path.stem] = {
                    **asyncio.run(tickets.of_bundle(fleet, pictures, pixels)),
                    **killed,
                }
    with progress.step("a server with tickets and one without, in turns", 30.0):
        processor = tickets.processor_share(options.model, settings, pictures)
    return {"bundles": bundles, "processor": processor}


def _settings(keys: str) -> dict[str, float | str]:
    return {
        "ticket_keys": keys,
        # Chosen at the start, it may be another one in each server, and tickets tell.
        "precision": "f32",
        "max_sessions": shared.MAX_SESSIONS,
        # Vehicles that come together from a dead server are not what is measured.
        "max_load": 100.0,
        "shed_after_s": 3600.0,
    }


def _faults(
    fleet: Fleet,
    pictures: Sequence[bytes],
    options: argparse.Namespace,
    moments: random.Random,
    *,
    names: Sequence[str],
    sessions: int,
) -> dict[str, dict[str, Any]]:
    """Return for each fault what was wrong in lock-step, and the time without a command."""
    unbroken, warm_up_steps = asyncio.run(_unbroken(fleet.targets[0], pictures, options))
    found = _lock_step(
        fleet,
        pictures,
        unbroken,
        warm_up_steps,
        options=options,
        moments=moments,
        names=names,
        sessions=sessions,
    )
    paced = _paced(fleet, pictures, options, moments, names)
    return {name: {**found[name], **paced[name]} for name in names}


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
    fleet: Fleet,
    pictures: Sequence[bytes],
    unbroken: Sequence[Mapping[int, Command]],
    warm_up_steps: int,
    *,
    options: argparse.Namespace,
    moments: random.Random,
    names: Sequence[str],
    sessions: int,
) -> dict[str, dict[str, Any]]:
    found: dict[str, dict[str, Any]] = {
        name: {"sessions": 0, "answers": 0, "wrong": 0, "fresh": 0, "shown": []} for name in names
    }
    left = sessions
    for name in itertools.cycle(names):
        if left <= 0:
            break
        pause_s = _RESTART_PAUSE_S if FAULTS[name] is _restarted else 0.0
        vehicles = [
            LockStep(pictures, index % FILMS, options.frames, pause_s=pause_s)
            for index in range(min(options.vehicles, left))
        ]
        left -= len(vehicles)
        with progress.step(f"{len(vehicles)} vehicles whose server is {name}", 10.0):
            asyncio.run(_break_lock_step(FAULTS[name](fleet), vehicles, moments, options.frames))
        for index, vehicle in enumerate(vehicles):
            broken = violations(vehicle.history, unbroken[index % FILMS], warm_up_steps)
            found[name]["sessions"] += 1
            found[name]["answers"] += vehicle.answered
            found[name]["wrong"] += len(broken)
            found[name]["fresh"] += vehicle.lost_state
            found[name]["shown"] = (found[name]["shown"] + broken)[:_SHOWN]
    return found


async def _break_lock_step(
    exposed: Exposed, vehicles: Sequence[LockStep], moments: random.Random, frames: int
) -> None:
    """Let the fault happen when a random share of all frames was answered."""
    share = moments.uniform(0.05, 0.9) * frames * len(vehicles)
    async with exposed as (targets, strike):
        struck = asyncio.Event()
        driving = [asyncio.create_task(vehicle.drive(targets, struck)) for vehicle in vehicles]
        while sum(vehicle.answered for vehicle in vehicles) < share:  # noqa: ASYNC110 - nothing else tells
            await asyncio.sleep(moments.uniform(0.0, 0.005))
        await strike()
        struck.set()
        await asyncio.gather(*driving)


def _paced(
    fleet: Fleet,
    pictures: Sequence[bytes],
    options: argparse.Namespace,
    moments: random.Random,
    names: Sequence[str],
) -> dict[str, dict[str, Any]]:
    measured: dict[str, list[tuple[float, int]]] = {name: [] for name in names}
    for _ in range(options.rounds):
        for name in names:
            with progress.step(f"{options.paced} vehicles at 20 Hz, {name}", options.seconds * 2):
                measured[name] += asyncio.run(
                    _break_paced(FAULTS[name](fleet), pictures, options, moments)
                )
    return {
        name: {
            "changes": len(found),
            "held": sum(held for _, held in found),
            "without_ms": _summary([without_ms for without_ms, _ in found]),
        }
        for name, found in measured.items()
    }


async def _break_paced(
    exposed: Exposed,
    pictures: Sequence[bytes],
    options: argparse.Namespace,
    moments: random.Random,
) -> list[tuple[float, int]]:
    """Return for each vehicle how long it was without a fresh command, and frames without one."""
    vehicles = [Paced(pictures, options.budget_ms) for _ in range(options.paced)]
    over = asyncio.Event()
    async with exposed as (targets, strike):
        driving = [
            asyncio.create_task(
                vehicle.drive(targets, over.is_set, index * PERIOD_S / len(vehicles))
            )
            for index, vehicle in enumerate(vehicles)
        ]
        await asyncio.sleep(options.seconds * moments.uniform(0.7, 1.0))
        broken_ns = time.monotonic_ns()
        await strike()
        await asyncio.sleep(options.seconds / 2)
        over.set()
        await asyncio.gather(*driving)
    return [
        (vehicle.longest_without_ms(broken_ns), vehicle.held(broken_ns)) for vehicle in vehicles
    ]


def _summary(times_ms: Sequence[float]) -> dict[str, float]:
    # By rank: what 99 % do not exceed is the largest of fewer than a hundred, and nothing between.
    p50, p99, largest = np.percentile(times_ms, [50, 99, 100], method="inverted_cdf").tolist()
    return {"p50": p50, "p99": p99, "max": largest}
