"""What tickets cost: bytes, frames to play again, and the processor's time."""

from __future__ import annotations

import asyncio
import signal
import statistics
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import steerstream
from benchmark.errors import BenchmarkError
from benchmark.failover.fleet import Fleet
from benchmark.host import cpu_time
from steerstream import Client, DriveSession, FramePolicy, HandOver, Session, TicketIssued
from steerstream.testing.server_process import Server, serve

Settings = Mapping[str, float | str]

_PERIOD_NS = 50_000_000
_BUDGET_MS = 2_000.0
_PATIENCE_S = 60.0
_PATIENT = HandOver(attempt_timeout_s=_PATIENCE_S)
_MOST_FRAMES = 1_000
"""Between two tickets: a vehicle keeps no more."""
_VEHICLES = 4
_TURNS, _TURN_FRAMES = 10, 200


def of_bundle(model: Path, settings: Settings, pictures: Sequence[bytes]) -> dict[str, Any]:
    """Return what a bundle's tickets take, and the hand-over with the most frames to play again.

    Args:
        model: the bundle.
        settings: of the servers, by name.
        pictures: JPEG files, sent in turn.

    Raises:
        BenchmarkError: no tickets came.
    """
    with Fleet(model, settings) as fleet:
        return asyncio.run(_of_bundle(fleet, pictures))


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


async def _of_bundle(fleet: Fleet, pictures: Sequence[bytes]) -> dict[str, Any]:
    async with steerstream.connect(fleet.targets) as client:
        first, second = await _two_tickets(client, pictures)
        frames = second.sequence_number - first.sequence_number
        hand_over_ms = await _longest_hand_over_ms(client, fleet, pictures, frames)
    size, sent = len(second.ticket), statistics.fmean(map(len, pictures)) * frames
    return {
        "ticket_bytes": size,
        "frames_between": frames,
        "share_of_pictures_percent": 100 * size / sent,
        "bytes_per_s": size / frames * 1e9 / _PERIOD_NS,
        "longest_hand_over_ms": hand_over_ms,
    }


async def _two_tickets(
    client: Client, pictures: Sequence[bytes]
) -> tuple[TicketIssued, TicketIssued]:
    found: list[TicketIssued] = []
    async with client.open_session(
        vehicle_id="tickets", frame_policy=FramePolicy.EVERY, budget_ms=_BUDGET_MS
    ) as session:
        for number in range(2 * _MOST_FRAMES):
            await _frame(session, pictures, number)
            if session.ticket is not None and session.ticket not in found[-1:]:
                found.append(session.ticket)
            if len(found) == 2:
                return found[0], found[1]
    raise BenchmarkError(f"no two tickets came within {2 * _MOST_FRAMES} frames")


async def _longest_hand_over_ms(
    client: Client, fleet: Fleet, pictures: Sequence[bytes], frames_between: int
) -> float:
    """Kill the server just before a ticket, and return how long the next frame took."""
    async with client.drive_session(
        vehicle_id="hand-over",
        frame_policy=FramePolicy.EVERY,
        budget_ms=_BUDGET_MS,
        hand_over=_PATIENT,
    ) as session:
        number, before = 0, -1
        while session.kept_bytes > before:
            before = session.kept_bytes
            await _frame(session, pictures, number)
            number += 1
        for _ in range(frames_between - 2):
            await _frame(session, pictures, number)
            number += 1
        fleet.signal_first(signal.SIGKILL)
        began_s = time.monotonic()
        await _frame(session, pictures, number)
        return (time.monotonic() - began_s) * 1e3


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


async def _frame(session: Session | DriveSession, pictures: Sequence[bytes], number: int) -> None:
    await session.request(
        pictures[number % len(pictures)],
        capture_time_ns=_PERIOD_NS * (number + 1),
        timeout_s=_PATIENCE_S,
    )
