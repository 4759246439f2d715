"""Hostile streams on a real server without a network, beside a vehicle that behaves.

The server, its engine and a small network are real; only gRPC is not there. What a client sends is
parsed from bytes, and what the server sends is written to bytes, as gRPC does it.
"""

from __future__ import annotations

import asyncio
import collections
import logging
import math
import random
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from pathlib import Path
from typing import Any

import grpc
from google.protobuf.message import DecodeError

from steerstream.checksum import command_checksum
from steerstream.v1 import command_pb2, drive_service_pb2, frame_pb2, session_pb2
from steerstream_bundle import quickest
from steerstream_service.config import Config
from steerstream_service.process.server import Server
from steerstream_service.session.vehicle_limits import PROFILES
from tests.fuzz.messages import damage, numbers, spoil
from tests.fuzz.pictures import Album
from tests.fuzz.tally import Tally
from tests.service import bundles
from tests.service.vehicle import FRAME_NS, LONG_BUDGET_MS, pictures, raw

_STREAMS = 12
"""Hostile streams at once."""
_MESSAGES = 40
"""Of one stream, on average."""
_TICKETS = 64
_LATE = "server_late"
"""A judgement of the load and no fault: with one vehicle beside them, streams that read their
answers in fits and starts look like a slow server."""
_EVERY, _LATEST = session_pb2.FRAME_POLICY_EVERY, session_pb2.FRAME_POLICY_LATEST
_LIMITS = PROFILES["passenger_car"]


class Ended(Exception):  # noqa: N818 - it is how gRPC ends a call, and no error of this program
    """The server ended the call with a status."""


class Call:
    """A call without a network: the context that the server's handler is given."""

    def __init__(self) -> None:
        self.answers: list[drive_service_pb2.DriveResponse] = []
        self.status = "OK"

    def invocation_metadata(self) -> tuple[()]:
        """Return the headers of the client, of which there are none."""
        return ()

    def peer(self) -> str:
        """Return where the client is."""
        return "ipv4:127.0.0.1:50000"

    def auth_context(self) -> dict[str, list[bytes]]:
        """Return the client's certificate, which it does not have."""
        return {}

    async def send_initial_metadata(self, metadata: object) -> None:
        """Take the headers."""

    async def write(self, response: drive_service_pb2.DriveResponse) -> None:
        """Take an answer, as bytes."""
        self.answers.append(
            drive_service_pb2.DriveResponse.FromString(response.SerializeToString())
        )
        await asyncio.sleep(0)

    async def abort(self, code: grpc.StatusCode, details: str, metadata: Any = ()) -> None:
        """End the call."""
        details.encode()
        self.status = dict(metadata).get("steerstream-reason", code.name)
        raise Ended


class HostileCall(Call):
    """A client that sends anything, at any time.

    Args:
        rng: chooses what comes.
        album: pictures.
        tickets: of earlier sessions, with their vehicles.
        tally: counts what the server has read.
    """

    def __init__(
        self,
        rng: random.Random,
        album: Album,
        tickets: collections.deque[tuple[str, bytes]],
        tally: Tally,
    ) -> None:
        super().__init__()
        self._rng = rng
        self._album = album
        self._tickets = tickets
        self._tally = tally
        self._left = rng.randint(1, 2 * _MESSAGES)
        self._vehicle_id = f"vehicle {rng.randrange(8)}"
        self._number, self._time_ns = 0, rng.choice([0, 1, 10**18])
        self._before = b""
        self._is_first = True
        self.frames = 0

    async def read(self) -> object:
        """Return the next message, as gRPC does."""
        await asyncio.sleep(0 if self._rng.random() < 0.98 else self._rng.choice([0.05, 1.0, 11.0]))
        if not self._left:
            return grpc.aio.EOF
        self._left -= 1
        self._tally.messages += 1
        data = self._message()
        self._before = data
        try:
            request = drive_service_pb2.DriveRequest.FromString(data)
        except DecodeError:
            self._tally.count("no protobuf")
        else:
            kind = request.WhichOneof("message")
            self._tally.count(f"{kind} sent")
            self.frames += kind == "frame"
        return data

    async def write(self, response: drive_service_pb2.DriveResponse) -> None:
        """Take an answer at once, or late."""
        if self._rng.random() < 0.01:
            await asyncio.sleep(self._rng.choice([0.01, 1.0, 20.0]))
        await super().write(response)
        if response.WhichOneof("message") == "notice" and response.notice.HasField("ticket"):
            self._tickets.append((self._vehicle_id, response.notice.ticket.ticket))

    def _message(self) -> bytes:
        request = drive_service_pb2.DriveRequest()
        if self._is_first and self._rng.random() < 0.97:
            self._open(request.open)
        elif self._rng.random() < 0.03:
            request.reset.SetInParent()
        else:
            self._frame(request.frame)
        self._is_first = False
        if self._rng.random() < 0.2:
            for _ in range(self._rng.choice([1, 1, 2, 5])):
                spoil(self._rng, request)
        data = request.SerializeToString()
        # Seldom, because it ends most streams.
        return damage(self._rng, data, self._before) if self._rng.random() < 0.03 else data

    def _open(self, opening: session_pb2.OpenSession) -> None:
        rng = self._rng
        opening.frame_policy = rng.choice([_EVERY, _LATEST])
        opening.budget_ms = rng.choice([0, 50, LONG_BUDGET_MS])
        opening.frame_rate_hz = rng.choice([0, 20])
        if self._tickets and rng.random() < 0.3:
            self._vehicle_id, opening.ticket = rng.choice(self._tickets)
            if rng.random() < 0.5:
                opening.ticket = damage(rng, opening.ticket)
        opening.vehicle_id = self._vehicle_id

    def _frame(self, frame: frame_pb2.Frame) -> None:
        rng = self._rng
        self._number += rng.choice([1, 1, 1, 1, 2, 0])
        self._time_ns += FRAME_NS
        frame.sequence_number, frame.capture_time_ns = self._number, self._time_ns
        self._album.put(frame)
        if rng.random() < 0.3:
            frame.vehicle_speed_mps = rng.uniform(0, 40)
        frame.replayed = rng.random() < 0.05


