"""The messages of a server in a session: commands, skips and notices, as plain values.

All are frozen and can be matched:

```python
match answer:
    case Command(limited=values): ...
    case Skipped(reason=SkipReason.LATE): ...
    case Draining(ends_in_ms=left): ...
```
"""

from __future__ import annotations

import dataclasses
import enum
import math
from typing import Self


class _WireEnum(enum.IntEnum):
    """An enum of the wire contract; a value that a newer server knows is read as UNSPECIFIED."""

    @classmethod
    def _missing_(cls, value: object) -> Self | None:
        return cls(0) if isinstance(value, int) and value != 0 else None


class Limit(_WireEnum):
    """A limit of the server between the network and the vehicle."""

    UNSPECIFIED = 0
    STEERING_ANGLE = 1
    STEERING_RATE = 2
    LATERAL_ACCELERATION = 3
    LATERAL_JERK = 4
    SPEED = 5
    ACCELERATION = 6
    STEERING_TORQUE = 7
    STEERING_TORQUE_RATE = 8


class Validity(_WireEnum):
    """How far the server trusts a command."""

    UNSPECIFIED = 0
    VALID = 1
    WARMING_UP = 2
    HELD = 3
    FALLBACK = 4


class SkipReason(_WireEnum):
    """Why a frame was answered without a fresh command."""

    UNSPECIFIED = 0
    LATE = 1
    SUPERSEDED = 2
    DUPLICATE = 3
    OUT_OF_ORDER = 4
    UNDECODABLE = 5
    OVERLOADED = 6
    FAILED = 7
    INVALID_FIELD = 8
    CAPTURE_TIME = 9


@dataclasses.dataclass(frozen=True, slots=True)
class ControlValues:
    """One value for each head, left positive; None where the model lacks the head.

    Raw values have a predicted standard deviation where the network predicts one; limited values
    have none.

    Attributes:
        steering_wheel_angle_rad: angle at the driver's wheel.
        speed_mps: speed.
        steering_torque_nm: torque at the steering wheel.
        steering_wheel_angle_stddev_rad: predicted standard deviation of the angle.
        speed_stddev_mps: predicted standard deviation of the speed.
        steering_torque_stddev_nm: predicted standard deviation of the torque.
    """

    steering_wheel_angle_rad: float | None = None
    speed_mps: float | None = None
    steering_torque_nm: float | None = None
    steering_wheel_angle_stddev_rad: float | None = None
    speed_stddev_mps: float | None = None
    steering_torque_stddev_nm: float | None = None


@dataclasses.dataclass(frozen=True, slots=True)
class HorizonStep:
    """Values for one moment after a frame.

    Attributes:
        after_ms: milliseconds to that moment from when the frame's picture was taken, and from when
            its command acts where the network is told that.
        limited: what is safe to follow then, after the server's limits.
    """

    after_ms: int
    limited: ControlValues


@dataclasses.dataclass(frozen=True, slots=True)
class Horizon:
    """What a network says of the time after a frame; the guard plays it where answers are missing.

    Attributes:
        steps: in the order of time.
        last_raw: what the network said for the last step, with its standard deviations.
    """

    steps: tuple[HorizonStep, ...]
    last_raw: ControlValues


@dataclasses.dataclass(frozen=True, slots=True)
class StageTimings:
    """The time that an answer took in the server, in microseconds of its monotonic clock.

    Attributes:
        queue_us: waiting for a decoder and for the engine.
        decode_us: decoding and resizing.
        infer_us: the step of the network, for the whole batch.
        total_us: from the frame's arrival to the answer.
        batch_size: frames of different sessions in the batch.
    """

    queue_us: int = 0
    decode_us: int = 0
    infer_us: int = 0
    total_us: int = 0
    batch_size: int = 0


