"""A server in this process and a plain vehicle that speaks the wire contract by hand."""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any

import cv2
import grpc
import numpy as np

from steerstream.metadata import REASON_KEY
from steerstream.v1 import (
    command_pb2,
    drive_service_pb2,
    drive_service_pb2_grpc,
    frame_pb2,
    session_pb2,
)
from steerstream_bundle import quickest
from steerstream_service.config import Config
from steerstream_service.process.model_keeper import NO_SOURCE
from steerstream_service.process.server import Server

LONG_BUDGET_MS = 10_000
"""So that a test never depends on how busy the machine is."""
FRAME_NS = 50_000_000
_NUMBERS = itertools.count()
"""Of vehicles: each has a name that no other has, for one of the same name takes its session."""


class Running:
    """A server that serves, and channels to it."""

    def __init__(self, server: Server, address: str) -> None:
        self.server = server
        self.address = address
        self._channels: list[grpc.aio.Channel] = []

    def channel(self, name: str = "") -> grpc.aio.Channel:
        """A channel; those of another name have another connection."""
        options = [("grpc.primary_user_agent", name)] if name else None
        channel = grpc.aio.insecure_channel(self.address, options)
        self._channels.append(channel)
        return channel

    def stub(self, name: str = "") -> drive_service_pb2_grpc.DriveServiceAsyncStub:
        return drive_service_pb2_grpc.DriveServiceStub(self.channel(name))

    async def vehicle(self, **opening) -> Vehicle:
        """A vehicle whose session is open."""
        vehicle = Vehicle(self.stub())
        await vehicle.open(**opening)
        return vehicle

    async def close(self) -> None:
        for channel in self._channels:
            await channel.close()


@contextlib.asynccontextmanager
async def running(*paths: Path, **settings) -> AsyncIterator[Running]:
    """A server of these bundles, warm, on a free port of this machine.

    Beside its settings, `security`, the `admin` address, the `source` of more bundles and the plan
    of a `recording` may be given.
    """
    security, admin = settings.pop("security", None), settings.pop("admin", None)
    source, recording = settings.pop("source", NO_SOURCE), settings.pop("recording", None)
    config = Config(**{"drain_s": 0.1, **settings})
    bundles = quickest.load_all(paths, precision=config.precision)
    server = Server(
        bundles, next(iter(bundles)), config, security=security, source=source, recording=recording
    )
    address = await server.startup("127.0.0.1:0", admin)
    await server.warm_up()
    await server.open()
    run = Running(server, address)
    try:
        yield run
    finally:
        await run.close()
        await server.shutdown()


class Vehicle:
    """One stream. Frames are numbered and timed at 20 Hz unless a test says otherwise."""

    def __init__(self, stub: Any, metadata: Sequence[tuple[str, str]] = ()) -> None:
        self.call: Any = stub.Drive(metadata=metadata)
        self.opened: session_pb2.SessionOpened | None = None
        self.number = -1
        self.notices: list[session_pb2.Notice] = []

    async def open(self, **fields) -> session_pb2.SessionOpened:
        fields = {
            "vehicle_id": f"car-{next(_NUMBERS)}",
            "budget_ms": LONG_BUDGET_MS,
            "frame_policy": session_pb2.FRAME_POLICY_EVERY,
            **fields,
        }
        await self.send(open=session_pb2.OpenSession(**fields))
        self.opened = (await self.call.read()).opened
        return self.opened

    async def send(self, **message) -> None:
        await self.call.write(drive_service_pb2.DriveRequest(**message))

    async def frame(self, picture: np.ndarray | None = None, **fields) -> int:
        """Send a frame, as raw pixels unless `jpeg` or `rgb8` is given; returns its number."""
        self.number = fields.setdefault("sequence_number", self.number + 1)
        fields.setdefault("capture_time_ns", 1 + FRAME_NS * self.number)
        if picture is not None:
            fields["rgb8"] = raw(picture)
        await self.send(frame=frame_pb2.Frame(**fields))
        return self.number

    async def answer(self) -> Any:
        """The next answer to a frame; notices are put aside."""
        while True:
            response = await self.call.read()
            assert response is not grpc.aio.EOF, "the stream ended before the answer"
            kind = response.WhichOneof("message")
            if kind != "notice":
                return getattr(response, kind)
            self.notices.append(response.notice)

    async def drive(self, picture: np.ndarray | None, **fields) -> Any:
        """Send a frame and return its answer."""
        await self.frame(picture, **fields)
        return await self.answer()

    async def replay(
        self, pictures: Sequence[np.ndarray] | np.ndarray, ahead: int = 4
    ) -> np.ndarray:
        """Send all pictures, a few ahead of the answers, and return raw outputs [T, 3]."""
        rows = []
        for index, picture in enumerate(pictures):
            await self.frame(picture)
            if index >= ahead:
                rows.append(values((await self.answer()).raw))
        while len(rows) < len(pictures):
            rows.append(values((await self.answer()).raw))
        return np.asarray(rows)

    async def done(self) -> grpc.StatusCode:
        """Close this side, read what is left, and return the status."""
        await self.call.done_writing()
        while await self.call.read() is not grpc.aio.EOF:
            pass
        return await self.call.code()

    async def failure(self) -> tuple[grpc.StatusCode, str, str]:
        """Wait for the stream's end: its code, reason and text."""
        try:
            while await self.call.read() is not grpc.aio.EOF:
                pass
        except grpc.aio.AioRpcError:
            pass
        metadata = dict(await self.call.trailing_metadata() or ())
        reason = metadata.get(REASON_KEY, "")
        return await self.call.code(), reason, await self.call.details()


def raw(picture: np.ndarray) -> frame_pb2.Rgb8Image:
    height, width = picture.shape[:2]
    return frame_pb2.Rgb8Image(width_px=width, height_px=height, pixels=picture.tobytes())


def jpeg(picture: np.ndarray, *flags: int) -> bytes:
    done, data = cv2.imencode(".jpg", cv2.cvtColor(picture, cv2.COLOR_RGB2BGR), flags)
    assert done
    return data.tobytes()


def values(control: command_pb2.ControlValues) -> tuple[float, float, float]:
    return (control.steering_wheel_angle_rad, control.speed_mps, control.steering_torque_nm)


def pictures(count: int, seed: int, shape: tuple[int, ...] = (8, 16, 3)) -> np.ndarray:
    """Random pictures [count, *shape] of one session."""
    rng = np.random.default_rng(seed)
    return rng.integers(0, 200, (count, *shape), dtype=np.uint8)
