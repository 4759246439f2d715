"""One open stream: it connects a session with gRPC, the decoder, the engine and the clock.

All of it runs on the event loop. Two coroutines share a stream: one reads, and the RPC's handler
writes. Decoder and engine tell the session at once what became of a frame; timers post calls of the
session to the handler. A fault anywhere ends this stream and no other.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING, TypeAlias

import grpc

from steerstream.v1 import drive_service_pb2, frame_pb2
from steerstream_bundle import pictures
from steerstream_bundle.errors import UndecodableError
from steerstream_service.admission.admission import Lease
from steerstream_service.admission.rate_meter import RateMeter
from steerstream_service.config import Config
from steerstream_service.domain import (
    NEVER_NS,
    Command,
    FramePolicy,
    Notice,
    PaceNotice,
    Skip,
    SkipReason,
)
from steerstream_service.engine.decode_queue import DecodeQueue
from steerstream_service.engine.engine import Engine
from steerstream_service.engine.shadow import ShadowSession
from steerstream_service.errors import IdleError, InvalidFieldError, NotOpenError
from steerstream_service.session.frame_stages import (
    Action,
    Decode,
    FrameRecord,
    Issue,
    Recall,
    Send,
    Stage,
    Submit,
)
from steerstream_service.session.machine import Session
from steerstream_service.telemetry.observer import Observer
from steerstream_service.transport import wire
from steerstream_service.transport.deadline_timer import DeadlineTimer
from steerstream_service.transport.intake import Reader

if TYPE_CHECKING:
    from steerstream_service.transport.recording import SessionRecorder

Context: TypeAlias = grpc.aio.ServicerContext[bytes, drive_service_pb2.DriveResponse]
Message: TypeAlias = Command | Skip | Notice
SessionCall: TypeAlias = Callable[[int], list[Action]]
"""A method of the session, to be called with the present time; returns what the session wants."""
FrameCall: TypeAlias = Callable[[FrameRecord, int], list[Action]]
"""The same of a frame."""


_FAULTS_HZ = 100.0
"""Frames a second that may be refused for what they are. A flood of them would take the event
loop's time from other sessions; a camera that does everything wrong stays below."""
_FAULTS = frozenset(
    {
        SkipReason.DUPLICATE,
        SkipReason.OUT_OF_ORDER,
        SkipReason.UNDECODABLE,
        SkipReason.OVERLOADED,
        SkipReason.INVALID_FIELD,
        SkipReason.CAPTURE_TIME,
    }
)
"""Skips whose cause is the client."""
_GOODBYE_S = 1.0
"""For the last answers and the status of a stream whose place another session took."""
_HELD_UP_NS = 1_000_000_000
"""A client that takes no answer for so long holds its own frames up. A server that is late itself
writes an answer far sooner."""
_FIRST_FRAME_NS = 2_000_000_000
"""From its opening to its first frame a session keeps its place in any case."""
_FRAMES_A_TIMEOUT = 4
"""The slowest pace that is asked for, in frames in the time after which a session is idle."""
_RESETS_HZ = 10.0
"""Resets a second that are read without a pause."""
_RECORDED = frozenset({"frame", "reset"})


class _Flag:
    """Lets one coroutine wait: an `asyncio.Event` for several takes three times as long.

    Args:
        loop: where it waits.
    """

    __slots__ = ("_is_set", "_loop", "_waiter")

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._is_set = False
        self._waiter: asyncio.Future[None] | None = None

    def set(self) -> None:
        """Let who waits go on, and who will wait."""
        self._is_set = True
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    def clear(self) -> None:
        """Let who will wait wait."""
        self._is_set = False

    async def wait(self) -> None:
        """Return when it is set."""
        if not self._is_set:
            self._waiter = self._loop.create_future()
            try:
                await self._waiter
            finally:
                self._waiter = None