class GoodCall(Call):
    """A vehicle that behaves: one picture after the other, and a reset now and then.

    Attributes:
        commands: all that depends on its pictures, and not on time or the session's name.
    """

    def __init__(self) -> None:
        super().__init__()
        self.commands: list[bytes] = []
        self._requests: asyncio.Queue[object] = asyncio.Queue()
        self._answered = asyncio.Event()
        self._is_over = False
        self._number = 0
        self._pictures = pictures(64, seed=0)
        self._send(
            open=session_pb2.OpenSession(
                vehicle_id="control", budget_ms=LONG_BUDGET_MS, frame_policy=_EVERY
            )
        )

    def _send(self, **message: Any) -> None:
        self._requests.put_nowait(drive_service_pb2.DriveRequest(**message).SerializeToString())

    async def read(self) -> object:
        """Return the next message, when there is one."""
        return await self._requests.get()

    async def write(self, response: drive_service_pb2.DriveResponse) -> None:
        """Take an answer."""
        if response.WhichOneof("message") in {"command", "skipped"}:
            self.commands.append(_without_time(response))
            self._answered.set()
        await asyncio.sleep(0)

    async def drive(self) -> None:
        """Send a frame and wait for its answer.

        Raises:
            RuntimeError: the session is over.
        """
        if self._number % 50 == 49:
            self._send(reset=session_pb2.Reset())
        picture = self._pictures[self._number % len(self._pictures)]
        self._answered.clear()
        self._send(
            frame=frame_pb2.Frame(
                sequence_number=self._number,
                capture_time_ns=1 + FRAME_NS * self._number,
                rgb8=raw(picture),
                vehicle_speed_mps=8.0,
            )
        )
        self._number += 1
        await self._answered.wait()
        if self._is_over:
            raise RuntimeError(f"the vehicle that behaves lost its session: {self.status}")

    def end(self) -> None:
        """Send no more."""
        self._requests.put_nowait(grpc.aio.EOF)

    def over(self, _: object) -> None:
        """The server has let go of the call."""
        self._is_over = True
        self._answered.set()


def _without_time(answer: drive_service_pb2.DriveResponse) -> bytes:
    command = command_pb2.Command()
    command.CopyFrom(answer.command)
    for field in ("age_ms", "timings", "checksum"):
        command.ClearField(field)
    return command.SerializeToString(deterministic=True)


@asynccontextmanager
async def _serving(folder: Path) -> AsyncIterator[tuple[Server, GoodCall]]:
    """A server with a vehicle that behaves."""
    config = Config(steps_on="loop", max_load=100.0, ticket_every_frames=3, drain_s=0.0)
    server = Server(
        quickest.load_all([bundles.recurrent(folder / "tiny.onnx")], precision="f32"),
        "tiny",
        config,
    )
    # Clocks that were bound before time became virtual.
    server.admission._office._wall_s = time.monotonic
    server._service._decoder._clock = time.monotonic_ns
    await server.warm_up()
    await server.open()
    good = GoodCall()
    driving = asyncio.create_task(_handle(server, good))
    driving.add_done_callback(good.over)
    try:
        await good.drive()
        yield server, good
        good.end()
        await driving
    finally:
        await server.shutdown()


async def _handle(server: Server, call: Any) -> None:
    with suppress(Ended):
        await server._service.Drive(None, call)


