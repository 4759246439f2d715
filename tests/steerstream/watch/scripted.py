"""A server whose news a test writes."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator

import grpc

from steerstream.v1 import command_pb2, drive_service_pb2, watch_pb2, watch_pb2_grpc

WAIT_S = 60
"""However busy the machine is; what takes longer hangs."""


class ScriptedServer(watch_pb2_grpc.WatchServiceServicer):
    """Says what it is told to say, to all who listen."""

    def __init__(self) -> None:
        self.address = ""
        self.snapshots: asyncio.Queue[watch_pb2.WatchServerResponse] = asyncio.Queue()
        self.closeups: asyncio.Queue[watch_pb2.WatchSessionResponse] = asyncio.Queue()
        self.asked: list[str] = []
        self.refusal: grpc.StatusCode | None = None

    async def WatchServer(self, request, context):  # noqa: N802 - the name in the wire contract
        if self.refusal:
            await context.abort(self.refusal, "scripted")
        while True:
            yield await self.snapshots.get()

    async def WatchSession(self, request, context):  # noqa: N802
        self.asked.append(request.session_id)
        if self.refusal:
            await context.abort(self.refusal, "scripted")
        while True:
            message = await self.closeups.get()
            yield message
            if message.ended_by:
                return


@contextlib.asynccontextmanager
async def scripted(
    address: str = "127.0.0.1:0", credentials: grpc.ServerCredentials | None = None
) -> AsyncIterator[ScriptedServer]:
    servicer, server = ScriptedServer(), grpc.aio.server(options=[("grpc.so_reuseport", 0)])
    watch_pb2_grpc.add_WatchServiceServicer_to_server(servicer, server)
    if credentials is None:
        port = server.add_insecure_port(address)
    else:
        port = server.add_secure_port(address, credentials)
    servicer.address = f"127.0.0.1:{port}"
    await server.start()
    try:
        yield servicer
    finally:
        await server.stop(0)


def snapshot(up_ms=1000, sessions=(), **fields):
    return watch_pb2.WatchServerResponse(
        **{
            "up_ms": up_ms,
            "status": watch_pb2.SERVER_STATUS_SERVING,
            "version": "1.2.3",
            "session_count": len(sessions),
            "max_sessions": 64,
            "models": [{"name": "tiny", "precision": "f32", "provider": "cpu", "step_us": 250}],
            "sessions": sessions,
            **fields,
        }
    )


def session(session_id="s1", vehicle_id="car-1", **fields):
    return watch_pb2.WatchedSession(
        **{
            "session_id": session_id,
            "vehicle_id": vehicle_id,
            "model": "tiny",
            "rate_hz": 20,
            "budget_ms": 50,
            "open_ms": 500,
            **fields,
        }
    )


def command(**fields):
    return drive_service_pb2.DriveResponse(
        command=command_pb2.Command(
            **{
                "sequence_number": 7,
                "capture_time_ns": 2_500_000,
                "raw": {"steering_wheel_angle_rad": 0.2, "steering_wheel_angle_stddev_rad": 0.01},
                "limited": {"steering_wheel_angle_rad": 0.1, "speed_mps": 10},
                "validity": command_pb2.VALIDITY_VALID,
                "timings": {"queue_us": 100, "decode_us": 200, "infer_us": 300, "total_us": 700},
                **fields,
            }
        )
    )
