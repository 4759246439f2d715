"""A connection to a fake server, and its streams."""

from __future__ import annotations

import asyncio
import itertools
from typing import TYPE_CHECKING

import grpc

from steerstream.answers import Draining, Expiring, Shedding, TicketIssued
from steerstream.failures import RpcFailed
from steerstream.testing.answers import FakeAnswers, notice_response
from steerstream.testing.script import Drop, Fail, Reply, Skip
from steerstream.v1 import drive_service_pb2, frame_pb2, session_pb2

if TYPE_CHECKING:
    from steerstream.testing.server import FakeServer


class FakeTransport:
    """A connection to a fake server; it is passed to `steerstream.connect`."""

    def __init__(self, server: FakeServer) -> None:
        self._server = server
        self._streams: list[_FakeStream] = []

    async def connect(self, *, timeout_s: float, wait_for_server: bool) -> None:
        """Succeed at once."""

    async def describe_models(
        self,
        timeout_s: float,  # noqa: ARG002 - nothing here takes time
    ) -> drive_service_pb2.DescribeModelsResponse:
        """Describe the server's models."""
        return self._server.describe()

    async def drive(self) -> _FakeStream:
        """Begin a stream."""
        stream = _FakeStream(self._server)
        self._streams.append(stream)
        return stream

    async def close(self) -> None:
        """End every stream."""
        for stream in self._streams:
            await stream.abort()


_END = None
_Event = drive_service_pb2.DriveResponse | RpcFailed | None


class _FakeStream:
    """One session of a fake server. What is due is kept in a queue ordered by time."""

    def __init__(self, server: FakeServer) -> None:
        self._server = server
        self._due: asyncio.PriorityQueue[tuple[int, int, _Event]] = asyncio.PriorityQueue()
        self._order = itertools.count()
        self._last_due_ns = 0
        self._answers: FakeAnswers | None = None
        self._is_over = False

    async def send(self, request: drive_service_pb2.DriveRequest) -> None:
        if self._is_over:
            raise RpcFailed(grpc.StatusCode.CANCELLED, "the stream has ended")
        self._server.received.append(request)
        if self._answers is None:
            self._open(request.open)
        elif request.WhichOneof("message") == "reset":
            self._answers.reset()
        else:
            self._play(request.frame, self._answers)

    async def receive(self) -> drive_service_pb2.DriveResponse | None:
        due_ns, _, event = await self._due.get()
        await self._server.clock.sleep_until(due_ns)
        if isinstance(event, RpcFailed):
            self._is_over = True
            raise event
        return event

    async def finish(self) -> None:
        self._schedule(_END, self._last_due_ns)

    async def abort(self) -> None:
        self._is_over = True
        self._schedule(_END, 0)

    def _open(self, opening: session_pb2.OpenSession) -> None:
        now_ns = self._server.clock.now_ns()
        try:
            opened = self._server.open(opening)
        except RpcFailed as refusal:
            self._schedule(refusal, now_ns)
            return
        self._answers = FakeAnswers(opened.session_id)
        self._schedule(drive_service_pb2.DriveResponse(opened=opened), now_ns)

    def _play(self, frame: frame_pb2.Frame, answers: FakeAnswers) -> None:
        for action in self._server.reactions(frame):
            match action:
                case Reply() | Skip():
                    latency_ms = action.latency_ms
                    if latency_ms is None:
                        latency_ms = self._server.latency_ms
                    due_ns = self._server.clock.now_ns() + round(latency_ms * 1e6)
                    self._schedule(answers.answer(frame, action, latency_ms), due_ns)
                case Draining() | Expiring() | Shedding() | TicketIssued():
                    self._schedule(notice_response(action), self._server.clock.now_ns())
                case Fail():
                    self._schedule(action.error(), self._server.clock.now_ns())
                case Drop():
                    pass

    def _schedule(self, event: _Event, due_ns: int) -> None:
        self._last_due_ns = max(self._last_due_ns, due_ns)
        self._due.put_nowait((due_ns, next(self._order), event))
