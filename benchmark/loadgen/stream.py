"""Sessions on a connection of their own, in bytes: what the load generators are made of.

The vehicle client of this project checks, guards and converts every answer. Here that would be the
client's cost in the server's figures, so the generators speak to gRPC itself.
"""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING, Self

import grpc

from steerstream.failures import RpcFailed
from steerstream.v1 import drive_service_pb2

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from types import TracebackType

_SERVICE = drive_service_pb2.DESCRIPTOR.services_by_name["DriveService"].full_name
METHOD = f"/{_SERVICE}/Drive"
_OPTIONS = (
    # Every vehicle has a connection of its own, as on the road.
    ("grpc.use_local_subchannel_pool", 1),
    ("grpc.max_send_message_length", -1),
)
Response = drive_service_pb2.DriveResponse


def _as_it_is(request: bytes) -> bytes:
    return request


class Connection:
    """A connection of one vehicle; its sessions follow each other on it.

    It is made inside the event loop that uses it, and is an asynchronous context manager.

    Args:
        target: the server, HOST:PORT.
    """

    def __init__(self, target: str) -> None:
        self._target = target
        self._channel = grpc.aio.insecure_channel(target, options=_OPTIONS)

    async def __aenter__(self) -> Self:
        """Wait until the connection stands, so that opening a session measures the server alone.

        Raises:
            RpcFailed: no server was reached.
        """
        state = self._channel.get_state(try_to_connect=True)
        while state is not grpc.ChannelConnectivity.READY:
            if state is grpc.ChannelConnectivity.TRANSIENT_FAILURE:
                raise RpcFailed(grpc.StatusCode.UNAVAILABLE, f"no server at {self._target}")
            await self._channel.wait_for_state_change(state)
            state = self._channel.get_state(try_to_connect=True)
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self._channel.close()

    async def open(self, request: bytes) -> Stream:
        """Open a session; returns when the server has admitted it.

        Raises:
            RpcFailed: the server refused it.
        """
        call = self._channel.stream_stream(
            METHOD, request_serializer=_as_it_is, response_deserializer=Response.FromString
        )()
        stream = Stream(call)
        with contextlib.suppress(RpcFailed):  # reading tells why
            await stream.send(request)
        if await stream.receive() is None:
            raise RpcFailed(grpc.StatusCode.CANCELLED, "the server ended the stream at once")
        return stream


class Stream:
    """One open session."""

    def __init__(self, call: grpc.aio.StreamStreamCall[bytes, Response]) -> None:
        self._call = call

    async def send(self, request: bytes) -> None:
        """Send a request; returns when the transport took it.

        Raises:
            RpcFailed: the stream has ended; reading it tells why.
        """
        try:
            await self._call.write(request)
        except grpc.aio.AioRpcError as error:
            raise RpcFailed.from_rpc_error(error) from None
        except asyncio.InvalidStateError:
            raise RpcFailed(grpc.StatusCode.CANCELLED, "the stream has ended") from None

    async def receive(self) -> Response | None:
        """Return the next response; None at the end of a stream that ended well.

        Raises:
            RpcFailed: the stream ended with an error.
        """
        try:
            response = await self._call.read()
        except grpc.aio.AioRpcError as error:
            raise RpcFailed.from_rpc_error(error) from None
        return response if isinstance(response, Response) else None

    async def answers(self) -> AsyncIterator[Response]:
        """Yield commands and skips until the stream ends; notices answer no frame.

        Raises:
            RpcFailed: the stream ended with an error.
        """
        while (response := await self.receive()) is not None:
            if response.WhichOneof("message") in {"command", "skipped"}:
                yield response

    async def finish(self) -> None:
        """Say that no more frames follow."""
        with contextlib.suppress(grpc.aio.AioRpcError, asyncio.InvalidStateError):
            await self._call.done_writing()

    def cancel(self) -> None:
        """End the session at once, without a goodbye."""
        self._call.cancel()
