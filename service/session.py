"""One vehicle's session as a state machine: no socket, no clock, no thread.

The shell (:mod:`service.stream`) tells it what happened and when; it answers with actions for the
shell to carry out. A frame goes through these stages, and :data:`TRANSITIONS` is all there is to
know of them::

    WAITING -> DECODING -> DECODED -> SUBMITTED -> ANSWERED

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

import enum
from collections import OrderedDict, deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Any

from service import limits
from service.contract import SPEED, STEERING_TORQUE, STEERING_WHEEL_ANGLE, Contract
from service.domain import (
    Command,
    ControlValues,
    ExpiringNotice,
    Frame,
    FramePolicy,
    NotStepped,
    Outcome,
    Skip,
    SkipReason,
    Stepped,
    Timings,
    Validity,
)
from service.errors import IdleError, StreamError

ALIVE_COUNTER_MODULUS = 1 << 16
REMEMBERED_ANSWERS = 64
"""Frames that a session knows again: 3 s at 20 Hz, far beyond any retransmission that still helps.
An older number is answered OUT_OF_ORDER."""

_MS = 1_000_000


class Stage(enum.Enum):
    """Where a frame is."""

    WAITING = enum.auto()
    DECODING = enum.auto()
    DECODED = enum.auto()
    SUBMITTED = enum.auto()
    ANSWERED = enum.auto()


class Event(enum.Enum):
    """What can happen to a frame."""

    REFUSE = enum.auto()
    DECODE = enum.auto()
    DECODED = enum.auto()
    UNDECODABLE = enum.auto()
    SUBMIT = enum.auto()
    STEP = enum.auto()
    FAIL = enum.auto()
    SUPERSEDE = enum.auto()
    EXPIRE = enum.auto()


TRANSITIONS: Mapping[tuple[Stage, Event], Stage] = MappingProxyType(
    {
        (Stage.WAITING, Event.REFUSE): Stage.ANSWERED,
        (Stage.WAITING, Event.DECODE): Stage.DECODING,
        (Stage.WAITING, Event.SUPERSEDE): Stage.ANSWERED,
        (Stage.WAITING, Event.EXPIRE): Stage.ANSWERED,
        (Stage.DECODING, Event.DECODED): Stage.DECODED,
        (Stage.DECODING, Event.UNDECODABLE): Stage.ANSWERED,
        (Stage.DECODING, Event.EXPIRE): Stage.ANSWERED,
        (Stage.DECODED, Event.SUBMIT): Stage.SUBMITTED,
        (Stage.DECODED, Event.EXPIRE): Stage.ANSWERED,
        (Stage.SUBMITTED, Event.STEP): Stage.ANSWERED,
        (Stage.SUBMITTED, Event.FAIL): Stage.ANSWERED,
        (Stage.SUBMITTED, Event.SUPERSEDE): Stage.ANSWERED,
        (Stage.SUBMITTED, Event.EXPIRE): Stage.ANSWERED,
        # The decoder comes to its end with a frame that was given up meanwhile.
        (Stage.ANSWERED, Event.DECODED): Stage.ANSWERED,
        (Stage.ANSWERED, Event.UNDECODABLE): Stage.ANSWERED,
    }
)
"""The stage after an event. What is not listed cannot happen, and raises KeyError."""


class Pending:
    """A frame that has no answer yet, with what is known of it so far."""

    __slots__ = (
        "deadline_ns",
        "decode_ns",
        "epoch",
        "frame",
        "pixels",
        "recall_asked",
        "reset",
        "resets_before",
        "skip",
        "stage",
        "start_by_ns",
    )

    def __init__(
        self, frame: Frame, *, deadline_ns: int, start_by_ns: int, resets_before: int
    ) -> None:
        self.frame = frame
        self.deadline_ns = deadline_ns
        self.start_by_ns = start_by_ns
        self.resets_before = resets_before
        self.stage = Stage.WAITING
        self.pixels: Any = None
        self.decode_ns = 0
        self.reset = False
        self.epoch = 0
        self.recall_asked = False
        self.skip: tuple[SkipReason, str] | None = None

    def move(self, event: Event) -> None:
        """Go to the next stage.

        Raises:
            KeyError: the event cannot happen in this stage; a fault of the caller.
        """
        self.stage = TRANSITIONS[self.stage, event]


@dataclass(frozen=True, slots=True)
class Decode:
    """Decode the frame, then call :meth:`Session.decoded` or :meth:`Session.undecodable`."""

    pending: Pending


@dataclass(frozen=True, slots=True)
class Submit:
    """Give the frame to the engine, then call :meth:`Session.finished`."""

    pending: Pending


@dataclass(frozen=True, slots=True)
class Recall:
    """Take the frame back if the engine has not begun; then call :meth:`Session.recalled`."""

    pending: Pending


@dataclass(frozen=True, slots=True)
class Send:
    """Send an answer or a notice."""

    message: Command | Skip | ExpiringNotice


@dataclass(frozen=True, slots=True)
class End:
    """End the stream with an error."""

    error: StreamError


Action = Decode | Submit | Recall | Send | End


@dataclass(frozen=True, slots=True, kw_only=True)
class Terms:
    """What was agreed when a session opened. Durations are in nanoseconds."""

    contract: Contract
    profile: limits.Profile
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
        opened_ns: the server's monotonic clock at open; every later ``now_ns`` is of that clock.
    """

    def __init__(self, terms: Terms, opened_ns: int) -> None:
        self._terms = terms
        self._budget_text = f"within the budget of {terms.budget_ns / _MS:g} ms"
        self._heads = [output.head for output in terms.contract.outputs]
        self._reset_after_ns = terms.contract.gap.reset_after_ms * _MS
        # Where frames are.
        self._waiting: deque[Pending] = deque()
        self._decoding: Pending | None = None
        self._decoded: Pending | None = None
        self._submitted: Pending | None = None
        # EVERY: all frames without an answer, oldest first.
        self._order: deque[Pending] = deque()
        # What was received.
        self._last_frame_ns = opened_ns
        self._warned_of_expiry = False
        self._sequence_number = -1
        self._capture_time_ns = -1
        self._resets = 0
        self._unanswered = 0
        # What the network has seen.
        self._epoch = 0
        self._step_count = 0
        self._applied_resets = 0
        self._seen_capture_ns = 0
        # What was answered.
        self._answers = 0
        self._held: tuple[Command, int] | None = None
        self._memory: OrderedDict[int, tuple[Command, int] | None] = OrderedDict()

    @property
    def unanswered(self) -> int:
        """Frames that have no answer yet."""
        return self._unanswered

    @property
    def step_count(self) -> int:
        """Frames that the recurrent state has seen in this epoch."""
        return self._step_count

    @property
    def state_epoch(self) -> int:
        """Resets of the recurrent state that have taken effect."""
        return self._epoch

    @property
    def next_wake_ns(self) -> int:
        """When :meth:`tick` wants to be called next."""
        idle = self._last_frame_ns + self._terms.idle_timeout_ns
        wake = idle if self._warned_of_expiry else idle - self._terms.expiring_notice_ns
        for pending in self._stoppable():
            wake = min(wake, pending.start_by_ns)
        return wake

    def receive(self, frame: Frame, step_cost_ns: int) -> list[Action]:
        """A frame came; its ``arrived_ns`` is the present time.

        Args:
            frame: the frame.
            step_cost_ns: what one step costs at present: the part of the budget that a frame needs
                from the time when the engine takes it.
        """
        self._last_frame_ns = frame.arrived_ns
        self._warned_of_expiry = False
        deadline_ns = frame.arrived_ns + self._terms.budget_ns
        # Never more than half the budget: a cost that looks higher must reach the engine to be
        # found out, which alone measures it.
        reserve_ns = min(step_cost_ns, self._terms.budget_ns // 2)
        pending = Pending(
            frame,
            deadline_ns=deadline_ns,
            start_by_ns=deadline_ns - reserve_ns,
            resets_before=self._resets,
        )
        actions: list[Action] = []
        self._unanswered += 1
        if self._terms.policy is FramePolicy.EVERY:
            self._order.append(pending)
        refusal = self._refusal(frame)
        if refusal is not None:
            pending.move(Event.REFUSE)
            self._skip(pending, *refusal, frame.arrived_ns, actions)
            return actions
        self._accept(pending, actions)
        return actions + self._advance()

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
            if self._submitted is not None and self._terms.policy is FramePolicy.LATEST:
                actions += self._recall(self._submitted)
        return actions + self._advance()

    def undecodable(self, pending: Pending, detail: str, now_ns: int) -> list[Action]:
        """The decoder found that a frame's picture cannot be used."""
        given_up = pending.stage is Stage.ANSWERED
        pending.move(Event.UNDECODABLE)
        self._decoding = None
        actions: list[Action] = []
        if not given_up:
            self._skip(pending, SkipReason.UNDECODABLE, detail, now_ns, actions)
        return actions + self._advance()

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
            command = self._stepped(pending, outcome, now_ns)
            self._answered(command, actions)
            self._release(now_ns, actions)
        return actions + self._advance()

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
        return actions + self._advance()

    def tick(self, now_ns: int) -> list[Action]:
        """Time has passed: give up what can no longer be in time, and watch for silence."""
        actions: list[Action] = []
        overdue = [item for item in self._stoppable() if item.start_by_ns <= now_ns]
        for pending in overdue:
            if pending is self._submitted:
                actions += self._recall(pending)
            else:
                self._expire(pending, now_ns, actions)
        actions += self._advance()
        return actions + self._watch_silence(now_ns)

    # Receiving.

    def _refusal(self, frame: Frame) -> tuple[SkipReason, str] | None:
        if frame.sequence_number in self._memory:
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

    def _accept(self, pending: Pending, actions: list[Action]) -> None:
        frame = pending.frame
        self._sequence_number = frame.sequence_number
        self._capture_time_ns = frame.capture_time_ns
        self._remember(frame.sequence_number, None)
        if self._terms.policy is FramePolicy.LATEST:
            if self._waiting:
                waiting = self._waiting.pop()
                waiting.move(Event.SUPERSEDE)
                self._skip(waiting, SkipReason.SUPERSEDED, _SUPERSEDED, frame.arrived_ns, actions)
        elif len(self._waiting) >= self._terms.max_waiting_frames:
            text = f"{self._terms.max_waiting_frames} frames wait already; send fewer at once"
            pending.move(Event.REFUSE)
            self._skip(pending, SkipReason.OVERLOADED, text, frame.arrived_ns, actions)
            return
        self._waiting.append(pending)

    def _advance(self) -> list[Action]:
        """Move frames on to places that have become free."""
        actions: list[Action] = []
        if self._decoded is not None and self._submitted is None:
            self._submitted, self._decoded = self._decoded, None
            self._submit(self._submitted)
            actions.append(Submit(self._submitted))
        if self._waiting and self._decoding is None and self._decoded is None:
            self._decoding = self._waiting.popleft()
            self._decoding.move(Event.DECODE)
            actions.append(Decode(self._decoding))
        return actions

    def _submit(self, pending: Pending) -> None:
        """Decide from what state the step begins; it becomes true when the step is committed."""
        pending.move(Event.SUBMIT)
        resets = pending.resets_before - self._applied_resets
        if resets == 0 and self._step_count > 0:
            gap_ns = pending.frame.capture_time_ns - self._seen_capture_ns
            resets = int(gap_ns > self._reset_after_ns)
        pending.epoch = self._epoch + resets
        pending.reset = resets > 0 or self._step_count == 0

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

    def _watch_silence(self, now_ns: int) -> list[Action]:
        ends_ns = self._last_frame_ns + self._terms.idle_timeout_ns
        if now_ns >= ends_ns:
            seconds = self._terms.idle_timeout_ns / 1e9
            return [End(IdleError(f"no frame came for {seconds:g} s; open a new session"))]
        if now_ns >= ends_ns - self._terms.expiring_notice_ns and not self._warned_of_expiry:
            self._warned_of_expiry = True
            return [Send(ExpiringNotice((ends_ns - now_ns) // _MS))]
        return []

    # Answering.

    def _skip(
        self,
        pending: Pending,
        reason: SkipReason,
        detail: str,
        now_ns: int,
        actions: list[Action],
    ) -> None:
        if self._terms.policy is FramePolicy.EVERY:
            pending.skip = (reason, detail)
            self._release(now_ns, actions)
        else:
            self._answered(self._skipped(pending.frame, reason, detail, now_ns), actions)

    def _release(self, now_ns: int, actions: list[Action]) -> None:
        """EVERY: send the skips that only waited for the frames before them."""
        while self._order and (skip := self._order[0].skip) is not None:
            self._answered(self._skipped(self._order[0].frame, *skip, now_ns), actions)

    def _answered(self, answer: Command | Skip, actions: list[Action]) -> None:
        if self._terms.policy is FramePolicy.EVERY:
            # Frames go to the engine in order, so this one is the oldest.
            self._order.popleft()
        self._unanswered -= 1
        actions.append(Send(answer))

    def _stepped(self, pending: Pending, outcome: Stepped, now_ns: int) -> Command:
        """Advance what the network has seen, and make the command."""
        frame = pending.frame
        previous = self._previous(pending)
        self._epoch = pending.epoch
        self._applied_resets = pending.resets_before
        self._step_count = 1 if pending.reset else self._step_count + 1
        self._seen_capture_ns = frame.capture_time_ns
        raw = _control_values(self._heads, outcome.outputs)
        timings = _timings(pending, outcome, now_ns)
        if not limits.is_plausible(outcome.outputs, self._terms.contract.outputs):
            return self._unusable(frame, raw, timings, now_ns)
        limited, active = limits.apply(
            raw,
            self._terms.profile,
            vehicle_speed_mps=frame.vehicle_speed_mps,
            previous=previous,
        )
        warm = self._step_count > self._terms.contract.warm_up_steps
        command = Command(
            sequence_number=frame.sequence_number,
            capture_time_ns=frame.capture_time_ns,
            raw=raw,
            limited=limited,
            active_limits=active,
            validity=Validity.VALID if warm else Validity.WARMING_UP,
            age_ms=timings.total_ns / _MS,
            alive_counter=self._count_answer(),
            state_epoch=self._epoch,
            step_count=self._step_count,
            timings=timings,
        )
        self._held = (command, frame.arrived_ns)
        self._remember(frame.sequence_number, self._held)
        return command

    def _previous(self, pending: Pending) -> limits.Previous | None:
        if pending.reset or self._held is None:
            return None
        last = self._held[0]
        interval_ns = pending.frame.capture_time_ns - last.capture_time_ns
        return limits.Previous(last.limited, interval_ns / 1e9)

    def _unusable(self, frame: Frame, raw: ControlValues, timings: Timings, now_ns: int) -> Command:
        """The network said something that no vehicle should follow."""
        values, arrived_ns, validity = ControlValues(), frame.arrived_ns, Validity.FALLBACK
        if self._held is not None:
            values, arrived_ns, validity = self._held[0].limited, self._held[1], Validity.HELD
        command = Command(
            sequence_number=frame.sequence_number,
            capture_time_ns=frame.capture_time_ns,
            raw=raw,
            limited=values,
            active_limits=(),
            validity=validity,
            age_ms=(now_ns - arrived_ns) / _MS,
            alive_counter=self._count_answer(),
            state_epoch=self._epoch,
            step_count=self._step_count,
            timings=timings,
        )
        self._remember(frame.sequence_number, (command, arrived_ns))
        return command

    def _skipped(self, frame: Frame, reason: SkipReason, detail: str, now_ns: int) -> Skip:
        first = self._memory.get(frame.sequence_number)
        if reason is SkipReason.DUPLICATE and first is not None:
            held = self._again(first, first[0].validity, frame, now_ns)
        elif self._held is not None:
            held = self._again(self._held, Validity.HELD, frame, now_ns)
        else:
            held = None
            self._count_answer()
        return Skip(frame.sequence_number, frame.capture_time_ns, reason, detail, held)

    def _again(
        self, answer: tuple[Command, int], validity: Validity, frame: Frame, now_ns: int
    ) -> Command:
        """An earlier command, counted and aged anew; numbers and values are of its own frame."""
        command, arrived_ns = answer
        total_ns = now_ns - frame.arrived_ns
        return replace(
            command,
            validity=validity,
            age_ms=(now_ns - arrived_ns) / _MS,
            alive_counter=self._count_answer(),
            timings=Timings(total_ns, 0, 0, total_ns, 0),
        )

    def _count_answer(self) -> int:
        self._answers += 1
        return self._answers % ALIVE_COUNTER_MODULUS

    def _remember(self, number: int, answer: tuple[Command, int] | None) -> None:
        self._memory[number] = answer
        if len(self._memory) > REMEMBERED_ANSWERS:
            self._memory.popitem(last=False)


_SUPERSEDED = "a newer frame took its place"


def _control_values(heads: Sequence[str], outputs: Sequence[float]) -> ControlValues:
    values = dict(zip(heads, outputs, strict=True))
    return ControlValues(
        values.get(STEERING_WHEEL_ANGLE), values.get(SPEED), values.get(STEERING_TORQUE)
    )


def _timings(pending: Pending, outcome: Stepped, now_ns: int) -> Timings:
    arrived_ns = pending.frame.arrived_ns
    queue_ns = outcome.began_ns - arrived_ns - pending.decode_ns
    return Timings(
        queue_ns, pending.decode_ns, outcome.infer_ns, now_ns - arrived_ns, outcome.batch_size
    )