async def fuzz(messages: int, seed: int, folder: Path, tally: Tally) -> None:
    """Send messages to a server until it has read so many, and check all that it does.

    Args:
        messages: how many.
        seed: of all that is chosen.
        folder: for the network.
        tally: counts messages and faults.
    """
    rng = random.Random(seed)
    album = Album(rng)
    tickets: collections.deque[tuple[str, bytes]] = collections.deque(maxlen=_TICKETS)
    with _faults_of_the_log(tally):
        async with _serving(folder) as (server, good):
            held = _held(server)
            while tally.messages < messages:
                streams = [HostileCall(rng, album, tickets, tally) for _ in range(_STREAMS)]
                await _round(rng, server, good, streams)
                for stream in streams:
                    _check(stream, tally)
                if (left := _held(server)) != held:
                    tally.fault(f"slots, load and tasks were {held}, are {left}")
                    held = left
                tally.progress()
        frames = len(good.commands)
        async with _serving(folder) as (_, alone):
            while len(alone.commands) < frames:
                await alone.drive()
    tally.control_frames = frames
    if good.status != "OK" or good.commands != alone.commands:
        tally.fault(f"the vehicle beside it was answered otherwise than alone ({good.status})")


async def _round(
    rng: random.Random, server: Server, good: GoodCall, streams: list[HostileCall]
) -> None:
    """Serve some hostile streams at once, cancel some of them, and drive on meanwhile."""
    tasks = [asyncio.create_task(_handle(server, stream)) for stream in streams]
    for task in tasks:
        if rng.random() < 0.1:
            asyncio.get_running_loop().call_later(rng.choice([0.0, 0.05, 5.0]), task.cancel)
    while not all(task.done() for task in tasks):
        await good.drive()
        await asyncio.wait(tasks, timeout=0.5)
    for task, stream in zip(tasks, streams, strict=True):
        if task.cancelled():
            stream.status = "cancelled"
        else:
            task.result()
    # What the ends of the streams have left to the event loop.
    await asyncio.sleep(1.0)


def _held(server: Server) -> tuple[int, int, float, int, int]:
    """What must be as before when the hostile streams are gone."""
    (model,) = server.admission.models.values()
    service = server._service
    return (
        server.admission.sessions,
        model.queue.pool.free,
        # Their load itself goes by what pictures cost just now.
        len(server.admission.capacity._claims),
        len(service._streams) + len(service._unopened),
        len(asyncio.all_tasks()),
    )


def _check(stream: HostileCall, tally: Tally) -> None:
    """Hold a stream's answers to what the server promises."""
    tally.count(f"ended {stream.status}")
    if stream.status in {"ERROR_REASON_INTERNAL", "INTERNAL"}:
        tally.fault("a stream ended with INTERNAL")
    answered = 0
    session_id = ""
    for answer in stream.answers:
        kind = answer.WhichOneof("message")
        tally.count(f"{kind} received")
        if not all(map(math.isfinite, numbers(answer))):
            tally.fault(f"a number that is not finite went out: {kind}")
        if kind == "opened":
            session_id = answer.opened.session_id
        answered += kind in {"command", "skipped"}
        for command in _commands(answer):
            if command.checksum != command_checksum(session_id, command):
                tally.fault("a command has a wrong checksum")
            if not _is_limited(command.limited):
                tally.fault(f"a command is beyond its limits: {command.limited}")
    if answered > stream.frames or (stream.status == "OK" and answered != stream.frames):
        tally.fault(f"{stream.frames} frames had {answered} answers")


def _commands(answer: drive_service_pb2.DriveResponse) -> Iterator[command_pb2.Command]:
    if answer.HasField("command"):
        yield answer.command
    if answer.HasField("skipped") and answer.skipped.HasField("held"):
        yield answer.skipped.held


def _is_limited(values: command_pb2.ControlValues) -> bool:
    return (
        abs(values.steering_wheel_angle_rad) <= _LIMITS.max_steering_wheel_angle_rad
        and 0 <= values.speed_mps <= _LIMITS.max_speed_mps
        and abs(values.steering_torque_nm) <= _LIMITS.max_steering_torque_nm
    )


class _FaultsOfTheLog(logging.Handler):
    def __init__(self, tally: Tally) -> None:
        super().__init__(logging.ERROR)
        self._tally = tally

    def emit(self, record: logging.LogRecord) -> None:
        if record.getMessage() == _LATE:
            self._tally.count(f"logged {_LATE}")
            return
        error = record.exc_info[1] if record.exc_info else None
        self._tally.fault(f"logged {record.getMessage()}: {error!r}", error)


@contextmanager
def _faults_of_the_log(tally: Tally) -> Iterator[None]:
    """Count what the server logs as its own fault."""
    handler = _FaultsOfTheLog(tally)
    loggers = [logging.getLogger(name) for name in ("steerstream_service", "asyncio")]
    for logger in loggers:
        logger.addHandler(handler)
    try:
        yield
    finally:
        for logger in loggers:
            logger.removeHandler(handler)
