"""One open session: frames out, answers in."""

from __future__ import annotations

import abc
import asyncio
import contextlib
import logging
import time
from collections.abc import Callable
from types import TracebackType
from typing import Self, TypedDict, Unpack

from steerstream import wire
from steerstream.acting_delay import MAX_ACT_IN_MS, ActingDelay, DelayMeter, age_ns
from steerstream.answers import (
    Answer,
    Command,
    Draining,
    FrameAnswer,
    Pace,
    Shedding,
    TicketIssued,
    Validity,
)
from steerstream.arguments import finite_number, instance, whole_number
from steerstream.bounds import Bounds
from steerstream.errors import (
    AnswerTimeout,
    ProtocolError,
    SessionClosed,
    SessionEnded,
    SessionLost,
    SessionProtocolError,
    SessionTakenOver,
)
from steerstream.failures import RpcFailed, session_error, without_advice
from steerstream.frame_pace import FramePace
from steerstream.guard import Guard, SafeCommand
from steerstream.images import Choices, Encoding, Image, ViewUse, encode_frame
from steerstream.inbox import Inbox
from steerstream.ledger import InFlight, Ledger
from steerstream.models import FramePolicy, SessionInfo
from steerstream.observer import IGNORED, SessionObserver
from steerstream.silence import Silence
from steerstream.transport import Stream
from steerstream.v1 import drive_service_pb2, frame_pb2, session_pb2

Clock = Callable[[], int]
"""Returns a monotonic time in nanoseconds."""

MAX_IN_FLIGHT = 64
"""Frames that may wait for their answers: 3 s at 20 Hz, far beyond any budget. More would only
queue up in a network that stalls."""

MAX_UNREAD = 256
"""Answers that may wait to be read: 13 s at 20 Hz, a few hundred kB."""

CLOSE_TIMEOUT_S = 2.0
"""How long a clean close waits for the answers under way."""

SILENCE_S = 5.0
"""A session is lost where its server answers nothing for so much longer than a request waits: after
6 s under LATEST with a budget of 50 ms, long after its guard told the vehicle to release, and after
15 s under EVERY, as gRPC gives up a dead network."""

LONGEST_ANSWER_MS = 60_000
"""No request under EVERY waits for longer than this, or its budget, whatever the server says."""

IDLE_TIMEOUT_MS = 10_000
"""A server's by default, and what one is held to that states none."""

MAX_RESETS = 1024
"""In a row, that one message stands for."""

MAX_VEHICLE_SPEED_MPS = 150.0
"""Either way, 540 km/h: the server takes no measured speed beyond it."""

_log = logging.getLogger(__name__)


class FrameOptions(TypedDict, total=False):
    """Options of a frame beside its picture.

    Attributes:
        sequence_number: greater than that of every frame before; by default one more.
        capture_time_ns: when the picture was taken, in nanoseconds of the vehicle's monotonic
            clock; by default now. It goes up from frame to frame, as fast as the client's own
            clock where the session is live.
        vehicle_speed_mps: the vehicle's own measured speed, negative backwards.
        act_in_ms: milliseconds from the picture's capture until its command acts, from 0 to 10,000;
            by default what the session measures or was told (`ActingDelay`).
        encoding: how pixels are sent; by default AUTO.
        jpeg_quality: 1 to 100, where pixels are sent as JPEG; by default what the server's view
            states, and 90 for a whole picture.
        view: which pictures are cropped and scaled as the server asks; by default PIXELS.
    """

    sequence_number: int | None
    capture_time_ns: int | None
    vehicle_speed_mps: float | None
    act_in_ms: float | None
    encoding: Encoding
    jpeg_quality: int
    view: ViewUse


