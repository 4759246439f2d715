"""One vehicle's session as a state machine: no socket, no clock, no thread.

The stream (`transport/stream.py`) tells the session what happened and when. The session answers
with actions, which the stream carries out. `frame_stages` lists the stages of a frame and the
actions; `answers` makes the commands and skips.

A session keeps at most one frame with the decoder, one that is ready, and one with the engine, so
that a frame is decoded while the one before it is stepped. Under LATEST at most one more waits, a
new frame replaces one that the decoder has not begun, and a ready one replaces one that the engine
has not begun. Under EVERY a bounded number waits.

Rules:

- Every frame gets exactly one answer. Under EVERY the answers come in the order of the frames;
  under LATEST as soon as they are known.
- The recurrent state has seen the frames that got a command from the network, and no others.
- A reset takes effect with the first frame after it that the network sees. So does a gap between
  two seen frames that is longer than the contract allows.
- A frame that would miss its budget is given up before it costs a step, and before it is decoded
  where that can be known by then; it is answered in time.
- Frames that an earlier session of the vehicle had are stepped in order, under LATEST too, and keep
  no budget. They come before all others.
- The first of them may be those that the state of a ticket has seen already: they make its rings
  again, and the rest of the state is put in its place after them.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

from steerstream_bundle.contract import Contract
from steerstream_service.domain import (
    NEVER_NS,
    Command,
    ExpiringNotice,
    FramePolicy,
    NotStepped,
    Skip,
    SkipReason,
)
from steerstream_service.errors import BadTicketError, IdleError, InternalError
from steerstream_service.session.answers import Answers
from steerstream_service.session.capture_clock import CaptureClock
from steerstream_service.session.frame_stages import (
    Action,
    Decode,
    End,
    Event,
    FrameRecord,
    Issue,
    Recall,
    Send,
    Stage,
    Submit,
)
from steerstream_service.session.recurrence import Recurrence
from steerstream_service.session.ticket import SessionState, TicketSchedule, ticket_bytes
from steerstream_service.session.vehicle_limits import Profile

_MS = 1_000_000
_ANSWER_NS = _MS
"""From the time when a frame is given up to its answer: the event loop's timer has whole ms."""
_SUPERSEDED = "a newer frame took its place"
_REPLAY_NS = 10_000 * _MS
"""What a replayed frame may take: so long that none is late that a vehicle still waits for, and
that it goes after the frames of other sessions that keep a budget."""
MAX_REPLAYED = 1024
"""Frames that a session may play again: 51 s at 20 Hz, as long as a ticket is of use."""
_UNREAD = "the client does not take its answers; read them, and send frames no faster"
_WANTED = (
    "the ticket cannot be used: frame {} must be played again next, for what the ticket leaves out "
    "of the state; send the frames from its replay_from on, or open without a ticket"
)
_NOT_MADE = "the state cannot be made again, open without a ticket; frame {} was not stepped"


@dataclass(frozen=True, slots=True, kw_only=True)
class Terms:
    """The terms that a session was granted when it opened. Durations are in nanoseconds."""

    contract: Contract
    profile: Profile
    policy: FramePolicy
    budget_ns: int
    max_waiting_frames: int
    idle_timeout_ns: int
    expiring_notice_ns: int
    ticket_every_frames: int
    ring_length: int
    """Frames that the vehicle plays again for the rings of a ticket's state; 0 where tickets hold
    the rings."""
    with_horizon: bool
    """Whether commands bring what the network says comes next, if it says that."""


