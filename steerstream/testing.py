"""A scripted server inside the process, for tests of programs that use this package.

No socket, no network, no thread::

    server = FakeServer([Reply(steering_wheel_angle_rad=0.1), Skip(SkipReason.LATE), Drop()])
    async with steerstream.connect("fake", transport=server.transport()) as client:
        async with client.open_session(vehicle_id="car") as session:
            command = await session.request(b"a picture")

With a :class:`VirtualClock` latencies pass at once, and times are exact::

    clock = VirtualClock()
    server = FakeServer(lambda frame: Reply(latency_ms=30), clock=clock)
    client = steerstream.connect("fake", transport=server.transport(), clock=clock.now_ns)
"""

from __future__ import annotations

import asyncio
import collections
import dataclasses
import itertools
import time
from collections.abc import Callable, Iterable, Iterator
from typing import Protocol

import grpc

from steerstream.answers import Draining, Expiring, Notice, SkipReason, TicketIssued, Validity
from steerstream.checksum import ALIVE_COUNTER_MODULUS, command_checksum
from steerstream.errors import ErrorReason
from steerstream.failures import RpcFailed
from steerstream.v1 import (
    command_pb2,
    drive_service_pb2,
    frame_pb2,
    model_pb2,
    session_pb2,
)

MAX_REMEMBERED = 1024
"""Requests that a fake server remembers for a test to look at."""


@dataclasses.dataclass(frozen=True, slots=True)
class Reply:
    """Answer the frame with a command.

    Attributes:
        steering_wheel_angle_rad: the angle, raw and limited; None leaves the head out.
        speed_mps: the speed, raw and limited.
        steering_torque_nm: the torque, raw and limited.
        validity: how far the command can be trusted.
        age_ms: its age beside the latency.
        latency_ms: time until it is sent; None for the server's own.
        is_damaged: whether its checksum is wrong.
        is_stuck: whether its alive counter repeats the one before.
    """

    steering_wheel_angle_rad: float | None = 0.0
    speed_mps: float | None = 10.0
    steering_torque_nm: float | None = 0.0
    validity: Validity = Validity.VALID
    age_ms: float = 0.0
    latency_ms: float | None = None
    is_damaged: bool = False
    is_stuck: bool = False


@dataclasses.dataclass(frozen=True, slots=True)
class Skip:
    """Answer the frame with a typed skip; ``latency_ms`` None is the server's own."""

    reason: SkipReason = SkipReason.LATE
    detail: str = "scripted"
    latency_ms: float | None = None


@dataclasses.dataclass(frozen=True, slots=True)
class Drop:
    """Never answer the frame."""


@dataclasses.dataclass(frozen=True, slots=True)
class Fail:
    """End the stream with an error, as a server that aborts or dies does."""

    code: grpc.StatusCode = grpc.StatusCode.UNAVAILABLE
    message: str = "the fake server died"
    reason: ErrorReason = ErrorReason.UNSPECIFIED
    retry_after_s: float | None = None

    def error(self) -> RpcFailed:
        """Return the error that a transport raises."""
        return RpcFailed(
            self.code, self.message, reason=self.reason, retry_after_s=self.retry_after_s
        )


Action = Reply | Skip | Drop | Fail | Notice
"""One thing that a fake server does about a frame."""

Script = Callable[[frame_pb2.Frame], Action | Iterable[Action]] | Iterable[Action]
"""What a fake server does: a function of the frame, or one action a frame, in order. A list that
is used up goes on with its last action; notices are sent along with the action after them."""


class FakeClock(Protocol):
    """Where a fake server takes its time from."""

    def now_ns(self) -> int:
        """Return a monotonic time in nanoseconds."""

    async def sleep_until(self, due_ns: int) -> None:
        """Return when it is time."""


class RealClock:
    """The machine's own clock; latencies are waited for."""

    def now_ns(self) -> int:
        """Return the machine's monotonic time in nanoseconds."""
        return time.monotonic_ns()

    async def sleep_until(self, due_ns: int) -> None:
        """Wait until the time has come."""
        await asyncio.sleep(max(0, due_ns - self.now_ns()) / 1e9)


class VirtualClock:
    """A clock that stands still unless it is advanced or somebody waits for it.

    Args:
        start_ns: its first time, in nanoseconds.
    """

    def __init__(self, start_ns: int = 1_000_000_000) -> None:
        self._now_ns = start_ns

    def now_ns(self) -> int:
        """Return the virtual time in nanoseconds."""
        return self._now_ns

    def advance(self, milliseconds: float) -> None:
        """Let time pass."""
        self._now_ns += round(milliseconds * 1e6)

    async def sleep_until(self, due_ns: int) -> None:
        """Jump to the time, if it has not come yet."""
        await asyncio.sleep(0)
        self._now_ns = max(self._now_ns, due_ns)