class VehicleSession(abc.ABC):
    """What a session is to a vehicle, at one server (`Session`) or several (`DriveSession`).

    It is an asynchronous context manager, and an asynchronous iterator of answers.

    Args:
        guard: judges every answer before the vehicle follows it; an attribute too.
        live: whether capture times must run as the clock does.
        drop_oldest: whether unread answers beyond a bound are dropped; otherwise they wait.
        clock: the client's monotonic clock, in nanoseconds.
        observer: is told what happens.
        acting: what the vehicle knows of the time until a command acts; None for nothing.
        first_number: the first frame's number, after those that a ticket's state has seen.
    """

    info: SessionInfo
    """What the server granted."""

    def __init__(
        self,
        *,
        guard: Guard,
        live: bool,
        drop_oldest: bool,
        clock: Clock,
        observer: SessionObserver,
        acting: ActingDelay | None = None,
        first_number: int = 0,
    ) -> None:
        self.guard = guard
        self._observer = observer
        self._delay = DelayMeter(acting or ActingDelay(), live=live)
        self._clock = clock
        self._inbox = Inbox(MAX_UNREAD, drop_oldest=drop_oldest)
        self._ledger = Ledger(live=live, first_number=first_number)
        self._sending = asyncio.Lock()
        self._settled = asyncio.Event()
        self._is_finished = self._is_closed = False

    async def __aenter__(self) -> Self:
        return self

    def __aiter__(self) -> Self:
        return self

    @abc.abstractmethod
    async def __anext__(self) -> Answer:
        """Return the next command, skip or notice."""

    async def send_frame(self, image: Image, **options: Unpack[FrameOptions]) -> int:
        """Send a frame; the iterator yields its answer.

        Waits while `MAX_IN_FLIGHT` frames have no answer; under EVERY while as many have none as
        may wait in the server. A server that answers none of them for `max_silence_s` has lost the
        session. Under EVERY another task must read the answers: where nobody does, the server is
        slowed down.

        Args:
            image: a JPEG file, pixels [height, width, 3], uint8, RGB, or raw video (`Nv12`).
            **options: see `FrameOptions`.

        Returns:
            The frame's sequence number.

        Raises:
            BadRequest: an argument is wrong; nothing was sent.
            SessionEnded: the session is over; SessionLost, ServerDraining or SessionClosed.
        """
        return await self._send_frame(image, None, options)

    async def request(
        self, image: Image, *, timeout_s: float | None = None, **options: Unpack[FrameOptions]
    ) -> FrameAnswer:
        """Send a frame and wait for its answer, which the iterator then does not yield.

        Args:
            image: a JPEG file, pixels [height, width, 3], uint8, RGB, or raw video (`Nv12`).
            timeout_s: how long to wait for room to send and for the answer, in seconds. By default,
                under LATEST, the granted budget and then as long as the guard holds a command:
                1.05 s for 50 ms. Under EVERY, which keeps no real time, the server's idle timeout.
            **options: see `FrameOptions`.

        Raises:
            AnswerTimeout: no answer came in time; the session is alive.
            BadRequest: an argument is wrong; nothing was sent.
            SessionEnded: the session is over; SessionLost, ServerDraining or SessionClosed.
        """
        if timeout_s is None:
            timeout_s = default_timeout_s(self.info, self.guard.bounds)
        finite_number("timeout_s", timeout_s, low=0.0)
        waiter: asyncio.Future[FrameAnswer] = asyncio.get_running_loop().create_future()
        try:
            async with asyncio.timeout(timeout_s):
                await self._send_frame(image, waiter, options)
                return await waiter
        except TimeoutError:
            raise AnswerTimeout(
                f"a frame had no answer within {timeout_s:g} s; hold, and go on"
            ) from None

    @abc.abstractmethod
    async def reset(self) -> None:
        """Set the recurrent state back to its initial value, between the frames around it.

        Raises:
            SessionEnded: the session is over; SessionLost, ServerDraining or SessionClosed.
        """

    @abc.abstractmethod
    async def finish(self) -> None:
        """Say that no more frames follow; the iterator ends after the last answer."""

    @abc.abstractmethod
    async def aclose(self) -> None:
        """Send no more frames, wait shortly for the answers under way, and end the session.

        Calls that wait raise SessionClosed at once; the iterator yields those answers and ends.
        Calling it again does nothing.
        """

    @abc.abstractmethod
    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """End the session, and wait for nothing where an error ended the block."""

    @property
    @abc.abstractmethod
    def sent_bytes(self) -> int:
        """Bytes of all frames that were sent, those that were played again included."""

    def safe_command(self) -> SafeCommand:
        """Return what the vehicle may do now, by the guard; RELEASE once it closes the session."""
        safe = self._guarded()
        self._observer.told(safe)
        return safe

    def _guarded(self) -> SafeCommand:
        if self._is_closed:
            return self.guard.release_closed()
        return self.guard.safe_command(self._clock())

    @property
    @abc.abstractmethod
    def welcome_in_s(self) -> float:
        """Seconds until the next frame is welcome to a full server; 0 where it asks for no pace."""

    @property
    def frames_in_flight(self) -> int:
        """Frames without an answer yet."""
        return len(self._ledger)

    @property
    def dropped_answers(self) -> int:
        """Answers that were dropped because nobody read them; only under LATEST."""
        return self._inbox.dropped

    @property
    def act_in_ms(self) -> float | None:
        """What the next frame says of when its command acts, unless its sender says it.

        None where nothing is said: the network does not take it, or the session is not live and
        was not told.
        """
        return self._delay.stated_ms(None, self.info.model.max_act_in_ms)

    def _state_delay(self, message: frame_pb2.Frame, options: FrameOptions) -> None:
        """Say in a frame when its command acts."""
        stated_ms = self._delay.stated_ms(options.get("act_in_ms"), self.info.model.max_act_in_ms)
        if stated_ms is not None:
            message.act_in_ms = stated_ms

    def _note_sent(self, message: frame_pb2.Frame, now_ns: int) -> None:
        """Tell guard and observer of a frame that is about to be sent, and when it is due."""
        stated_ms = message.act_in_ms if message.HasField("act_in_ms") else None
        capture_ns = message.capture_time_ns
        self.guard.frame_sent(
            message.sequence_number,
            capture_ns,
            now_ns,
            due_in_ms=self._delay.to_apply_ms(
                stated_ms, age_ns(capture_ns, now_ns), self.info.model.max_act_in_ms
            ),
        )
        self._observer.frame_sent(message)

    def _measure(self, answer: FrameAnswer, frame: InFlight) -> None:
        """Measure the delay of a fresh command."""
        if isinstance(answer, Command) and answer.is_fresh:
            self._delay.answered(
                capture_time_ns=frame.capture_time_ns,
                sent_ns=frame.sent_ns,
                received_ns=answer.received_ns,
                max_ms=self.info.model.max_act_in_ms,
            )

    @abc.abstractmethod
    async def _send_frame(
        self, image: Image, waiter: asyncio.Future[FrameAnswer] | None, options: FrameOptions
    ) -> int:
        """Number a frame and send it; the waiter takes its answer, or else the iterator does."""


