"""A session that outlives its server: it keeps what another one needs to go on where this ended.

A *leg* is the session at one server. The frames since the last ticket are kept; the next leg opens
with the ticket, has them played again, and only then takes the place of the one before. So where a
server says beforehand that it will end the session, the vehicle never waits.
"""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import logging
import math
import time
from collections.abc import Callable, Coroutine
from functools import partial
from types import TracebackType
from typing import Any

from steerstream.acting_delay import ActingDelay
from steerstream.answers import (
    Answer,
    Command,
    Draining,
    FrameAnswer,
    Shedding,
    Skipped,
    SkipReason,
    TicketIssued,
)
from steerstream.errors import (
    AnswerTimeout,
    BadRequest,
    ConnectionFailed,
    ErrorReason,
    ProtocolError,
    SessionBadRequest,
    SessionClosed,
    SessionEnded,
    SessionExpired,
    SessionLost,
    SessionRefused,
    SessionTakenOver,
    SteerstreamError,
)
from steerstream.failures import may_come, without_advice
from steerstream.guard import Guard, GuardReason, SafeCommand
from steerstream.hand_over import DriveState, HandOver, SessionChange, Targets, pauses_s
from steerstream.images import Image
from steerstream.kept_frames import Kept, KeptFrames
from steerstream.leg import Lap, Leg, Open
from steerstream.models import FramePolicy, SessionInfo, View
from steerstream.observer import IGNORED, SessionObserver
from steerstream.session import (
    Clock,
    FrameOptions,
    VehicleSession,
    check_options,
    encoded,
    max_in_flight,
)
from steerstream.silence import AnswerSilence
from steerstream.v1 import frame_pb2

_MOST_REPLAYED_AT_ONCE = 8
"""Replayed frames without an answer: what a server lets wait by default."""
_LAP_FRAMES = 16
"""Frames that are played again before their pace is compared with that of those which come."""
_MOST_OTHER_STATES = 5
"""Attempts that found another state, before the session goes on without its own."""
_OTHER_STATE = "the server's state is not the session's; it was left"
_OPENED = "it was opened"
_ENDED = "the server ended the session"
_ENDS = "the server ends the session"
_MOST_OF_NO_USE = 20
"""A second of them: one that fails for a moment comes back by itself."""
_NO_USE_FOR_S = 10.0
"""How long a server is not asked again whose answers were of no use."""
_OF_NO_USE = "the server's answers are of no use"
_SERVER_S_FAULTS = frozenset(
    {
        GuardReason.SERVER_HELD,
        GuardReason.SERVER_FALLBACK,
        GuardReason.CHECKSUM,
        GuardReason.ALIVE_COUNTER_STUCK,
        GuardReason.ECHO,
        GuardReason.NOT_FINITE,
        GuardReason.HEAD_MISSING,
    }
)
_FULL = "the server is full: frames wait for longer than the guard holds"
_TOKEN_ENDS = "the token expires soon"  # noqa: S105 - a reason, and no secret
_TOKEN_RENEWED = "the token was renewed"  # noqa: S105
_TOKEN_KEPT = "no newer token is given yet"  # noqa: S105
_GOOD_REASONS = {_OPENED, _TOKEN_RENEWED, _TOKEN_KEPT}
"""Reasons to drive; any other one says what went wrong before."""
_TOKEN_LEFT, _TOKEN_LEFT_S = 0.1, 60.0
"""The share of a token's time that is left when a session is opened with the next one, and the most
of it. Where there is no next one yet, that is tried again with the same share of the rest, so that
a drive costs a few openings for each token, however long that is valid."""
_TOKEN_TRIED_S = 1.0
"""With less time than that the end is waited for."""
_GOES_ON = (ConnectionFailed, SessionRefused, SessionEnded, ProtocolError, AnswerTimeout)
"""Errors of one server for which another one is tried."""
_LEVELS = {
    DriveState.DEGRADED: logging.WARNING,
    DriveState.RESUMING: logging.WARNING,
    DriveState.LOST: logging.ERROR,
}
"""At which a change to a state is logged; at INFO by default."""

_log = logging.getLogger(__name__)


class _OtherState(ConnectionFailed):
    """A server has seen other frames than the session has."""