class Session:
    """A vehicle's session, from open to the end of its stream.

    Every method that is told of an event returns the actions that follow from it, in order.

    Args:
        terms: what was agreed.
        opened_ns: the server's monotonic clock at open; every later `now_ns` is of that clock.
        resumed: what an earlier session of the vehicle left; None to begin.
    """

    def __init__(self, terms: Terms, opened_ns: int, resumed: SessionState | None = None) -> None:
        self._terms = terms
        self._in_order = terms.policy is FramePolicy.EVERY
        self._budget_text = f"within the budget of {terms.budget_ns / _MS:g} ms"
        self._recurrence = Recurrence(
            terms.contract.gap.reset_after_ms * _MS, 1 / terms.contract.rate_hz, terms.ring_length
        )
        is_live = not self._in_order
        self._capture_clock = CaptureClock(is_live=is_live)
        self._answers = Answers(
            terms.contract,
            terms.profile,
            self._recurrence,
            is_live=is_live,
            with_horizon=terms.with_horizon,
        )
        self._idleness = _Idleness(terms, opened_ns)
        # Where frames are.
        self._waiting: deque[FrameRecord] = deque()
        self._decoding: FrameRecord | None = None
        self._ready: FrameRecord | None = None
        self._submitted: FrameRecord | None = None
        self._served_ns = 0
        # EVERY: all frames without an answer, oldest first.
        self._order: deque[FrameRecord] = deque()
        # What was received.
        self._sequence_number = -1
        self._resets = 0
        self._unanswered = 0
        self._replayed = 0
        self._plays_again = True
        self._tickets = TicketSchedule(
            terms.ticket_every_frames, ticket_bytes(terms.contract, terms.ring_length)
        )
        # The recurrent state of a ticket until a step has put it into the pool.
        self._state: bytes | None = None
        # Numbers of the frames that have to come first, for the rings of that state.
        self._wanted: deque[int] = deque()
        if resumed is not None:
            self._recurrence.resume(resumed)
            self._answers.resume(resumed, opened_ns)
            self._sequence_number = resumed.sequence_number
            self._state = resumed.tensors
            if resumed.ring_frames:
                self._wanted.extend(resumed.ring_frames)
                self._sequence_number = resumed.ring_frames[0] - 1

    @property
    def unanswered(self) -> int:
        """Frames that have no answer yet."""
        return self._unanswered

    @property
    def step_count(self) -> int:
        """Frames that the recurrent state has seen in this epoch."""
        return self._recurrence.step_count

    @property
    def state_epoch(self) -> int:
        """Resets of the recurrent state that have taken effect."""
        return self._recurrence.epoch

    @property
    def give_up_ns(self) -> int:
        """When `tick` has to be called for the frames that are here; `NEVER_NS` if there are none.

        A frame that is yet to come needs it no sooner than half a budget after its arrival.
        """
        return min((record.start_by_ns for record in self._stoppable()), default=NEVER_NS)

    @property
    def idle_check_ns(self) -> int:
        """When `tick` has to be called if no frame comes."""
        return self._idleness.check_ns

    def receive(
        self,
        record: FrameRecord,
        step_cost_ns: int,
        *,
        refusal: str | None = None,
        is_unread: bool = False,
        pause_ns: int = 0,
    ) -> list[Action]:
        """A frame came; its `arrived_ns` is the present time.

        Args:
            record: the frame, which is the session's from now on.
            step_cost_ns: what one step costs at present: the part of the budget that a frame needs
                from the time when the engine takes it.
            refusal: why the server has no time for it, where it may be left out; None if it has.
            is_unread: whether too many answers wait for the client to take them.
            pause_ns: for how long no other frame is read, which does not count as idle.
        """
        self._idleness.frame_came(record.arrived_ns + pause_ns)
        if self._wanted:
            wanted = self._wanted.popleft()
            if not record.is_replayed or record.sequence_number != wanted:
                return [End(BadTicketError(_WANTED.format(wanted)))]
            record.is_for_rings = True
        budget_ns = self._terms.budget_ns
        if record.is_replayed:
            budget_ns = max(budget_ns, _REPLAY_NS)
        record.deadline_ns = record.arrived_ns + budget_ns
        # Never more than half the budget: only the engine measures the cost, so a cost that looks
        # too high has to let frames through to it, or it would never be corrected.
        reserve_ns = min(step_cost_ns + _ANSWER_NS, budget_ns // 2)
        record.start_by_ns = record.deadline_ns - reserve_ns
        record.turn_ns = record.deadline_ns
        record.served_ns = self._served_ns
        record.resets_before = self._resets
        actions: list[Action] = []
        self._unanswered += 1
        if self._in_order:
            self._order.append(record)
        fault = self._fault(record)
        if fault is not None:
            record.is_faulty = True
            record.move(Event.REFUSE)
            self._skip(record, *fault, record.arrived_ns, actions)
            return actions
        text = self._overload(record, refusal, is_unread=is_unread)
        self._accept(record, text, actions)
        return self._advance(actions)

    def reset(self, count: int = 1) -> None:
        """A reset came. Frames received before it are still answered from the old state.

        Nothing is left of a ticket's state then, so its rings need not be made again.

        Args:
            count: how many resets in a row it stands for.
        """
        self._resets += count
        self._wanted.clear()

    def hurry_ticket(self) -> None:
        """The session is about to end here: its next state goes to the vehicle."""
        self._tickets.hurry()

    def let_go_of_pictures(self) -> None:
        """The session has ended: its frames may be in memory until the next collection."""
        for record in (self._submitted, self._ready, self._decoding, *self._waiting):
            if record is not None:
                record.image = None

    def decoded(self, record: FrameRecord, now_ns: int) -> list[Action]:
        """The decoder gave a frame back, with its pixels or with why there are none."""
        assert record is self._decoding, "the decoder holds one frame of a session"
        self._decoding = None
        given_up = record.stage is Stage.ANSWERED
        record.move(Event.DECODED if record.undecodable is None else Event.UNDECODABLE)
        actions: list[Action] = []
        if record.stage is Stage.READY:
            self._ready = record
            if self._submitted is not None and not self._keeps(self._submitted):
                actions += self._recall(self._submitted)
        elif not given_up:
            self._skip(record, SkipReason.UNDECODABLE, str(record.undecodable), now_ns, actions)
        return self._advance(actions)

    def finished(self, record: FrameRecord, now_ns: int) -> list[Action]:
        """The engine gave a frame back, with its outcome."""
        assert record is self._submitted, "the engine holds one frame of a session"
        self._submitted = None
        outcome = record.outcome
        actions: list[Action] = []
        if isinstance(outcome, NotStepped):
            late = outcome.reason is SkipReason.LATE
            record.move(Event.EXPIRE if late else Event.FAIL)
            self._skip(record, outcome.reason, outcome.detail, now_ns, actions)
        else:
            record.move(Event.STEP)
            self._served_ns = now_ns
            if not record.is_for_rings:
                self._state = None
            self._recurrence.advance(record)
            self._answered(self._answers.command(record, outcome, now_ns), actions)
            if outcome.state is not None:
                self._tickets.issued()
                ring_frames = self._recurrence.ring_frames or ()
                state = self._answers.state(record, outcome.state, ring_frames, now_ns)
                actions.append(Issue(state))
            self._release(now_ns, actions)
        return self._advance(actions)

    def recalled(self, record: FrameRecord, now_ns: int) -> list[Action]:
        """A frame came back that its decoder, or the engine, had not begun."""
        if record is self._decoding:
            self._decoding = None
            if self._waiting:
                # Frames that come faster than turns would wait for ever at the end of the queue.
                self._waiting[0].turn_ns = min(record.turn_ns, self._waiting[0].turn_ns)
        else:
            assert record is self._submitted, "the engine holds one frame of a session"
            self._submitted = None
        actions: list[Action] = []
        if record.stage is Stage.ANSWERED:
            pass
        elif now_ns >= record.start_by_ns:
            record.move(Event.EXPIRE)
            self._skip(record, SkipReason.LATE, self._late_text(), now_ns, actions)
        else:
            record.move(Event.SUPERSEDE)
            self._skip(record, SkipReason.SUPERSEDED, _SUPERSEDED, now_ns, actions)
        return self._advance(actions)

    def given_up(self, record: FrameRecord, now_ns: int) -> list[Action]:
        """The frame was not decoded, because its answer would be late."""
        assert record is self._decoding, "the decoder holds one frame of a session"
        self._decoding = None
        actions: list[Action] = []
        if record.stage is not Stage.ANSWERED:
            record.move(Event.EXPIRE)
            self._skip(record, SkipReason.LATE, self._late_text(), now_ns, actions)
        return self._advance(actions)

    def tick(self, now_ns: int) -> list[Action]:
        """Time has passed: give up frames that would be late, and end an idle session."""
        actions: list[Action] = []
        overdue = [record for record in self._stoppable() if record.start_by_ns <= now_ns]
        for record in overdue:
            if record is self._submitted:
                actions += self._recall(record)
            else:
                self._expire(record, now_ns, actions)
                if record is self._decoding:
                    actions.append(Recall(record))
        self._advance(actions)
        return actions + self._idleness.tick(now_ns)

    # Receiving.

    def _fault(self, record: FrameRecord) -> tuple[SkipReason, str] | None:
        if self._answers.knows(record.sequence_number):
            return SkipReason.DUPLICATE, "a frame of this number was seen before"
        if record.sequence_number <= self._sequence_number:
            return (
                SkipReason.OUT_OF_ORDER,
                f"sequence_number must be above {self._sequence_number}, the last one",
            )
        invalid = record.invalid or self._replay_refusal(record)
        if invalid is not None:
            return SkipReason.INVALID_FIELD, invalid
        return self._capture_clock.refusal(
            record.capture_time_ns, record.arrived_ns, is_replayed=record.is_replayed
        )

    def _replay_refusal(self, record: FrameRecord) -> str | None:
        if not record.is_replayed:
            self._plays_again = False
        elif not self._plays_again:
            return "frame.replayed must not be set after a frame that was not replayed"
        elif self._replayed >= MAX_REPLAYED:
            return f"frame.replayed may be set for {MAX_REPLAYED} frames of a session"
        self._replayed += record.is_replayed
        return None

    def _keeps(self, record: FrameRecord) -> bool:
        """Whether a newer frame does not take this one's place."""
        return self._in_order or record.is_replayed

    def _accept(self, record: FrameRecord, overload: str | None, actions: list[Action]) -> None:
        self._sequence_number = record.sequence_number
        self._answers.expect(record.sequence_number)
        if overload is not None:
            record.move(Event.REFUSE)
            self._skip(record, SkipReason.OVERLOADED, overload, record.arrived_ns, actions)
            return
        if self._waiting and not self._keeps(self._waiting[-1]):
            waiting = self._waiting.pop()
            waiting.move(Event.SUPERSEDE)
            self._skip(waiting, SkipReason.SUPERSEDED, _SUPERSEDED, record.arrived_ns, actions)
        self._tickets.received(0 if record.image is None else record.image.size_bytes)
        self._waiting.append(record)
        decoding = self._decoding
        if decoding is not None and not self._keeps(decoding):
            actions.append(Recall(decoding))

    def _overload(self, record: FrameRecord, refusal: str | None, *, is_unread: bool) -> str | None:
        if is_unread:
            return _UNREAD
        if not self._keeps(record):
            return refusal
        if len(self._waiting) >= self._terms.max_waiting_frames:
            return f"{self._terms.max_waiting_frames} frames wait already; send fewer at once"
        return None

    def _advance(self, actions: list[Action]) -> list[Action]:
        """Move frames on to places that have become free; returns the actions, with its own."""
        if self._ready is not None and self._submitted is None:
            self._submitted, self._ready = self._ready, None
            self._submitted.move(Event.SUBMIT)
            self._prepare(self._submitted)
            actions.append(Submit(self._submitted))
        if self._waiting and self._decoding is None and self._ready is None:
            self._decoding = self._waiting.popleft()
            self._decoding.move(Event.DECODE)
            actions.append(Decode(self._decoding))
        return actions

    def _prepare(self, record: FrameRecord) -> None:
        """Decide from what state a step begins, when it acts, and whether its state is saved."""
        recurrence = self._recurrence
        recurrence.begin(record)
        record.act_in_s = self._terms.contract.act_in_s(record.stated_act_in_s)
        if record.is_for_rings:
            return
        record.state = self._state
        record.saves_state = self._tickets.is_due and (
            record.reset or recurrence.ring_frames is not None
        )
        record.saves_rings = not self._terms.ring_length

    # Giving up.

    def _stoppable(self) -> list[FrameRecord]:
        """Frames that may still be given up, oldest first."""
        places = (self._submitted, self._ready, self._decoding, *self._waiting)
        return [
            record
            for record in places
            if record is not None and record.stage is not Stage.ANSWERED and not record.recall_asked
        ]

    def _recall(self, record: FrameRecord) -> list[Action]:
        if record.recall_asked:
            return []
        record.recall_asked = True
        return [Recall(record)]

    def _expire(self, record: FrameRecord, now_ns: int, actions: list[Action]) -> None:
        record.move(Event.EXPIRE)
        if record is self._ready:
            self._ready = None
        elif record is not self._decoding:
            self._waiting.remove(record)
        self._skip(record, SkipReason.LATE, self._late_text(), now_ns, actions)

    def _late_text(self) -> str:
        return f"no answer was possible {self._budget_text}; hold the last command"

    # Answering.

    def _skip(
        self,
        record: FrameRecord,
        reason: SkipReason,
        detail: str,
        now_ns: int,
        actions: list[Action],
    ) -> None:
        if record.is_for_rings:
            error = InternalError if reason is SkipReason.FAILED else BadTicketError
            actions.append(End(error(f"{_NOT_MADE.format(record.sequence_number)}: {detail}")))
            return
        if self._in_order:
            record.skip = (reason, detail)
            self._release(now_ns, actions)
        else:
            answer = self._answers.skip(record, reason, detail, now_ns)
            answer.is_overdue = (
                reason is SkipReason.SUPERSEDED
                and 2 * (now_ns - record.arrived_ns) >= self._terms.budget_ns
            )
            self._answered(answer, actions)

    def _release(self, now_ns: int, actions: list[Action]) -> None:
        """EVERY: send the skips that only waited for the frames before them."""
        while self._order and (skip := self._order[0].skip) is not None:
            self._answered(self._answers.skip(self._order[0], *skip, now_ns), actions)

    def _answered(self, answer: Command | Skip, actions: list[Action]) -> None:
        if self._in_order:
            # Frames go to the engine in order, so this one is the oldest.
            self._order.popleft()
        self._unanswered -= 1
        actions.append(Send(answer))


class _Idleness:
    """Ends a session that sends no frames: a notice first, then the end.

    Args:
        terms: what was agreed.
        now_ns: the present time.
    """

    def __init__(self, terms: Terms, now_ns: int) -> None:
        self._timeout_ns = terms.idle_timeout_ns
        self._notice_after_ns = terms.idle_timeout_ns - terms.expiring_notice_ns
        self.frame_came(now_ns)

    def frame_came(self, now_ns: int) -> None:
        """Start counting again."""
        self._since_ns = now_ns
        self._noticed = False
        self.check_ns = now_ns + self._notice_after_ns
        """When `tick` has to be called next."""

    def tick(self, now_ns: int) -> list[Action]:
        """Time has passed."""
        ends_ns = self._since_ns + self._timeout_ns
        if now_ns >= ends_ns:
            seconds = self._timeout_ns / 1e9
            return [End(IdleError(f"no frame came for {seconds:g} s; open a new session"))]
        if now_ns < self.check_ns or self._noticed:
            return []
        self._noticed = True
        self.check_ns = ends_ns
        return [Send(ExpiringNotice((ends_ns - now_ns) // _MS))]