@dataclasses.dataclass(frozen=True, slots=True)
class Command:
    """The values for a vehicle to follow, for one frame.

    Attributes:
        sequence_number: echo of the frame's number.
        capture_time_ns: echo of the frame's capture time, by the vehicle's clock.
        raw: what the network said.
        limited: what is safe to follow, after the server's limits.
        active_limits: limits that changed a value, in the order in which they acted.
        validity: how far the server trusts it.
        age_ms: milliseconds, by the server's clock, since the frame that the values come from
            reached the server.
        alive_counter: counts the answers of the session modulo 65,536.
        checksum_ok: whether the safety fields, the horizon's too, arrived as the server sealed
            them.
        state_epoch: resets of the recurrent state so far.
        step_count: frames that the recurrent state has seen in this epoch.
        timings: what the answer cost in the server.
        sent_ns: when the frame was handed to the session, by the client's clock.
        received_ns: when the answer arrived, by the client's clock.
        horizon: what comes next; None where the model has none, or the values are not fresh.
    """

    sequence_number: int
    capture_time_ns: int
    raw: ControlValues
    limited: ControlValues
    active_limits: tuple[Limit, ...]
    validity: Validity
    age_ms: float
    alive_counter: int
    checksum_ok: bool
    state_epoch: int
    step_count: int
    timings: StageTimings
    sent_ns: int
    received_ns: int
    horizon: Horizon | None = None

    @property
    def round_trip_ms(self) -> float:
        """Milliseconds from sending the frame to its answer, by the client's clock alone."""
        return (self.received_ns - self.sent_ns) / 1e6

    @property
    def is_fresh(self) -> bool:
        """Whether the values come from this frame and arrived undamaged."""
        return self.checksum_ok and self.validity in {Validity.VALID, Validity.WARMING_UP}

    def age_at_ms(self, now_ns: int) -> float:
        """Return an upper bound on the age of the values, in milliseconds.

        For a fresh command it is the time since its frame was sent, for which the server's word is
        not needed. For another one it is that and `age_ms`, or infinite where that is no age.

        Args:
            now_ns: the time by the client's clock, in nanoseconds.
        """
        since_sent_ms = (now_ns - self.sent_ns) / 1e6
        if self.is_fresh:
            return since_sent_ms
        return since_sent_ms + self.age_ms if self.age_ms >= 0 else math.inf


@dataclasses.dataclass(frozen=True, slots=True)
class Skipped:
    """The answer to a frame for which there is no fresh command.

    Attributes:
        sequence_number: echo of the frame's number.
        capture_time_ns: echo of the frame's capture time, by the vehicle's clock.
        reason: why.
        detail: what was wrong and what to do, for people to read.
        held: the command to hold, with its age; None if there is none.
        sent_ns: when the frame was handed to the session, by the client's clock.
        received_ns: when the answer arrived, by the client's clock.
    """

    sequence_number: int
    capture_time_ns: int
    reason: SkipReason
    detail: str
    held: Command | None
    sent_ns: int
    received_ns: int

    @property
    def round_trip_ms(self) -> float:
        """Milliseconds from sending the frame to its answer, by the client's clock alone."""
        return (self.received_ns - self.sent_ns) / 1e6


@dataclasses.dataclass(frozen=True, slots=True)
class Draining:
    """The server is about to stop.

    Attributes:
        ends_in_ms: milliseconds until it ends the session, from when the notice was sent.
    """

    ends_in_ms: int


@dataclasses.dataclass(frozen=True, slots=True)
class Expiring:
    """The session sends nothing and is about to be ended; a frame keeps it.

    Attributes:
        ends_in_ms: milliseconds until it is ended, from when the notice was sent.
    """

    ends_in_ms: int


@dataclasses.dataclass(frozen=True, slots=True)
class Shedding:
    """The server ends the session so that others stay in time; open one on another server.

    Attributes:
        ends_in_ms: milliseconds until it is ended, from when the notice was sent.
        retry_after_ms: a hint when to try again on the same server, from when the notice was sent.
    """

    ends_in_ms: int
    retry_after_ms: int


@dataclasses.dataclass(frozen=True, slots=True)
class Pace:
    """The server is full; the session sends frames no more often than this.

    Attributes:
        period_ms: milliseconds from one frame to the next; 0 as often as it likes again.
        first_in_ms: milliseconds until the first frame is welcome, from when the notice was sent; a
            session that keeps a pace already stretches the time to its next frame instead.
    """

    period_ms: float
    first_in_ms: float


@dataclasses.dataclass(frozen=True, slots=True)
class TicketIssued:
    """Sealed state with which the session can resume on another server.

    It is passed to `Client.open_session` as it is.

    Attributes:
        ticket: the sealed bytes.
        sequence_number: the last frame that the sealed state has seen.
        valid_for_ms: milliseconds for which it is accepted, from when the notice was sent.
        replay_from: the first frame that has to be played again with it; None where those after
            `sequence_number` suffice, as they do for every ticket of `Client.open_session`.
    """

    ticket: bytes
    sequence_number: int
    valid_for_ms: int
    replay_from: int | None = None

    def __repr__(self) -> str:
        """Leave out the sealed bytes: they are kilobytes that nobody can read."""
        return (
            f"TicketIssued({len(self.ticket)} bytes, sequence_number={self.sequence_number}, "
            f"valid_for_ms={self.valid_for_ms}, replay_from={self.replay_from})"
        )


FrameAnswer = Command | Skipped
"""The answer to one frame."""

Notice = Draining | Expiring | Shedding | Pace | TicketIssued
"""News of the session or the server; it answers no frame."""

Answer = FrameAnswer | Notice
"""Anything that a session yields."""
