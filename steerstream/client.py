"""The connection to a server."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
import weakref
from collections.abc import Callable, Coroutine, Generator
from types import TracebackType
from typing import Any, Self

from steerstream import wire
from steerstream.arguments import instance, shown
from steerstream.errors import (
    BadRequest,
    ConnectionFailed,
    ProtocolError,
    SessionClosed,
    SteerstreamError,
)
from steerstream.failures import RpcFailed, call_error
from steerstream.guard import Guard
from steerstream.models import Camera, FramePolicy, ServedModels, SessionInfo
from steerstream.session import Clock, Session
from steerstream.transport import (
    GrpcTransport,
    Metadata,
    Stream,
    Tls,
    Transport,
    check_address,
    checked_metadata,
)
from steerstream.v1 import drive_service_pb2

_log = logging.getLogger(__name__)


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
    """Return a client that connects when it is entered or awaited.

    ```python
    async with steerstream.connect("localhost:50051") as client:
        ...

    client = await steerstream.connect("localhost:50051")
    try:
        ...
    finally:
        await client.aclose()
    ```

    Args:
        target: `HOST:PORT`, or any name that gRPC resolves, such as `unix:/path`.
        tls: how to encrypt; None for plain text.
        metadata: pairs of a lower-case key and a value, sent with every call, such as a token. The
            value is printable ASCII text, or bytes where the key ends in `-bin`.
        timeout_s: how long connecting, opening and describing may take, in seconds each. To find
            out why connecting failed may take 3 s more.
        wait_for_server: keep trying until `timeout_s` where the server refuses the connection.
        transport: takes the place of gRPC; see `steerstream.testing`.
        clock: the client's monotonic clock, in nanoseconds.

    Raises:
        BadRequest: an argument is of the wrong type or out of its range.
    """
    check_address(target, timeout_s)
    instance("wait_for_server", wait_for_server, bool)
    if tls is not None:
        instance("tls", tls, Tls)
    if transport is not None:
        instance("transport", transport, Transport)
    if not callable(clock):
        raise BadRequest(f"clock must be a function that returns nanoseconds, not {shown(clock)}")
    items = checked_metadata(metadata)

    def make_transport() -> Transport:
        return transport or GrpcTransport(target, tls=tls, metadata=items, timeout_s=timeout_s)

    return Client(
        make_transport,
        target=target,
        timeout_s=timeout_s,
        wait_for_server=wait_for_server,
        clock=clock,
    )


class Client:
    """A connection to one server, for any number of sessions; `connect` makes it.

    Args:
        make_transport: returns the connection; called in the event loop that uses it.
        target: the server's name, for texts.
        timeout_s: how long connecting, opening and describing may take, in seconds each.
        wait_for_server: keep trying until `timeout_s` where the server refuses the connection.
        clock: the client's monotonic clock, in nanoseconds.
    """

    def __init__(
        self,
        make_transport: Callable[[], Transport],
        *,
        target: str,
        timeout_s: float,
        wait_for_server: bool,
        clock: Clock,
    ) -> None:
        self._make_transport = make_transport
        self._target = target
        self._timeout_s = timeout_s
        self._wait_for_server = wait_for_server
        self._clock = clock
        self._transport: Transport | None = None
        self._is_entered = False
        self._is_closed = False
        self._opening: set[Stream] = set()
        self._sessions: weakref.WeakSet[Session] = weakref.WeakSet()

    def __await__(self) -> Generator[Any, None, Self]:
        """Connect, and return the client; see `__aenter__`."""
        return self.__aenter__().__await__()

    async def __aenter__(self) -> Self:
        """Connect.

        Raises:
            BadRequest: the TLS files cannot be read.
            ConnectionFailed: no server was reached.
        """
        if self._is_entered:
            raise SteerstreamError("a client connects once; connect() makes another one")
        self._is_entered = True
        transport = self._make_transport()
        try:
            await transport.connect(
                timeout_s=self._timeout_s, wait_for_server=self._wait_for_server
            )
        except BaseException:
            await transport.close()
            raise
        self._transport = transport
        _log.info("connected to %s", self._target)
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Close every session, as `Session.aclose` does, and the connection.

        Calling it again does nothing.
        """
        transport, self._transport, self._is_closed = self._transport, None, True
        if transport is None:
            return
        try:
            for stream in tuple(self._opening):
                await stream.abort()
            await asyncio.gather(*(session.aclose() for session in tuple(self._sessions)))
        finally:
            await transport.close()

    async def describe_models(self) -> ServedModels:
        """Return the models that the server serves, and what it accepts.

        Raises:
            SessionClosed: this side closed the client.
            SteerstreamError: the call failed, or the client is not connected yet.
        """
        try:
            response = await self._connected().describe_models(self._timeout_s)
        except RpcFailed as failure:
            self._connected()
            raise call_error(failure) from failure
        return wire.served_models(response)

    def open_session(
        self,
        *,
        vehicle_id: str,
        model: str | None = None,
        budget_ms: float | None = 50.0,
        frame_policy: FramePolicy = FramePolicy.LATEST,
        camera: Camera | None = None,
        frame_rate_hz: float | None = None,
        ticket: bytes | None = None,
        live: bool | None = None,
        guard: Guard | None = None,
    ) -> SessionOpening:
        """Open a session, for the time of an `async with` block or until it is closed.

        ```python
        async with client.open_session(vehicle_id="car-7") as session:
            ...

        session = await client.open_session(vehicle_id="car-7")
        try:
            ...
        finally:
            await session.aclose()
        ```

        Args:
            vehicle_id: the vehicle's name, 1 to 128 printable ASCII characters.
            model: a served model's name; None for the server's default.
            budget_ms: milliseconds that a frame may take in the server; None for its default.
            frame_policy: LATEST for vehicles, EVERY for lock-step and replay.
            camera: the camera that the frames come from; None where nothing is known of it.
            frame_rate_hz: frames a second that will be sent; None for the model's own rate.
            ticket: of an earlier session of this vehicle, to go on where it stopped.
            live: whether capture times run as the client's clock does. Then times that cannot be
                true are refused, and old pictures are not followed. False for a recording or a
                simulator with its own time. By default, True under LATEST.
            guard: judges the answers; by default one with the default bounds. One that was used in
                an earlier session of the vehicle goes on holding that session's last command.

        Raises:
            SessionRefused: the server does not open it; `reason` says why.
            SessionClosed: this side closed the client.
            BadRequest: an argument is of the wrong type or out of its range.
            ServerDraining: the server is about to stop.
            ConnectionFailed: the server is gone.
            ProtocolError: the target is no steerstream server.
        """
        instance("vehicle_id", vehicle_id, str)
        instance("frame_policy", frame_policy, FramePolicy)
        if live is not None:
            instance("live", live, bool)
        if camera is not None:
            instance("camera", camera, Camera)
        if guard is not None:
            instance("guard", guard, Guard)
        request = wire.open_request(
            vehicle_id=vehicle_id,
            model=model,
            budget_ms=budget_ms,
            frame_policy=frame_policy,
            camera=camera,
            ticket=ticket,
            frame_rate_hz=frame_rate_hz,
        )
        is_live = frame_policy is FramePolicy.LATEST if live is None else live
        return SessionOpening(lambda: self._open_session(request, guard or Guard(), live=is_live))

    async def _open_session(
        self, request: drive_service_pb2.DriveRequest, guard: Guard, *, live: bool
    ) -> Session:
        stream = await self._connected().drive()
        self._opening.add(stream)
        try:
            info = await self._open(stream, request)
            self._connected()
        except BaseException as error:
            await stream.abort()
            if isinstance(error, SteerstreamError):
                self._connected()
            raise
        finally:
            self._opening.discard(stream)
        session = Session(stream, info, guard=guard, live=live, clock=self._clock)
        self._sessions.add(session)
        _log.info(
            "session %s opened: %s, %s, budget %g ms",
            info.session_id, info.model.name, info.frame_policy.name, info.granted_budget_ms,
        )  # fmt: skip
        return session

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
        if self._is_closed:
            raise SessionClosed("the client is closed; connect() makes another one")
        if self._transport is None:
            raise SteerstreamError(
                "the client is not connected; await it, or use it inside 'async with'"
            )
        return self._transport


class SessionOpening:
    """The result of `Client.open_session`: await it, or enter it with `async with`."""

    def __init__(self, open_session: Callable[[], Coroutine[Any, Any, Session]]) -> None:
        self._open_session = open_session
        self._entered = contextlib.AsyncExitStack()

    def __await__(self) -> Generator[Any, None, Session]:
        """Open the session; the caller closes it."""
        return self._open_session().__await__()

    async def __aenter__(self) -> Session:
        """Open the session, which ends with the block."""
        return await self._entered.enter_async_context(await self._open_session())

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self._entered.__aexit__(exc_type, exc, traceback)