class FakeServer:
    """A server that follows a script.

    Args:
        script: what it does about each frame; by default it drives straight ahead.
        latency_ms: time from a frame to its answer, where an action states none.
        clock: where time comes from.
        models: names of the served models; the first is the default.
        refuse: the error with which it refuses every session; None opens them.
        idle_timeout_ms: what it says of its limits.

    Attributes:
        received: the last requests of all sessions, at most ``MAX_REMEMBERED``.
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
    ) -> None:
        self.received: collections.deque[drive_service_pb2.DriveRequest] = collections.deque(
            maxlen=MAX_REMEMBERED
        )
        self.latency_ms = latency_ms
        self.clock: FakeClock = clock or RealClock()
        self.models = models
        self.refuse = refuse
        self.limits = model_pb2.ServerLimits(
            max_message_bytes=4 << 20,
            max_pixels=4_000_000,
            max_waiting_frames=64,
            idle_timeout_ms=idle_timeout_ms,
            max_sessions=64,
            min_budget_ms=1.0,
            max_budget_ms=1000.0,
        )
        self._actions = _actions(script)
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
        )

    def actions(self, frame: frame_pb2.Frame) -> list[Action]:
        """Return what the script says of a frame."""
        return self._actions(frame)


class FakeTransport:
    """A connection to a fake server; it is passed to :func:`steerstream.connect`."""

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
        self._answers: _Answers | None = None
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
        self._answers = _Answers(opened.session_id)
        self._schedule(drive_service_pb2.DriveResponse(opened=opened), now_ns)

    def _play(self, frame: frame_pb2.Frame, answers: _Answers) -> None:
        for action in self._server.actions(frame):
            match action:
                case Reply() | Skip():
                    latency_ms = action.latency_ms
                    if latency_ms is None:
                        latency_ms = self._server.latency_ms
                    due_ns = self._server.clock.now_ns() + round(latency_ms * 1e6)
                    self._schedule(answers.answer(frame, action, latency_ms), due_ns)
                case Draining() | Expiring() | TicketIssued():
                    self._schedule(_notice(action), self._server.clock.now_ns())
                case Fail():
                    self._schedule(action.error(), self._server.clock.now_ns())
                case Drop():
                    pass

    def _schedule(self, event: _Event, due_ns: int) -> None:
        self._last_due_ns = max(self._last_due_ns, due_ns)
        self._due.put_nowait((due_ns, next(self._order), event))


class _Answers:
    """Makes the answers of one session: counters, epoch and checksum as a server's."""

    def __init__(self, session_id: str) -> None:
        self._session_id = session_id
        self._alive_counter = 0
        self._epoch = 0
        self._steps = 0

    def reset(self) -> None:
        self._epoch += 1
        self._steps = 0

    def answer(
        self, frame: frame_pb2.Frame, action: Reply | Skip, latency_ms: float
    ) -> drive_service_pb2.DriveResponse:
        if isinstance(action, Skip):
            self._count()
            return drive_service_pb2.DriveResponse(skipped=_skip(frame, action))
        if not action.is_stuck:
            self._count()
        self._steps += 1
        return drive_service_pb2.DriveResponse(command=self._command(frame, action, latency_ms))

    def _count(self) -> None:
        self._alive_counter = (self._alive_counter + 1) % ALIVE_COUNTER_MODULUS

    def _command(
        self, frame: frame_pb2.Frame, reply: Reply, latency_ms: float
    ) -> command_pb2.Command:
        values = command_pb2.ControlValues(
            steering_wheel_angle_rad=reply.steering_wheel_angle_rad,
            speed_mps=reply.speed_mps,
            steering_torque_nm=reply.steering_torque_nm,
        )
        total_us = round(latency_ms * 1e3)
        command = command_pb2.Command(
            sequence_number=frame.sequence_number,
            capture_time_ns=frame.capture_time_ns,
            raw=values,
            limited=values,
            validity=command_pb2.Validity.ValueType(reply.validity),
            age_ms=reply.age_ms + latency_ms,
            alive_counter=self._alive_counter,
            state_epoch=self._epoch,
            step_count=self._steps,
            timings=command_pb2.StageTimings(infer_us=total_us, total_us=total_us, batch_size=1),
        )
        command.checksum = command_checksum(self._session_id, command) ^ int(reply.is_damaged)
        return command


def _skip(frame: frame_pb2.Frame, skip: Skip) -> command_pb2.FrameSkipped:
    return command_pb2.FrameSkipped(
        sequence_number=frame.sequence_number,
        capture_time_ns=frame.capture_time_ns,
        reason=command_pb2.SkipReason.ValueType(skip.reason),
        detail=skip.detail,
    )


def _notice(notice: Notice) -> drive_service_pb2.DriveResponse:
    match notice:
        case Draining(ends_in_ms=left):
            message = session_pb2.Notice(draining=session_pb2.Draining(ends_in_ms=left))
        case Expiring(ends_in_ms=left):
            message = session_pb2.Notice(expiring=session_pb2.Expiring(ends_in_ms=left))
        case TicketIssued(ticket=ticket, sequence_number=number, valid_for_ms=valid_for_ms):
            sealed = session_pb2.Ticket(
                ticket=ticket, sequence_number=number, valid_for_ms=valid_for_ms
            )
            message = session_pb2.Notice(ticket=sealed)
    return drive_service_pb2.DriveResponse(notice=message)


def _actions(script: Script) -> Callable[[frame_pb2.Frame], list[Action]]:
    if not callable(script):
        return _from_list(iter(script))
    function = script

    def play(frame: frame_pb2.Frame) -> list[Action]:
        actions = function(frame)
        return list(actions) if isinstance(actions, Iterable) else [actions]

    return play


def _from_list(script: Iterator[Action]) -> Callable[[frame_pb2.Frame], list[Action]]:
    last: Action = Reply()

    def play(_frame: frame_pb2.Frame) -> list[Action]:
        nonlocal last
        actions: list[Action] = []
        for action in script:
            actions.append(action)
            if not isinstance(action, Draining | Expiring | TicketIssued):
                last = action
                return actions
        return [*actions, last]

    return play
