"""Vehicles of a history: the real client on a simulated transport, and a program that drives it."""

from __future__ import annotations

import asyncio
import dataclasses
import random
from collections.abc import Callable, Sequence
from typing import Any

import steerstream
from steerstream import (
    Command,
    DriveState,
    Encoding,
    FrameAnswer,
    FramePolicy,
    HandOver,
    SessionChange,
    Skipped,
    SteerstreamError,
)
from steerstream.observer import SessionObserver
from tests.histories.loop import MS, Process, VirtualLoop
from tests.histories.model import DAMAGED_BYTES
from tests.histories.network import Network, OldTransport, SimulatedTransport
from tests.histories.records import (
    Changed,
    Ended,
    Got,
    Judged,
    Sent,
    Told,
    VehicleRecord,
    WasReset,
)
from tests.histories.stepper import PERIOD_MS, PICTURES


@dataclasses.dataclass(slots=True)
class Drive:
    """How a vehicle drives.

    Attributes:
        frames: how many it sends.
        is_latest: its frame policy.
        drives_on: whether it has a drive session.
        in_lock_step: whether it waits for each answer before the next frame.
        budget_ms: what it asks for.
        jpeg: share of the pictures that are sent as JPEG.
        damaged: share of the pictures that cannot be decoded.
        resets: share of the frames before which the state is reset.
        gaps: share of the frames before which the camera pauses.
        hand_over: of its drive session.
        is_old: whether its client is from before tickets could leave rings out.
        targets: the servers in the order that it prefers.
        begins_ns: when it comes.
    """

    frames: int
    is_latest: bool
    drives_on: bool
    in_lock_step: bool
    budget_ms: float
    jpeg: float
    damaged: float
    resets: float
    gaps: float
    hand_over: HandOver
    is_old: bool
    targets: Sequence[str]
    begins_ns: int


class _Judging(SessionObserver):
    """Writes down what the guard judges.

    Args:
        note: of the vehicle.
    """

    def __init__(self, note: Callable[..., None]) -> None:
        self._note = note

    def answered(self, answer: FrameAnswer, _reasons: object) -> None:
        self._note(Judged, answer)


class Vehicle:
    """One vehicle.

    Args:
        name: its `vehicle_id`.
        loop: of the history.
        network: what carries its messages.
        rng: where its pictures and its clock come from.
        drive: what it does.
    """

    def __init__(
        self, name: str, loop: VirtualLoop, network: Network, rng: random.Random, drive: Drive
    ) -> None:
        self._loop = loop
        self._network = network
        self._rng = rng
        self._drive = drive
        self.process = Process(name, callback_ns=20_000, clock_ns=rng.randrange(1, 10**15))
        self.record = VehicleRecord(
            name,
            drive.is_latest,
            drive.drives_on,
            drive.hand_over.give_up_after_s,
            self.process.clock_ns,
        )
        self._capture_ms = 0
        self._number = 0

    def _note(self, kind: type[Any], *args: Any) -> None:
        self.record.events.append(kind(self._loop.local_ns, *args))

    async def run(self) -> None:
        """Drive; in the vehicle's process."""
        await asyncio.sleep(self._drive.begins_ns / 1e9)
        error: BaseException | None = None
        try:
            await self._connect()
        except SteerstreamError as found:
            error = found
        self._note(Ended, error)

    async def _connect(self) -> None:
        drive = self._drive
        transport = OldTransport if drive.is_old else SimulatedTransport
        async with steerstream.connect(
            list(drive.targets),
            timeout_s=2.0,
            transport=lambda name: transport(self._network, self.process, name),
            clock=self._now_ns,
        ) as client:
            options: dict[str, Any] = {
                "vehicle_id": self.record.name,
                "budget_ms": drive.budget_ms,
                "frame_policy": FramePolicy.LATEST if drive.is_latest else FramePolicy.EVERY,
                "observer": _Judging(self._note),
            }
            if drive.drives_on:
                opening: Any = client.drive_session(
                    **options, hand_over=drive.hand_over, on_change=self._changed
                )
            else:
                opening = client.open_session(**options)
            async with opening as session:
                await self._with(session)

    def _now_ns(self) -> int:
        return self._loop.local_ns + self.process.clock_ns

    def _changed(self, change: SessionChange) -> None:
        self._note(Changed, change)

    async def _with(self, session: Any) -> None:
        asking = asyncio.create_task(self._ask_guard(session))
        reading = asyncio.create_task(self._read(session))
        try:
            await self._send_all(session)
            await session.finish()
            await reading
        finally:
            asking.cancel()
            reading.cancel()
            await asyncio.wait([asking, reading])

    async def _send_all(self, session: Any) -> None:
        drive, rng = self._drive, self._rng
        due_s = self._loop.time()
        for _ in range(drive.frames):
            # A program that stood still has missed what its camera took.
            due_s = max(due_s, self._loop.time() - PERIOD_MS / 1e3) + PERIOD_MS / 1e3
            if rng.random() < drive.gaps:
                due_s += rng.choice([2, 4, 8]) * PERIOD_MS / 1e3
            if rng.random() < drive.resets:
                self._note(WasReset)
                await session.reset()
            if not drive.in_lock_step or rng.random() < 0.2:
                await asyncio.sleep(max(0.0, due_s - self._loop.time()))
            await self._send(session)

    async def _send(self, session: Any) -> None:
        drive, rng = self._drive, self._rng
        picture = rng.choice(PICTURES)
        image: Any
        if rng.random() < drive.damaged:
            image, seen = picture.jpeg[:DAMAGED_BYTES], -1
        elif rng.random() < drive.jpeg:
            image, seen = picture.jpeg, picture.jpeg_number
        else:
            image, seen = picture.raw, picture.number
        if drive.is_latest:
            self._capture_ms = max(self._now_ns() // MS, self._capture_ms + 1)
        else:
            self._capture_ms += rng.choice([PERIOD_MS] * 9 + [2 * PERIOD_MS, 7 * PERIOD_MS])
        options: dict[str, Any] = {
            "capture_time_ns": self._capture_ms * MS,
            "encoding": Encoding.RGB8,
            "vehicle_speed_mps": 10.0,
            "sequence_number": self._number,
        }
        self._note(Sent, self._number, seen, self._capture_ms)
        noted = self.record.events[-1]
        self._number += 1
        try:
            if drive.in_lock_step:
                answer = await session.request(image, timeout_s=120.0, **options)
                self._note(Got, answer)
            else:
                await session.send_frame(image, **options)
        except SteerstreamError:
            noted.is_sent = False
            raise

    async def _read(self, session: Any) -> None:
        async for answer in session:
            if isinstance(answer, Command | Skipped) or not self._drive.in_lock_step:
                self._note(Got, answer)

    async def _ask_guard(self, session: Any) -> None:
        while True:
            await asyncio.sleep(self._rng.choice([0.01, 0.02, 0.037]))
            if getattr(session, "state", None) in {DriveState.LOST, DriveState.CLOSED}:
                return
            self._note(Told, session.safe_command())
