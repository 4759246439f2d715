"""One vehicle's session as a state machine: no socket, no clock, no thread.

The shell (`stream`) tells it what happened and when; it answers with the actions of
`actions` for the shell to carry out. A frame goes through the stages of
`frame_stages`; what a frame is answered is made in `answers`.

A session keeps at most one frame with the decoder, one that is decoded, and one with the engine, so
that decoding overlaps with the step before. Under LATEST at most one more waits, and a decoded
frame takes the place of one that the engine has not begun. Under EVERY a bounded number waits.

Rules:

- Every frame gets exactly one answer. Under EVERY the answers come in the order of the frames;
  under LATEST as soon as they are known.
- The recurrent state has seen the frames that got a command from the network, and no others.
- A reset takes effect with the first frame after it that the network sees. So does a gap between
  two seen frames that is longer than the contract allows.
- A frame that would miss its budget is given up before it costs a step, and answered in time.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

from steerstream_bundle.contract import Contract
from steerstream_service.domain import (
    NEVER_NS,
    Command,
    Frame,
    FramePolicy,
    NotStepped,
    Outcome,
    Skip,
    SkipReason,
)
from steerstream_service.session.actions import Action, Decode, Recall, Send, Submit
from steerstream_service.session.answers import Answers
from steerstream_service.session.frame_stages import Event, Pending, Stage
from steerstream_service.session.idleness import Silence
from steerstream_service.session.recurrence import Recurrence
from steerstream_service.session.vehicle_limits import Profile

_MS = 1_000_000
_ANSWER_NS = _MS
"""From the time when a frame is given up to its answer: the event loop's timer has whole ms."""
_SUPERSEDED = "a newer frame took its place"
_SURPLUS = "the server is busy, and this is more than the stated rate; state it when opening"


@dataclass(frozen=True, slots=True, kw_only=True)
class Terms:
    """What was agreed when a session opened. Durations are in nanoseconds."""

    contract: Contract
    profile: Profile
    policy: FramePolicy
    budget_ns: int
    max_waiting_frames: int
    idle_timeout_ns: int
    expiring_notice_ns: int


