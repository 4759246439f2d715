"""The scripted server behind real gRPC on this machine; run as a program it can be killed."""

from __future__ import annotations

import asyncio
import contextlib
import sys
from collections.abc import AsyncIterator

import grpc

from steerstream.failures import RpcFailed
from steerstream.metadata import REASON_KEY
from steerstream.testing import FakeServer, Reply
from steerstream.transport import Stream
from steerstream.v1 import drive_service_pb2_grpc


class Servicer(drive_service_pb2_grpc.DriveServiceServicer):
    def __init__(self, fake: FakeServer) -> None:
        self._fake = fake

    async def DescribeModels(self, request, context):  # noqa: N802 - the contract's name
        return self._fake.describe()

    async def Drive(self, requests, context):  # noqa: N802 - the contract's name
        stream = await self._fake.transport().drive()
        pump = asyncio.create_task(_pump(requests, stream))
        try:
            while (response := await stream.receive()) is not None:
                yield response
        except RpcFailed as failure:
            metadata = ((REASON_KEY, failure.reason.value),)
            await context.abort(failure.code, failure.message, metadata)
        finally:
            pump.cancel()


async def _pump(requests, stream: Stream) -> None:
    with contextlib.suppress(RpcFailed):
        async for request in requests:
            await stream.send(request)
    await stream.finish()


@contextlib.asynccontextmanager
async def serving(fake: FakeServer, credentials=None) -> AsyncIterator[tuple[str, grpc.aio.Server]]:
    async with serving_with(Servicer(fake), credentials) as at:
        yield at


@contextlib.asynccontextmanager
async def serving_with(
    servicer: drive_service_pb2_grpc.DriveServiceServicer, credentials=None
) -> AsyncIterator[tuple[str, grpc.aio.Server]]:
    server = grpc.aio.server()
    drive_service_pb2_grpc.add_DriveServiceServicer_to_server(servicer, server)
    if credentials is None:
        port = server.add_insecure_port("127.0.0.1:0")
    else:
        port = server.add_secure_port("localhost:0", credentials)
    await server.start()
    try:
        yield f"localhost:{port}", server
    finally:
        await server.stop(None)


async def main() -> None:
    async with serving(FakeServer(lambda frame: Reply(0.1))) as (target, server):
        print(target, flush=True)
        await server.wait_for_termination()


if __name__ == "__main__":
    sys.exit(asyncio.run(main()))
