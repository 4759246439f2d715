"""The connection to a server."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import logging
import time
import weakref
from collections.abc import Callable, Coroutine, Generator, Sequence
from types import TracebackType
from typing import Any, Generic, Self, TypeVar, Unpack

from steerstream import view as views
from steerstream import wire
from steerstream.answers import TicketIssued
from steerstream.arguments import instance, shown
from steerstream.drive_session import DriveSession
from steerstream.errors import (
    BadRequest,
    ConnectionFailed,
    ProtocolError,
    SessionClosed,
    SteerstreamError,
)
from steerstream.failures import RpcFailed, call_error, may_come
from steerstream.hand_over import HandOver, SessionChange, pauses_s
from steerstream.models import FramePolicy, ServedModels
from steerstream.opening import Opening, SessionOptions
from steerstream.session import Clock, Session, VehicleSession
from steerstream.transport import (
    GrpcTransport,
    Metadata,
    Stream,
    Tls,
    Token,
    Transport,
    check_address,
    check_token,
    checked_metadata,
)
from steerstream.v1 import drive_service_pb2

_log = logging.getLogger(__name__)


def connect(
    target: str | Sequence[str],
    *,
    tls: Tls | None = None,
    metadata: Metadata = (),
    token: Token | None = None,
    timeout_s: float = 5.0,
    wait_for_server: bool = False,
    transport: Transport | Callable[[str], Transport] | None = None,
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
        target: `HOST:PORT`, or any name that gRPC resolves, such as `unix:/path`. Or several of
            them, in the order in which they are preferred: a drive session goes on at another one
            where its server is lost, and everything else goes to the first that is reached.
            Connecting tries one after the other, round after round where it waits; all of it takes
            `timeout_s`.
        tls: how to encrypt; None for plain text.
        metadata: pairs of a lower-case key and a value, sent with every call. The value is
            printable ASCII text, or bytes where the key ends in `-bin`.
        token: a bearer token that says who this vehicle is, sent with every call; or a function
            that returns it, called for each call, so that a token may be renewed. It must not
            block. Without `tls` a token goes to servers on this machine alone.
        timeout_s: how long connecting, opening and describing may take, in seconds each. To find
            out why connecting failed may take 3 s more.
        wait_for_server: keep trying until `timeout_s` where the server refuses the connection, and
            also where it opens no session yet, because it warms up or is full.
        transport: takes the place of gRPC; see `steerstream.testing`. Or a function that returns
            one for a target.
        clock: the client's monotonic clock, in nanoseconds.

    Raises:
        BadRequest: an argument is of the wrong type or out of its range.
    """
    targets = tuple(target) if isinstance(target, list | tuple) else (target,)
    if not targets or len(set(targets)) < len(targets):
        raise BadRequest(f"target must be one name or several different ones, not {target!r}")
    for name in targets:
        check_address(name, timeout_s)
    instance("wait_for_server", wait_for_server, bool)
    if tls is not None:
        instance("tls", tls, Tls)
    if transport is not None and not callable(transport):
        instance("transport", transport, Transport)
    if not callable(clock):
        raise BadRequest(f"clock must be a function that returns nanoseconds, not {shown(clock)}")
    items = checked_metadata(metadata)
    check_token(token, targets, is_encrypted=tls is not None)

    def make_transport(name: str) -> Transport:
        if transport is None:
            return GrpcTransport(name, tls=tls, metadata=items, token=token, timeout_s=timeout_s)
        return transport(name) if callable(transport) else transport

    return Client(
        make_transport,
        targets=targets,
        timeout_s=timeout_s,
        wait_for_server=wait_for_server,
        clock=clock,
    )


