"""A server that sends anything, to the real session and guard of a client."""

from __future__ import annotations

import asyncio
import logging
import math
import random
import time
from pathlib import Path

from google.protobuf.message import DecodeError

from steerstream import wire
from steerstream.bounds import Bounds
from steerstream.checksum import command_checksum
from steerstream.errors import ProtocolError, SessionEnded
from steerstream.guard import Action, Guard, SafeCommand
from steerstream.session import Session
from steerstream.v1 import command_pb2, drive_service_pb2, frame_pb2, session_pb2
from tests.fuzz.messages import damage, spoil
from tests.fuzz.tally import Tally
from tests.service.vehicle import FRAME_NS

_MESSAGES = 60
"""Of one session, on average."""
_BOUNDS = Bounds()
_ROUNDING = 1e-6


class HostileServer:
    """One stream of a server that answers with anything.

    Args:
        rng: chooses what it answers.
        tally: counts its answers.
    """

    def __init__(self, rng: random.Random, tally: Tally) -> None:
        self._rng = rng
        self._tally = tally
        self._frames: asyncio.Queue[frame_pb2.Frame | None] = asyncio.Queue()
        self._alive_counter = 0
        self._before = b""
        self.session_id = "server"

    async def send(self, request: drive_service_pb2.DriveRequest) -> None:
        """Take a frame; see `Stream.send`."""
        if request.HasField("frame"):
            self._frames.put_nowait(request.frame)

    async def receive(self) -> drive_service_pb2.DriveResponse | None:
        """Return the answer to the next frame, or something else; see `Stream.receive`."""
        while (frame := await self._frames.get()) is not None:
            if self._rng.random() < 0.05:
                await asyncio.sleep(self._rng.choice([0.04, 0.2, 2.0]))
            if (response := self._response(frame)) is not None:
                return response
        return None

    async def finish(self) -> None:
        """End; see `Stream.finish`."""
        self._frames.put_nowait(None)

    async def abort(self) -> None:
        """End at once; see `Stream.abort`."""
        self._frames.put_nowait(None)

    def opening(self) -> drive_service_pb2.DriveResponse | None:
        """Return the answer to an opening; None for bytes that are no message."""
        response = drive_service_pb2.DriveResponse()
        opened = response.opened
        opened.session_id = self.session_id
        opened.granted_budget_ms = 50
        opened.frame_policy = session_pb2.FRAME_POLICY_LATEST
        opened.limits.max_budget_ms = 10_000
        return self._sent(response)

    def _response(self, frame: frame_pb2.Frame) -> drive_service_pb2.DriveResponse | None:
        rng = self._rng
        response = drive_service_pb2.DriveResponse()
        kind = rng.random()
        if kind < 0.8:
            self._command(response.command, frame)
        elif kind < 0.95:
            response.skipped.sequence_number = frame.sequence_number
            response.skipped.capture_time_ns = frame.capture_time_ns
            response.skipped.reason = command_pb2.SKIP_REASON_LATE
            if rng.random() < 0.5:
                self._command(response.skipped.held, frame)
        elif kind < 0.99:
            response.notice.ticket.ticket = b"ticket"
        return self._sent(response)

    def _command(self, command: command_pb2.Command, frame: frame_pb2.Frame) -> None:
        rng = self._rng
        self._alive_counter += 1
        command.sequence_number = frame.sequence_number
        command.capture_time_ns = frame.capture_time_ns
        command.alive_counter = self._alive_counter % 65536
        command.validity = command_pb2.VALIDITY_VALID
        command.limited.steering_wheel_angle_rad = rng.gauss(0, 3)
        command.limited.speed_mps = rng.gauss(20, 20)
        command.limited.steering_torque_nm = rng.gauss(0, 2)

    def _sent(
        self, response: drive_service_pb2.DriveResponse
    ) -> drive_service_pb2.DriveResponse | None:
        """Spoil a message, send its bytes, damaged or not, and read them as gRPC does."""
        rng = self._rng
        self._tally.messages += 1
        if rng.random() < 0.3:
            spoil(rng, response)
        # A server that is wrong computes checksums of what is wrong.
        if response.HasField("command") and rng.random() < 0.95:
            response.command.checksum = command_checksum(self.session_id, response.command)
        data = response.SerializeToString()
        if rng.random() < 0.03:
            data = damage(rng, data, self._before)
        self._before = data
        try:
            return drive_service_pb2.DriveResponse.FromString(data)
        except DecodeError:
            self._tally.count("no protobuf")
            return None


