"""The answers of one session: commands, and skips with the command to hold."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, NamedTuple, TypeAlias

from steerstream.checksum import ALIVE_COUNTER_MODULUS
from steerstream_bundle.contract import SPEED, STEERING_TORQUE, STEERING_WHEEL_ANGLE, Contract
from steerstream_service.domain import (
    Command,
    ControlValues,
    Limit,
    Skip,
    SkipReason,
    Stddevs,
    Stepped,
    Timings,
    Validity,
)
from steerstream_service.session import vehicle_limits
from steerstream_service.session.frame_stages import FrameRecord
from steerstream_service.session.horizons import Horizons
from steerstream_service.session.recurrence import Recurrence
from steerstream_service.session.ticket import SessionState

REMEMBERED_ANSWERS = 64
"""Numbers of the last frames, by which duplicates are found: 3 s at 20 Hz, far beyond any
retransmission that still helps. An older number is answered OUT_OF_ORDER."""

_LONGEST_CHANGE_S = 0.5
"""The longest time for which a command may change from the one before: after a gap the limits allow
what they allow in half a second, over which ISO 11270 states the lateral jerk."""
_CLOCK_TOLERANCE = 1.01
"""A vehicle's clock may run this much faster than the server's; quartz keeps 0.02 %."""

_MS = 1_000_000

_NO_TIMINGS = Timings(0, 0, 0, 0, 0)
"""Of a command that is remembered: where it is sent again, that takes another time."""


_NO_STDDEVS = Stddevs(None, None, None)


class _Given(NamedTuple):
    """A command, and when the frame of its limited values arrived."""

    command: Command
    arrived_ns: int


_Remembered: TypeAlias = tuple[Any, ...]
"""A command in numbers, with when its frame arrived.

