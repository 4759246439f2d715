"""A network in memory, with gRPC's calls at both ends of it.

Messages of a connection arrive in order, as TCP's do, after delays that are drawn from the seed; a
link that is cut keeps them until it is whole again. A connection breaks where one end dies or where
it is cut: with notice (a reset), or silently, so that each end learns of it by its keepalive.

The client's end is what `grpc.aio` gives its callers, so that the client's own `GrpcStream` runs on
it; the server's end is what `grpc.aio` gives a servicer.
"""

from __future__ import annotations

import asyncio
import random
from collections import deque
from collections.abc import Callable
from itertools import count
from typing import Any, Protocol

import grpc

from steerstream.errors import ConnectionFailed
from steerstream.transport import GrpcStream
from steerstream.v1 import drive_service_pb2
from tests.histories.loop import MS, Process, VirtualLoop

KEEPALIVE_NS = 15_000 * MS
"""From the last sign of a peer to the end of its connection: 10 s and 5 s, as both ends ask for."""
_Response = drive_service_pb2.DriveResponse
_Request = drive_service_pb2.DriveRequest


class Tap(Protocol):
    """Sees what a server reads and writes on one stream."""

    def read(self, request: _Request) -> None: ...
    def written(self, response: _Response) -> None: ...
    def ended(self, code: grpc.StatusCode, reason: str) -> None: ...


class Served(Protocol):
    """What the network knows of a server that runs."""

    process: Process

    @property
    def listens(self) -> bool: ...
    def serve(self, context: Context) -> None: ...


class AbortError(Exception):
    """A servicer ended its call."""


class Status:
    """How a call ended."""

    def __init__(self, code: grpc.StatusCode, details: str, trailing: tuple[Any, ...] = ()) -> None:
        self.code, self.details, self.trailing = code, details, trailing


OK = Status(grpc.StatusCode.OK, "")
_CANCELLED = Status(grpc.StatusCode.CANCELLED, "Locally cancelled by application!")
_BROKEN = Status(grpc.StatusCode.UNAVAILABLE, "Socket closed")
_DEAD = Status(grpc.StatusCode.UNAVAILABLE, "keepalive watchdog timeout")