async def fuzz(messages: int, seed: int, folder: Path, tally: Tally) -> None:
    """Have a client drive on hostile servers until it has been sent so many messages.

    Args:
        messages: how many.
        seed: of all that is chosen.
        folder: not used.
        tally: counts messages and faults.
    """
    del folder
    rng = random.Random(seed)
    log = logging.getLogger("steerstream")
    level, log.level = log.level, logging.CRITICAL
    try:
        while tally.messages < messages:
            guard = Guard(_BOUNDS)
            # A vehicle keeps its guard from session to session.
            for _ in range(rng.randint(1, 5)):
                await _drive(rng, guard, HostileServer(rng, tally), tally)
            tally.progress()
    finally:
        log.level = level


async def _drive(rng: random.Random, guard: Guard, server: HostileServer, tally: Tally) -> None:
    opening = server.opening()
    if opening is None:
        return
    try:
        info = wire.session_info(opening)
    except ProtocolError:
        tally.count("opening refused")
        return
    except Exception as error:  # noqa: BLE001 - any other error is what is looked for
        tally.fault(f"an opening raised {type(error).__name__}", error)
        return
    server.session_id = info.session_id
    # The default clock was bound before time became virtual.
    session = Session(server, info, guard=guard, clock=time.monotonic_ns)
    reader = asyncio.create_task(_read(session, tally))
    judge = _Judge(guard, tally)
    for number in range(rng.randint(1, 2 * _MESSAGES)):
        frame = frame_pb2.Frame(sequence_number=number, capture_time_ns=time.monotonic_ns())
        try:
            await session.send_encoded(frame)
        except SessionEnded:
            break
        for _ in range(rng.choice([0, 1, 3])):
            await asyncio.sleep(rng.choice([0.0, FRAME_NS / 1e9]))
            judge.look(session.safe_command())
    await session.aclose()
    await reader
    judge.look(guard.safe_command(time.monotonic_ns()))


async def _read(session: Session, tally: Tally) -> None:
    """Read all answers of a session, as a vehicle does."""
    try:
        async for answer in session:
            tally.count(f"{type(answer).__name__} received")
    except SessionEnded as error:
        tally.count(f"ended {type(error).__name__}")
        cause = error.__cause__
        if cause is not None:
            tally.fault(f"an answer raised {type(cause).__name__}: {cause}"[:100], cause)


class _Judge:
    """Holds what the guard lets a vehicle do to its bounds, from one look to the next."""

    def __init__(self, guard: Guard, tally: Tally) -> None:
        self._guard = guard
        self._tally = tally
        self._before: SafeCommand | None = None
        self._before_ns = 0

    def look(self, safe: SafeCommand) -> None:
        """Check one safe command."""
        self._tally.count(f"told to {safe.action.value}")
        now_ns = time.monotonic_ns()
        values = (safe.steering_wheel_angle_rad, safe.speed_mps, safe.steering_torque_nm)
        if safe.action is Action.RELEASE:
            if values != (None, None, None):
                self._tally.fault("a release has values")
            return
        angle, speed, torque = (0.0 if value is None else value for value in values)
        # Comparisons with NaN are false.
        if not (
            abs(angle) <= _BOUNDS.max_steering_wheel_angle_rad
            and _BOUNDS.min_speed_mps <= speed <= _BOUNDS.max_speed_mps
            and abs(torque) <= _BOUNDS.max_steering_torque_nm
        ):
            self._tally.fault(f"values beyond the bounds: {values}")
        if not 0 <= safe.age_ms <= _BOUNDS.max_hold_ms:
            self._tally.fault(f"a command of an age of {safe.age_ms} ms is {safe.action.value}ed")
        if safe.action is Action.FOLLOW and not safe.age_ms <= _BOUNDS.max_age_ms:
            self._tally.fault(f"a command of an age of {safe.age_ms} ms is followed")
        before = self._before
        if before is not None and before.steering_wheel_angle_rad is not None:
            elapsed_s = (now_ns - self._before_ns) / 1e9
            reach = _BOUNDS.max_steering_wheel_rate_radps * elapsed_s + _ROUNDING
            if not math.fabs(angle - before.steering_wheel_angle_rad) <= reach:
                self._tally.fault("the angle jumped")
        self._before, self._before_ns = safe, now_ns
