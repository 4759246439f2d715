"""The client's guard: turns answers and time into what the vehicle may do.

It takes data and returns data: no socket, no clock, no thread. A session feeds it; a vehicle with
a transport of its own can feed it as well:

```python
guard.frame_sent(sequence_number, capture_time_ns, now_ns)
guard.received(answer, now_ns)
safe = guard.safe_command(now_ns)  # as often as the actuators want one
```
"""

from __future__ import annotations

import collections
import dataclasses
import enum
import math

from steerstream.answers import Command, ControlValues, Skipped, Validity
from steerstream.bounds import Bounds, clamp, slew
from steerstream.checksum import ALIVE_COUNTER_MODULUS

MAX_AWAITED = 256
"""Frames whose answers are awaited: 13 s at 20 Hz. Older ones are lost long since."""


class Action(enum.Enum):
    """What the vehicle does with a safe command."""

    FOLLOW = "follow"
    """Its values are fresh and within the bounds."""
    HOLD = "hold"
    """Keep the last good values, which it repeats, and expect to take over."""
    RELEASE = "release"
    """There is nothing to follow: the vehicle's own fallback or its driver takes over."""


class Intervention(enum.Enum):
    """Why the guard did not pass an answer on as it came."""

    NO_COMMAND = "no good command has come yet"
    TOO_OLD = "the last good command is too old"
    LAGGING = "too many frames are lost"
    SKIPPED = "the server answered the last frame without a command"
    SERVER_HELD = "the server sent an earlier command again"
    SERVER_FALLBACK = "the server has no usable output"
    CHECKSUM = "the command is damaged"
    ALIVE_COUNTER_STUCK = "the server's alive counter stands still or goes back"
    ALIVE_COUNTER_MISSED = "answers before this one are missing"
    ECHO = "the command belongs to no frame that waits for one"
    OUTDATED = "a command for a newer frame came before"
    ROUND_TRIP = "the answer came too late"
    NOT_FINITE = "a value is not a finite number"
    STEERING_ANGLE = "the angle was beyond the client's bound"
    STEERING_RATE = "the angle changed faster than the client's bound"
    SPEED = "the speed was beyond the client's bound"
    ACCELERATION = "the speed changed faster than the client's bound"
    STEERING_TORQUE = "the torque was beyond the client's bound"


_PASSES = frozenset(
    {
        Intervention.ALIVE_COUNTER_MISSED,
        Intervention.STEERING_ANGLE,
        Intervention.STEERING_RATE,
        Intervention.SPEED,
        Intervention.ACCELERATION,
        Intervention.STEERING_TORQUE,
    }
)
"""Interventions after which the answer's values, bounded, are followed all the same."""


@dataclasses.dataclass(frozen=True, slots=True)
class SafeCommand:
    """What the vehicle may do now.

    Attributes:
        action: what to do with the values.
        steering_wheel_angle_rad: angle within the client's bounds; None where there is none.
        speed_mps: speed within the client's bounds; None where there is none.
        steering_torque_nm: torque within the client's bounds; None where there is none.
        age_ms: upper bound on the age of the values; infinite where there are none.
        interventions: why this is not just the server's last command; empty if it is.
    """

    action: Action
    steering_wheel_angle_rad: float | None
    speed_mps: float | None
    steering_torque_nm: float | None
    age_ms: float
    interventions: tuple[Intervention, ...]


@dataclasses.dataclass(slots=True)
class _Awaited:
    capture_time_ns: int
    sent_ns: int
    is_lost: bool = False


@dataclasses.dataclass(frozen=True, slots=True)
class _Accepted:
    command: Command
    values: ControlValues


