"""The reference model: what every history keeps, whatever goes wrong in it.

It knows the wire contract and nothing of how client and server keep it. `INVARIANTS` lists what is
checked; each has a test that plants a fault and sees it found (`test_planted_faults.py`).
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple, TypeGuard

import grpc

from steerstream import (
    Action,
    Bounds,
    Command,
    DriveState,
    FrameAnswer,
    Skipped,
    SkipReason,
    Validity,
)
from steerstream.checksum import ALIVE_COUNTER_MODULUS, command_checksum
from steerstream.v1 import command_pb2
from steerstream_service.domain import ControlValues
from steerstream_service.session import vehicle_limits
from tests.histories.loop import MS
from tests.histories.records import (
    Changed,
    Ended,
    Got,
    History,
    Judged,
    Sent,
    ServerRecord,
    StreamRecord,
    Told,
    VehicleRecord,
    WasReset,
)
from tests.histories.stepper import (
    CONTRACT,
    PERIOD_MS,
    RESET_AFTER_MS,
    RING_LENGTH,
    WARM_UP_STEPS,
    State,
    fold,
    outputs,
)

INVARIANTS = {
    "ends": "the history ends: nobody waits for ever",
    "clean": "no exception is left to nobody, and nothing is logged as an error",
    "given back": "sessions, slots, load, streams and frames are back at zero",
    "bound": "a server never has more sessions than it may",
    "one answer": "every frame is answered exactly once, on each stream and to the vehicle",
    "order": "answers come in the order of frames; commands never go back",
    "sealed": "checksums are right, and the alive counter counts every answer",
    "budget": "ages, timings and budgets are those of the clock",
    "reason": "a frame is missed only for a reason that was there",
    "notice": "a session ends when its notice said; a ticket is of the last frame, and asks for "
    "the frames of its rings where the client plays them again",
    "state": "a command comes from the frames of its session, each once and in order",
    "resumed": "a session that goes on with its state is as if it was never broken",
    "kept": "the state is lost only where key, time or memory did not suffice",
    "limits": "limited values change as the limits allow, across servers too",
    "guard": "the vehicle follows nothing older than its bounds, nor jumps",
    "drive": "a drive session goes from state to state as documented, and gives up in time only",
    "back": "soon after an outage of all servers every drive session is driven again",
    "calm": "without a fault no frame is missed and no server is left",
}

_US = 1_000
_ROUNDING_NS = 3 * _US
_LIMIT_TOLERANCE = 1e-6
_PROFILE = vehicle_limits.PROFILES[CONTRACT.limits_profile]
_BOUNDS = Bounds()
_FLUSH_NS = 1_000 * MS
_STEP_NS = 10_000 * MS
"""By which captures may be further apart than arrivals."""
_TOLD_LATE_NS = 20 * MS
_BACK_NS = 5_000 * MS
"""From the end of an outage: a pause, two attempts, and what 64 frames cost on slow links."""
_LEGAL = {
    DriveState.CONNECTING: {DriveState.DRIVING},
    DriveState.DRIVING: {
        DriveState.DEGRADED,
        DriveState.RESUMING,
        DriveState.LOST,
        DriveState.CLOSED,
    },
    DriveState.DEGRADED: {
        DriveState.DEGRADED,
        DriveState.DRIVING,
        DriveState.RESUMING,
        DriveState.LOST,
        DriveState.CLOSED,
    },
    DriveState.RESUMING: {DriveState.DRIVING, DriveState.LOST, DriveState.CLOSED},
    DriveState.LOST: set(),
    DriveState.CLOSED: set(),
}


Note = Callable[[str, str], None]
"""Takes an invariant that was broken, and how."""


_ENDINGS = {
    "ERROR_REASON_DRAINING": "draining",
    "ERROR_REASON_SHED": "shedding",
    "ERROR_REASON_IDLE": "expiring",
}
"""The notices that say when a session ends, by the reason with which it does."""


class Violation(NamedTuple):
    """An invariant that a history broke."""

    invariant: str
    where: str
    text: str


def violations(history: History) -> list[Violation]:
    """Return what a history broke; empty for a good one."""
    found: list[Violation] = []

    def note(where: str) -> Note:
        def at(invariant: str, text: str) -> None:
            assert invariant in INVARIANTS
            found.append(Violation(invariant, where, text))

        return at

    if history.is_stuck:
        note("history")("ends", history.is_stuck)
    for fault in history.faults:
        note("history")("clean", fault)
    for server in history.servers:
        _check_server(server, note(server.name))
    for vehicle in history.vehicles:
        if not (vehicle.is_gone or history.is_stuck):
            _Vehicle(vehicle, history, note(vehicle.name)).check()
    return found


def _check_server(server: ServerRecord, note: Note) -> None:
    for left in server.left:
        note("given back", f"{left} left")
    _check_sessions(server.streams, server.max_sessions, note)
    for stream in server.streams:
        if not stream.is_strange:
            _Stream(stream, note).check()


def _check_sessions(streams: list[StreamRecord], most: int, note: Note) -> None:
    changes = []
    for stream in streams:
        opened = [at for at, message in stream.events if message.WhichOneof("message") == "opened"]
        if opened:
            changes.append((opened[0], 1))
            # A session is over before its client learns of it.
            slack_ns = stream.process.longest_pass_ns + stream.process.frozen_ns
            if stream.end_ns is not None:
                changes.append((stream.end_ns - slack_ns, -1))
    sessions = 0
    for _, change in sorted(changes):
        sessions += change
        if sessions > most:
            note("bound", f"{sessions} sessions at once, of {most}")
            return


class _Stream:
    """One stream, as its server saw it."""

    def __init__(self, stream: StreamRecord, note: Note) -> None:
        self._stream = stream
        self._note = note
        self._read: dict[int, tuple[int, Any]] = {}
        self._unanswered: dict[int, None] = {}
        self._opened: Any = None
        self._asked_ms = 0.0
        self._last_command = -1
        # When the frame of each fresh command was read, and, by its age, that of the ticket's.
        self._fresh_ns: dict[int, int] = {}
        self._ticket_ns: float | None = None
        self._replays_rings = False
        # Frames that the state has seen since the epoch began, as far as this stream shows.
        self._seen: list[int] = []
        self._alive: int | None = None
        self._answers_since = 0
        self._count: tuple[int, int] | None = None
        self._has_seen_more = False
        self._answers = 0
        self._has_stepped = False
        # For each frame: frames without an answer when it was read.
        self._waiting: dict[int, int] = {}
        self._ends: dict[str, int] = {}
        server = stream.server
        process = stream.process
        self._slack_ns = process.longest_pass_ns + process.frozen_ns + server.slowest_step_ns
        self._slack_ns += 3 * MS

    def check(self) -> None:
        for at_ns, message in self._stream.events:
            kind = message.WhichOneof("message")
            if kind == "frame":
                frame = message.frame
                self._waiting[frame.sequence_number] = len(self._unanswered)
                self._note_step(at_ns, frame)
                self._read[frame.sequence_number] = at_ns, frame
                self._unanswered[frame.sequence_number] = None
            elif kind == "opened":
                self._opened, self._opened_ns = message.opened, at_ns
            elif kind == "open":
                self._asked_ms = message.open.budget_ms
                self._replays_rings = message.open.replays_rings
            elif kind == "command":
                self._answer(at_ns, message.command)
                self._command(at_ns, message.command)
            elif kind == "skipped":
                self._answer(at_ns, message.skipped)
                self._skip(at_ns, message.skipped)
            elif kind == "notice":
                self._notice(at_ns, message.notice)
        self._end()

    def _note_step(self, at_ns: int, frame: Any) -> None:
        """Note where a frame was taken long after the one before and came soon after it."""
        if self._read:
            before_ns, before = next(reversed(self._read.values()))
            ahead_ns = frame.capture_time_ns - before.capture_time_ns - (at_ns - before_ns)
            self._has_stepped |= ahead_ns > _STEP_NS

    def _answer(self, at_ns: int, answer: Any) -> None:
        number = answer.sequence_number
        self._answers += 1
        self._answers_since += 1
        if number not in self._read:
            self._note("one answer", f"frame {number} was answered and not read")
            self._read[number] = at_ns, None
        elif number not in self._unanswered:
            self._note("one answer", f"frame {number} was answered again")
        elif self._is_every and number != next(iter(self._unanswered)):
            self._note("order", f"frame {number} was answered before those before it")
        self._unanswered.pop(number, None)

    @property
    def _is_every(self) -> bool:
        return bool(self._opened.frame_policy == 2)

    def _command(self, at_ns: int, command: command_pb2.Command) -> None:
        number = command.sequence_number
        if number <= self._last_command:
            self._note("order", f"command {number} after {self._last_command}")
        self._last_command = number
        self._seal(command)
        read_ns, frame = self._read[number]
        total_ns = command.timings.total_us * _US
        age_ns = command.age_ms * 1e6
        made_ns = read_ns + total_ns
        timings = command.timings
        parts_us = timings.queue_us + timings.decode_us + timings.infer_us
        is_for_rings = self._is_for_rings(command, frame)
        if not is_for_rings:
            self._fresh_ns[number] = read_ns
            if abs(age_ns - total_ns) > _ROUNDING_NS:
                self._note("budget", f"command {number} is {age_ns} ns old after {total_ns}")
        elif self._ticket_ns is None:
            # Its frame had reached another server, before this one opened the session.
            self._ticket_ns = made_ns - age_ns
            if self._ticket_ns > self._opened_ns + _ROUNDING_NS:
                self._note("budget", f"command {number} holds {age_ns} ns, too few")
        else:
            self._check_held(f"command {number}", age_ns, made_ns - self._ticket_ns)
        if made_ns > at_ns + _ROUNDING_NS or parts_us * _US > total_ns + _ROUNDING_NS:
            self._note("budget", f"command {number} has timings that cannot be")
        if frame is not None:
            self._check_budget(number, frame, total_ns)
        self._check_count(command, is_for_rings=is_for_rings)

    def _is_for_rings(self, command: command_pb2.Command, frame: Any) -> bool:
        """Whether a frame was played for the rings of a ticket's state, which had seen it before.

        So it is with frames that are played again before any other, and the command of the state is
        held for them.
        """
        is_held = command.validity == command_pb2.VALIDITY_HELD
        return is_held and frame is not None and frame.replayed and self._is_resuming

    @property
    def _is_resuming(self) -> bool:
        return self._opened.resumed and self._replays_rings and not self._has_seen_more

    def _check_budget(self, number: int, frame: Any, total_ns: int) -> None:
        most_ns = self._asked_ms * MS + self._slack_ns
        if not frame.replayed and total_ns > most_ns:
            self._note("budget", f"frame {number} took {total_ns} ns, of {most_ns:.0f}")

    def _check_count(self, command: command_pb2.Command, *, is_for_rings: bool) -> None:
        epoch, steps = command.state_epoch, command.step_count
        if steps == 1:
            self._seen.clear()
        self._seen.append(command.sequence_number)
        if is_for_rings:
            if self._count not in {None, (epoch, steps)}:
                self._note("state", f"step {steps} of epoch {epoch} for rings after {self._count}")
            self._count = epoch, steps
            return
        self._has_seen_more = True
        if self._count is not None:
            before, steps_before = self._count
            goes_on = (epoch, steps) == (before, steps_before + 1)
            begins = epoch > before and steps == 1
            if not (goes_on or begins):
                self._note("state", f"step {steps} of epoch {epoch} after {self._count}")
        self._count = epoch, steps
        is_valid = command.validity == command_pb2.VALIDITY_VALID
        if is_valid is not (steps > WARM_UP_STEPS):
            self._note("state", f"step {steps} is {command_pb2.Validity.Name(command.validity)}")

    def _seal(self, command: command_pb2.Command) -> None:
        number, alive = command.sequence_number, command.alive_counter
        if command.checksum != command_checksum(self._opened.session_id, command):
            self._note("sealed", f"command {number} has a wrong checksum")
        if self._alive is not None:
            step = (alive - self._alive) % ALIVE_COUNTER_MODULUS
            if step != self._answers_since:
                self._note("sealed", f"the counter went {step} in {self._answers_since} answers")
        self._alive, self._answers_since = alive, 0

    def _skip(self, at_ns: int, skip: command_pb2.FrameSkipped) -> None:
        number = skip.sequence_number
        read_ns, frame = self._read[number]
        made_ns = at_ns
        if skip.HasField("held"):
            held = skip.held
            self._seal(held)
            made_ns = read_ns + held.timings.total_us * _US
            if made_ns > at_ns + _ROUNDING_NS:
                self._note("budget", f"skip {number} has timings that cannot be")
            # A ticket's command is as old as it was, though its frame was played again here.
            since_ns = self._fresh_ns.get(held.sequence_number, self._ticket_ns)
            if held.validity != command_pb2.VALIDITY_HELD:
                self._note("budget", f"skip {number} holds what is not held")
            elif since_ns is not None:
                self._check_held(f"skip {number}", held.age_ms * 1e6, made_ns - since_ns)
            elif not self._opened.resumed:
                self._note("budget", f"skip {number} holds what was never fresh")
        if frame is None:
            return
        self._check_reason(SkipReason(skip.reason), number, made_ns - read_ns, at_ns)
        if not self._is_every:
            self._check_budget(number, frame, made_ns - read_ns)

    def _check_held(self, name: str, said_ns: float, age_ns: float) -> None:
        if abs(said_ns - age_ns) > _ROUNDING_NS:
            self._note("budget", f"{name} holds {said_ns} ns, is {age_ns} ns")

    def _check_reason(self, reason: SkipReason, number: int, passed_ns: int, at_ns: int) -> None:
        server = self._stream.server
        frame = self._read[number][1]
        budget_ns = self._opened.granted_budget_ms * MS
        if reason is SkipReason.LATE:
            # The engine goes by what steps cost; half the budget is the most that is kept for it.
            reserve_ns = max(budget_ns / 2, 1.5 * server.slowest_step_ns) + 2 * MS
            is_there = not frame.replayed and passed_ns >= budget_ns - reserve_ns
        elif reason is SkipReason.SUPERSEDED:
            newer = [n for n, (ns, _) in self._read.items() if n > number and ns <= at_ns]
            is_there = bool(newer) and not self._is_every and not frame.replayed
        elif reason is SkipReason.OVERLOADED:
            waiting, unread = self._waiting[number], self._answers - frame.answers_taken
            is_there = unread >= server.max_unsent or (
                waiting >= server.max_waiting if self._is_every else server.may_be_busy
            )
        elif reason is SkipReason.FAILED:
            is_there = server.step_faults > 0
        elif reason is SkipReason.UNDECODABLE:
            is_there = len(frame.jpeg) == DAMAGED_BYTES
        else:
            # A frame that waited through a long outage, and one that was taken after it.
            is_there = reason is SkipReason.CAPTURE_TIME and self._has_stepped
        if not is_there:
            self._note("reason", f"frame {number} was {reason.name} after {passed_ns} ns")

    def _notice(self, at_ns: int, notice: Any) -> None:
        kind = notice.WhichOneof("notice")
        if kind == "ticket":
            ticket = notice.ticket
            if ticket.sequence_number != self._last_command:
                self._note("notice", f"a ticket for {ticket.sequence_number}")
            self._check_rings(ticket)
        elif kind in _ENDINGS.values():
            self._ends[kind] = at_ns + getattr(notice, kind).ends_in_ms * MS

    def _check_rings(self, ticket: Any) -> None:
        """Check that a ticket asks for as many frames as the rings are long, or the epoch is."""
        if ticket.HasField("replay_from") is not self._replays_rings:
            self._note("notice", f"rings are left out: {not self._replays_rings}, unasked")
        elif self._replays_rings and ticket.replay_from != self._seen[-RING_LENGTH:][0]:
            self._note("notice", f"rings from {ticket.replay_from}, of {self._seen[-3:]}")

    def _end(self) -> None:
        stream = self._stream
        if stream.end_ns is None:
            return
        if stream.code is grpc.StatusCode.OK and self._unanswered:
            self._note("one answer", f"frames {list(self._unanswered)} had no answer")
        kind = _ENDINGS.get(stream.reason)
        if kind is None or self._opened is None:
            return
        promised_ns = self._ends.get(kind)
        if promised_ns is None:
            if kind != "expiring":
                self._note("notice", f"the session ended for {stream.reason} without a notice")
            return
        early_ns, late_ns = promised_ns - stream.end_ns, stream.end_ns - promised_ns
        most_ns = self._slack_ns + _FLUSH_NS
        # A notice waits in the outbox, and is counted from when it was made.
        if early_ns > self._slack_ns or (kind != "expiring" and late_ns > most_ns):
            self._note("notice", f"{kind}: ended {late_ns / MS} ms after it was promised")


DAMAGED_BYTES = 60
"""Of a JPEG that a vehicle cuts short, so that the model knows it."""


@dataclasses.dataclass(slots=True)
class _Seen:
    """The state after a command, as the model computes it."""

    state: State
    epoch: int
    capture_ms: int
    resets: int


class _Vehicle:
    """One vehicle, as its program saw it."""

    def __init__(self, record: VehicleRecord, history: History, note: Note) -> None:
        self._record = record
        self._history = history
        self._note = note
        self._sent: dict[int, Sent] = {}
        self._resets: dict[int, int] = {}
        self._answers: dict[int, FrameAnswer] = {}
        self._got_ns: dict[int, int] = {}
        self._error: BaseException | None = None
        self._has_ended = False

    def check(self) -> None:
        resets = 0
        newest = -1
        for event in self._record.events:
            if isinstance(event, Sent):
                self._sent[event.number] = event
                self._resets[event.number] = resets
            elif isinstance(event, WasReset):
                resets += 1
            elif isinstance(event, Got) and isinstance(event.answer, FrameAnswer):
                number = event.answer.sequence_number
                if number in self._answers or number not in self._sent:
                    self._note("one answer", f"frame {number} was answered to the vehicle again")
                elif number < newest and not self._record.is_latest:
                    self._note("order", f"frame {number} after {newest} for the vehicle")
                newest = max(newest, number)
                self._answers[number] = event.answer
                self._got_ns[number] = event.at_ns
            elif isinstance(event, Ended):
                self._error, self._has_ended = event.error, True
        missing = [n for n, sent in self._sent.items() if sent.is_sent and n not in self._answers]
        if self._has_ended and self._error is None and missing:
            self._note("one answer", f"frames {missing} had no answer at the vehicle")
        changes = [event for event in self._record.events if isinstance(event, Changed)]
        self._check_changes(changes)
        self._check_back(changes)
        self._check_commands(changes)
        self._check_guard()
        if self._history.is_calm:
            self._check_calm(changes)

    def _check_calm(self, changes: list[Changed]) -> None:
        if self._error is not None:
            self._note("calm", f"{self._error!r}")
        for answer in self._answers.values():
            if isinstance(answer, Skipped) and answer.reason not in {
                SkipReason.UNDECODABLE,
                SkipReason.SUPERSEDED,
            }:
                self._note("calm", f"frame {answer.sequence_number} was {answer.reason.name}")
        states = [event.change.state for event in changes]
        if states not in ([], [DriveState.DRIVING, DriveState.CLOSED]):
            self._note("calm", f"the session was {[state.value for state in states]}")

    # How the session was.

    def _check_changes(self, changes: list[Changed]) -> None:
        state, resuming_ns = DriveState.CONNECTING, 0
        for event in changes:
            change = event.change
            if change.state not in _LEGAL[state]:
                self._note("drive", f"{state.value} was followed by {change.state.value}")
            if change.state is DriveState.RESUMING:
                resuming_ns = event.at_ns
            if change.state is DriveState.LOST:
                passed_s = (event.at_ns - resuming_ns) / 1e9
                if (
                    state is not DriveState.RESUMING
                    or passed_s < self._record.give_up_after_s - 0.1
                ):
                    self._note("drive", f"given up after {passed_s:.2f} s: {self._error!r}")
            if (
                change.state is DriveState.DRIVING
                and not change.with_state
                and not self._record.may_lose_state
            ):
                self._note("kept", f"the state was lost at {change.target}: {change.reason}")
            state = change.state

    def _check_back(self, changes: list[Changed]) -> None:
        if self._history.outage_ends_ns is None:
            return
        ends_ns = self._history.outage_ends_ns
        before = [event.change.state for event in changes if event.at_ns <= ends_ns]
        after = [e.change.state for e in changes if ends_ns < e.at_ns <= ends_ns + _BACK_NS]
        if before and before[-1] is DriveState.RESUMING and DriveState.DRIVING not in after:
            self._note("back", f"it is not driven {_BACK_NS / 1e9:g} s after the outage")

    # What it was told.

    def _check_commands(self, changes: list[Changed]) -> None:
        driving = [event for event in changes if event.change.state is DriveState.DRIVING]
        losses = [event.at_ns for event in driving if not event.change.with_state]
        moves = [event.at_ns for event in driving[1:]]
        commands = sorted(
            (answer for answer in self._answers.values() if isinstance(answer, Command)),
            key=lambda command: command.sequence_number,
        )
        before: _Seen | None = None
        limited: Command | None = None
        for command in commands:
            if not command.checksum_ok:
                self._note("sealed", f"command {command.sequence_number} is damaged")
            expected = self._next(before, command)
            has_lost = self._told_until(losses, command)
            is_counted = expected.state.steps == command.step_count
            if not (is_counted and expected.epoch == command.state_epoch):
                if not has_lost:
                    self._note(
                        "resumed",
                        f"frame {command.sequence_number} is step {command.step_count} of epoch "
                        f"{command.state_epoch}, unbroken {expected.state.steps} of "
                        f"{expected.epoch}",
                    )
                expected = self._anew(commands, command)
            raw = command.raw
            found = raw.steering_wheel_angle_rad, raw.speed_mps, raw.steering_torque_nm
            if found != outputs(expected.state):
                self._note(
                    "state", f"frame {command.sequence_number}: {found} is not of its frames"
                )
            # A new server plays frames again without knowing when they had come, so that under
            # LATEST its limits may have allowed more than those of the server before.
            has_moved = self._told_until(moves, command) and self._record.is_latest
            if not (has_lost or has_moved):
                self._check_limits(limited, command)
            before, limited = expected, command

    def _next(self, before: _Seen | None, command: Command) -> _Seen:
        """Return the state after a frame of an unbroken session."""
        sent = self._sent[command.sequence_number]
        resets = self._resets[command.sequence_number]
        if before is None:
            return _Seen(fold(State(), sent.picture, PERIOD_MS), resets, sent.capture_ms, resets)
        interval_ms = sent.capture_ms - before.capture_ms
        begun = resets - before.resets or int(interval_ms > RESET_AFTER_MS)
        if begun:
            state = fold(State(), sent.picture, PERIOD_MS)
        else:
            state = fold(before.state, sent.picture, interval_ms)
        return _Seen(state, before.epoch + begun, sent.capture_ms, resets)

    def _anew(self, commands: list[Command], last: Command) -> _Seen:
        """Return the state that has seen only the last frames, as many as it says."""
        upto = [c for c in commands if c.sequence_number <= last.sequence_number]
        seen: _Seen | None = None
        for command in upto[-last.step_count :]:
            seen = self._next(seen, command)
        assert seen is not None
        seen.epoch = last.state_epoch
        return seen

    def _told_until(self, times_ns: list[int], command: Command) -> bool:
        """Return whether there are times up to when a command came, and take out those before it.

        The program learns of a change and of the first answer after it in either order.
        """
        got_ns = self._got_ns[command.sequence_number]
        told = bool(times_ns) and times_ns[0] <= got_ns + _TOLD_LATE_NS
        times_ns[:] = [time_ns for time_ns in times_ns if time_ns > got_ns]
        return told

    def _check_limits(self, before: Command | None, command: Command) -> None:
        limited = command.limited
        if self._record.is_latest:
            if before is not None:
                interval_s = (command.capture_time_ns - before.capture_time_ns) / 1e9
                most = _PROFILE.max_steering_rate_radps * min(interval_s, 0.5)
                new, old = limited.steering_wheel_angle_rad, before.limited.steering_wheel_angle_rad
                assert new is not None
                assert old is not None
                step = new - old
                if abs(step) > most + _LIMIT_TOLERANCE:
                    self._note("limits", f"frame {command.sequence_number} jumps by {step}")
            return
        previous = None
        if before is not None:
            interval_s = (command.capture_time_ns - before.capture_time_ns) / 1e9
            previous = vehicle_limits.Previous(
                _values(before.limited), min(max(interval_s, 0.0), 0.5)
            )
        expected, _ = vehicle_limits.apply(
            _values(command.raw), _PROFILE, vehicle_speed_mps=10.0, previous=previous
        )
        for name in ("steering_wheel_angle_rad", "speed_mps", "steering_torque_nm"):
            found, wanted = getattr(limited, name), getattr(expected, name)
            if not math.isclose(found, wanted, abs_tol=_LIMIT_TOLERANCE):
                self._note("limits", f"frame {command.sequence_number}: {name} {found}, {wanted}")

    # What it followed.

    def _check_guard(self) -> None:
        newest: Command | None = None
        told: Told | None = None
        for event in self._record.events:
            if isinstance(event, Judged) and _is_fresh(event.answer, newest):
                newest = event.answer
            if not isinstance(event, Told):
                continue
            safe = event.safe
            if safe.action is not Action.RELEASE:
                self._check_age(event, newest)
                if told is not None and self._record.is_latest:
                    self._check_jump(told, event)
                told = event

    def _check_age(self, event: Told, newest: Command | None) -> None:
        safe = event.safe
        most_ms = _BOUNDS.max_age_ms if safe.action is Action.FOLLOW else _BOUNDS.max_hold_ms
        if newest is None:
            self._note("guard", f"{safe.action.value} before any command")
            return
        age_ms = (event.at_ns + self._record.clock_ns - newest.sent_ns) / 1e6
        if safe.age_ms > most_ms or age_ms > most_ms + 0.001:
            self._note("guard", f"{safe.action.value} after {age_ms} ms, it says {safe.age_ms}")
        elif safe.age_ms < age_ms - 0.001:
            self._note("guard", f"it says {safe.age_ms} ms of what is {age_ms} ms old")

    def _check_jump(self, before: Told, event: Told) -> None:
        old, new = before.safe.steering_wheel_angle_rad, event.safe.steering_wheel_angle_rad
        passed_s = (event.at_ns - before.at_ns) / 1e9
        if old is None or new is None or passed_s > _BOUNDS.max_hold_ms / 1e3:
            return
        most = _BOUNDS.max_steering_wheel_rate_radps * passed_s
        if abs(new - old) > most + _LIMIT_TOLERANCE:
            self._note("guard", f"the wheel jumps by {new - old} rad in {passed_s} s")


def _is_fresh(answer: FrameAnswer, before: Command | None) -> TypeGuard[Command]:
    """Whether an answer is a fresh command for a newer frame than the one before."""
    if not isinstance(answer, Command):
        return False
    is_newer = before is None or answer.sequence_number > before.sequence_number
    return is_newer and answer.validity in {Validity.VALID, Validity.WARMING_UP}


def _values(values: Any) -> ControlValues:
    return ControlValues(
        values.steering_wheel_angle_rad, values.speed_mps, values.steering_torque_nm
    )


def lines(found: list[Violation]) -> Iterator[str]:
    """Yield violations for people."""
    for violation in found:
        yield f"  [{violation.invariant}] {violation.where}: {violation.text}"