class DriveSession(VehicleSession):
    """One vehicle's session over several servers; `Client.drive_session` makes it.

    It is used as a `Session` is: an asynchronous context manager, and an asynchronous iterator of
    answers. One guard judges the answers of all servers.

    Args:
        open_at: opens a session at a server.
        targets: the servers, in the order in which they are preferred.
        guard: judges every answer before the vehicle follows it.
        live: whether capture times must run as the clock does.
        frame_policy: LATEST or EVERY.
        period_s: seconds from one frame to the next; None for the model's own rate.
        hand_over: when and how the server is changed.
        on_change: is told of every change of state, in the event loop; it must not block.
        clock: the client's monotonic clock, in nanoseconds.
        observer: is told what happens; its `opened` and `noticed` by the legs.
        acting: what the vehicle knows of the time until a command acts; None for nothing.

    `guard` is an attribute too.
    """

    def __init__(
        self,
        open_at: Open,
        targets: list[str],
        *,
        guard: Guard,
        live: bool,
        frame_policy: FramePolicy,
        period_s: float | None,
        hand_over: HandOver,
        on_change: Callable[[SessionChange], None] | None,
        clock: Clock = time.monotonic_ns,
        observer: SessionObserver = IGNORED,
        acting: ActingDelay | None = None,
    ) -> None:
        self._is_latest = frame_policy is FramePolicy.LATEST
        super().__init__(
            guard=guard,
            live=live,
            drop_oldest=self._is_latest,
            clock=clock,
            observer=observer,
            acting=acting,
        )
        self._open_at = open_at
        self._loop = asyncio.get_running_loop()
        self._targets = Targets(targets, self._loop.time)
        self._is_live = live
        self._period_s = period_s
        self._hand_over = hand_over
        self._on_change = on_change
        self._kept = KeptFrames(hand_over.max_kept_bytes)
        # A change of server is wanted.
        self._wanted = asyncio.Event()
        self._leg: Leg | None = None
        self._next_leg: Leg | None = None
        self._newer_ticket: TicketIssued | None = None
        self._is_opening = False
        # Ends the first opening where the client is closed.
        self._beginning: asyncio.Timeout | None = None
        # Whether a session was asked for since this leg began, which may have taken its place.
        self._asked_again = False
        self._info: SessionInfo | None = None
        self._silence = AnswerSilence()
        self._of_no_use = 0
        self._without_since_s = self._loop.time()
        self._token_left_s = 0.0
        self._change = SessionChange(DriveState.CONNECTING, None, "it was not opened yet")
        self._why = _OPENED
        self._error: SessionEnded | None = None
        self._retired_bytes = 0
        self._closing: set[asyncio.Task[None]] = set()
        self._tasks: list[asyncio.Task[None]] = []

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
            SessionEnded: the session was given up; why.
        """
        answer = await self._inbox.get()
        if answer is not None:
            return answer
        if self._error is not None and not isinstance(self._error, SessionClosed):
            raise self._error
        raise StopAsyncIteration

    async def begin(self, *, wait_s: float = 0.0) -> None:
        """Open the session at the first server that takes it.

        Args:
            wait_s: how long to ask again, in seconds, where one may take it a little later.

        Raises:
            SessionClosed: the client was closed before.
            SteerstreamError: none does; why the last one did not.
        """
        try:
            async with asyncio.timeout(None) as beginning:
                self._beginning = beginning
                try:
                    await self._find_server(first_until_s=self._loop.time() + wait_s)
                finally:
                    self._beginning = None
        except TimeoutError:
            self._check_open()
            raise
        self._check_open()
        self._tasks += map(self._begun, (self._supervise, self._watch))

    # Frames out

    async def reset(self) -> None:
        """Set the recurrent state back to its initial value, between the frames around it."""
        async with self._sending:
            self._check_open()
            self._observer.reset()
            self._keep(None, None)

    async def finish(self) -> None:
        """Say that no more frames follow; the iterator ends after the last answer.

        Without a server the last answers wait for one. Where none is found until the session is
        given up, the iterator raises why.
        """
        async with self._sending:
            self._is_finished = True
            self._end_if_finished()

    # Answers in

    def safe_command(self) -> SafeCommand:
        """Return what the vehicle may do now, by the guard; RELEASE once it is closed or lost."""
        self._check_silence()
        return super().safe_command()

    def _guarded(self) -> SafeCommand:
        if self.state is DriveState.LOST:
            return self.guard.release_lost()
        return super()._guarded()

    @property
    def info(self) -> SessionInfo:  # type: ignore[override]  # it changes with the server
        """What the server of this moment granted."""
        if self._info is None:
            raise SessionClosed("the session was not opened")
        return self._info

    @property
    def state(self) -> DriveState:
        """How the session is."""
        return self._change.state

    @property
    def change(self) -> SessionChange:
        """The last change of its state."""
        return self._change

    @property
    def ticket(self) -> TicketIssued | None:
        """The newest ticket that can be used, or None."""
        return self._kept.ticket

    @property
    def kept_bytes(self) -> int:
        """Bytes of the frames that are kept to be played again."""
        return self._kept.size_bytes

    @property
    def welcome_in_s(self) -> float:
        """Seconds until the next frame is welcome to a full server; 0 where it asks for no pace."""
        return self._leg.session.welcome_in_s if self._leg else 0.0

    @property
    def sent_bytes(self) -> int:
        """Bytes of all frames that were sent, those that were played again included."""
        return self._retired_bytes + (self._leg.session.sent_bytes if self._leg else 0)

    async def aclose(self) -> None:
        """Wait shortly for the answers under way, and end the session.

        Calling it again does nothing.
        """
        await self._close(is_clean=True)

    async def _close(self, *, is_clean: bool) -> None:
        self._is_closed = True
        for task in self._tasks:
            task.cancel()
        beginning, self._beginning = self._beginning, None
        if beginning is not None:
            beginning.reschedule(self._loop.time())
        leg, self._leg = self._leg, None
        self._give_up(SessionClosed("the session was closed; open a new one"))
        if self._tasks:
            await asyncio.wait(self._tasks)
        if leg is not None:
            self._retire(leg, is_clean=is_clean)
        if self._closing:
            await asyncio.wait(self._closing)

    async def _send_frame(
        self, image: Image, waiter: asyncio.Future[FrameAnswer] | None, options: FrameOptions
    ) -> int:
        check_options(options)
        async with self._sending:
            self._check_open()
            info = self.info
            message = await encoded(image, options, info)
            await self._wait_for_room()
            # A frame that was taken here and sent later would be answered too late.
            await self._until_welcome()
            self._check_open()
            now_ns = self._clock()
            frame = self._ledger.enter(
                options.get("sequence_number"), options.get("capture_time_ns"), now_ns, waiter
            )
            message.sequence_number = frame.sequence_number
            message.capture_time_ns = frame.capture_time_ns
            self._state_delay(message, options)
            self._note_sent(message, now_ns)
            self._keep(message, info.view)
        self._check_silence()
        return frame.sequence_number

    def _keep(self, frame: frame_pb2.Frame | None, view: View | None) -> None:
        self._kept.keep(frame, view)
        if self._leg is not None:
            self._leg.wake.set()
        elif not self._wanted.is_set():
            # A session that expired has waited for a frame, and not for a server.
            self._without_since_s = self._loop.time()
            self._wanted.set()

    async def _wait_for_room(self) -> None:
        while self._unanswered >= max_in_flight(self.info):
            if self._is_latest and self._leg is None:
                self._skip(self._unsent()[:1])
            else:
                self._settled.clear()
                await self._settled.wait()
            self._check_open()

    async def _until_welcome(self) -> None:
        """Wait until the next frame is welcome to the server of that moment, if there is one."""
        while (leg := self._leg) is not None:
            self._look_around(leg)
            await leg.session.until_welcome()
            if leg is self._leg:
                return

    def _look_around(self, leg: Leg) -> None:
        """Look for another server for as long as this one lets frames wait for too long."""
        if leg.is_leaving:
            return
        if leg.session.welcome_in_s * 1e3 <= self.guard.bounds.max_hold_ms:
            self._wanted.clear()
            return
        self._targets.leave_full(leg.target)
        if self._targets.ready(with_full=False) and not self._wanted.is_set():
            self._leave(leg, _FULL)

    @property
    def _unanswered(self) -> int:
        """Frames that no server has answered, not even one that still catches up."""
        early = self._next_leg.early if self._next_leg is not None else ()
        return len(self._ledger) - sum(map(self._ledger.holds, early))

    def _unsent(self) -> list[Kept]:
        """Return the frames without an answer that the next server was not sent, oldest first.

        Those that it was sent are no longer to be skipped: its state is about to see them.
        """
        cursor = self._next_leg.cursor if self._next_leg is not None else -1
        return [
            kept for kept in self._kept.after(cursor) if kept.frame is not None and not kept.is_seen
        ]

    def _skip(self, frames: list[Kept]) -> None:
        """Answer frames that make room for newer ones while no server answers."""
        for frame in [kept.frame for kept in frames if kept.frame is not None]:
            skip = self._skipped(
                frame, SkipReason.SUPERSEDED, "newer ones came while no server answered"
            )
            if (settled := self._settle(skip)) is not None:
                self._inbox.put_now(settled)
        # The guard goes on to say why it holds.
        self.guard.session_lost()

    def _check_open(self) -> None:
        if self._error is not None:
            raise self._error
        if self._is_finished:
            raise SessionClosed("the session is finished; open a new one")

    # Changing the server

    def _begun(self, work: Callable[[], Coroutine[Any, Any, None]]) -> asyncio.Task[None]:
        return asyncio.create_task(self._give_up_with(work))

    async def _give_up_with(self, work: Callable[[], Coroutine[Any, Any, None]]) -> None:
        """Do work without which the session cannot be, and end it where that fails."""
        try:
            await work()
        except SessionEnded as error:
            self._give_up(error)
        except SteerstreamError as error:
            self._give_up(_lost("the session cannot go on: ", error))
        except Exception as error:  # noqa: BLE001 - whoever waits for the session gets the error
            _log.exception("drive session: a fault of the client")
            lost = SessionLost(
                f"a fault of the client ended the session: {error!r}; open a new one"
            )
            lost.__cause__ = error
            self._give_up(lost)

    async def _supervise(self) -> None:
        while True:
            await self._wanted.wait()
            await self._find_server()

    async def _find_server(self, *, first_until_s: float | None = None) -> None:
        """Change to a server that takes the session.

        Args:
            first_until_s: until when one is sought that opens it, by the loop's clock; None where
                one has opened it before.
        """
        pause_s = pauses_s()
        is_first, is_awaited = first_until_s is not None, False
        refusals = set[tuple[str, type[SteerstreamError], ErrorReason]]()
        other_states = 0
        error: SteerstreamError = ConnectionFailed("every server asked for time; try again later")
        while is_first or self._wanted.is_set():
            # A full server drives on unless one is found that is not.
            is_full = self._leg is not None and not self._leg.is_leaving
            for target in self._targets.ready(with_full=not is_full):
                try:
                    await self._change_to(target)
                except SteerstreamError as failure:
                    if not _is_of_one_server(failure, was_taken=not is_first):
                        raise
                    is_unreached = isinstance(failure, ConnectionFailed)
                    # What one says that answers tells more than that another cannot be reached.
                    if not is_unreached or isinstance(error, ConnectionFailed):
                        error = failure
                    is_awaited |= may_come(failure)
                    self._targets.leave(target, failure.retry_after_s)
                    refusal = (target, type(failure), failure.reason)
                    level = logging.DEBUG if refusal in refusals else logging.INFO
                    _log.log(level, "%s does not take the session: %s", target, failure)
                    refusals.add(refusal)
                    # While the leg before answers, it may be the one that skipped a frame.
                    other_states += self._leg is None and isinstance(failure, _OtherState)
                    if other_states == _MOST_OTHER_STATES:
                        _log.warning("no server comes to the session's state; it is lost")
                        self._kept.forget_state()
                else:
                    return
            without_s = self._loop.time() - self._without_since_s
            if first_until_s is not None and not (is_awaited and self._loop.time() < first_until_s):
                raise error
            give_up_after_s = self._hand_over.give_up_after_s
            if not is_first and self._leg is None and without_s > give_up_after_s:
                tried = f"no server took the session for {give_up_after_s:g} s"
                raise _lost(f"{tried}; the last one said: ", error)
            await asyncio.sleep(pause_s())

    async def _change_to(self, target: str) -> None:
        """Open the session at a server, play the frames again, and go on there."""
        if self._newer_ticket is not None:
            self._kept.take_ticket(self._newer_ticket)
            self._newer_ticket = None
        self._is_opening = self._asked_again = True
        if self._leg is not None:
            self._leg.session.is_followed = True
        try:
            try:
                await self._go_on_at(await self._open(target))
            except BadRequest as error:
                if error.reason is not ErrorReason.BAD_TICKET:
                    raise
                _log.warning("%s takes no ticket: %s", target, without_advice(error))
                self._kept.forget_ticket()
                await self._go_on_at(await self._open(target))
        finally:
            self._is_opening = False

    async def _go_on_at(self, leg: Leg) -> None:
        self._next_leg = leg
        leg.tasks.append(self._begun(partial(self._read, leg)))
        try:
            await self._catch_up(leg)
            self._switch(leg)
        finally:
            self._next_leg = None
            if self._leg is not leg:
                self._retire(leg, is_clean=False)

    async def _open(self, target: str) -> Leg:
        ticket, losses = self._kept.ticket, self._kept.losses
        timeout_s = self._hand_over.attempt_timeout_s
        try:
            async with asyncio.timeout(timeout_s):
                client, session = await self._open_at(target, ticket.ticket if ticket else None)
        except TimeoutError:
            raise ConnectionFailed(f"{target} opened no session within {timeout_s:g} s") from None
        with_state = session.info.resumed or ticket is None
        if ticket is None:
            # Nothing was played again yet, so nothing can be missing.
            losses = self._kept.losses
        return Leg(target, client, session, with_state, losses)

    async def _catch_up(self, leg: Leg) -> None:
        """Play kept frames again until only frames are left that the vehicle waits for."""
        session = leg.session
        most = session.info.limits.max_waiting_frames or _MOST_REPLAYED_AT_ONCE
        window = min(_MOST_REPLAYED_AT_ONCE, most)
        timeout_s = self._hand_over.attempt_timeout_s
        while True:
            self._check_next(leg)
            if self._is_latest and self._leg is None:
                self._keep_up(leg, window)
            again = self._to_replay(leg)
            if again is None:
                if not session.frames_in_flight or leg.catches_up_to in leg.early:
                    return
                if leg.catches_up_to is None:
                    # Later frames would put the end off for ever, where a round trip is longer than
                    # from one frame to the next. Their answers are compared when they come.
                    leg.catches_up_to = leg.newest
            try:
                async with asyncio.timeout(timeout_s):
                    if again is not None and session.frames_in_flight < window:
                        await self._send(leg, again, is_replayed=True)
                    else:
                        leg.changed.clear()
                        await leg.changed.wait()
            except TimeoutError:
                raise AnswerTimeout("a replayed frame had no answer in time") from None

    def _check_next(self, leg: Leg) -> None:
        if self._error is not None:
            raise self._error
        if leg.is_over:
            raise leg.error or SessionLost("the server ended the session as it was resumed")
        if any(self._differs(answer) for answer in leg.early.values()):
            raise _OtherState(_OTHER_STATE)
        if leg.losses != self._kept.losses:
            # It may wait for them, or would go on as if they had never been.
            raise ConnectionFailed("frames that it needs were too many to be kept")

    def _keep_up(self, leg: Leg, window: int) -> None:
        """Skip frames that wait where they come half as fast as they are played again, or faster.

        A server far away that lets few of them wait would never catch up, or only after long.
        """
        lap = leg.lap
        if leg.cursor < lap.until:
            return
        unsent = self._unsent()
        came = sum(kept.order > lap.newest for kept in unsent)
        if lap.frames and came > max(window, lap.frames // 2):
            self._skip(unsent[:-1])
            unsent = unsent[-1:]
        again, newest = unsent[:_LAP_FRAMES], self._kept.last_order
        leg.lap = Lap(len(again), again[-1].order if again else newest, newest)

    def _differs(self, answer: FrameAnswer) -> bool:
        """Whether a new leg's state has seen a frame that the session's has not, or not seen it.

        While the leg before still answers, both may be asked for the same frame, and only one of
        them may have skipped it.
        """
        number = answer.sequence_number
        if self._ledger.holds(number):
            return False
        return self._kept.has_seen(number) is not isinstance(answer, Command)

    def _to_replay(self, leg: Leg) -> Kept | None:
        """Return the next frame or reset that the server plays again.

        A frame without an answer is sent as a new one, to be answered in time; under LATEST only
        the newest one, for it would take the place of those before it.
        """
        following = self._kept.after(leg.cursor)
        first = next(following, None)
        if first is None or first.frame is None or first.is_seen:
            return first
        is_newest = all(kept.frame is None for kept in following)
        return first if self._is_latest and not is_newest else None

    def _switch(self, leg: Leg) -> None:
        old, self._leg = self._leg, leg
        self._asked_again = False
        self._info = leg.session.info
        with_state = leg.with_state and self._kept.is_whole
        if not with_state:
            # From now on the vehicle is told of another state than that of the leg before.
            self._newer_ticket = None
            self._kept.forget_ticket()
        if self._change.state is DriveState.CONNECTING:
            self.guard.begin_session(live=self._is_live)
        else:
            self.guard.resume_session(with_state=with_state)
        period_s = self._period_s or 1 / (self._info.model.rate_hz or 20.0)
        budget_s = self._info.granted_budget_ms / 1e3
        self._silence.begin(self._hand_over.silence_ns(period_s, budget_s), self._clock())
        self._of_no_use = 0
        self._wanted.clear()
        for early in leg.early.values():
            answer = self._settle(early)
            if answer is not None:
                self._inbox.put_now(answer)
        leg.early.clear()
        leg.tasks += [self._begun(partial(work, leg)) for work in (self._feed, self._renew)]
        valid_for_s = self._info.limits.token_valid_for_ms / 1e3 or math.inf
        if self._why == _TOKEN_ENDS:
            self._why = _TOKEN_RENEWED if valid_for_s > self._token_left_s else _TOKEN_KEPT
        why = self._why
        if why not in _GOOD_REASONS:
            why = f"{'resumed' if with_state else 'begun afresh'} after: {why}"
        self._tell(DriveState.DRIVING, leg.target, why, with_state=with_state)
        if old is not None:
            self._retire(old, is_clean=True)
        if leg.is_leaving:
            self._leave(leg, _ENDS)
        # Not before this attempt is over, which would end itself.
        self._loop.call_soon(self._end_if_finished)

    async def _feed(self, leg: Leg) -> None:
        """Send frames as they come, those that waited for a server first."""
        with contextlib.suppress(SessionEnded):
            while True:
                # Before the look: an answer, and the next frame, may come while one is being sent.
                leg.wake.clear()
                while (kept := next(self._kept.after(leg.cursor), None)) is not None:
                    await self._send(leg, kept, is_replayed=False)
                await leg.wake.wait()

    async def _renew(self, leg: Leg) -> None:
        """Leave a server before the token expires with which the session was opened there."""
        valid_for_s = leg.session.info.limits.token_valid_for_ms / 1e3
        if valid_for_s < _TOKEN_TRIED_S:
            return
        left_s = min(_TOKEN_LEFT * valid_for_s, _TOKEN_LEFT_S)
        await asyncio.sleep(valid_for_s - left_s)
        if leg is self._leg and not leg.is_leaving:
            self._token_left_s = left_s
            leg.is_leaving = True
            self._targets.leave(leg.target, None)
            self._leave(leg, _TOKEN_ENDS)

    async def _send(self, leg: Leg, kept: Kept, *, is_replayed: bool) -> None:
        leg.cursor = kept.order
        if kept.frame is None:
            # The frames between them were skipped. A server reads ten such messages a second.
            row = self._kept.resets_at(kept.order)
            leg.cursor = row[-1].order
            await leg.session.send_resets(len(row))
            return
        if kept.view not in (None, leg.session.info.view):
            await self._leave_out(leg, kept, kept.frame)
            return
        frame = kept.frame
        if is_replayed:
            # The leg before may be about to send the same frame as a new one.
            frame = frame_pb2.Frame()
            frame.CopyFrom(kept.frame)
            frame.replayed = True
        leg.newest = frame.sequence_number
        await leg.session.send_encoded(frame)

    async def _leave_out(self, leg: Leg, kept: Kept, frame: frame_pb2.Frame) -> None:
        """Pass over a frame whose picture was made for a server that wants to see another part."""
        if kept.is_seen:
            # The state that the frames brought about cannot be reached here: it begins afresh.
            if leg.with_state:
                _log.warning("%s wants another view; the state is lost", leg.target)
                leg.with_state = False
                await leg.session.reset()
            return
        skip = self._skipped(
            frame,
            SkipReason.UNDECODABLE,
            "the server was changed, and the new one wants to see another part of pictures",
        )
        if leg is self._next_leg:
            # The leg before may still answer it.
            leg.early[frame.sequence_number] = skip
            return
        if (settled := self._settle(skip)) is not None:
            await self._inbox.put(settled)
        self._end_if_finished()

    def _skipped(self, frame: frame_pb2.Frame, reason: SkipReason, detail: str) -> Skipped:
        """Return the client's own answer to a frame that no server answers."""
        now_ns = self._clock()
        return Skipped(
            sequence_number=frame.sequence_number,
            capture_time_ns=frame.capture_time_ns,
            reason=reason,
            detail=detail,
            held=None,
            sent_ns=now_ns,
            received_ns=now_ns,
        )

    def _lose(self, leg: Leg, reason: str, error: SessionEnded | None) -> None:
        """The server does not answer any more."""
        self._leg = None
        self._without_since_s = self._loop.time()
        self._targets.leave(leg.target, error.retry_after_s if error else None)
        self._retire(leg, is_clean=False)
        if isinstance(error, SessionBadRequest):
            if not (error.reason is ErrorReason.BAD_TICKET and leg.session.info.resumed):
                self._give_up(error)
                return
            self._kept.forget_ticket()
        if isinstance(error, SessionTakenOver):
            if not self._asked_again:
                self._give_up(error)
                return
            # This session itself has opened the newer one, for the reason that it was told of.
            reason = self._why
        self.guard.session_lost()
        # Under LATEST the oldest frames make room now.
        self._settled.set()
        self._why = reason
        self._tell(DriveState.RESUMING, leg.target, reason)
        if len(self._ledger) or not isinstance(error, SessionExpired):
            self._wanted.set()

    def _leave(self, leg: Leg, why: str) -> None:
        """Open the session at another server, while this one still answers."""
        self._why = why
        self._tell(DriveState.DEGRADED, leg.target, self._why)
        self._wanted.set()

    def _retire(self, leg: Leg, *, is_clean: bool) -> None:
        self._retired_bytes += leg.session.sent_bytes
        task = asyncio.create_task(leg.close(is_clean=is_clean))
        self._closing.add(task)
        task.add_done_callback(self._closing.discard)

    def _give_up(self, error: SessionEnded) -> None:
        if self._error is not None:
            return
        self._error = error
        self._leg = None
        self._ledger.fail(error)
        self._ledger.abandon()
        self._inbox.close()
        self._settled.set()
        if self._change.state is DriveState.CONNECTING:
            # The opening raises why, and nobody has the session.
            return
        was_closed = isinstance(error, SessionClosed)
        self._observer.ended(None if was_closed else error)
        if was_closed:
            self._tell(DriveState.CLOSED, None, "the vehicle closed it")
        else:
            self._tell(DriveState.LOST, None, str(error))

    # Reading

    async def _read(self, leg: Leg) -> None:
        try:
            async for answer in leg.session:
                await self._take(leg, answer)
        except SessionEnded as error:
            leg.error = error
        leg.is_over = True
        leg.changed.set()
        if leg is self._leg:
            happened = without_advice(leg.error) if leg.error else _ENDED
            self._lose(leg, happened, leg.error)

    async def _take(self, leg: Leg, answer: Answer) -> None:
        if isinstance(answer, FrameAnswer):
            # Nothing else counts as news: a server must not draw out its attempt by notices.
            leg.changed.set()
        if isinstance(answer, Draining | Shedding):
            leg.is_leaving = True
            retry_after_s = answer.retry_after_ms / 1e3 if isinstance(answer, Shedding) else None
            self._targets.leave(leg.target, retry_after_s)
            if leg is self._leg:
                self._leave(leg, _ENDS)
        if leg is self._next_leg:
            if isinstance(answer, FrameAnswer):
                leg.early[answer.sequence_number] = answer
        elif leg is self._leg:
            await self._take_here(leg, answer)

    async def _take_here(self, leg: Leg, answer: Answer) -> None:
        if isinstance(answer, TicketIssued):
            if self._is_opening:
                # The next leg opens with an older one, and needs the frames since.
                self._newer_ticket = answer
            else:
                self._kept.take_ticket(answer)
        elif isinstance(answer, FrameAnswer):
            self._silence.heard(self._clock())
            if leg.losses == self._kept.losses and self._differs(answer):
                self._lose(leg, _OTHER_STATE, None)
                return
            if self.state is DriveState.DEGRADED and not self._wanted.is_set():
                self._tell(DriveState.DRIVING, leg.target, "answers come again", with_state=True)
            settled = self._settle(answer)
            if settled is not None:
                await self._inbox.put(settled)
            self._end_if_finished()
            if leg is self._leg and self._of_no_use >= _MOST_OF_NO_USE:
                self._look_past(leg)
        else:
            self._inbox.put_notice(answer)

    def _look_past(self, leg: Leg) -> None:
        """Look for another server in place of one whose answers are of no use, if there is one."""
        others = [name for name in self._targets.ready() if name != leg.target]
        if others and not leg.is_leaving:
            leg.is_leaving = True
            self._targets.leave(leg.target, _NO_USE_FOR_S)
            self._leave(leg, _OF_NO_USE)

    def _settle(self, answer: FrameAnswer) -> FrameAnswer | None:
        """Give an answer to the guard and to who waits for it; returns it if the iterator does."""
        number = answer.sequence_number
        if isinstance(answer, Command):
            self._kept.seen(number)
        else:
            self._kept.unseen(number)
        if not self._ledger.holds(number):
            return None
        frame = self._ledger.settle(number)
        answer = dataclasses.replace(answer, sent_ns=frame.sent_ns)
        found = self.guard.received(answer, answer.received_ns)
        self._count_use(answer, found)
        self._observer.answered(answer, found)
        self._measure(answer, frame)
        self._settled.set()
        if frame.waiter is None:
            return answer
        if not frame.waiter.done():
            frame.waiter.set_result(answer)
        return None

    def _count_use(self, answer: FrameAnswer, found: tuple[GuardReason, ...]) -> None:
        """Count answers in a row that are of no use by the fault of the server."""
        if isinstance(answer, Skipped):
            self._of_no_use += answer.reason is SkipReason.FAILED
        elif _SERVER_S_FAULTS.isdisjoint(found):
            self._of_no_use = 0
        else:
            self._of_no_use += 1

    def _end_if_finished(self) -> None:
        if not self._is_finished or len(self._ledger):
            return
        self._inbox.close()
        # Nothing is sent or awaited any more, so no server is kept or looked for.
        for task in self._tasks:
            task.cancel()
        leg, self._leg = self._leg, None
        if leg is not None:
            self._retire(leg, is_clean=True)

    # Silence

    async def _watch(self) -> None:
        while True:
            await asyncio.sleep(self._silence.next_look_s)
            self._check_silence()

    def _check_silence(self) -> None:
        leg, oldest = self._leg, self._ledger.oldest
        waits_since_ns = oldest.sent_ns if leg is not None and oldest is not None else None
        part = self._silence.look(self._clock(), waits_since_ns)
        if leg is None or part <= 0.5:
            return
        if part > 1.0:
            self._lose(leg, f"no answer came for {self._silence.lasts_ms:.0f} ms", None)
        elif self.state is DriveState.DRIVING:
            self._tell(DriveState.DEGRADED, leg.target, "answers are missing")

    def _tell(
        self,
        state: DriveState,
        target: str | None,
        reason: str,
        *,
        with_state: bool | None = None,
    ) -> None:
        # A warning is followed by its good end at the same level.
        told = self._change.state if state is DriveState.DRIVING else state
        level = _LEVELS.get(told, logging.INFO)
        self._change = SessionChange(state, target, reason, with_state)
        place = f" at {target}" if target else ""
        _log.log(level, "drive session %s%s: %s", state.value, place, reason)
        if self._on_change is not None:
            # A fault of the callback must not end the hand-over.
            self._loop.call_soon(self._on_change, self._change)


def _is_of_one_server(error: SteerstreamError, *, was_taken: bool) -> bool:
    """Whether another server, or this one later, may take what this one did not.

    Args:
        error: why it did not.
        was_taken: whether a server took it before. Then it is right, and what is wrong is of one
            server, whose network cannot use the camera for example, or of a file of the token or of
            TLS, which a newer one is about to replace.
    """
    if isinstance(error, _GOES_ON) or error.reason is ErrorReason.BUDGET_TOO_SMALL:
        return True
    if was_taken and isinstance(error, BadRequest):
        return True
    # A status without a reason came from no server of this kind, but from what stands in its place.
    return error.code is not None and not error.reason.is_stated


def _lost(happened: str, cause: SteerstreamError) -> SessionLost:
    """Return the end of an open session, by what the last server said or what else went wrong."""
    error = SessionLost(
        f"{happened}{cause}",
        code=cause.code,
        reason=cause.reason,
        retry_after_s=cause.retry_after_s,
    )
    error.__cause__ = cause
    return error
