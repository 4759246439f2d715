"""A server that does nothing: what gRPC itself costs here, for messages of the same size.

`python -m benchmark.programs.echo` listens on a free port, prints it, and answers every frame
with a command that is always the same, until standard input ends. No server on the same gRPC can
answer more frames a second on one core.
"""

from __future__ import annotations

import asyncio
import sys
from typing import Any

from steerstream_service.process import environment  # noqa: F401 - before gRPC, as in the server

# isort: split
import grpc

from benchmark.host.jobs import tell
from benchmark.loadgen.drive_rpc import METHOD
from steerstream.v1 import command_pb2, drive_service_pb2, session_pb2

_VALUES = command_pb2.ControlValues(
    steering_wheel_angle_rad=0.1,
    speed_mps=10.0,
    steering_torque_nm=0.5,
)
_TIMINGS = command_pb2.StageTimings(
    queue_us=300, decode_us=300, infer_us=300, total_us=900, batch_size=1
)
_OPENED = drive_service_pb2.DriveResponse(
    opened=session_pb2.SessionOpened(session_id="echo")
).SerializeToString()
_ANSWER = drive_service_pb2.DriveResponse(
    command=command_pb2.Command(
        sequence_number=1000,
        capture_time_ns=1 << 60,
        raw=_VALUES,
        limited=_VALUES,
        validity=command_pb2.VALIDITY_VALID,
        age_ms=1.0,
        alive_counter=1000,
        checksum=1 << 31,
        step_count=1000,
        timings=_TIMINGS,
    )
).SerializeToString()


async def serve() -> None:
    """Answer until standard input ends."""
    server = grpc.aio.server(options=[("grpc.max_receive_message_length", -1)])
    server.add_generic_rpc_handlers((_Handler(),))
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    tell(f"127.0.0.1:{port}")
    await asyncio.to_thread(sys.stdin.read)
    await server.stop(grace=None)


class _Handler(grpc.GenericRpcHandler):
    def service(
        self, handler_call_details: grpc.HandlerCallDetails
    ) -> grpc.RpcMethodHandler[bytes, bytes] | None:
        if handler_call_details.method != METHOD:
            return None
        return grpc.stream_stream_rpc_method_handler(_drive)


async def _drive(requests: Any, context: Any) -> None:  # noqa: ANN401, ARG001
    await context.read()
    await context.write(_OPENED)
    while await context.read() is not grpc.aio.EOF:
        await context.write(_ANSWER)


if __name__ == "__main__":
    asyncio.run(serve())