class Client:
    """A connection to a server, for any number of sessions; `connect` makes it.

    Args:
        make_transport: returns a connection to a server of a name; called in the event loop that
            uses it.
        targets: the servers' names; the first that is reached is connected to.
        timeout_s: how long connecting, opening and describing may take, in seconds each.
        wait_for_server: keep trying until `timeout_s` where the server refuses the connection, and
            also where it opens no session yet, because it warms up or is full.
        clock: the client's monotonic clock, in nanoseconds.
        is_leg: whether its session is the part of a drive session at one server.
    """

    def __init__(
        self,
        make_transport: Callable[[str], Transport],
        *,
        targets: Sequence[str],
        timeout_s: float,
        wait_for_server: bool,
        clock: Clock,
        is_leg: bool = False,
    ) -> None:
        self._make_transport = make_transport
        self._targets = targets
        self._target = targets[0]
        self._timeout_s = timeout_s
        self._wait_for_server = wait_for_server
        self._clock = clock
        self._is_leg = is_leg
        self._transport: Transport | None = None
        self._is_entered = False
        self._is_closed = False
        self._opening: set[Stream] = set()
        self._sessions: weakref.WeakSet[VehicleSession] = weakref.WeakSet()

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
        if len(self._targets) == 1:
            await self._connect(
                self._targets[0], self._timeout_s, wait_for_server=self._wait_for_server
            )
        else:
            await self._connect_to_one()
        return self

    async def _connect_to_one(self) -> None:
        """Connect to the first of several servers that answers, in time for all of them."""
        now_s, pause_s = asyncio.get_running_loop().time, pauses_s()
        until_s = now_s() + self._timeout_s
        while True:
            for at, target in enumerate(self._targets):
                # One that takes the connection and answers nothing leaves time for those behind it.
                share_s = max(0.0, until_s - now_s()) / (len(self._targets) - at)
                try:
                    await self._connect(target, share_s, wait_for_server=False)
                except ConnectionFailed as failure:
                    error = failure
                else:
                    return
            left_s = until_s - now_s()
            if not self._wait_for_server or left_s <= 0.0:
                raise error
            await asyncio.sleep(min(pause_s(), left_s))

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

    async def _connect(self, target: str, timeout_s: float, *, wait_for_server: bool) -> None:
        transport = self._make_transport(target)
        try:
            await transport.connect(timeout_s=timeout_s, wait_for_server=wait_for_server)
        except BaseException:
            await transport.close()
            raise
        self._transport, self._target = transport, target
        level = logging.DEBUG if self._is_leg else logging.INFO
        _log.log(level, "connected to %s", target)

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
            raise call_error(failure) from None
        return wire.served_models(response)

    def open_session(
        self, *, ticket: TicketIssued | bytes | None = None, **options: Unpack[SessionOptions]
    ) -> SessionOpening[Session]:
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
            ticket: of an earlier session of this vehicle (`Session.ticket`), to go on with the
                state that it holds. Frames are numbered on after the last one that this state has
                seen; where the sealed bytes alone are given, the caller does that.
            **options: `vehicle_id`, and what else `SessionOptions` has.

        Raises:
            SessionRefused: the server does not open it; `reason` says why.
            SessionClosed: this side closed the client.
            BadRequest: an argument is of the wrong type or out of its range.
            ServerDraining: the server is about to stop.
            ConnectionFailed: the server is gone.
            ProtocolError: the target is no steerstream server.
        """
        opening = Opening.of(options, ticket, others=("ticket",))
        return SessionOpening(lambda: self._open_session(opening))

    def drive_session(
        self,
        *,
        hand_over: HandOver | None = None,
        on_change: Callable[[SessionChange], None] | None = None,
        **options: Unpack[SessionOptions],
    ) -> SessionOpening[DriveSession]:
        """Open a session that goes on at another server, or at the same one, where its is lost.

        Each server that it goes to gets a connection of its own.

        Args:
            hand_over: when and how the server is changed; by default as `HandOver` says.
            on_change: is told of every change of state, in the event loop; it must not block.
            **options: `vehicle_id`, and what else `SessionOptions` has. `guard` judges the answers
                of all servers.

        Raises:
            SessionRefused: no server opens it; `reason` says why the last one did not.
            BadRequest: an argument is of the wrong type or out of its range.
            ConnectionFailed: no server was reached.
        """
        opening = Opening.of(options, others=("hand_over", "on_change"))
        if hand_over is not None:
            instance("hand_over", hand_over, HandOver)
        chosen = hand_over or HandOver()
        return SessionOpening(lambda: self._open_drive_session(opening, chosen, on_change))

    async def _open_drive_session(
        self,
        opening: Opening,
        hand_over: HandOver,
        on_change: Callable[[SessionChange], None] | None,
    ) -> DriveSession:
        self._connected()
        rate_hz = opening.request.open.frame_rate_hz
        session = DriveSession(
            functools.partial(self._open_leg, opening, hand_over.attempt_timeout_s),
            list(self._targets),
            guard=opening.guard,
            live=opening.is_live,
            frame_policy=FramePolicy(opening.request.open.frame_policy),
            period_s=1 / rate_hz if rate_hz else None,
            hand_over=hand_over,
            on_change=on_change,
            clock=self._clock,
            observer=opening.observer,
            acting=opening.acting,
        )
        self._sessions.add(session)
        try:
            await session.begin(wait_s=self._timeout_s if self._wait_for_server else 0.0)
        except BaseException:
            await session.aclose()
            raise
        return session

    async def _open_leg(
        self, opening: Opening, timeout_s: float, target: str, ticket: bytes | None
    ) -> tuple[Client, Session]:
        """Open a drive session at one server, on a connection of its own."""
        client = Client(
            self._make_transport,
            targets=(target,),
            timeout_s=timeout_s,
            wait_for_server=False,
            clock=self._clock,
            is_leg=True,
        )
        try:
            await client
            return client, await client._open_session(opening.with_ticket(ticket))
        except BaseException:
            await client.aclose()
            raise

    async def _open_session(self, opening: Opening) -> Session:
        """Open a session, as often as it takes where the client waits for the server."""
        now_s, pause_s = asyncio.get_running_loop().time, pauses_s()
        until_s = now_s() + self._timeout_s
        while True:
            try:
                return await self._open_once(opening, until_s - now_s())
            except SteerstreamError as error:
                next_s = max(pause_s(), error.retry_after_s or 0.0)
                is_awaited = self._wait_for_server and may_come(error)
                if not is_awaited or now_s() + next_s >= until_s:
                    raise
                _log.debug("%s opens no session yet: %s", self._target, error)
            await asyncio.sleep(next_s)

    async def _open_once(self, opening: Opening, timeout_s: float) -> Session:
        stream = await self._connected().drive()
        self._opening.add(stream)
        try:
            opened = await self._open(stream, opening.request, timeout_s)
            asked_ms = opening.request.open.budget_ms
            info = wire.session_info(opened, opening.camera, asked_ms)
            if info.view is not None:
                views.load_packages()
            self._connected()
        except BaseException as error:
            await stream.abort()
            if isinstance(error, SteerstreamError):
                self._connected()
            raise
        finally:
            self._opening.discard(stream)
        opening.observer.opened(self._target, opening.request.open, opened.opened, opening.guard)
        session = Session(
            stream,
            info,
            guard=opening.guard,
            live=opening.is_live,
            clock=self._clock,
            observer=opening.observer,
            acting=opening.acting,
            ticket=opening.ticket,
            is_leg=self._is_leg,
        )
        self._sessions.add(session)
        _log.info(
            "session %s opened: %s, %s, budget %g ms",
            info.session_id, info.model.name, info.frame_policy.name, info.granted_budget_ms,
        )  # fmt: skip
        return session

    async def _open(
        self, stream: Stream, request: drive_service_pb2.DriveRequest, timeout_s: float
    ) -> drive_service_pb2.DriveResponse:
        try:
            async with asyncio.timeout(timeout_s):
                with contextlib.suppress(RpcFailed):
                    # Where the stream has ended already, receive knows why.
                    await stream.send(request)
                response = await stream.receive()
        except RpcFailed as failure:
            raise call_error(failure) from None
        except TimeoutError:
            raise ConnectionFailed(
                f"{self._target} did not open the session within {self._timeout_s:g} s; "
                "check that the server is healthy"
            ) from None
        if response is None:
            raise ProtocolError("the server ended the stream without opening the session")
        return response

    def _connected(self) -> Transport:
        if self._is_closed:
            raise SessionClosed("the client is closed; connect() makes another one")
        if self._transport is None:
            raise SteerstreamError(
                "the client is not connected; await it, or use it inside 'async with'"
            )
        return self._transport


_Opened = TypeVar("_Opened", bound=VehicleSession)


class SessionOpening(Generic[_Opened]):
    """The result of opening a session: await it, or enter it with `async with`."""

    def __init__(self, open_session: Callable[[], Coroutine[Any, Any, _Opened]]) -> None:
        self._open_session = open_session
        self._entered = contextlib.AsyncExitStack()

    def __await__(self) -> Generator[Any, None, _Opened]:
        """Open the session; the caller closes it."""
        return self._open_session().__await__()

    async def __aenter__(self) -> _Opened:
        """Open the session, which ends with the block."""
        opened = await self._open_session()
        await self._entered.enter_async_context(opened)
        return opened

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self._entered.__aexit__(exc_type, exc, traceback)
