"""The shell around one session: its stream, its timer, its way to the decoder and the engine.

All of it runs on the event loop. Two coroutines share a stream: one reads, and the RPC's own
handler does the rest, so that a fault anywhere ends this stream and no other. Decoder, engine and
timer only post events to it.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import Executor
from dataclasses import dataclass
from functools import partial
from typing import TypeAlias

import grpc

from service import frames, wire
from service.actions import Action, Decode, End, Recall, Send, Submit
from service.admission import Lease
from service.config import Config
from service.contract import FrameInput
from service.domain import Command, DrainingNotice, ExpiringNotice, Image, Outcome, Skip
from service.engine import Engine
from service.errors import IdleError, InvalidFieldError, NotOpenError, UndecodableError
from service.lane import Job
from service.observer import Observer
from service.preprocess import Picture
from service.session import Session
from service.stages import Pending
from steerstream.v1 import drive_service_pb2

Context: TypeAlias = grpc.aio.ServicerContext[
    drive_service_pb2.DriveRequest, drive_service_pb2.DriveResponse
]
Message: TypeAlias = Command | Skip | DrainingNotice | ExpiringNotice


@dataclass(frozen=True, slots=True)
class _Decoded:
    picture: Picture | UndecodableError
    took_ns: int


async def read(context: Context) -> drive_service_pb2.DriveRequest | None:
    """Return the client's next message; None where it has closed its side."""
    request: object = await context.read()
    return request if isinstance(request, drive_service_pb2.DriveRequest) else None