64 of them are remembered for each session, and a collection of garbage, which stops the server,
looks at every object but at no tuple of numbers.
"""


def _remembered(given: _Given) -> _Remembered:
    command, arrived_ns = given
    raw, limited, stddevs = command.raw, command.limited, command.stddevs or _NO_STDDEVS
    return (
        arrived_ns,
        command.sequence_number,
        command.capture_time_ns,
        command.state_epoch,
        command.step_count,
        int(command.validity),
        tuple(map(int, command.active_limits)),
        command.stddevs is not None,
        raw.steering_wheel_angle_rad,
        raw.speed_mps,
        raw.steering_torque_nm,
        limited.steering_wheel_angle_rad,
        limited.speed_mps,
        limited.steering_torque_nm,
        stddevs.steering_wheel_angle_rad,
        stddevs.speed_mps,
        stddevs.steering_torque_nm,
    )


def _given(remembered: _Remembered) -> _Given:
    arrived_ns, number, capture_ns, epoch, steps, validity, limits, has_stddevs = remembered[:8]
    values = remembered[8:]
    command = Command(
        number,
        capture_ns,
        ControlValues(*values[:3]),
        ControlValues(*values[3:6]),
        tuple(map(Limit, limits)),
        Validity(validity),
        0.0,
        0,
        epoch,
        steps,
        _NO_TIMINGS,
        Stddevs(*values[6:]) if has_stddevs else None,
    )
    return _Given(command, arrived_ns)


class _Values(NamedTuple):
    """The values of a command, and when their frame arrived."""

    limited: ControlValues
    active_limits: tuple[Limit, ...]
    validity: Validity
    arrived_ns: int


class Answers:
    """Makes a session's answers, counts them, and remembers the last ones.

    Args:
        contract: what the network's outputs mean.
        profile: the limits of the vehicle.
        recurrence: what the network has seen; a frame is counted there before its command is made.
        is_live: whether frames come from a camera as time passes. Then no clock of the vehicle can
            make the limits allow a faster change than the time that passes here.
        with_horizon: whether commands bring what the network says comes next.
    """

    def __init__(
        self,
        contract: Contract,
        profile: vehicle_limits.Profile,
        recurrence: Recurrence,
        *,
        is_live: bool,
        with_horizon: bool,
    ) -> None:
        self._contract = contract
        self._profile = profile
        self._recurrence = recurrence
        self._columns = _columns({output.head: at for at, output in enumerate(contract.outputs)})
        self._has_stddevs = bool(contract.stddev_columns)
        self._stddev_columns = _columns(contract.stddev_columns)
        self._plausible = vehicle_limits.plausible(contract)
        has_horizon = with_horizon and contract.horizon.outputs
        self._horizons = Horizons(contract, profile) if has_horizon else None
        self._period_s = 1 / contract.rate_hz
        self._is_live = is_live
        self._time_left_s = _LONGEST_CHANGE_S
        self._count = 0
        self._held: _Given | None = None
        self._memory: OrderedDict[int, _Remembered | None] = OrderedDict()

    def resume(self, state: SessionState, opened_ns: int) -> None:
        """Go on from the last answer of an earlier session of the vehicle.

        Args:
            state: of that session.
            opened_ns: when this one opened, on the server's monotonic clock.
        """
        # The frames that are played again for the rings are counted again.
        self._count = (state.alive_counter - len(state.ring_frames)) % ALIVE_COUNTER_MODULUS
        self._time_left_s = state.time_left_s
        if state.held is not None:
            self._held = _Given(state.held, opened_ns - round(state.held.age_ms * _MS))

    def state(
        self, record: FrameRecord, tensors: bytes, ring_frames: tuple[int, ...], now_ns: int
    ) -> SessionState:
        """Return the session's state after a frame whose command was made just now.

        Args:
            record: the frame.
            tensors: the recurrent state after it.
            ring_frames: numbers of the frames that make its rings; empty where `tensors` holds
                them.
            now_ns: the present time, on the server's monotonic clock.
        """
        held = None
        if self._held is not None:
            age_ms = (now_ns - self._held.arrived_ns) / _MS
            held = replace(self._held.command, age_ms=age_ms, timings=_NO_TIMINGS, horizon=None)
        return SessionState(
            sequence_number=record.sequence_number,
            capture_time_ns=record.capture_time_ns,
            epoch=self._recurrence.epoch,
            step_count=self._recurrence.step_count,
            alive_counter=self._count,
            time_left_s=self._time_left_s,
            held=held,
            tensors=tensors,
            ring_frames=ring_frames,
        )

    def knows(self, sequence_number: int) -> bool:
        """Return whether a frame of this number was taken or answered lately."""
        return sequence_number in self._memory

    def expect(self, sequence_number: int) -> None:
        """Remember that a frame of this number was taken; its answer follows."""
        self._remember(sequence_number, None)

    def command(self, record: FrameRecord, outcome: Stepped, now_ns: int) -> Command:
        """Make the command of a frame that the network saw.

        Where the network's values cannot be used, the last good ones hold. So they do for a frame
        that is stepped for its rings: the rest of the state is another's at that time.

        Args:
            record: the frame.
            outcome: what the step gave for it.
            now_ns: the present time, on the server's monotonic clock.
        """
        raw = ControlValues(*_picked(outcome.outputs, self._columns))
        stddevs = None
        if self._has_stddevs:
            stddevs = Stddevs(*_picked(outcome.outputs, self._stddev_columns))
        now = outcome.outputs[: len(self._plausible)]
        usable = not record.is_for_rings and vehicle_limits.is_plausible(now, self._plausible)
        values = self._limited(raw, record) if usable else self._stand_in(record)
        horizon = None
        if usable and self._horizons is not None:
            horizon = self._horizons.after(
                outcome.outputs, values.limited, record.vehicle_speed_mps
            )
        command = Command(
            record.sequence_number,
            record.capture_time_ns,
            raw,
            values.limited,
            values.active_limits,
            values.validity,
            (now_ns - values.arrived_ns) / _MS,
            self._next_count(),
            self._recurrence.epoch,
            self._recurrence.step_count,
            _timings(record, outcome, now_ns),
            stddevs,
            horizon,
        )
        given = _Given(command, values.arrived_ns)
        if usable:
            self._held = given
        self._remember(record.sequence_number, _remembered(given))
        return command

    def skip(self, record: FrameRecord, reason: SkipReason, detail: str, now_ns: int) -> Skip:
        """Make the answer to a frame without a command, with the earlier command to hold.

        Args:
            record: the frame.
            reason: why, for programs.
            detail: why and what to do, for people.
            now_ns: the present time, on the server's monotonic clock.
        """
        first = self._memory.get(record.sequence_number)
        if reason is SkipReason.DUPLICATE and first is not None:
            given = _given(first)
            held = self._again(given, given.command.validity, record, now_ns)
        elif self._held is not None:
            held = self._again(self._held, Validity.HELD, record, now_ns)
        else:
            held = None
            self._next_count()
        return Skip(
            record.sequence_number,
            record.capture_time_ns,
            reason,
            detail,
            held,
            was_decoded=record.decode_ns > 0,
        )

    def _limited(self, raw: ControlValues, record: FrameRecord) -> _Values:
        limited, active = vehicle_limits.apply(
            raw,
            self._profile,
            vehicle_speed_mps=record.vehicle_speed_mps,
            previous=self._previous(record),
        )
        warm = self._recurrence.step_count > self._contract.warm_up_steps
        validity = Validity.VALID if warm else Validity.WARMING_UP
        return _Values(limited, active, validity, record.arrived_ns)

    def _previous(self, record: FrameRecord) -> vehicle_limits.Previous | None:
        if self._held is None:
            return None
        last = self._held.command
        interval_s = (record.capture_time_ns - last.capture_time_ns) / 1e9
        if interval_s <= 0:
            # The vehicle's clock was set back.
            interval_s = self._period_s
        interval_s = min(interval_s, _LONGEST_CHANGE_S)
        if self._is_live and not record.is_replayed:
            interval_s = self._spend(interval_s, record.arrived_ns - self._held.arrived_ns)
        return vehicle_limits.Previous(last.limited, interval_s)

    def _spend(self, interval_s: float, passed_ns: int) -> float:
        """Return how much of an interval has really passed: a token bucket of time.

        Frames that a network delays arrive together, so what is left of earlier time counts.
        """
        left_s = min(self._time_left_s + _CLOCK_TOLERANCE * passed_ns / 1e9, _LONGEST_CHANGE_S)
        spent_s = min(interval_s, left_s)
        self._time_left_s = left_s - spent_s
        return spent_s

    def _stand_in(self, record: FrameRecord) -> _Values:
        if self._held is None:
            return _Values(ControlValues(), (), Validity.FALLBACK, record.arrived_ns)
        return _Values(self._held.command.limited, (), Validity.HELD, self._held.arrived_ns)

    def _again(
        self, given: _Given, validity: Validity, record: FrameRecord, now_ns: int
    ) -> Command:
        """Return an earlier command with a new count and age; its numbers and values stay.

        It has no horizon: the time that that was for has begun.
        """
        total_ns = now_ns - record.arrived_ns
        return replace(
            given.command,
            validity=validity,
            age_ms=(now_ns - given.arrived_ns) / _MS,
            alive_counter=self._next_count(),
            timings=Timings(total_ns, 0, 0, total_ns, 0),
            horizon=None,
        )

    def _next_count(self) -> int:
        self._count = (self._count + 1) % ALIVE_COUNTER_MODULUS
        return self._count

    def _remember(self, sequence_number: int, answer: _Remembered | None) -> None:
        self._memory[sequence_number] = answer
        if len(self._memory) > REMEMBERED_ANSWERS:
            self._memory.popitem(last=False)


def _columns(of_heads: Mapping[str, int]) -> list[int | None]:
    """Return the columns of angle, speed and torque in a step's values; None for a missing head."""
    return [of_heads.get(head) for head in (STEERING_WHEEL_ANGLE, SPEED, STEERING_TORQUE)]


def _picked(values: Sequence[float], columns: Sequence[int | None]) -> list[float | None]:
    return [None if at is None else values[at] for at in columns]


def _timings(record: FrameRecord, outcome: Stepped, now_ns: int) -> Timings:
    arrived_ns = record.arrived_ns
    queue_ns = outcome.began_ns - arrived_ns - record.decode_ns
    return Timings(
        queue_ns, record.decode_ns, outcome.infer_ns, now_ns - arrived_ns, outcome.batch_size
    )