class Guard:
    """Judges every answer of a session.

    Args:
        bounds: what the client follows at most.
    """

    def __init__(self, bounds: Bounds | None = None) -> None:
        self.bounds = bounds or Bounds()
        self.begin_session()

    def begin_session(self) -> None:
        """Forget everything, for the server's counters begin anew with every session."""
        self._awaited: collections.OrderedDict[int, _Awaited] = collections.OrderedDict()
        self._losses: collections.deque[bool] = collections.deque(
            maxlen=self.bounds.lost_window_frames
        )
        self._alive_counter: int | None = None
        self._answers_since = 0
        self._accepted: _Accepted | None = None
        self._last: tuple[Intervention, ...] = ()

    def frame_sent(self, sequence_number: int, capture_time_ns: int, now_ns: int) -> None:
        """Note that a frame was sent and awaits its answer.

        Args:
            sequence_number: the frame's number.
            capture_time_ns: when it was taken, by the vehicle's clock.
            now_ns: when it was sent, by the client's clock.
        """
        self._awaited[sequence_number] = _Awaited(capture_time_ns, now_ns)
        if len(self._awaited) > MAX_AWAITED:
            _, oldest = self._awaited.popitem(last=False)
            self._lose(oldest)

    def received(self, answer: Command | Skipped, now_ns: int) -> tuple[Intervention, ...]:
        """Judge an answer.

        Args:
            answer: a command or a skip.
            now_ns: when it arrived, by the client's clock.

        Returns:
            What the guard did about it; empty for a command that is passed on as it came.
        """
        awaited = self._awaited.pop(answer.sequence_number, None)
        self._answers_since += 1
        if isinstance(answer, Skipped):
            self._settle(awaited, is_lost=True)
            self._last = (Intervention.SKIPPED,)
            return self._last
        found = self._doubts(answer, awaited, now_ns)
        if _PASSES.issuperset(found):
            found += self._accept(answer, now_ns)
        self._settle(awaited, is_lost=not _PASSES.issuperset(found))
        self._last = found
        return found

    def safe_command(self, now_ns: int) -> SafeCommand:
        """Return what the vehicle may do now.

        Args:
            now_ns: the time by the client's clock.
        """
        self._notice_losses(now_ns)
        if self._accepted is None:
            return _release(Intervention.NO_COMMAND, *self._last)
        age_ms = self._accepted.command.age_at_ms(now_ns)
        if age_ms > self.bounds.max_hold_ms:
            return _release(Intervention.TOO_OLD, *self._last)
        if self.is_lagging:
            return _release(Intervention.LAGGING, *self._last)
        return self._follow_or_hold(self._accepted.values, age_ms)

    @property
    def is_lagging(self) -> bool:
        """Whether more frames were lost than the bounds allow; False until the window is full."""
        window = self.bounds.lost_window_frames
        lost = sum(self._losses)
        return len(self._losses) == window and lost > self.bounds.max_lost_fraction * window

    def _follow_or_hold(self, values: ControlValues, age_ms: float) -> SafeCommand:
        is_old = age_ms > self.bounds.max_age_ms
        is_good = _PASSES.issuperset(self._last) and not is_old
        too_old = (Intervention.TOO_OLD,) if is_old else ()
        return SafeCommand(
            action=Action.FOLLOW if is_good else Action.HOLD,
            steering_wheel_angle_rad=values.steering_wheel_angle_rad,
            speed_mps=values.speed_mps,
            steering_torque_nm=values.steering_torque_nm,
            age_ms=age_ms,
            interventions=too_old + self._last,
        )

    def _doubts(
        self, command: Command, awaited: _Awaited | None, now_ns: int
    ) -> tuple[Intervention, ...]:
        if not command.checksum_ok:
            # Nothing in a damaged command can be believed, its counter included.
            return (Intervention.CHECKSUM,)
        doubts = self._count(command.alive_counter)
        if awaited is None or awaited.capture_time_ns != command.capture_time_ns:
            return (*doubts, Intervention.ECHO)
        if self._is_outdated(command):
            doubts += (Intervention.OUTDATED,)
        if now_ns - awaited.sent_ns > self.bounds.max_round_trip_ms * 1e6:
            doubts += (Intervention.ROUND_TRIP,)
        return doubts + _value_doubts(command)

    def _count(self, alive_counter: int) -> tuple[Intervention, ...]:
        """Compare the alive counter with the number of answers since the last one that was read."""
        previous, self._alive_counter = self._alive_counter, alive_counter
        expected, self._answers_since = self._answers_since, 0
        if previous is None:
            return ()
        step = (alive_counter - previous) % ALIVE_COUNTER_MODULUS
        if not 0 < step < ALIVE_COUNTER_MODULUS // 2:
            return (Intervention.ALIVE_COUNTER_STUCK,)
        return (Intervention.ALIVE_COUNTER_MISSED,) if step > expected else ()

    def _is_outdated(self, command: Command) -> bool:
        newest = self._accepted
        return newest is not None and command.sequence_number < newest.command.sequence_number

    def _accept(self, command: Command, now_ns: int) -> tuple[Intervention, ...]:
        previous = self._accepted
        if previous and previous.command.age_at_ms(now_ns) > self.bounds.max_hold_ms:
            # The vehicle let go of it, so what it held then bounds nothing now.
            previous = None
        if previous is None:
            before, elapsed_s = ControlValues(), math.inf
        else:
            # By capture times: answers may arrive closer together than their frames were taken.
            elapsed_ns = command.capture_time_ns - previous.command.capture_time_ns
            before, elapsed_s = previous.values, elapsed_ns / 1e9
        values, found = bound_values(command.limited, before, elapsed_s, self.bounds)
        self._accepted = _Accepted(command, values)
        return found

    def _notice_losses(self, now_ns: int) -> None:
        limit_ns = self.bounds.max_round_trip_ms * 1e6
        for awaited in self._awaited.values():
            if now_ns - awaited.sent_ns <= limit_ns:
                break
            self._lose(awaited)

    def _lose(self, awaited: _Awaited) -> None:
        if not awaited.is_lost:
            awaited.is_lost = True
            self._losses.append(True)

    def _settle(self, awaited: _Awaited | None, *, is_lost: bool) -> None:
        if awaited is not None and not awaited.is_lost:
            self._losses.append(is_lost)


