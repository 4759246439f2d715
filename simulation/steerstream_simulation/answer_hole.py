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
import dataclasses
import functools
import math
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from steerstream import Action, Client, FrameAnswer, FramePolicy, Guard, Session, whole_file
from steerstream import Command as WireCommand
from steerstream.progress import Progress
from steerstream_simulation.camera import CameraConfig
from steerstream_simulation.closed_loop import RATE_HZ, LockStepClock
from steerstream_simulation.drivers import Frame
from steerstream_simulation.expert import Expert
from steerstream_simulation.grpc_driver import connect, describe
from steerstream_simulation.vehicle import Command
from steerstream_simulation.world import World

_CONTROL_S = 0.01
"""From one look of the vehicle at its guard to the next."""
_MIDDLE = (0.2, 0.75)
"""The part of a drive in which the bend is looked for, as shares of its length."""
_STEP_M, _CHANGE_S = 1.0, 0.5
_WATCHED_S = 3.0
"""From the hole's begin: an error that it caused has grown to its largest by then."""
_START_NS = 1_000_000_000

Ask = Callable[[Frame], Awaitable[FrameAnswer]]
"""Returns the answer to a frame, however long that takes."""


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
    world: World,
    ask: Ask,
    *,
    place_m: float,
    hole_ms: float,
    delay_ms: float,
    due_in_ms: float = 0.0,
    plays_horizon: bool = True,
) -> Passage:
    """Drive to a place, have no answer arrive for a while from there on, and go on.

    Args:
        world: at the start of its road.
        ask: the driver.
        place_m: arc length at which the hole begins.
        hole_ms: how long it lasts; 0 for none.
        delay_ms: from a picture to its answer's arrival.
        due_in_ms: when the command is meant to act, as the network was told; 0 where it is not.
        plays_horizon: whether the guard is shown the horizons.
    """
    guard = Guard()
    arriving: list[tuple[float, FrameAnswer]] = []
    offsets_m: list[float] = []
    began_s, let_go, has_horizon = math.inf, False, False
    frames = ticks = 0
    while (now_s := ticks * _CONTROL_S) <= began_s + _WATCHED_S:
        if frames / RATE_HZ <= now_s:
            frame = _frame(world, frames, now_s)
            guard.frame_sent(
                frames, frame.capture_time_ns, frame.capture_time_ns, due_in_ms=due_in_ms
            )
            answer = await ask(frame)
            if isinstance(answer, WireCommand):
                has_horizon |= answer.horizon is not None
                if not plays_horizon:
                    answer = dataclasses.replace(answer, horizon=None)
            arriving.append((now_s + delay_ms / 1e3, answer))
            frames += 1
        while arriving and arriving[0][0] <= now_s:
            arrives_s, answer = arriving.pop(0)
            if not began_s <= arrives_s < began_s + hole_ms / 1e3:
                guard.received(answer, _ns(arrives_s))
        safe = guard.safe_command(_ns(now_s))
        if safe.action is not Action.RELEASE and safe.steering_wheel_angle_rad is not None:
            speed_mps = world.command.speed_mps if safe.speed_mps is None else safe.speed_mps
            world.command = Command(safe.steering_wheel_angle_rad, speed_mps)
        if math.isinf(began_s) and world.position.arc_length_m >= place_m:
            began_s = now_s
        if now_s >= began_s:
            offsets_m.append(world.position.lateral_offset_m)
            let_go |= safe.action is Action.RELEASE
        ticks += 1
        world.advance_to(ticks * _CONTROL_S)
    return Passage(tuple(offsets_m), let_go, has_horizon)


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
    async with client.open_session(
        vehicle_id="simulation",
        model=options.model,
        budget_ms=budget_ms,
        frame_policy=FramePolicy.EVERY,
        frame_rate_hz=RATE_HZ,
        camera=describe(options.camera),
    ) as session:
        is_told = session.info.model.max_act_in_ms > 0
        return await drive_through(
            world,
            _asking(session, options.delay_ms),
            place_m=changing_bend_m(world, options.seconds),
            hole_ms=hole_ms,
            delay_ms=options.delay_ms,
            due_in_ms=options.delay_ms if is_told else 0.0,
            plays_horizon=plays_horizon,
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


def _asking(session: Session, delay_ms: float) -> Ask:
    async def ask(frame: Frame) -> FrameAnswer:
        return await session.request(
            frame.image,
            sequence_number=frame.sequence_number,
            capture_time_ns=frame.capture_time_ns,
            vehicle_speed_mps=frame.vehicle_speed_mps,
            act_in_ms=delay_ms,
        )

    return ask


def _frame(world: World, number: int, now_s: float) -> Frame:
    return Frame(number, _ns(now_s), world.capture(), world.vehicle.speed_mps)


def _ns(time_s: float) -> int:
    return _START_NS + round(time_s * 1e9)
