"""The connection to a server."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator
from types import TracebackType
from typing import Self

from steerstream import wire
from steerstream.errors import ConnectionFailed, ProtocolError, SteerstreamError
from steerstream.failures import RpcFailed, call_error
from steerstream.guard import Guard
from steerstream.models import Camera, FramePolicy, ServedModels, SessionInfo
from steerstream.session import Clock, Session
from steerstream.transport import GrpcTransport, Metadata, Stream, Tls, Transport
from steerstream.v1 import drive_service_pb2

NOT_STATED = Camera()
"""A camera of which nothing is said."""


def connect(
    target: str,
    *,
    tls: Tls | None = None,
    metadata: Metadata = (),
    timeout_s: float = 5.0,
    wait_for_server: bool = False,
    transport: Transport | None = None,
    clock: Clock = time.monotonic_ns,
) -> Client:
    """Return a client that connects when it is entered.

    ```python
    async with steerstream.connect("localhost:50051") as client:
        async with client.open_session(vehicle_id="car-7") as session:
            answer = await session.request(jpeg)
    ```

    Args:
        target: `HOST:PORT`, or any name that gRPC resolves, such as `unix:/path`.
        tls: how to encrypt; None for plain text.
        metadata: sent with every call, such as a token.
        timeout_s: how long connecting, opening and describing may take, in seconds each.
        wait_for_server: keep trying until `timeout_s` where the server refuses the connection.
        transport: takes the place of gRPC; see `steerstream.testing`.
        clock: the client's monotonic clock, in nanoseconds.
    """
    return Client(
        target,
        tls=tls,
        metadata=metadata,
        timeout_s=timeout_s,
        wait_for_server=wait_for_server,
        transport=transport,
        clock=clock,
    )


class Client:
    """A connection to one server, for any number of sessions; `connect` makes it."""

    def __init__(
        self,
        target: str,
        *,
        tls: Tls | None,
        metadata: Metadata,
        timeout_s: float,
        wait_for_server: bool,
        transport: Transport | None,
        clock: Clock,
    ) -> None:
        self._target = target
        self._tls = tls
        self._metadata = metadata
        self._timeout_s = timeout_s
        self._wait_for_server = wait_for_server
        self._given_transport = transport
        self._transport: Transport | None = None
        self._clock = clock

    async def __aenter__(self) -> Self:
        """Connect.

        Raises:
            ConnectionFailed: no server was reached.
        """
        transport = self._given_transport or GrpcTransport(
            self._target, tls=self._tls, metadata=self._metadata
        )
        try:
            await transport.connect(
                timeout_s=self._timeout_s, wait_for_server=self._wait_for_server
            )
        except RpcFailed as failure:
            await transport.close()
            raise call_error(failure) from failure
        except BaseException:
            await transport.close()
            raise
        self._transport = transport
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Close the connection and every session on it."""
        if self._transport is not None:
            transport, self._transport = self._transport, None
            await transport.close()

    async def describe_models(self) -> ServedModels:
        """Return the models that the server serves, and what it accepts.

        Raises:
            SteerstreamError: the call failed.
        """
        try:
            response = await self._connected().describe_models(self._timeout_s)
        except RpcFailed as failure:
            raise call_error(failure) from failure
        return wire.served_models(response)

    @contextlib.asynccontextmanager
    async def open_session(
        self,
        *,
        vehicle_id: str,
        model: str = "",
        budget_ms: float = 50.0,
        frame_policy: FramePolicy = FramePolicy.LATEST,
        camera: Camera = NOT_STATED,
        frame_rate_hz: float = 0.0,
        ticket: bytes = b"",
        guard: Guard | None = None,
    ) -> AsyncIterator[Session]:
        """Open a session for the time of an `async with` block.

        Args:
            vehicle_id: the vehicle's name, 1 to 128 printable ASCII characters.
            model: a served model's name; empty for the server's default.
            budget_ms: milliseconds that a frame may take in the server; 0 for its default.
            frame_policy: LATEST for vehicles, EVERY for lock-step and replay.
            camera: the camera that the frames come from.
            frame_rate_hz: frames a second that will be sent; 0 for the model's own rate.
            ticket: of an earlier session of this vehicle, to go on where it stopped.
            guard: judges the answers; by default one with the default bounds.

        Raises:
            SessionRefused: the server does not open it; `reason` says why.
            BadRequest: an argument is out of its range.
            ServerDraining: the server is about to stop.
            ConnectionFailed: the server is gone.
            ProtocolError: the target is no steerstream server.
        """
        request = wire.open_request(
            vehicle_id=vehicle_id,
            model=model,
            budget_ms=budget_ms,
            frame_policy=frame_policy,
            camera=camera,
            ticket=ticket,
            frame_rate_hz=frame_rate_hz,
        )
        stream = await self._connected().drive()
        try:
            info = await self._open(stream, request)
        except BaseException:
            await stream.abort()
            raise
        async with Session(stream, info, guard=guard or Guard(), clock=self._clock) as session:
            yield session

    async def _open(self, stream: Stream, request: drive_service_pb2.DriveRequest) -> SessionInfo:
        try:
            async with asyncio.timeout(self._timeout_s):
                with contextlib.suppress(RpcFailed):
                    # Where the stream has ended already, receive knows why.
                    await stream.send(request)
                response = await stream.receive()
        except RpcFailed as failure:
            raise call_error(failure) from failure
        except TimeoutError:
            raise ConnectionFailed(
                f"{self._target} did not open the session within {self._timeout_s:g} s; "
                "check that the server is healthy"
            ) from None
        if response is None:
            raise ProtocolError("the server ended the stream without opening the session")
        return wire.session_info(response)

    def _connected(self) -> Transport:
        if self._transport is None:
            raise SteerstreamError("the client is not connected; use it inside 'async with'")
        return self._transport