class DriveStream:
    """One open stream.

    Args:
        context: the RPC, to write to.
        reader: reads its messages.
        lease: the admitted session.
        engine: where frames go.
        decoder: where pictures are decoded that take a while.
        deadlines: the timer of all streams.
        config: the server's settings.
        observer: is told of every answer.
    """

    def __init__(
        self,
        context: Context,
        reader: Reader,
        lease: Lease,
        *,
        engine: Engine,
        decoder: DecodeQueue,
        deadlines: DeadlineTimer,
        config: Config,
        observer: Observer,
    ) -> None:
        self.lease = lease
        self.recorder: SessionRecorder | None = None
        """Records the session; set before the stream runs, None where it is not recorded."""
        self.shadow: ShadowSession | None = None
        """Steps the same frames with another network; set before the stream runs."""
        self._context = context
        self._reader = reader
        self._engine = engine
        self._decoder = decoder
        self._config = config
        self._observer = observer
        self._loop = asyncio.get_running_loop()
        self._thread = threading.get_ident()
        opened_ns = time.monotonic_ns()
        self._session = Session(lease.terms, opened_ns, lease.resumed)
        self.first_frame_due_ns = opened_ns + _FIRST_FRAME_NS
        """From then on another session may get its place; `NEVER_NS` after its first frame."""
        self._answerer = wire.Answerer(lease.session_id)
        self._queue = lease.model.queue
        self._input = lease.model.bundle.contract.frame
        self._warp = lease.warp
        # Bounded by the session's timers.
        self._calls: deque[SessionCall] = deque()
        self._faults = RateMeter(_FAULTS_HZ)
        self._resets = RateMeter(_RESETS_HZ)
        self._pause_ns = 0
        self._period_ms = 0.0
        # Bounded by max_unsent_answers: the reader waits beyond it.
        self._outbox: deque[drive_service_pb2.DriveResponse] = deque()
        self._wake = _Flag(self._loop)
        self._room = _Flag(self._loop)
        self._half_closed = False
        self._is_closed = False
        self._error: BaseException | None = None
        self._decoding: FrameRecord | None = None
        self._submitted: FrameRecord | None = None
        self._deadline = deadlines.deadline(self._check_deadline)
        self._half_budget_ns = lease.terms.budget_ns // 2
        self._patience: asyncio.Timeout | None = None
        self._patience_ns = round(config.idle_timeout_s * 1e9)
        self._writing_since_ns: int | None = None
        # Until what waited while the last answer was written is dealt with.
        self._held_up = False
        # Answers that the client has, and those that it said it has taken.
        self._answers_sent = 0
        self._answers_taken: int | None = None
        self._unread_since_ns: int | None = None
        self._idle_timer: asyncio.TimerHandle | None = None
        self._end_timers: list[asyncio.TimerHandle] = []

    @property
    def session(self) -> Session:
        """The session, which the stream alone tells what happens."""
        return self._session

    async def run(self, opened: drive_service_pb2.DriveResponse) -> None:
        """Serve the stream until the client has all its answers and is done.

        Args:
            opened: the first message, the answer to `open`.

        Raises:
            StreamError: the stream ends with this error.
        """
        if self.recorder is not None:
            self.recorder.sent(opened)
        self._outbox.appendleft(opened)
        reader = asyncio.create_task(self._read())
        reader.add_done_callback(self._reading_ended)
        try:
            async with asyncio.timeout(None) as self._patience:
                await self._serve()
        except TimeoutError:
            seconds = self._config.idle_timeout_s
            idle = IdleError(f"no answer was taken for {seconds:g} s")
            raise self._error or idle from None
        finally:
            reader.cancel()
            self._session.let_go_of_pictures()
            # Both keep the error that ended the task, and its traceback keeps this stream.
            self._patience = self._error = None

    def close(self) -> None:
        """Let go of timers and engine; the result of a step that already runs is dropped."""
        self._is_closed = True
        self._deadline.cancel()
        self.lease.give_turn_back(time.monotonic_ns())
        if self._idle_timer is not None:
            self._idle_timer.cancel()
        for timer in self._end_timers:
            timer.cancel()
        if self._decoding is not None:
            self._decoder.take_back(self._decoding)
        if self._submitted is not None and self._submitted.claim():
            self._forget(self._submitted)

    def send(self, message: Message) -> None:
        """Send an answer or a notice after those that wait."""
        response = self._answerer.answer(message)
        if self.recorder is not None:
            self.recorder.sent(response)
        self._outbox.append(response)
        self._wake.set()

    def set_pace(self, share: float, phase: float) -> None:
        """Ask the vehicle to send less often, or as it stated again; EVERY sessions are not asked.

        Args:
            share: of its stated rate.
            phase: from 0 to 1, another one for each session, so that not all send at once.
        """
        if self.lease.terms.policy is FramePolicy.EVERY:
            return
        period_ms = 0.0 if share >= 1.0 else 1e3 / (share * self.lease.demand.rate_hz)
        # A vehicle that keeps its pace must not end as one that sends no frames.
        period_ms = min(period_ms, 1e3 * self._config.idle_timeout_s / _FRAMES_A_TIMEOUT)
        if period_ms != self._period_ms:
            first_in_ms = 0.0 if self._period_ms else phase * period_ms
            self._period_ms = period_ms
            self.send(PaceNotice(period_ms, first_in_ms))

    def end(self, error: BaseException) -> None:
        """End the stream with an error after what waits is sent; the first error counts."""
        self._error = self._error or error
        self._wake.set()

    def end_in(self, seconds: float, error: BaseException) -> None:
        """End the stream with an error after a while, if it has not ended by then."""
        self._end_timers.append(self._loop.call_later(seconds, self.end, error))

    def displace(self, error: BaseException) -> None:
        """End the stream with an error, and soon, for another session has its place.

        Its client may have lost the network, and then takes nothing any more.
        """
        self.end(error)
        if self._patience is not None and not self._patience.expired():
            self._patience.reschedule(self._loop.time() + _GOODBYE_S)

    # Writing, and calling the session.

    async def _serve(self) -> None:
        self._check_idle()
        # By themselves, and not with the first answer: where that cannot be written, the status
        # must not bring the headers a second time, which gRPC refuses.
        self._writing_since_ns = time.monotonic_ns()
        await self._context.send_initial_metadata(())
        while True:
            while self._calls:
                self._perform(self._calls.popleft()(time.monotonic_ns()))
            self._held_up = False
            await self._flush()
            if self._error is not None:
                raise self._error
            if self._half_closed and not self._session.unanswered:
                return
            if not self._calls and not self._outbox:
                self._wake.clear()
                await self._wake.wait()

    async def _flush(self) -> None:
        while self._outbox:
            began_ns = self._writing_since_ns = time.monotonic_ns()
            await self._context.write(self._outbox.popleft())
            self._held_up |= time.monotonic_ns() - began_ns > _HELD_UP_NS
        self._writing_since_ns = None
        self._room.set()

    def _tell(self, what: FrameCall, record: FrameRecord) -> None:
        """Tell the session what became of a frame, and do what follows from it.

        By way of the handler it would take one turn of the event loop, and its task, more.
        """
        if self._is_closed:
            return
        try:
            self._perform(what(record, time.monotonic_ns()))
        except Exception as error:  # noqa: BLE001 - four of four: others of its batch follow
            self.end(error)

    def _post(self, call: SessionCall) -> None:
        self._calls.append(call)
        self._wake.set()

    # Reading.

    async def _read(self) -> None:
        while (request := await self._reader.read()) is not None:
            self._engine.heard()
            self._handle(request, time.monotonic_ns())
            # It may hold megabytes, and the next one may be long in coming.
            del request
            if self._pause_ns:
                # HTTP/2's flow control slows this client down; no other session pays for it.
                pause_ns, self._pause_ns = self._pause_ns, 0
                await asyncio.sleep(pause_ns / 1e9)
            while self._unsent >= self._config.max_unsent_answers:
                self._room.clear()
                await self._room.wait()

    def _handle(self, request: drive_service_pb2.DriveRequest, now_ns: int) -> None:
        kind = request.WhichOneof("message")
        if self.recorder is not None and kind in _RECORDED:
            self.recorder.received(request)
        if kind == "frame":
            self._receive(request.frame, now_ns)
        elif kind == "reset":
            self._session.reset(wire.resets(request.reset))
            self.lease.rate_meter.count_reset()
            self._pause(self._resets.take(now_ns))
        elif kind == "open":
            raise NotOpenError("the session is open already; open is the first message only")
        else:
            raise InvalidFieldError("message is empty; send a frame or a reset")

    def _pause(self, pause_ns: int) -> None:
        """Have the reader pause before the next message, for this long at least."""
        self._pause_ns = max(self._pause_ns, pause_ns)

    @property
    def _unsent(self) -> int:
        return len(self._outbox) + self._session.unanswered

    def _is_unread(self, frame: frame_pb2.Frame, now_ns: int) -> bool:
        """Whether the client leaves too many answers unread, as far as its frames tell.

        gRPC takes thousands of answers for a client that does not read them, so that the outbox
        says nothing about it.
        """
        if not frame.HasField("answers_taken"):
            return False
        taken = min(frame.answers_taken, self._answers_sent)
        goes_on = self._answers_taken is None or taken > self._answers_taken
        self._answers_taken = max(taken, self._answers_taken or 0)
        if self._answers_sent - self._answers_taken < self._config.max_unsent_answers:
            self._unread_since_ns = None
            return False
        if goes_on or self._unread_since_ns is None:
            self._unread_since_ns = now_ns
        return True

    def _receive(self, frame: frame_pb2.Frame, now_ns: int) -> None:
        self.first_frame_due_ns = NEVER_NS
        record = wire.frame(frame, now_ns)
        self._observer.received(self.lease.session_id, record)
        taken = self.lease.take(record)
        actions = self._session.receive(
            record,
            self._queue.step_cost_ns,
            refusal=taken.refusal,
            pause_ns=taken.pause_ns,
            is_unread=self._is_unread(frame, now_ns),
        )
        if not taken.is_granted:
            self._reader.take_grant_back()
        elif record.image is not None:
            self._reader.grant(record.image.size_bytes)
        self._perform(actions)
        self._deadline.set(now_ns + self._half_budget_ns)
        if record.is_faulty:
            self.lease.give_turn_back(now_ns)
        self._pause(taken.rate_pause_ns if record.is_faulty else taken.pause_ns)

    def _reading_ended(self, reader: asyncio.Task[None]) -> None:
        if reader.cancelled():
            return
        if error := reader.exception():
            self.end(error)
        self._half_closed = True
        self._wake.set()

    # Carrying out what the session decides.

    def _perform(self, actions: list[Action]) -> None:
        # The list grows while it is worked through: what follows from an action comes last.
        for action in actions:
            if isinstance(action, Send):
                self._send(action.message)
            elif isinstance(action, Submit):
                self._submit(action.record)
            elif isinstance(action, Decode):
                actions += self._decode(action.record)
            elif isinstance(action, Issue):
                self.send(self.lease.ticket(action.state))
            elif isinstance(action, Recall):
                actions += self._recall(action.record)
            else:
                self.end(action.error)

    def _send(self, message: Message) -> None:
        self.send(message)
        if isinstance(message, Command):
            self._answers_sent += 1
            self.lease.rate_meter.count_command()
            self._observer.answered(self.lease.session_id, self.lease.terms.budget_ns, message)
        elif isinstance(message, Skip):
            self._answers_sent += 1
            if message.reason is SkipReason.LATE:
                self.lease.rate_meter.count_late(
                    was_decoded=message.was_decoded, held_up=self._is_held_up
                )
            elif message.is_overdue and not self._is_held_up:
                self.lease.rate_meter.count_overdue()
            elif message.reason in _FAULTS:
                self._pause(self._faults.take(time.monotonic_ns()))
            self._observer.skipped(self.lease.session_id, message)

    @property
    def _is_held_up(self) -> bool:
        """Whether frames wait for their own session, and not for the server.

        For the client to take an answer, or for others that came with them, though within the rate.
        """
        now_ns = time.monotonic_ns()
        is_writing = now_ns - (self._writing_since_ns or now_ns) > _HELD_UP_NS
        return self._held_up or is_writing or self.lease.rate_meter.is_ahead(now_ns)

    def _decode(self, record: FrameRecord) -> list[Action]:
        view_of = None if record.view_applied is None else self._input
        if pictures.is_cheap(record.image, view_of):
            self._make_pixels(record)
            self._count_decoded(record)
            return self._session.decoded(record, time.monotonic_ns())
        self._decoding = record
        self._decoder.put(record, self._make_pixels, self._decoder_done, self._given_up)
        return []

    def _make_pixels(self, record: FrameRecord) -> None:
        """Turn a record's picture into pixels, or into the reason why not; on any thread."""
        began_ns, began_cpu_ns = time.monotonic_ns(), time.thread_time_ns()
        try:
            record.pixels = pictures.to_input(
                record.image,
                self._input,
                self._config.max_pixels,
                applied=record.view_applied,
                warp=self._warp,
                shape=self.lease.shape,
            )
        except UndecodableError as error:
            record.undecodable = error
        record.decode_ns = time.monotonic_ns() - began_ns
        record.decode_cpu_ns = time.thread_time_ns() - began_cpu_ns
        record.is_decoded_beside = threading.get_ident() != self._thread

    def _decoder_done(self, record: FrameRecord, error: BaseException | None) -> None:
        """Go on with the frame; a fault of the decoder ends the stream."""
        self._count_decoded(record)
        if error is not None:
            self.end(error)
        else:
            self._tell(self._session.decoded, record)

    def _count_decoded(self, record: FrameRecord) -> None:
        self.lease.pictures.decoded(
            record.decode_cpu_ns, record.decode_estimate_ns, beside=record.is_decoded_beside
        )
        if record.undecodable is not None:
            if record.decode_cpu_ns < record.decode_forecast_ns:
                self.lease.give_turn_back(time.monotonic_ns())
        elif record.image is not None:  # None where the frame was answered in the meantime.
            self.lease.shape.used(*pictures.own_size(record.image, record.view_applied))

    def _given_up(self, record: FrameRecord) -> None:
        self.lease.give_turn_back(time.monotonic_ns())
        self._tell(self._session.given_up, record)

    def _submit(self, record: FrameRecord) -> None:
        if not self._queue.pool.holds(self.lease.slot):
            # Another session took this one's place, and may have its row of the pool.
            return
        record.slot = self.lease.slot
        record.reply = self._replied
        self._submitted = record
        if self.shadow is not None:
            self.shadow.submitted(record)
        self._engine.submit(self._queue, record)

    def _forget(self, record: FrameRecord) -> None:
        """Let a frame and its stream no longer keep each other."""
        self._submitted = None
        record.reply = _dropped

    def _replied(self, record: FrameRecord) -> None:
        self._forget(record)
        if self.shadow is not None:
            self.shadow.replied(record)
        self._tell(self._session.finished, record)

    def _recall(self, record: FrameRecord) -> list[Action]:
        # Where the decoder or the engine has begun before, they give the frame back.
        is_submitted = record.stage is Stage.SUBMITTED
        is_back = record.claim() if is_submitted else self._decoder.take_back(record)
        if not is_back:
            return []
        now_ns = time.monotonic_ns()
        if is_submitted:
            self._forget(record)
        else:
            self.lease.give_turn_back(now_ns)
        return self._session.recalled(record, now_ns)

    # Time.

    def _check_deadline(self, now_ns: int) -> int:
        """Give up frames that can no longer be in time; returns when to check again."""
        if not self._session.unanswered:
            return NEVER_NS
        give_up_ns = self._session.give_up_ns
        if now_ns < give_up_ns:
            return give_up_ns
        self._post(self._tick)
        return NEVER_NS

    def _check_idle(self) -> None:
        """Check that the client still sends frames and takes answers.

        Both get later with every frame and answer, so that one timer in seconds is enough.
        """
        now_ns = time.monotonic_ns()
        waiting_since_ns = min(self._writing_since_ns or now_ns, self._unread_since_ns or now_ns)
        next_ns = waiting_since_ns + self._patience_ns
        if next_ns <= now_ns:
            if self._patience is not None:
                self._patience.reschedule(self._loop.time())
            return
        if now_ns < self._session.idle_check_ns:
            next_ns = min(next_ns, self._session.idle_check_ns)
        else:
            self._post(self._tick)
        self._set_idle_timer(next_ns)

    def _tick(self, now_ns: int) -> list[Action]:
        actions = self._session.tick(now_ns)
        self._deadline.set(self._session.give_up_ns)
        self._set_idle_timer(self._session.idle_check_ns)
        return actions

    def _set_idle_timer(self, when_ns: int) -> None:
        if self._idle_timer is not None:
            self._idle_timer.cancel()
        self._idle_timer = self._loop.call_at(when_ns / 1e9, self._check_idle)


def _dropped(record: FrameRecord) -> None:
    """The reply to a frame that no stream waits for."""