class DriveStream:
    """One open stream.

    Args:
        context: the RPC.
        lease: the admitted session.
        engine: where frames go.
        decoder: threads that decode.
        config: the server's settings.
        observer: is told of every answer.
    """

    def __init__(
        self,
        context: Context,
        lease: Lease,
        *,
        engine: Engine,
        decoder: Executor,
        config: Config,
        observer: Observer,
    ) -> None:
        self.lease = lease
        self._context = context
        self._engine = engine
        self._decoder = decoder
        self._config = config
        self._observer = observer
        self._loop = asyncio.get_running_loop()
        self._session = Session(lease.terms, time.monotonic_ns())
        self._input = lease.model.bundle.contract.frame
        # Bounded by the session: its timer, one decode and one step at a time.
        self._events: deque[Callable[[], list[Action]]] = deque()
        # Bounded by max_unsent_answers: the reader waits beyond it.
        self._outbox: deque[drive_service_pb2.DriveResponse] = deque()
        self._wake = asyncio.Event()
        self._room = asyncio.Event()
        self._half_closed = False
        self._error: BaseException | None = None
        self._job: Job | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._timer_ns = 0

    @property
    def session(self) -> Session:
        """The session's state, to be read only."""
        return self._session

    async def run(self) -> None:
        """Serve the stream until the client has all its answers and is done.

        Raises:
            StreamError: the stream ends with this error.
        """
        reader = asyncio.create_task(self._read())
        reader.add_done_callback(self._reading_ended)
        try:
            async with asyncio.timeout(None) as patience:
                await self._serve(patience)
        except TimeoutError:
            seconds = self._config.idle_timeout_s
            raise IdleError(f"no answer was taken for {seconds:g} s") from None
        finally:
            reader.cancel()

    def close(self) -> None:
        """Let go of timer and engine; a step that runs already ends in nothing."""
        if self._timer is not None:
            self._timer.cancel()
        if self._job is not None:
            self._job.claim()

    def send(self, message: Message) -> None:
        """Send an answer or a notice after those that wait."""
        self._outbox.append(wire.answer(self.lease.session_id, message))
        self._wake.set()

    def end(self, error: BaseException) -> None:
        """End the stream with an error after what waits is sent; the first error counts."""
        self._error = self._error or error
        self._wake.set()

    # Writing, and all that happens between reading and writing.

    async def _serve(self, patience: asyncio.Timeout) -> None:
        self._arm()
        while True:
            while self._events:
                self._perform(self._events.popleft()())
            await self._flush(patience)
            if self._error is not None:
                raise self._error
            if self._half_closed and not self._session.unanswered:
                return
            if not self._events and not self._outbox:
                self._wake.clear()
                await self._wake.wait()

    async def _flush(self, patience: asyncio.Timeout) -> None:
        while self._outbox:
            patience.reschedule(self._loop.time() + self._config.idle_timeout_s)
            await self._context.write(self._outbox.popleft())
        patience.reschedule(None)
        self._room.set()

    def _post(self, event: Callable[[], list[Action]]) -> None:
        self._events.append(event)
        self._wake.set()

    # Reading.

    async def _read(self) -> None:
        while (request := await read(self._context)) is not None:
            kind = request.WhichOneof("message")
            if kind == "frame":
                self._receive(request)
            elif kind == "reset":
                self._session.reset()
            elif kind == "open":
                raise NotOpenError("the session is open already; open is the first message only")
            else:
                raise InvalidFieldError("message is empty; send a frame or a reset")
            while self._unsent >= self._config.max_unsent_answers:
                self._room.clear()
                await self._room.wait()

    @property
    def _unsent(self) -> int:
        return len(self._outbox) + self._session.unanswered

    def _receive(self, request: drive_service_pb2.DriveRequest) -> None:
        frame = wire.frame(request.frame, time.monotonic_ns())
        self._perform(self._session.receive(frame, self.lease.model.lane.step_cost_ns))
        # Nothing but a frame brings the session's next wake nearer.
        self._arm()

    def _reading_ended(self, reader: asyncio.Task[None]) -> None:
        if reader.cancelled():
            return
        if error := reader.exception():
            self.end(error)
        self._half_closed = True
        self._wake.set()

    # Carrying out what the session decides.

    def _perform(self, actions: list[Action]) -> None:
        todo = deque(actions)
        while todo:
            todo.extend(self._carry_out(todo.popleft()))

    def _carry_out(self, action: Action) -> list[Action]:
        match action:
            case Send(message):
                self.send(message)
                self._tell(message)
            case Submit(pending):
                self._submit(pending)
            case Decode(pending):
                return self._decode(pending)
            case Recall(pending):
                if self._job is not None and self._job.claim():
                    return self._session.recalled(pending, time.monotonic_ns())
            case End(error):
                self.end(error)
        return []

    def _tell(self, message: Message) -> None:
        if isinstance(message, Command):
            self._observer.answered(self.lease.session_id, self.lease.terms.budget_ns, message)
        elif isinstance(message, Skip):
            self._observer.skipped(self.lease.session_id, message)

    def _decode(self, pending: Pending) -> list[Action]:
        image = pending.frame.image
        if frames.is_cheap(image):
            return self._decoded(pending, _decode(image, self._input, self._config.max_pixels))
        future = self._loop.run_in_executor(
            self._decoder, _decode, image, self._input, self._config.max_pixels
        )
        future.add_done_callback(partial(self._decoder_done, pending))
        return []

    def _decoder_done(self, pending: Pending, future: asyncio.Future[_Decoded]) -> None:
        if not future.cancelled():
            self._post(lambda: self._decoded(pending, future.result()))

    def _decoded(self, pending: Pending, decoded: _Decoded) -> list[Action]:
        if isinstance(decoded.picture, UndecodableError):
            now_ns = time.monotonic_ns()
            return self._session.undecodable(pending, str(decoded.picture), now_ns)
        return self._session.decoded(pending, decoded.picture, decoded.took_ns)

    def _submit(self, pending: Pending) -> None:
        self._job = Job(
            self.lease.model.lane,
            self.lease.slot,
            pending.pixels,
            reset=pending.reset,
            deadline_ns=pending.deadline_ns,
            reply=partial(self._replied, pending),
        )
        self._engine.submit(self._job)

    def _replied(self, pending: Pending, outcome: Outcome) -> None:
        self._post(lambda: self._session.finished(pending, outcome, time.monotonic_ns()))

    # Time.

    def _arm(self) -> None:
        """Set the timer unless one rings early enough; a ring too early only costs a look."""
        wake_ns = self._session.next_wake_ns
        if self._timer is not None:
            if self._timer_ns <= wake_ns:
                return
            self._timer.cancel()
        self._timer_ns = wake_ns
        self._timer = self._loop.call_at(wake_ns / 1e9, self._ring)

    def _ring(self) -> None:
        self._timer = None
        if time.monotonic_ns() >= self._session.next_wake_ns:
            self._post(self._tick)
        else:
            # Most often: it was set for a frame that has its answer already.
            self._arm()

    def _tick(self) -> list[Action]:
        actions = self._session.tick(time.monotonic_ns())
        self._arm()
        return actions


def _decode(image: Image | None, frame: FrameInput, max_pixels: int) -> _Decoded:
    began_ns = time.monotonic_ns()
    try:
        picture: Picture | UndecodableError = frames.to_input(image, frame, max_pixels)
    except UndecodableError as error:
        picture = error
    return _Decoded(picture, time.monotonic_ns() - began_ns)