def bound_values(
    wanted: ControlValues, previous: ControlValues, elapsed_s: float, bounds: Bounds
) -> tuple[ControlValues, tuple[Intervention, ...]]:
    """Return the values nearest to the wanted ones that the bounds allow, and which bounds acted.

    Args:
        wanted: finite values; None stays None.
        previous: what was followed before; None sets no bound on the rate.
        elapsed_s: seconds between the two frames, by the vehicle's clock.
        bounds: the client's bounds.
    """
    found: list[Intervention] = []
    bounded = ControlValues(
        steering_wheel_angle_rad=_bound_angle(
            wanted.steering_wheel_angle_rad,
            previous.steering_wheel_angle_rad,
            elapsed_s,
            bounds,
            found,
        ),
        speed_mps=_bound_speed(wanted.speed_mps, previous.speed_mps, elapsed_s, bounds, found),
        steering_torque_nm=_bound_torque(wanted.steering_torque_nm, bounds, found),
    )
    return bounded, tuple(found)


def _bound_angle(
    wanted: float | None,
    previous: float | None,
    elapsed_s: float,
    bounds: Bounds,
    found: list[Intervention],
) -> float | None:
    if wanted is None:
        return None
    most = bounds.max_steering_wheel_angle_rad
    rate = bounds.max_steering_wheel_rate_radps
    inside = clamp(wanted, -most, most)
    near = slew(inside, previous, rate_per_s=rate, elapsed_s=elapsed_s)
    _note(inside != wanted, Intervention.STEERING_ANGLE, found)
    _note(near != inside, Intervention.STEERING_RATE, found)
    return near


def _bound_speed(
    wanted: float | None,
    previous: float | None,
    elapsed_s: float,
    bounds: Bounds,
    found: list[Intervention],
) -> float | None:
    if wanted is None:
        return None
    inside = clamp(wanted, bounds.min_speed_mps, bounds.max_speed_mps)
    rate = bounds.max_acceleration_mps2
    near = slew(inside, previous, rate_per_s=rate, elapsed_s=elapsed_s)
    _note(inside != wanted, Intervention.SPEED, found)
    _note(near != inside, Intervention.ACCELERATION, found)
    return near


def _bound_torque(wanted: float | None, bounds: Bounds, found: list[Intervention]) -> float | None:
    if wanted is None:
        return None
    most = bounds.max_steering_torque_nm
    inside = clamp(wanted, -most, most)
    _note(inside != wanted, Intervention.STEERING_TORQUE, found)
    return inside


def _note(acted: bool, intervention: Intervention, found: list[Intervention]) -> None:  # noqa: FBT001
    if acted:
        found.append(intervention)


def _value_doubts(command: Command) -> tuple[Intervention, ...]:
    if command.validity is Validity.HELD:
        return (Intervention.SERVER_HELD,)
    if command.validity not in {Validity.VALID, Validity.WARMING_UP}:
        return (Intervention.SERVER_FALLBACK,)
    limited = command.limited
    values = (limited.steering_wheel_angle_rad, limited.speed_mps, limited.steering_torque_nm)
    if any(value is not None and not math.isfinite(value) for value in values):
        return (Intervention.NOT_FINITE,)
    return ()


def _release(*interventions: Intervention) -> SafeCommand:
    return SafeCommand(Action.RELEASE, None, None, None, math.inf, interventions)
