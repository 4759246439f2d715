"""What tickets cost: bytes, frames to play again, and the processor's time."""

from __future__ import annotations

import asyncio
import dataclasses
import signal
import statistics
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

import steerstream
from benchmark.errors import BenchmarkError
from benchmark.failover.fleet import Fleet
from benchmark.host import cpu_time
from steerstream import (
    Client,
    Command,
    DriveSession,
    FrameAnswer,
    FramePolicy,
    HandOver,
    Image,
    Session,
    SessionOpening,
)
from steerstream.testing.server_process import Server, serve

Settings = Mapping[str, float | str]
Pixels = npt.NDArray[np.uint8]

_PERIOD_NS = 50_000_000
_BUDGET_MS = 2_000.0
_PATIENCE_S = 60.0
_PATIENT = HandOver(attempt_timeout_s=_PATIENCE_S)
_MOST_FRAMES = 1_000
"""Between two tickets: a vehicle keeps no more."""
_FRAMES_AFTER = 20
"""A second after a hand-over, in which a state that is not whole would show."""
_VEHICLES = 4
_TURNS, _TURN_FRAMES = 10, 200


async def of_bundle(
    fleet: Fleet, jpegs: Sequence[bytes], pixels: Sequence[Pixels]
) -> dict[str, Any]:
    """Return what a bundle's tickets take, and the hand-over with the most frames to play again.

    Args:
        fleet: servers of the bundle, of which the first is killed.
        jpegs: whole pictures, sent in turn.
        pixels: the same pictures, of which views are sent.

    Raises:
        BenchmarkError: no tickets came.
    """
    async with steerstream.connect(fleet.targets) as client:
        whole, views = [await _traffic(client, pictures) for pictures in (jpegs, pixels)]
        frames = whole["frames_between"]
        unbroken = await _unbroken(client, jpegs, 2 * frames + _FRAMES_AFTER)
        longest = await _longest_hand_over(client, fleet, jpegs, unbroken, frames)
    return {**whole, "views": views, **longest}


def processor_share(model: Path, settings: Settings, pictures: Sequence[bytes]) -> dict[str, Any]:
    """Return a server's CPU time for each frame with tickets and without, measured in turns.

    Args:
        model: the bundle.
        settings: of the servers, by name.
        pictures: JPEG files, sent in turn.
    """
    with (
        serve(model, settings=settings) as given,
        serve(model, settings={**settings, "ticket_every_frames": 0}) as none,
    ):
        return asyncio.run(_processor_share(given, none, pictures))


def _drive_session(client: Client, name: str) -> SessionOpening[DriveSession]:
    return client.drive_session(
        vehicle_id=name,
        frame_policy=FramePolicy.EVERY,
        budget_ms=_BUDGET_MS,
        hand_over=_PATIENT,
    )


async def _traffic(client: Client, pictures: Sequence[Image]) -> dict[str, Any]:
    """Return the bytes of tickets and frames, from one ticket to the next."""
    begun: tuple[int, int] | None = None
    async with _drive_session(client, "tickets") as session:
        for number in range(2 * _MOST_FRAMES):
            before = session.ticket
            await _frame(session, pictures, number)
            ticket = session.ticket
            if ticket is before or ticket is None:
                continue
            if begun is None:
                begun = number, session.sent_bytes
                continue
            frames, size = number - begun[0], len(ticket.ticket)
            sent = session.sent_bytes - begun[1]
            return {
                "ticket_bytes": size,
                "frames_between": frames,
                "frame_bytes": sent / frames,
                "share_of_pictures_percent": 100 * size / sent,
                "bytes_per_s": size / frames * 1e9 / _PERIOD_NS,
            }
    raise BenchmarkError(f"no two tickets came within {2 * _MOST_FRAMES} frames")


async def _unbroken(client: Client, pictures: Sequence[Image], frames: int) -> list[FrameAnswer]:
    async with _drive_session(client, "unbroken") as session:
        return [await _frame(session, pictures, number) for number in range(frames)]


async def _longest_hand_over(
    client: Client,
    fleet: Fleet,
    pictures: Sequence[Image],
    unbroken: Sequence[FrameAnswer],
    frames_between: int,
) -> dict[str, float]:
    """Kill the server just before a ticket; return the next frame's time, and what differs then."""
    answers: list[FrameAnswer] = []
    async with _drive_session(client, "hand-over") as session:
        while session.ticket is None:
            answers.append(await _frame(session, pictures, len(answers)))
        for _ in range(frames_between - 1):
            answers.append(await _frame(session, pictures, len(answers)))
        fleet.signal_first(signal.SIGKILL)
        began_s = time.monotonic()
        answers.append(await _frame(session, pictures, len(answers)))
        passed_s = time.monotonic() - began_s
        for _ in range(_FRAMES_AFTER):
            answers.append(await _frame(session, pictures, len(answers)))
    pairs = zip(answers, unbroken, strict=False)
    return {
        "longest_hand_over_ms": passed_s * 1e3,
        "largest_difference": max(_difference(*pair) for pair in pairs),
    }


def _difference(answer: FrameAnswer, unbroken: FrameAnswer) -> float:
    """Return how far two commands are apart, in the units of their heads."""
    if not (isinstance(answer, Command) and isinstance(unbroken, Command)):
        raise BenchmarkError("a frame was not answered; is the machine busy?")
    pairs = [(answer.raw, unbroken.raw), (answer.limited, unbroken.limited)]
    differences: list[float] = [
        abs(one - other)
        for pair in pairs
        for one, other in zip(*map(dataclasses.astuple, pair), strict=True)
        if one is not None
    ]
    return max(differences)


async def _processor_share(
    given: Server, none: Server, pictures: Sequence[bytes]
) -> dict[str, Any]:
    used_ms: dict[Server, list[float]] = {given: [], none: []}
    for turn in range(_TURNS):
        for server in (given, none) if turn % 2 else (none, given):
            used_ms[server].append(await _ms_a_frame(server, pictures))
    with_ms, without_ms = (statistics.median(used_ms[server]) for server in (given, none))
    pairs = zip(used_ms[given], used_ms[none], strict=True)
    share = statistics.median(1 - without / with_ for with_, without in pairs)
    return {
        "cpu_ms_a_frame": {"with": with_ms, "without": without_ms},
        "share_percent": 100 * share,
        "turns": _TURNS,
    }


async def _ms_a_frame(server: Server, pictures: Sequence[bytes]) -> float:
    """Drive as fast as the server answers, and return what a frame took of the processor."""
    assert server.pid is not None, "the benchmark starts its servers itself"  # noqa: S101 - own process
    before_s = cpu_time.thread_time_s(server.pid)
    async with steerstream.connect(server.address) as client:
        await asyncio.gather(*(_drive(client, name, pictures) for name in range(_VEHICLES)))
    used_s = cpu_time.thread_time_s(server.pid) - before_s
    return used_s * 1e3 / (_VEHICLES * _TURN_FRAMES)


async def _drive(client: Client, name: int, pictures: Sequence[bytes]) -> None:
    async with client.open_session(
        vehicle_id=f"share-{name}", frame_policy=FramePolicy.EVERY, budget_ms=_BUDGET_MS
    ) as session:
        for number in range(_TURN_FRAMES):
            await _frame(session, pictures, number)


async def _frame(
    session: Session | DriveSession, pictures: Sequence[Image], number: int
) -> FrameAnswer:
    return await session.request(
        pictures[number % len(pictures)],
        capture_time_ns=_PERIOD_NS * (number + 1),
        timeout_s=_PATIENCE_S,
    )
