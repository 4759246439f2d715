"""A hole in the answers in the middle of a bend: what a horizon saves against holding a command.

Each road is driven in simulated time several times, alike up to where its bend changes most. There
no answer arrives for a while, and the client's guard says what the vehicle does: it plays the
horizon of the last command, or, where that is taken out of the answers, holds it. A drive without a
hole says where across its lane the vehicle would have been at each moment: how far a hole leads it
astray from there is what counts, for no network keeps to the centre of a bend.

The server sees every picture, as it would where only the way back is broken.
"""

from __future__ import annotations

import asyncio
import functools
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from steerstream import ActingDelay, Action, Client, FramePolicy, whole_file
from steerstream.progress import Progress
from steerstream_simulation.camera import CameraConfig
from steerstream_simulation.closed_loop import RATE_HZ, LockStepClock
from steerstream_simulation.expert import Expert
from steerstream_simulation.grpc_driver import connect, open_driver
from steerstream_simulation.guarded_drive import LOOKS_PER_FRAME, GuardedVehicle
from steerstream_simulation.world import World

_MIDDLE = (0.2, 0.75)
"""The part of a drive in which the bend is looked for, as shares of its length."""
_STEP_M, _CHANGE_S = 1.0, 0.5
_WATCHED_LOOKS = round(3.0 * RATE_HZ * LOOKS_PER_FRAME)
"""Three seconds from the hole's begin: an error that it caused is largest by then."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HoleOptions:
    """The options of drives with a hole in the answers.

    Attributes:
        targets: the server, `HOST:PORT`.
        holes_ms: how long no answer arrives, one drive of each road for each.
        roads: how many, seeds counted from 0.
        seconds: length of the drive in whose middle the bend is looked for.
        camera: size of the pictures, lens and mounting.
        delay_ms: from a picture to when its command acts.
        model: a served model's name; None for the server's default.
        json: the report's file, or None.
    """

    targets: Sequence[str]
    holes_ms: Sequence[float]
    roads: int
    seconds: float
    camera: CameraConfig
    delay_ms: float = 50.0
    model: str | None = None
    json: Path | None = None


@dataclass(frozen=True, slots=True)
class Passage:
    """One drive through the bend.

    Attributes:
        offsets_m: left of the lane's centre at each moment from the hole's begin on, 10 ms apart.
        let_go: whether the guard let go of the wheel.
        has_horizon: whether the answers brought a horizon.
    """

    offsets_m: tuple[float, ...]
    let_go: bool
    has_horizon: bool

    def astray_m(self, whole: Passage) -> float:
        """Return how far a vehicle was from where it would have been without a hole, at most."""
        pairs = zip(self.offsets_m, whole.offsets_m, strict=False)
        return max(abs(mine - other) for mine, other in pairs)


async def drive_through(
    vehicle: GuardedVehicle, world: World, *, place_m: float, hole_ms: float, delay_ms: float
) -> Passage:
    """Drive to a place, have no answer arrive for a while from there on, and go on.

    Args:
        vehicle: at the start of its road.
        world: where it drives.
        place_m: arc length at which the hole begins.
        hole_ms: how long it lasts; 0 for none.
        delay_ms: from a picture to its answer's arrival.
    """
    while world.position.arc_length_m < place_m:
        await vehicle.look(lambda _: delay_ms)
        vehicle.advance()
    vehicle.lose_answers(hole_ms / 1e3)
    offsets_m: list[float] = []
    let_go = False
    for _ in range(_WATCHED_LOOKS):
        safe = await vehicle.look(lambda _: delay_ms)
        offsets_m.append(world.position.lateral_offset_m)
        let_go |= safe.action is Action.RELEASE
        vehicle.advance()
    return Passage(tuple(offsets_m), let_go, vehicle.has_horizon)


def drive(
    options: HoleOptions, show: Callable[[dict[str, Any]], object] = lambda _: None
) -> dict[str, Any]:
    """Drive every road without a hole, and with each hole by holding and by the horizon.

    Args:
        options: what is asked for.
        show: told the report.

    Returns:
        The report; it is written to `options.json` as well.

    Raises:
        SteerstreamError: the server cannot be reached, refuses, or fails.
    """
    report = asyncio.run(_drive(options))
    show(report)
    if options.json is not None:
        whole_file.write_json(options.json, report)
    return report


def table(report: dict[str, Any]) -> str:
    """Return the report as lines for people."""
    lines = [f"{report['model']}, {report['roads']} roads, delay {report['delay_ms']:g} ms"]
    if not report["has_horizon"]:
        lines.append("The model has no horizon, so both columns hold.")
    lines.append("hole      astray by holding   astray by the horizon   ratio")
    lines += [
        "{hole_ms:4.0f} ms   {held_m:10.3f} m        {played_m:10.3f} m          ".format(**row)
        + ("-" if row["ratio"] is None else f"{row['ratio']:.2f}")
        for row in report["holes"]
    ]
    return "\n".join(lines)


async def _drive(options: HoleOptions) -> dict[str, Any]:
    found: dict[float, list[tuple[Passage, Passage, Passage]]] = {
        hole_ms: [] for hole_ms in options.holes_ms
    }
    clock = LockStepClock(stands=True)
    count = options.roads * (1 + 2 * len(options.holes_ms))
    async with connect(options.targets, clock.now_ns) as client:
        described = await client.describe_models()
        # No frame may be skipped because this machine is slow.
        passage = functools.partial(_passage, client, options, described.limits.max_budget_ms)
        with Progress("driving", count, "drives") as progress:
            for seed in range(options.roads):
                whole = await passage(seed, 0.0)
                progress.step()
                for hole_ms in options.holes_ms:
                    held = await passage(seed, hole_ms, plays_horizon=False)
                    progress.step()
                    played = await passage(seed, hole_ms)
                    progress.step()
                    found[hole_ms].append((whole, held, played))
    return {
        "model": options.model or described.default_model,
        "roads": options.roads,
        "delay_ms": options.delay_ms,
        "has_horizon": any(each[0].has_horizon for rows in found.values() for each in rows),
        "holes": [_row(hole_ms, rows) for hole_ms, rows in found.items()],
    }


async def _passage(
    client: Client,
    options: HoleOptions,
    budget_ms: float,
    seed: int,
    hole_ms: float,
    *,
    plays_horizon: bool = True,
) -> Passage:
    world = World(seed, seconds=options.seconds, camera=options.camera)
    async with open_driver(
        client,
        options.camera,
        frame_policy=FramePolicy.EVERY,
        model=options.model,
        budget_ms=budget_ms,
    ) as driver:
        vehicle = GuardedVehicle(
            world,
            driver.ask,
            acting=ActingDelay(fixed_ms=options.delay_ms),
            max_act_in_ms=driver.session.info.model.max_act_in_ms,
            plays_horizon=plays_horizon,
        )
        return await drive_through(
            vehicle,
            world,
            place_m=changing_bend_m(world, options.seconds),
            hole_ms=hole_ms,
            delay_ms=options.delay_ms,
        )


def changing_bend_m(world: World, seconds: float) -> float:
    """Return the arc length in the middle of a drive from where the road's bend changes most.

    In a bend that stays as it is, holding a command is as good as any horizon.

    Args:
        world: where the vehicle drives, as fast as the expert or about so.
        seconds: length of the drive.
    """
    expert = Expert(world.road, delay_s=0.0)
    begin_s, end_s = (share * seconds for share in _MIDDLE)
    place_m = time_s = found_m = 0.0
    most = -1.0
    while time_s < end_s:
        speed_mps = expert.target_speed_mps(place_m)
        here, there = (
            world.road.curvature_at(place_m + ahead_s * speed_mps) for ahead_s in (0.0, _CHANGE_S)
        )
        if time_s >= begin_s and abs(there - here) > most:
            found_m, most = place_m, abs(there - here)
        time_s += _STEP_M / speed_mps
        place_m += _STEP_M
    return found_m


def _row(hole_ms: float, found: Sequence[tuple[Passage, Passage, Passage]]) -> dict[str, Any]:
    held_m, played_m = (
        math.fsum(each[at].astray_m(each[0]) for each in found) / len(found) for at in (1, 2)
    )
    return {
        "hole_ms": hole_ms,
        "held_m": round(held_m, 4),
        "played_m": round(played_m, 4),
        "ratio": round(played_m / held_m, 3) if held_m > 0 else None,
        "roads": [
            {
                "seed": seed,
                "whole_m": round(max(map(abs, whole.offsets_m)), 4),
                "held_m": round(held.astray_m(whole), 4),
                "played_m": round(played.astray_m(whole), 4),
                "let_go": held.let_go or played.let_go,
            }
            for seed, (whole, held, played) in enumerate(found)
        ],
    }