class Session(VehicleSession):
    """One vehicle's stream; `Client.open_session` makes it.

    It is an asynchronous context manager, and an asynchronous iterator of answers that ends when
    the stream does. One background task reads the stream and ends with the session.

    Every method that sends raises a `SessionEnded` once the session is over, and so does
    the iterator where it ended with an error.

    Args:
        stream: of the server, which has opened the session on it.
        info: what the server granted.
        guard: judges every answer before the vehicle follows it.
        live: whether capture times must run as the clock does.
        clock: the client's monotonic clock, in nanoseconds.
        observer: is told what happens.
        acting: what the vehicle knows of the time until a command acts; None for nothing.
        ticket: that it was opened with; its frames are numbered from the one after the last that
            the ticket's state has seen.
        is_leg: whether a drive session goes on elsewhere where this one ends, and tells of it.

    `info` and `guard` are attributes too.
    """

    def __init__(
        self,
        stream: Stream,
        info: SessionInfo,
        *,
        guard: Guard,
        live: bool = True,
        clock: Clock = time.monotonic_ns,
        observer: SessionObserver = IGNORED,
        acting: ActingDelay | None = None,
        ticket: TicketIssued | None = None,
        is_leg: bool = False,
    ) -> None:
        super().__init__(
            guard=guard,
            live=live,
            drop_oldest=info.frame_policy is FramePolicy.LATEST,
            clock=clock,
            observer=observer,
            acting=acting,
            first_number=0 if ticket is None else ticket.sequence_number + 1,
        )
        self.info = info
        self._stream = stream
        self._latest: Command | None = None
        # Good until the server makes a newer one.
        self._ticket = ticket if info.resumed else None
        self._draining: Draining | None = None
        self._shedding: Shedding | None = None
        self._pace = FramePace()
        self._paced: asyncio.Future[None] | None = None
        self._error: SessionEnded | None = None
        self._sent_bytes = 0
        # Ends a write where the close begins.
        self._writing: asyncio.Timeout | None = None
        # Done when the close begins.
        self._closing: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._is_leg = is_leg
        self._level = logging.INFO if is_leg else logging.WARNING
        self._is_ended = False
        self._is_taking = False
        self.is_followed = False
        """Whether the vehicle itself opens the next session, which may take this one's place."""
        self._max_in_flight = max_in_flight(info)
        self._max_silence_s = max_silence_s(info, guard.bounds)
        guard.begin_session(live=live)
        self._reader = asyncio.create_task(self._read(), name=f"steerstream {info.session_id}")

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self._close(is_clean=exc_type is None)

    async def __anext__(self) -> Answer:
        """Return the next command, skip or notice.

        Raises:
            SessionEnded: the session ended with an error; SessionLost or ServerDraining.
        """
        answer = await self._inbox.get()
        if answer is not None:
            return answer
        if self._error is not None:
            raise self._error
        raise StopAsyncIteration

    # Frames out

    async def send_encoded(self, frame: frame_pb2.Frame) -> None:
        """Send a frame that is ready for the wire, with its number and its time.

        For those who keep frames to send them again; the iterator yields its answer. It is sent at
        once, whatever pace the server asked for; see `until_welcome`.

        Raises:
            BadRequest: its number or its time does not go up; nothing was sent.
            SessionEnded: the session is over; SessionLost, ServerDraining or SessionClosed.
        """
        async with self._sending:
            await self._wait_for_room()
            await self._send_numbered(frame, frame.sequence_number, frame.capture_time_ns, None)

    async def send_resets(self, count: int) -> None:
        """Send resets that stand in a row, with no frame between them, as one message.

        For those who keep resets to send them again.

        Args:
            count: how many, 1 to 1024.

        Raises:
            BadRequest: more than one message stands for.
            SessionEnded: the session is over; SessionLost, ServerDraining or SessionClosed.
        """
        whole_number("count", count, low=1, high=MAX_RESETS)
        async with self._sending:
            for _ in range(count):
                self._observer.reset()
            await self._send(wire.reset_request(count))

    async def until_welcome(self) -> None:
        """Wait until the next frame is welcome to a full server, or the session ends.

        `send_frame` does so by itself.
        """
        now_ns = self._clock()
        # News of the pace may make the wait shorter and not longer: however many come, it ends.
        latest_ns = now_ns + self._pace.wait_ns(now_ns)
        while wait_ns := min(self._pace.wait_ns(now_ns), max(0, latest_ns - now_ns)):
            self._paced = asyncio.get_running_loop().create_future()
            # The end of the session ends the wait too, and the vehicle's own close at once.
            await asyncio.wait(
                [self._reader, self._closing, self._paced],
                timeout=wait_ns / 1e9,
                return_when=asyncio.FIRST_COMPLETED,
            )
            now_ns = self._clock()
            if self._reader.done() or self._closing.done() or not self._paced.done():
                break
        self._pace.sent(now_ns)

    async def reset(self) -> None:
        """Set the recurrent state back to its initial value, between the frames around it.

        Raises:
            SessionEnded: the session is over; SessionLost, ServerDraining or SessionClosed.
        """
        await self.send_resets(1)

    async def finish(self) -> None:
        """Say that no more frames follow; the iterator ends after the last answer."""
        async with self._sending:
            self._is_finished = True
            await self._stream.finish()

    # Answers in

    def latest_command(self, *, max_age_ms: float) -> Command | None:
        """Return the newest undamaged command with values, or None if it is too old.

        Args:
            max_age_ms: the greatest age of its values, by `Command.age_at_ms`.

        Raises:
            BadRequest: the age is no number.
        """
        finite_number("max_age_ms", max_age_ms)
        latest = self._latest
        if latest is None or latest.age_at_ms(self._clock()) > max_age_ms:
            return None
        return latest

    @property
    def welcome_in_s(self) -> float:
        """Seconds until the next frame is welcome to a full server; 0 where it asks for no pace."""
        return self._pace.wait_ns(self._clock()) / 1e9

    @property
    def sent_bytes(self) -> int:
        """Bytes of all frames that were sent, as messages of the wire contract."""
        return self._sent_bytes

    @property
    def ticket(self) -> TicketIssued | None:
        """The newest ticket: at first that with whose state the session goes on, or None."""
        return self._ticket

    @property
    def draining(self) -> Draining | None:
        """The server's notice that it is about to stop, or None."""
        return self._draining

    @property
    def shedding(self) -> Shedding | None:
        """The server's notice that it lets this session go, or None."""
        return self._shedding

    async def aclose(self) -> None:
        """Send no more frames, wait shortly for the answers under way, and end the session.

        Calls that wait raise SessionClosed at once; the iterator yields those answers and ends.
        Calling it again does nothing.
        """
        await self._close(is_clean=True)

    async def _send_frame(
        self, image: Image, waiter: asyncio.Future[FrameAnswer] | None, options: FrameOptions
    ) -> int:
        check_options(options)
        async with self._sending:
            message = await encoded(image, options, self.info)
            await self._wait_for_room()
            await self.until_welcome()
            self._check_open()
            self._state_delay(message, options)
            return await self._send_numbered(
                message, options.get("sequence_number"), options.get("capture_time_ns"), waiter
            )

    async def _send_numbered(
        self,
        message: frame_pb2.Frame,
        sequence_number: int | None,
        capture_time_ns: int | None,
        waiter: asyncio.Future[FrameAnswer] | None,
    ) -> int:
        # From here on nothing fails or is cancelled before the stream has the message: a frame in
        # the ledger that was never sent would take its place for good.
        now_ns = self._clock()
        frame = self._ledger.enter(sequence_number, capture_time_ns, now_ns, waiter)
        message.sequence_number = frame.sequence_number
        message.capture_time_ns = frame.capture_time_ns
        message.answers_taken = self._ledger.answers_taken
        self._note_sent(message, now_ns)
        request = wire.frame_request(message)
        self._sent_bytes += request.ByteSize()
        await self._send(request)
        return frame.sequence_number

    async def _wait_for_room(self) -> None:
        while len(self._ledger) >= self._max_in_flight and not (self._is_ended or self._is_closed):
            self._settled.clear()
            await self._settled.wait()
        self._check_open()

    async def _send(self, request: drive_service_pb2.DriveRequest) -> None:
        self._check_open()
        try:
            async with asyncio.timeout(None) as writing:
                self._writing = writing
                try:
                    await self._stream.send(request)
                finally:
                    self._writing = None
        except TimeoutError:
            # The vehicle closes the session.
            self._check_open()
            raise
        except RpcFailed:
            # The stream has ended, and its reader learns why.
            await asyncio.wait([self._reader])
            self._check_open()
            raise

    def _check_open(self) -> None:
        if self._error is not None:
            raise self._error
        if self._is_ended or self._is_finished:
            raise SessionClosed("the session has ended; open a new one")

    async def _read(self) -> None:
        try:
            await self._take_all()
        except RpcFailed as failure:
            if not self._closing.done():
                self._error = session_error(failure)
        except SessionLost as error:
            self._error = error
            await self._stream.abort()
        except ProtocolError as error:
            self._error = SessionProtocolError(str(error))
            await self._stream.abort()
        except Exception as error:  # noqa: BLE001 - nobody else would learn of it
            _log.exception("session %s: an answer cannot be taken", self.info.session_id)
            self._error = SessionProtocolError(
                f"an answer of the server cannot be taken ({type(error).__name__}: {error}); "
                "check the server's version"
            )
            self._error.__cause__ = error
            await self._stream.abort()
        finally:
            self._end()

    async def _take_all(self) -> None:
        """Take what the server sends, until it ends the stream.

        Raises:
            SessionLost: the server was silent for too long.
        """
        silence = Silence(self._max_silence_s, self._heard)
        try:
            async with silence:
                while (response := await self._stream.receive()) is not None:
                    self._is_taking = True
                    await self._take(response)
                    self._is_taking = False
        except TimeoutError:
            if not silence.was_too_long:
                raise
            owed = len(self._ledger)
            missing = f"answered none of {owed} frames" if owed else "did not end the session"
            raise SessionLost(
                f"the server {missing} for {self._max_silence_s:g} s; open a new one"
            ) from None

    def _heard(self) -> int | None:
        """Return how many answers came, or None where the server owes nothing."""
        # An answer that waits for room among unread ones is no silence of the server.
        is_owed = (len(self._ledger) > 0 or self._is_finished) and not self._is_taking
        return self._ledger.answers_taken if is_owed else None

    async def _take(self, response: drive_service_pb2.DriveResponse) -> None:
        match response.WhichOneof("message"):
            case "command":
                await self._take_command(response)
            case "skipped":
                message = response.skipped
                frame = self._ledger.waiting(message.sequence_number)
                answer = wire.skipped(
                    self.info.session_id,
                    message,
                    sent_ns=frame.sent_ns,
                    received_ns=self._clock(),
                )
                await self._deliver(frame, answer)
            case "notice":
                self._take_notice(response.notice)
            case "opened":
                raise ProtocolError("the server opened the session twice; check its version")

    async def _take_command(self, response: drive_service_pb2.DriveResponse) -> None:
        message = response.command
        frame = self._ledger.waiting(message.sequence_number)
        command = wire.command(
            self.info.session_id, message, sent_ns=frame.sent_ns, received_ns=self._clock()
        )
        if command.checksum_ok and command.validity is not Validity.FALLBACK:
            self._latest = command
        await self._deliver(frame, command)

    async def _deliver(self, frame: InFlight, answer: FrameAnswer) -> None:
        # What raises up to here leaves the frame waiting, so that its caller learns of it.
        self._observer.answered(answer, self.guard.received(answer, answer.received_ns))
        self._measure(answer, frame)
        self._ledger.settle(frame.sequence_number)
        self._settled.set()
        if frame.waiter is None:
            await self._inbox.put(answer)
        elif not frame.waiter.done():
            frame.waiter.set_result(answer)

    def _take_notice(self, message: session_pb2.Notice) -> None:
        notice = wire.notice(message)
        if isinstance(notice, TicketIssued):
            self._ticket = notice
        elif isinstance(notice, Draining):
            self._draining = notice
            _log.log(self._level, "session %s: the server is draining", self.info.session_id)
        elif isinstance(notice, Shedding):
            self._shedding = notice
            _log.log(self._level, "session %s: the server lets it go", self.info.session_id)
        elif isinstance(notice, Pace):
            self._check_pace(notice)
            was_kept = self._pace.is_kept
            self._pace.keep(notice, self._clock())
            if self._pace.is_kept is not was_kept:
                news = "has room again" if was_kept else "is full; frames wait"
                _log.warning("session %s: the server %s", self.info.session_id, news)
            if self._paced is not None and not self._paced.done():
                self._paced.set_result(None)
        if notice is not None:
            self._observer.noticed(notice)
            self._inbox.put_notice(notice)

    def _check_pace(self, pace: Pace) -> None:
        """Refuse a pace so slow that a session which kept it would expire."""
        most_ms = self.info.limits.idle_timeout_ms or IDLE_TIMEOUT_MS
        if max(pace.period_ms, pace.first_in_ms) > most_ms:
            raise ProtocolError(
                f"the server asked for a frame every {pace.period_ms:g} ms, the first in "
                f"{pace.first_in_ms:g} ms, and ends sessions after {most_ms:g} ms without one; "
                "check its version"
            )

    def _end(self) -> None:
        self._is_ended = True
        if self._error is None:
            _log.info("session %s ended", self.info.session_id)
        elif self.is_followed and isinstance(self._error, SessionTakenOver):
            _log.info("session %s ended: the vehicle's next one goes on", self.info.session_id)
        else:
            happened = without_advice(self._error) if self._is_leg else self._error
            _log.log(self._level, "session %s ended: %s", self.info.session_id, happened)
        self._observer.ended(self._error)
        self._ledger.fail(
            self._error
            or SessionLost("the session ended before the frame's answer; open a new one")
        )
        self._ledger.abandon()
        self._inbox.close()
        self._settled.set()

    async def _close(self, *, is_clean: bool) -> None:
        self._is_finished = self._is_closed = True
        if not self._closing.done():
            self._closing.set_result(None)
        # What waits ends now, and the answers under way are for the iterator alone.
        self._ledger.fail(SessionClosed("the session was closed before the frame's answer"))
        self._settled.set()
        writing, self._writing = self._writing, None
        if writing is not None:
            writing.reschedule(asyncio.get_running_loop().time())
        self._inbox.close()
        try:
            if is_clean and not self._is_ended:
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(CLOSE_TIMEOUT_S):
                        await self._stream.finish()
                        await asyncio.wait([self._reader])
        finally:
            await self._stream.abort()
            self._reader.cancel()
            await asyncio.wait([self._reader])
        if not self._reader.cancelled():
            self._reader.result()