class Network:
    """All links between vehicles and servers.

    Args:
        loop: of the history.
        rng: where delays come from.
    """

    def __init__(self, loop: VirtualLoop, rng: random.Random) -> None:
        self.loop = loop
        self.rng = rng
        self.latency_ns = rng.choice([MS // 5, MS, 3 * MS])
        self.jitter_ns = rng.choice([MS // 10, MS, 5 * MS])
        self.window_bytes = rng.choice([8_000, 64_000])
        self.servers: dict[str, Served] = {}
        self.connections: set[Connection] = set()
        self.numbers = count()
        self._cut_until_ns: dict[tuple[str, str], int] = {}

    def delay_ns(self) -> int:
        """Return how long the next message takes."""
        return self.latency_ns + int(self.jitter_ns * self.rng.expovariate(1.0)) + 1

    def cut(self, vehicle: str, server: str, duration_ns: int) -> None:
        """Keep everything between two machines for a while."""
        self._cut_until_ns[vehicle, server] = self.loop.local_ns + duration_ns
        if duration_ns >= KEEPALIVE_NS:
            for connection in self._between(vehicle, server):
                connection.lose_at_client(is_silent=True)
                connection.lose_at_server(KEEPALIVE_NS)

    def open_at_ns(self, vehicle: str, server: str) -> int:
        """Return when the link carries messages, now or later."""
        return max(self.loop.local_ns, self._cut_until_ns.get((vehicle, server), 0))

    def lose(self, server: Process, *, is_silent: bool) -> None:
        """A server is gone: its clients learn of it at once, or by their keepalive alone."""
        for connection in self._sorted():
            if connection.server is server:
                connection.lose_at_client(is_silent=is_silent)

    def _sorted(self) -> list[Connection]:
        return sorted(self.connections, key=lambda connection: connection.number)

    def leave(self, vehicle: Process) -> None:
        """A vehicle is gone."""
        for connection in self._sorted():
            if connection.client is vehicle:
                connection.lose_at_server(self.rng.choice([self.delay_ns(), KEEPALIVE_NS]))

    def reset(self, vehicle: str, server: str) -> None:
        """Break the connections between two machines, so that both learn of it."""
        for connection in self._between(vehicle, server):
            connection.lose_at_client(is_silent=False)
            connection.lose_at_server(self.delay_ns())

    def _between(self, vehicle: str, server: str) -> list[Connection]:
        return [
            connection
            for connection in self._sorted()
            if connection.client.name == vehicle and connection.server_name == server
        ]


class Connection:
    """One client's connection to one server.

    Args:
        network: it belongs to.
        client: the vehicle's process.
        server_name: the machine.
        served: what runs there.
    """

    def __init__(self, network: Network, client: Process, server_name: str, served: Served) -> None:
        self.number = next(network.numbers)
        self.network = network
        self.client = client
        self.server_name = server_name
        self.served = served
        self.server = served.process
        self.is_up = True
        self.calls: list[Call] = []
        self._last_ns = {"up": 0, "down": 0}
        network.connections.add(self)

    def carry(self, way: str, function: Callable[..., None], *args: Any) -> None:
        """Call a function at the other end when the message arrives there."""
        network = self.network
        target = self.server if way == "up" else self.client
        open_ns = network.open_at_ns(self.client.name, self.server_name)
        arrives_ns = max(open_ns + network.delay_ns(), self._last_ns[way] + 1)
        self._last_ns[way] = arrives_ns
        if open_ns - network.loop.local_ns >= KEEPALIVE_NS:
            return
        network.loop.at(target, arrives_ns, function, *args)

    def lose_at_client(self, *, is_silent: bool) -> None:
        network = self.network
        if is_silent:
            when_ns = network.loop.local_ns + KEEPALIVE_NS
        else:
            when_ns = network.open_at_ns(self.client.name, self.server_name) + network.delay_ns()
        network.loop.at(self.client, when_ns, self._lost, _DEAD if is_silent else _BROKEN)

    def lose_at_server(self, after_ns: int) -> None:
        network = self.network
        network.loop.at(self.server, network.loop.local_ns + after_ns, self._cancel_all)

    def close(self) -> None:
        """The client closes it."""
        self._lost(_CANCELLED)
        self.carry("up", self._cancel_all)

    def _lost(self, status: Status) -> None:
        self.is_up = False
        self.network.connections.discard(self)
        for call in self.calls:
            call.end(status)

    def _cancel_all(self) -> None:
        for call in self.calls:
            if call.context is not None:
                call.context.cancel()


class Call:
    """The client's end of one call of Drive, as `grpc.aio` has it."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._loop = connection.network.loop
        self._inbox: deque[bytes] = deque()
        self._changed = asyncio.Event()
        self._status: Status | None = None
        self._callbacks: list[Callable[[Call], None]] = []
        self._unread_bytes = 0
        self.context: Context | None = None
        connection.calls.append(self)
        if connection.is_up:
            connection.carry("up", self._begin)
        else:
            self.end(_BROKEN)

    def add_done_callback(self, callback: Callable[[Call], None]) -> None:
        self._callbacks.append(callback)

    async def code(self) -> grpc.StatusCode:
        assert self._status is not None
        return self._status.code

    async def details(self) -> str:
        assert self._status is not None
        return self._status.details

    async def trailing_metadata(self) -> tuple[Any, ...]:
        assert self._status is not None
        return self._status.trailing

    def cancel(self) -> bool:
        if self._status is not None:
            return False
        self.end(_CANCELLED)
        self._connection.carry("up", self._cancel_there)
        return True

    async def write(self, request: _Request) -> None:
        self._raise_if_over(is_writing=True)
        data = request.SerializeToString()
        self._unread_bytes += len(data)
        self._connection.carry("up", self._arrived_there, data)
        await asyncio.sleep(0)
        while self._unread_bytes > self._connection.network.window_bytes and self._status is None:
            self._changed.clear()
            await self._changed.wait()
        self._raise_if_over(is_writing=True)

    async def read(self) -> Any:
        while not self._inbox:
            if self._status is not None:
                if self._status.code is grpc.StatusCode.OK:
                    return grpc.aio.EOF
                self._raise_if_over(is_writing=False)
            self._changed.clear()
            await self._changed.wait()
        data = self._inbox.popleft()
        if self.context is not None:
            self._connection.carry("up", self.context.taken, len(data))
        return _Response.FromString(data)

    async def done_writing(self) -> None:
        self._raise_if_over(is_writing=True)
        self._connection.carry("up", self._half_closed_there)

    # What arrives from the server, in the client's process.

    def arrived(self, data: bytes) -> None:
        if self._status is None:
            self._inbox.append(data)
            self._changed.set()

    def taken(self, size_bytes: int) -> None:
        self._unread_bytes -= size_bytes
        self._changed.set()

    def end(self, status: Status) -> None:
        if self._status is not None:
            return
        self._status = status
        if status.code is grpc.StatusCode.CANCELLED:
            self._inbox.clear()
        self._changed.set()
        for callback in self._callbacks:
            callback(self)

    def _raise_if_over(self, *, is_writing: bool) -> None:
        status = self._status
        if status is None:
            return
        if status is _CANCELLED:
            raise asyncio.CancelledError
        if status.code is grpc.StatusCode.OK and is_writing:
            raise asyncio.InvalidStateError("the call is done")
        raise grpc.aio.AioRpcError(
            status.code, grpc.aio.Metadata(), grpc.aio.Metadata(*status.trailing), status.details
        )

    # What arrives at the server, in its process.

    def _begin(self) -> None:
        connection = self._connection
        if not connection.served.listens:
            connection.carry("down", self.end, _BROKEN)
            return
        self.context = Context(connection, self)
        connection.served.serve(self.context)

    def _arrived_there(self, data: bytes) -> None:
        if self.context is not None:
            self.context.arrived(data)

    def _half_closed_there(self) -> None:
        if self.context is not None:
            self.context.half_closed()

    def _cancel_there(self) -> None:
        if self.context is not None:
            self.context.cancel()


class Context:
    """The server's end of one call, as `grpc.aio` gives it to a servicer."""

    def __init__(self, connection: Connection, call: Call) -> None:
        self.connection = connection
        self._call = call
        self._inbox: deque[bytes] = deque()
        self._changed = asyncio.Event()
        self._is_half_closed = False
        self._unread_bytes = 0
        self.is_over = False
        self.task: asyncio.Task[None] | None = None
        self.tap: Tap | None = None

    async def read(self) -> Any:
        while not self._inbox:
            if self._is_half_closed or self.is_over:
                return grpc.aio.EOF
            self._changed.clear()
            await self._changed.wait()
        data = self._inbox.popleft()
        self.connection.carry("down", self._call.taken, len(data))
        if self.tap is not None:
            self.tap.read(_Request.FromString(data))
        return data

    async def write(self, response: _Response) -> None:
        while self._unread_bytes > self.connection.network.window_bytes and not self.is_over:
            self._changed.clear()
            await self._changed.wait()
        if self.is_over:
            raise grpc.aio.InternalError("the call is over")
        data = response.SerializeToString()
        self._unread_bytes += len(data)
        if self.tap is not None:
            self.tap.written(response)
        self.connection.carry("down", self._call.arrived, data)
        await asyncio.sleep(0)

    def invocation_metadata(self) -> tuple[Any, ...]:
        return ()

    def peer(self) -> str:
        return f"ipv4:10.0.0.{self.connection.client.name.rpartition('-')[2]}:50000"

    def auth_context(self) -> dict[str, Any]:
        return {}

    async def send_initial_metadata(self, _metadata: object) -> None:
        await asyncio.sleep(0)

    async def abort(
        self, code: grpc.StatusCode, details: str = "", trailing: tuple[Any, ...] = ()
    ) -> None:
        if self.is_over:
            raise grpc.aio.InternalError("the call is over")
        self.finish(Status(code, details, trailing))
        await asyncio.sleep(0)
        raise AbortError

    def finish(self, status: Status) -> None:
        """End the call with the server's status."""
        if self.is_over:
            return
        self.is_over = True
        if self.tap is not None:
            self.tap.ended(status.code, dict(status.trailing).get("steerstream-reason", ""))
        self.connection.carry("down", self._call.end, status)

    def arrived(self, data: bytes) -> None:
        self._inbox.append(data)
        self._changed.set()

    def half_closed(self) -> None:
        self._is_half_closed = True
        self._changed.set()

    def taken(self, size_bytes: int) -> None:
        self._unread_bytes -= size_bytes
        self._changed.set()

    def cancel(self) -> None:
        """The client is gone, or has cancelled the call."""
        if not self.is_over:
            self.is_over = True
            if self.tap is not None:
                self.tap.ended(grpc.StatusCode.CANCELLED, "")
            if self.task is not None:
                self.task.cancel()


class SimulatedTransport:
    """A client's connection to one server, in place of `GrpcTransport`.

    Args:
        network: what carries it.
        client: the vehicle's process.
        target: the server's name.
    """

    def __init__(self, network: Network, client: Process, target: str) -> None:
        self._network = network
        self._client = client
        self._target = target
        self.connection: Connection | None = None

    async def connect(self, *, timeout_s: float, wait_for_server: bool) -> None:
        network, loop = self._network, self._network.loop
        began_ns = loop.local_ns
        open_ns = network.open_at_ns(self._client.name, self._target)
        answers_ns = open_ns + 2 * network.delay_ns()
        if answers_ns - began_ns > timeout_s * 1e9:
            await asyncio.sleep(timeout_s)
            raise ConnectionFailed(f"{self._target} did not answer", code=_BROKEN.code)
        await asyncio.sleep((answers_ns - began_ns) / 1e9)
        served = network.servers.get(self._target)
        if served is None or served.process.is_dead or not served.listens:
            raise ConnectionFailed(f"{self._target} refused", code=_BROKEN.code)
        wait_ns = served.process.free_ns - loop.local_ns
        if wait_ns > timeout_s * 1e9:
            # Stopped: the kernel takes the connection, and nobody answers.
            await asyncio.sleep(timeout_s)
            raise ConnectionFailed(f"{self._target} did not answer", code=_BROKEN.code)
        self.connection = Connection(network, self._client, self._target, served)

    async def describe_models(self, timeout_s: float) -> drive_service_pb2.DescribeModelsResponse:
        raise NotImplementedError

    async def drive(self) -> GrpcStream:
        assert self.connection is not None
        call: Any = Call(self.connection)
        return GrpcStream(call, lambda: self.connection is not None and self.connection.is_up)

    async def close(self) -> None:
        if self.connection is not None and self.connection.is_up:
            self.connection.close()


class OldTransport(SimulatedTransport):
    """Of a client from before tickets could leave rings out."""

    async def drive(self) -> GrpcStream:
        stream: Any = await super().drive()
        send = stream.send

        async def send_without(request: drive_service_pb2.DriveRequest) -> None:
            if request.HasField("open"):
                request.open.ClearField("replays_rings")
            await send(request)

        stream.send = send_without
        return stream
