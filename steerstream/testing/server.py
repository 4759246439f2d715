"""A scripted server inside the process, and the connections to it."""

from __future__ import annotations

import asyncio
import collections
import itertools

import grpc

from steerstream import wire
from steerstream.answers import Draining, Expiring, Pace, Shedding, TicketIssued
from steerstream.errors import ErrorReason
from steerstream.failures import RpcFailed
from steerstream.models import View
from steerstream.testing.answers import FakeAnswers, notice_response
from steerstream.testing.clock import FakeClock, RealClock
from steerstream.testing.script import Drop, Fail, Reaction, Reply, Script, Skip, reactions
from steerstream.v1 import drive_service_pb2, frame_pb2, model_pb2, session_pb2

MAX_REMEMBERED = 1024
"""Requests that a fake server remembers for a test to look at."""


class FakeServer:
    """A server that follows a script.

    Args:
        script: its reaction to each frame; by default it drives straight ahead.
        latency_ms: time from a frame to its answer, where an action states none.
        clock: where time comes from.
        models: names of the served models; the first is the default.
        refuse: the error with which it refuses every session; None opens them.
        idle_timeout_ms: the idle timeout that it states.
        view: what it wants to see of every picture; None for whole ones.
        max_act_in_ms: the longest time until a command acts that its models were trained with; 0
            for models that do not take it.

    Attributes:
        received: the last requests of all sessions, at most `MAX_REMEMBERED`.
    """

    def __init__(
        self,
        script: Script = lambda _frame: Reply(),
        *,
        latency_ms: float = 0.0,
        clock: FakeClock | None = None,
        models: tuple[str, ...] = ("fake",),
        refuse: Fail | None = None,
        idle_timeout_ms: int = 10_000,
        view: View | None = None,
        max_act_in_ms: float = 0.0,
    ) -> None:
        self.received: collections.deque[drive_service_pb2.DriveRequest] = collections.deque(
            maxlen=MAX_REMEMBERED
        )
        self.latency_ms = latency_ms
        self.clock: FakeClock = clock or RealClock()
        self.models = models
        self.refuse = refuse
        self.view = view
        self.max_act_in_ms = max_act_in_ms
        self.limits = model_pb2.ServerLimits(
            max_message_bytes=4 << 20,
            max_pixels=4_000_000,
            max_waiting_frames=64,
            idle_timeout_ms=idle_timeout_ms,
            max_sessions=64,
            min_budget_ms=1.0,
            max_budget_ms=1000.0,
        )
        self._reactions = reactions(script)
        self._session_numbers = itertools.count(1)

    def transport(self) -> FakeTransport:
        """Return a new connection to this server."""
        return FakeTransport(self)

    def describe(self) -> drive_service_pb2.DescribeModelsResponse:
        """Return the answer to DescribeModels."""
        return drive_service_pb2.DescribeModelsResponse(
            models=[self.contract(name) for name in self.models],
            default_model=self.models[0],
            limits=self.limits,
        )

    def contract(self, name: str) -> model_pb2.ModelContract:
        """Return a plausible contract for a model of that name."""
        heads = (
            ("steering_wheel_angle", "rad", 8.0),
            ("speed", "m/s", 45.0),
            ("steering_torque", "Nm", 8.0),
        )
        return model_pb2.ModelContract(
            name=name,
            input_width_px=200,
            input_height_px=66,
            rate_hz=20.0,
            reset_after_ms=100,
            max_act_in_ms=self.max_act_in_ms,
            outputs=[
                model_pb2.ModelOutput(head=head, unit=unit, minimum=-most, maximum=most)
                for head, unit, most in heads
            ],
        )

    def open(self, opening: session_pb2.OpenSession) -> session_pb2.SessionOpened:
        """Open a session, or refuse it as a real server does.

        Raises:
            RpcFailed: it is refused.
        """
        if self.refuse is not None:
            raise self.refuse.error()
        name = opening.model or self.models[0]
        if name not in self.models:
            raise RpcFailed(
                grpc.StatusCode.NOT_FOUND,
                f"no model {name!r} is served",
                reason=ErrorReason.UNKNOWN_MODEL,
            )
        return session_pb2.SessionOpened(
            session_id=f"fake-{next(self._session_numbers)}",
            model=self.contract(name),
            granted_budget_ms=opening.budget_ms or 50.0,
            frame_policy=opening.frame_policy or session_pb2.FRAME_POLICY_LATEST,
            resumed=bool(opening.ticket),
            limits=self.limits,
            view=wire.view_message(self.view) if self.view else None,
        )

    def reactions(self, frame: frame_pb2.Frame) -> list[Reaction]:
        """Return the script's reactions to a frame."""
        return self._reactions(frame)


class FakeTransport:
    """A connection to a fake server, to be passed to `steerstream.connect`."""

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
    """One session of a fake server; its events wait in a queue ordered by their time."""

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
            self._answers.reset(request.reset)
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
                case Draining() | Expiring() | Shedding() | Pace() | TicketIssued():
                    self._schedule(notice_response(action), self._server.clock.now_ns())
                case Fail():
                    self._schedule(action.error(), self._server.clock.now_ns())
                case Drop():
                    pass

    def _schedule(self, event: _Event, due_ns: int) -> None:
        self._last_due_ns = max(self._last_due_ns, due_ns)
        self._due.put_nowait((due_ns, next(self._order), event))