class Session:
    """A vehicle's session, from open to the end of its stream.

    Every method that is told of an event returns the actions that follow from it, in order.

    Args:
        terms: what was agreed.
        opened_ns: the server's monotonic clock at open; every later `now_ns` is of that clock.
    """

    def __init__(self, terms: Terms, opened_ns: int) -> None:
        self._terms = terms
        self._in_order = terms.policy is FramePolicy.EVERY
        self._budget_text = f"within the budget of {terms.budget_ns / _MS:g} ms"
        self._recurrence = Recurrence(
            terms.contract.gap.reset_after_ms * _MS, 1 / terms.contract.rate_hz
        )
        self._answers = Answers(terms.contract, terms.profile, self._recurrence)
        self._silence = Silence(
            idle_timeout_ns=terms.idle_timeout_ns,
            expiring_notice_ns=terms.expiring_notice_ns,
            now_ns=opened_ns,
        )
        # Where frames are.
        self._waiting: deque[Pending] = deque()
        self._decoding: Pending | None = None
        self._decoded: Pending | None = None
        self._submitted: Pending | None = None
        # EVERY: all frames without an answer, oldest first.
        self._order: deque[Pending] = deque()
        # What was received.
        self._sequence_number = -1
        self._capture_time_ns = -1
        self._resets = 0
        self._unanswered = 0

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
        """When `tick` wants to be called for the frames that are here; else `NEVER_NS`.

        A frame that is yet to come wants it no sooner than half a budget after its arrival.
        """
        return min((pending.start_by_ns for pending in self._stoppable()), default=NEVER_NS)

    @property
    def silence_ns(self) -> int:
        """When `tick` wants to be called if no frame comes."""
        return self._silence.next_wake_ns

    def receive(self, frame: Frame, step_cost_ns: int, *, is_surplus: bool = False) -> list[Action]:
        """A frame came; its `arrived_ns` is the present time.

        Args:
            frame: the frame.
            step_cost_ns: what one step costs at present: the part of the budget that a frame needs
                from the time when the engine takes it.
            is_surplus: whether it came faster than the session's stated rate to a busy server.
        """
        self._silence.broken(frame.arrived_ns)
        deadline_ns = frame.arrived_ns + self._terms.budget_ns
        # Never more than half the budget: a cost that looks higher must reach the engine to be
        # found out, which alone measures it.
        reserve_ns = min(step_cost_ns + _ANSWER_NS, self._terms.budget_ns // 2)
        pending = Pending(frame, deadline_ns, deadline_ns - reserve_ns, self._resets)
        actions: list[Action] = []
        self._unanswered += 1
        if self._in_order:
            self._order.append(pending)
        refusal = self._refusal(frame)
        if refusal is not None:
            pending.move(Event.REFUSE)
            self._skip(pending, *refusal, frame.arrived_ns, actions)
            return actions
        self._accept(pending, actions, is_surplus=is_surplus)
        return self._advance(actions)

    def reset(self) -> None:
        """A reset came. Frames received before it are still answered from the old state."""
        self._resets += 1

    def decoded(self, pending: Pending, pixels: object, decode_ns: int) -> list[Action]:
        """The decoder is done with a frame."""
        pending.move(Event.DECODED)
        self._decoding = None
        actions: list[Action] = []
        if pending.stage is Stage.DECODED:
            pending.pixels, pending.decode_ns = pixels, decode_ns
            self._decoded = pending
            if self._submitted is not None and not self._in_order:
                actions += self._recall(self._submitted)
        return self._advance(actions)

    def undecodable(self, pending: Pending, detail: str, now_ns: int) -> list[Action]:
        """The decoder found that a frame's picture cannot be used."""
        given_up = pending.stage is Stage.ANSWERED
        pending.move(Event.UNDECODABLE)
        self._decoding = None
        actions: list[Action] = []
        if not given_up:
            self._skip(pending, SkipReason.UNDECODABLE, detail, now_ns, actions)
        return self._advance(actions)

    def finished(self, pending: Pending, outcome: Outcome, now_ns: int) -> list[Action]:
        """The engine is done with a frame."""
        self._submitted = None
        actions: list[Action] = []
        if isinstance(outcome, NotStepped):
            late = outcome.reason is SkipReason.LATE
            pending.move(Event.EXPIRE if late else Event.FAIL)
            self._skip(pending, outcome.reason, outcome.detail, now_ns, actions)
        else:
            pending.move(Event.STEP)
            self._recurrence.advance(pending)
            self._answered(self._answers.command(pending, outcome, now_ns), actions)
            self._release(now_ns, actions)
        return self._advance(actions)

    def recalled(self, pending: Pending, now_ns: int) -> list[Action]:
        """The engine gave a frame back that it had not begun."""
        self._submitted = None
        actions: list[Action] = []
        if now_ns >= pending.start_by_ns:
            pending.move(Event.EXPIRE)
            self._skip(pending, SkipReason.LATE, self._late_text(), now_ns, actions)
        else:
            pending.move(Event.SUPERSEDE)
            self._skip(pending, SkipReason.SUPERSEDED, _SUPERSEDED, now_ns, actions)
        return self._advance(actions)

    def tick(self, now_ns: int) -> list[Action]:
        """Time has passed: give up what can no longer be in time, and watch for silence."""
        actions: list[Action] = []
        overdue = [item for item in self._stoppable() if item.start_by_ns <= now_ns]
        for pending in overdue:
            if pending is self._submitted:
                actions += self._recall(pending)
            else:
                self._expire(pending, now_ns, actions)
        self._advance(actions)
        return actions + self._silence.tick(now_ns)

    # Receiving.

    def _refusal(self, frame: Frame) -> tuple[SkipReason, str] | None:
        if self._answers.knows(frame.sequence_number):
            return SkipReason.DUPLICATE, "a frame of this number was seen before"
        if frame.sequence_number <= self._sequence_number:
            return (
                SkipReason.OUT_OF_ORDER,
                f"sequence_number must be above {self._sequence_number}, the last one",
            )
        if frame.capture_time_ns <= self._capture_time_ns:
            return (
                SkipReason.OUT_OF_ORDER,
                f"capture_time_ns must be above {self._capture_time_ns}, the last one",
            )
        return None

    def _accept(self, pending: Pending, actions: list[Action], *, is_surplus: bool) -> None:
        frame = pending.frame
        self._sequence_number = frame.sequence_number
        self._capture_time_ns = frame.capture_time_ns
        self._answers.expect(frame.sequence_number)
        text = self._overload(is_surplus=is_surplus)
        if text is not None:
            pending.move(Event.REFUSE)
            self._skip(pending, SkipReason.OVERLOADED, text, frame.arrived_ns, actions)
            return
        if self._waiting and not self._in_order:
            waiting = self._waiting.pop()
            waiting.move(Event.SUPERSEDE)
            self._skip(waiting, SkipReason.SUPERSEDED, _SUPERSEDED, frame.arrived_ns, actions)
        self._waiting.append(pending)

    def _overload(self, *, is_surplus: bool) -> str | None:
        if not self._in_order:
            return _SURPLUS if is_surplus else None
        if len(self._waiting) >= self._terms.max_waiting_frames:
            return f"{self._terms.max_waiting_frames} frames wait already; send fewer at once"
        return None

    def _advance(self, actions: list[Action]) -> list[Action]:
        """Move frames on to places that have become free; returns the actions, with its own."""
        if self._decoded is not None and self._submitted is None:
            self._submitted, self._decoded = self._decoded, None
            self._submitted.move(Event.SUBMIT)
            self._recurrence.begin(self._submitted)
            actions.append(Submit(self._submitted))
        if self._waiting and self._decoding is None and self._decoded is None:
            self._decoding = self._waiting.popleft()
            self._decoding.move(Event.DECODE)
            actions.append(Decode(self._decoding))
        return actions

    # Giving up.

    def _stoppable(self) -> list[Pending]:
        """Frames that may still be given up, oldest first."""
        places = (self._submitted, self._decoded, self._decoding, *self._waiting)
        return [
            pending
            for pending in places
            if pending is not None
            and pending.stage is not Stage.ANSWERED
            and not pending.recall_asked
        ]

    def _recall(self, pending: Pending) -> list[Action]:
        if pending.recall_asked:
            return []
        pending.recall_asked = True
        return [Recall(pending)]

    def _expire(self, pending: Pending, now_ns: int, actions: list[Action]) -> None:
        pending.move(Event.EXPIRE)
        if pending is self._decoded:
            self._decoded = None
        elif pending is not self._decoding:
            self._waiting.remove(pending)
        self._skip(pending, SkipReason.LATE, self._late_text(), now_ns, actions)

    def _late_text(self) -> str:
        return f"no answer was possible {self._budget_text}; hold the last command"

    # Answering.

    def _skip(
        self,
        pending: Pending,
        reason: SkipReason,
        detail: str,
        now_ns: int,
        actions: list[Action],
    ) -> None:
        if self._in_order:
            pending.skip = (reason, detail)
            self._release(now_ns, actions)
        else:
            self._answered(self._answers.skip(pending.frame, reason, detail, now_ns), actions)

    def _release(self, now_ns: int, actions: list[Action]) -> None:
        """EVERY: send the skips that only waited for the frames before them."""
        while self._order and (skip := self._order[0].skip) is not None:
            self._answered(self._answers.skip(self._order[0].frame, *skip, now_ns), actions)

    def _answered(self, answer: Command | Skip, actions: list[Action]) -> None:
        if self._in_order:
            # Frames go to the engine in order, so this one is the oldest.
            self._order.popleft()
        self._unanswered -= 1
        actions.append(Send(answer))
