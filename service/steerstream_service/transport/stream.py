"""The shell around one session: its stream, its timer, its way to the decoder and the engine.

All of it runs on the event loop. Two coroutines share a stream: one reads, and the RPC's own
handler does the rest, so that a fault anywhere ends this stream and no other. Decoder, engine and
timers only post events to it.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable, Mapping
from concurrent.futures import Executor, Future
from functools import partial
from typing import Any, NamedTuple, TypeAlias

import grpc

from steerstream.v1 import drive_service_pb2
from steerstream_bundle import pictures
from steerstream_bundle.contract import FrameInput
from steerstream_bundle.errors import UndecodableError
from steerstream_bundle.pictures import Image
from steerstream_bundle.preprocess import Picture
from steerstream_service.admission.admission import Lease
from steerstream_service.config import Config
from steerstream_service.domain import NEVER_NS, Command, Notice, Outcome, Skip, SkipReason
from steerstream_service.engine.engine import Engine
from steerstream_service.engine.model_queue import Job
from steerstream_service.errors import IdleError, InvalidFieldError, NotOpenError
from steerstream_service.session.actions import Action, Decode, End, Recall, Send, Submit
from steerstream_service.session.frame_stages import Pending
from steerstream_service.session.machine import Session
from steerstream_service.telemetry.observer import Observer
from steerstream_service.transport import wire
from steerstream_service.transport.deadline_timer import Alarm

Context: TypeAlias = grpc.aio.ServicerContext[
    drive_service_pb2.DriveRequest, drive_service_pb2.DriveResponse
]
Message: TypeAlias = Command | Skip | Notice


class _Decoded(NamedTuple):
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
        decoder: where pictures are decoded that take a while.
        alarm: where deadlines are watched.
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
        alarm: Alarm,
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
        self._answerer = wire.Answerer(lease.session_id)
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
        self._watch = alarm.watch(self._look)
        self._half_budget_ns = lease.terms.budget_ns // 2
        self._patience = asyncio.timeout(None)
        self._patience_ns = round(config.idle_timeout_s * 1e9)
        self._writing_since_ns: int | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._carry_out: Mapping[type[Action], Callable[[Any], list[Action] | None]] = {
            Send: self._send,
            Submit: self._submit,
            Decode: self._decode,
            Recall: self._recall,
            End: self._end,
        }

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
            async with self._patience:
                await self._serve()
        except TimeoutError:
            seconds = self._config.idle_timeout_s
            raise IdleError(f"no answer was taken for {seconds:g} s") from None
        finally:
            reader.cancel()

    def close(self) -> None:
        """Let go of timers and engine; a step that runs already ends in nothing."""
        self._watch.stop()
        if self._timer is not None:
            self._timer.cancel()
        if self._job is not None:
            self._job.claim()

    def send(self, message: Message) -> None:
        """Send an answer or a notice after those that wait."""
        self._outbox.append(self._answerer.answer(message))
        self._wake.set()

    def end(self, error: BaseException) -> None:
        """End the stream with an error after what waits is sent; the first error counts."""
        self._error = self._error or error
        self._wake.set()

    # Writing, and all that happens between reading and writing.

    async def _serve(self) -> None:
        self._check()
        while True:
            while self._events:
                self._perform(self._events.popleft()())
            await self._flush()
            if self._error is not None:
                raise self._error
            if self._half_closed and not self._session.unanswered:
                return
            if not self._events and not self._outbox:
                self._wake.clear()
                await self._wake.wait()

    async def _flush(self) -> None:
        while self._outbox:
            self._writing_since_ns = time.monotonic_ns()
            await self._context.write(self._outbox.popleft())
        self._writing_since_ns = None
        self._room.set()

    def _post(self, event: Callable[[], list[Action]]) -> None:
        self._events.append(event)
        self._wake.set()

    # Reading.

    async def _read(self) -> None:
        while (request := await read(self._context)) is not None:
            kind = request.WhichOneof("message")
            if kind == "frame":
                pause_ns = self._receive(request)
                if pause_ns:
                    # The client feels it by the flow control of HTTP/2, and costs nobody more.
                    await asyncio.sleep(pause_ns / 1e9)
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

    def _receive(self, request: drive_service_pb2.DriveRequest) -> int:
        """Take a frame; returns for how long no other shall be read, in nanoseconds."""
        now_ns = time.monotonic_ns()
        frame = wire.frame(request.frame, now_ns)
        pause_ns = self.lease.pause_ns(now_ns)
        step_cost_ns = self.lease.model.lane.step_cost_ns
        self._perform(self._session.receive(frame, step_cost_ns, is_surplus=pause_ns > 0))
        self._watch.by(now_ns + self._half_budget_ns)
        return pause_ns

    def _reading_ended(self, reader: asyncio.Task[None]) -> None:
        if reader.cancelled():
            return
        if error := reader.exception():
            self.end(error)
        self._half_closed = True
        self._wake.set()

    # Carrying out what the session decides.

    def _perform(self, actions: list[Action]) -> None:
        for action in actions:
            # What follows from an action comes after those that were decided with it.
            actions += self._carry_out[type(action)](action) or ()

    def _send(self, action: Send) -> None:
        message = action.message
        if type(message) is Skip and message.reason is SkipReason.LATE:
            self.lease.pace.late()
        self.send(message)
        if isinstance(message, Command):
            self._observer.answered(self.lease.session_id, self.lease.terms.budget_ns, message)
        elif isinstance(message, Skip):
            self._observer.skipped(self.lease.session_id, message)

    def _end(self, action: End) -> None:
        self.end(action.error)

    def _recall(self, action: Recall) -> list[Action] | None:
        if self._job is not None and self._job.claim():
            return self._session.recalled(action.pending, time.monotonic_ns())
        return None

    def _decode(self, action: Decode) -> list[Action] | None:
        image = action.pending.frame.image
        if pictures.is_cheap(image):
            decoded = _decode(image, self._input, self._config.max_pixels)
            return self._decoded(action.pending, decoded)
        future = self._decoder.submit(_decode, image, self._input, self._config.max_pixels)
        future.add_done_callback(partial(self._decoder_done, action.pending))
        return None

    def _decoder_done(self, pending: Pending, future: Future[_Decoded]) -> None:
        """Where it was decoded; what went wrong there is raised on the event loop's thread."""
        if not future.cancelled():
            self._loop.call_soon_threadsafe(
                self._post, lambda: self._decoded(pending, future.result())
            )

    def _decoded(self, pending: Pending, decoded: _Decoded) -> list[Action]:
        if isinstance(decoded.picture, UndecodableError):
            now_ns = time.monotonic_ns()
            return self._session.undecodable(pending, str(decoded.picture), now_ns)
        return self._session.decoded(pending, decoded.picture, decoded.took_ns)

    def _submit(self, action: Submit) -> None:
        pending = action.pending
        self._job = Job(
            self.lease.model.lane,
            self.lease.slot,
            pending.pixels,
            reset=pending.reset,
            interval_s=pending.interval_s,
            deadline_ns=pending.deadline_ns,
            reply=partial(self._replied, pending),
        )
        self._engine.submit(self._job)

    def _replied(self, pending: Pending, outcome: Outcome) -> None:
        self._post(lambda: self._session.finished(pending, outcome, time.monotonic_ns()))

    # Time.

    def _look(self, now_ns: int) -> int:
        """Give up frames that can no longer be in time; returns when to look again."""
        give_up_ns = self._session.give_up_ns
        if now_ns < give_up_ns:
            return give_up_ns
        self._post(self._tick)
        return NEVER_NS

    def _check(self) -> None:
        """See whether the client still sends frames and takes answers.

        Both get later with every frame and answer, so that one timer in seconds is enough.
        """
        now_ns = time.monotonic_ns()
        next_ns = (self._writing_since_ns or now_ns) + self._patience_ns
        if next_ns <= now_ns:
            self._patience.reschedule(self._loop.time())
            return
        if now_ns < self._session.silence_ns:
            next_ns = min(next_ns, self._session.silence_ns)
        else:
            self._post(self._tick)
        self._set_timer(next_ns)

    def _tick(self) -> list[Action]:
        actions = self._session.tick(time.monotonic_ns())
        self._watch.by(self._session.give_up_ns)
        self._set_timer(self._session.silence_ns)
        return actions

    def _set_timer(self, when_ns: int) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = self._loop.call_at(when_ns / 1e9, self._check)


def _decode(image: Image | None, frame: FrameInput, max_pixels: int) -> _Decoded:
    began_ns = time.monotonic_ns()
    try:
        picture: Picture | UndecodableError = pictures.to_input(image, frame, max_pixels)
    except UndecodableError as error:
        picture = error
    return _Decoded(picture, time.monotonic_ns() - began_ns)