def default_timeout_s(info: SessionInfo, bounds: Bounds) -> float:
    """Return how long a request waits, in seconds; see `Session.request`."""
    if info.frame_policy is FramePolicy.EVERY and info.limits.idle_timeout_ms:
        longest_ms = max(LONGEST_ANSWER_MS, info.granted_budget_ms)
        return min(info.limits.idle_timeout_ms, longest_ms) / 1e3
    return (info.granted_budget_ms + bounds.max_hold_ms) / 1e3


def max_silence_s(info: SessionInfo, bounds: Bounds) -> float:
    """Return how long a server may answer none of the frames that wait, in seconds.

    Longer than any request waits by default, so that one slow answer ends no session.
    """
    return SILENCE_S + max(default_timeout_s(info, bounds), info.granted_budget_ms / 1e3)


def max_in_flight(info: SessionInfo) -> int:
    """Return how many frames may have no answer: under EVERY, one more would be OVERLOADED."""
    waiting = info.limits.max_waiting_frames
    if info.frame_policy is FramePolicy.EVERY and waiting:
        return min(MAX_IN_FLIGHT, waiting)
    return MAX_IN_FLIGHT


async def encoded(image: Image, options: FrameOptions, info: SessionInfo) -> frame_pb2.Frame:
    """Return a frame with its picture and speed, its number and its time still to be filled in.

    Args:
        image: a JPEG file, pixels [height, width, 3], uint8, RGB, or raw video.
        options: that were checked.
        info: what the server takes, and what it wants to see.
    """
    choices = Choices(
        encoding=options.get("encoding", Encoding.AUTO),
        jpeg_quality=options.get("jpeg_quality"),
        view=options.get("view", ViewUse.PIXELS),
    )
    message = await encode_frame(image, choices, info.limits, info.view)
    speed_mps = options.get("vehicle_speed_mps")
    if speed_mps is not None:
        message.vehicle_speed_mps = speed_mps
    return message


def check_options(options: FrameOptions) -> None:
    """Check all that the ledger does not check, before anything is changed.

    Raises:
        BadRequest: a value is of the wrong type or out of its range.
        TypeError: there is no such option.
    """
    unknown = options.keys() - FrameOptions.__annotations__.keys()
    if unknown:
        known = ", ".join(FrameOptions.__annotations__)
        raise TypeError(f"a frame has no option {', '.join(sorted(unknown))}; it has {known}")
    speed_mps = options.get("vehicle_speed_mps")
    if speed_mps is not None:
        most = MAX_VEHICLE_SPEED_MPS
        finite_number("vehicle_speed_mps", speed_mps, low=-most, high=most)
    act_in_ms = options.get("act_in_ms")
    if act_in_ms is not None:
        finite_number("act_in_ms", act_in_ms, low=0.0, high=MAX_ACT_IN_MS)
    if "encoding" in options:
        instance("encoding", options["encoding"], Encoding)
    if "jpeg_quality" in options:
        whole_number("jpeg_quality", options["jpeg_quality"], low=1, high=100)
    if "view" in options:
        instance("view", options["view"], ViewUse)
