"""The client's guard: turns answers and time into what the vehicle may do.

It takes data and returns data: it has no socket, clock or thread. A session feeds it; a vehicle
with another transport can feed it as well:

```python
guard.frame_sent(sequence_number, capture_time_ns, now_ns)
guard.received(answer, now_ns)
safe = guard.safe_command(now_ns)  # as often as the actuators want one
```

The guard does not rely on any time that the server states. A command is as old as its picture: the
time since the frame was sent, and how much longer than others the frame took from its capture to
its sending.
"""

from __future__ import annotations

import collections
import dataclasses
import enum
import math

from steerstream.answers import (
    Command,
    ControlValues,
    Horizon,
    HorizonStep,
    Skipped,
    Validity,
)
from steerstream.arguments import finite_number, instance, shown, whole_number
from steerstream.bounds import Bounds
from steerstream.capture_time import CaptureDelay
from steerstream.checksum import ALIVE_COUNTER_MODULUS
from steerstream.errors import BadRequest
from steerstream.ledger import MAX_NUMBER

MAX_AWAITED = 256
"""Frames whose answers are awaited: 13 s at 20 Hz. Any older one was counted as lost long ago."""

MAX_HORIZON_STEPS = 64
"""More would not be a horizon of half a second in steps of a camera's period."""


class Action(enum.Enum):
    """What the vehicle does with a safe command."""

    FOLLOW = "follow"
    """Its values are fresh, or what a fresh command said comes next, and within the bounds."""
    HOLD = "hold"
    """Keep the last good values, which it repeats, and expect to take over."""
    RELEASE = "release"
    """There is nothing to follow: the vehicle's own fallback or its driver takes over."""


class GuardReason(enum.Enum):
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
    CAPTURE_TIME = "by its capture time the picture was old when it was sent"
    NOT_FINITE = "a value is not a finite number"
    HEAD_MISSING = "a value is missing that was there before, or there is none at all"
    RESUMING = "the session goes on at another server, and no answer has come from there yet"
    NEW_SESSION = "the last good command is of an earlier session"
    CLOSED = "the vehicle closed the session"
    LOST = "the session is lost, and goes on at no server"
    PREDICTED = "the value is what the last good command's network said comes next"
    STEERING_ANGLE = "the angle was beyond the client's bound"
    STEERING_RATE = "the angle is on its way, as fast as the client's bound allows"
    SPEED = "the speed was beyond the client's bound"
    ACCELERATION = "the speed is on its way, as fast as the client's bound allows"
    STEERING_TORQUE = "the torque was beyond the client's bound"


_PASSES = frozenset(
    {
        GuardReason.ALIVE_COUNTER_MISSED,
        GuardReason.STEERING_ANGLE,
        GuardReason.STEERING_RATE,
        GuardReason.SPEED,
        GuardReason.ACCELERATION,
        GuardReason.STEERING_TORQUE,
    }
)
"""Reasons that bound an answer's values and do not keep them from being followed."""


@dataclasses.dataclass(frozen=True, slots=True)
class SafeCommand:
    """The action that the guard allows now, and its values.

    Attributes:
        action: what to do with the values.
        steering_wheel_angle_rad: angle within the client's bounds; None where there is none.
        speed_mps: speed within the client's bounds; None where there is none.
        steering_torque_nm: torque within the client's bounds; None where there is none.
        age_ms: time since the values' picture was sent, and how old it was then at least; infinite
            where there are no values.
        reasons: why this is not just the server's last command; empty if it is.
    """

    action: Action
    steering_wheel_angle_rad: float | None
    speed_mps: float | None
    steering_torque_nm: float | None
    age_ms: float
    reasons: tuple[GuardReason, ...]


@dataclasses.dataclass(slots=True)
class _Awaited:
    capture_time_ns: int
    sent_ns: int
    lag_ns: int
    due_in_ms: float
    is_lost: bool = False


@dataclasses.dataclass(frozen=True, slots=True)
class _Accepted:
    """The last good command: its values within the bounds, and when its picture was taken.

    It is for `due_in_ms` after that. `horizon` holds the values for moments after it is due, and
    `horizon_ms` is how long they last.
    """

    values: ControlValues
    taken_ns: int
    capture_time_ns: int
    due_in_ms: float
    horizon: tuple[HorizonStep, ...]
    horizon_ms: float

    def age_ms(self, now_ns: int) -> float:
        return max(0, now_ns - self.taken_ns) / 1e6

    def step_at(self, age_ms: float) -> HorizonStep | None:
        """Return the step of the horizon whose moment came last; None before the first."""
        # The last one stays when the horizon is over: it is what the vehicle was told.
        until_ms = min(age_ms - self.due_in_ms, self.horizon_ms)
        return next((step for step in reversed(self.horizon) if step.after_ms <= until_ms), None)


class Guard:
    """Judges every answer of a vehicle's sessions.

    Args:
        bounds: what the client follows at most.
    """

    def __init__(self, bounds: Bounds | None = None) -> None:
        if bounds is not None:
            instance("bounds", bounds, Bounds)
        self.bounds = bounds or Bounds()
        self._losses: collections.deque[bool] = collections.deque(
            maxlen=self.bounds.lost_window_frames
        )
        self._good_in_a_row = 0
        self._accepted: _Accepted | None = None
        self._told = ControlValues()
        self._told_ns: int | None = None
        self._has_released = False
        self._last: tuple[GuardReason, ...] = ()
        self._awaited: collections.OrderedDict[int, _Awaited] = collections.OrderedDict()
        self._is_live = True
        self.begin_session()

    def begin_session(self, *, live: bool = True) -> None:
        """Begin to judge the answers of another session.

        The server's counters start again. The vehicle holds the last good command of the session
        before until this one has a good answer, or the command is too old.

        Args:
            live: whether capture times run as the client's clock does. Where they do not, as in a
                recording, values may change as fast as the bounds allow by capture time.
        """
        instance("live", live, bool)
        for awaited in self._awaited.values():
            self._lose(awaited)
        self._awaited.clear()
        if not (live and self._is_live):
            # Capture times of two recordings, or of one and a clock, cannot be compared.
            self._told_ns = None
        self._is_live = live
        self._capture_delay = CaptureDelay()
        self._alive_counter: int | None = None
        self._answers_since = 0
        self._newest_number = -1
        if self._accepted is not None:
            self._last = (GuardReason.NEW_SESSION,)

    def session_lost(self) -> None:
        """Hold: no answer comes before the session goes on at another server."""
        if self._accepted is not None:
            self._last = (GuardReason.RESUMING,)

    def resume_session(self, *, with_state: bool) -> None:
        """Judge the answers of another server, which goes on with the vehicle's session.

        Frames that await an answer go on to await it, and are as old as they are; the server's
        counters start again.

        Args:
            with_state: whether it goes on with the session's state; otherwise the vehicle holds
                until the first good answer.
        """
        self._alive_counter = None
        self._answers_since = 0
        if not with_state and self._accepted is not None:
            self._last = (GuardReason.NEW_SESSION,)

    def frame_sent(
        self, sequence_number: int, capture_time_ns: int, now_ns: int, *, due_in_ms: float = 0.0
    ) -> None:
        """Note that a frame was sent and awaits its answer.

        Args:
            sequence_number: the frame's number.
            capture_time_ns: when it was taken, by the vehicle's clock.
            now_ns: when it was sent, by the client's clock.
            due_in_ms: how long after that its command is meant to be applied, where the network
                was told when it acts; from there its horizon counts.
        """
        whole_number("sequence_number", sequence_number, low=0, high=MAX_NUMBER)
        _check_time("capture_time_ns", capture_time_ns)
        _check_time("now_ns", now_ns)
        finite_number("due_in_ms", due_in_ms, low=0.0)
        lag_ns = self._capture_delay.lag_ns(capture_time_ns, now_ns) if self._is_live else 0
        self._awaited[sequence_number] = _Awaited(capture_time_ns, now_ns, lag_ns, due_in_ms)
        if len(self._awaited) > MAX_AWAITED:
            _, oldest = self._awaited.popitem(last=False)
            self._lose(oldest)

    def received(self, answer: Command | Skipped, now_ns: int) -> tuple[GuardReason, ...]:
        """Judge an answer.

        Args:
            answer: a command or a skip.
            now_ns: when it arrived, by the client's clock.

        Returns:
            What the guard did about it; empty for a command that is passed on as it came.
        """
        instance("answer", answer, Command, Skipped)
        _check_time("now_ns", now_ns)
        awaited = self._awaited.pop(answer.sequence_number, None)
        self._answers_since += 1
        if isinstance(answer, Skipped):
            self._settle(awaited, is_good=False)
            self._last = (GuardReason.SKIPPED,)
            return self._last
        found = self._doubts(answer, awaited, now_ns)
        is_good = _PASSES.issuperset(found)
        if is_good and awaited is not None:
            found += self._accept(answer, awaited)
        self._settle(awaited, is_good=is_good)
        self._last = found
        return found

    def safe_command(self, now_ns: int) -> SafeCommand:
        """Return what the vehicle may do now.

        The values go towards the last good command's as fast as the bounds allow, counted from
        what the last call returned and when, for `max_hold_ms` at most. Only a vehicle that was
        told RELEASE, and no values for longer than that, starts from the command as it is.

        Args:
            now_ns: the time by the client's clock.
        """
        _check_time("now_ns", now_ns)
        self._notice_losses(now_ns)
        if self._accepted is None:
            return self._released(GuardReason.NO_COMMAND, *self._last)
        age_ms = self._accepted.age_ms(now_ns)
        if age_ms > self.bounds.max_hold_ms:
            return self._released(GuardReason.TOO_OLD, *self._last)
        if self.is_lagging:
            return self._released(GuardReason.LAGGING, *self._last)
        step = self._accepted.step_at(age_ms) if self._is_live else None
        lasts_ms = self._accepted.horizon_ms
        is_ahead = self._is_live and lasts_ms > 0 and age_ms < self._accepted.due_in_ms + lasts_ms
        is_old = age_ms > self.bounds.max_age_ms and not is_ahead
        is_good = _PASSES.issuperset(self._last) and not is_old
        wanted = self._accepted.values if step is None else step.limited
        values, rates = self._tell(self._accepted, wanted, now_ns)
        return SafeCommand(
            action=Action.FOLLOW if is_good or is_ahead else Action.HOLD,
            steering_wheel_angle_rad=values.steering_wheel_angle_rad,
            speed_mps=values.speed_mps,
            steering_torque_nm=values.steering_torque_nm,
            age_ms=age_ms,
            reasons=(GuardReason.PREDICTED,) * (step is not None)
            + (GuardReason.TOO_OLD,) * is_old
            + self._last
            + rates,
        )

    def release_closed(self) -> SafeCommand:
        """Return what the vehicle may do by a session that it has closed itself: nothing.

        The last good command is kept for its next session, whose values start from there as after
        any other RELEASE.
        """
        return self._released(GuardReason.CLOSED)

    def release_lost(self) -> SafeCommand:
        """Return what the vehicle may do by a session that was given up: nothing.

        A hold bridges the time until the next answer, and none comes. The last good command is kept
        as by `release_closed`.
        """
        return self._released(GuardReason.LOST)

    @property
    def is_lagging(self) -> bool:
        """Whether more frames of the window were lost than the bounds allow.

        The window need not be full, because the frames to come cannot make up for so many losses.
        It is emptied when the server has recovered.
        """
        most = self.bounds.max_lost_fraction * self.bounds.lost_window_frames
        return self._losses.count(True) > most

    def _released(self, *reasons: GuardReason) -> SafeCommand:
        self._has_released = True
        return SafeCommand(Action.RELEASE, None, None, None, math.inf, reasons)

    def _tell(
        self, accepted: _Accepted, wanted: ControlValues, now_ns: int
    ) -> tuple[ControlValues, tuple[GuardReason, ...]]:
        """Go from what the vehicle was told towards the wanted values, and remember how far."""
        clock_ns = now_ns if self._is_live else accepted.capture_time_ns
        before, elapsed_s, most_s = self._told, 0.0, self.bounds.max_hold_ms / 1e3
        if self._told_ns is not None:
            elapsed_s = (clock_ns - self._told_ns) / 1e9
        if self._told_ns is None or (self._has_released and elapsed_s > most_s):
            # The vehicle has let go since, so its last values bound nothing now. Time alone does
            # not show that: a caller that stalled still steers by them.
            before = ControlValues()
        values, found = limit_rates(wanted, before, min(elapsed_s, most_s), self.bounds)
        self._told, self._has_released = _merged(values, before), False
        self._told_ns = max(clock_ns, self._told_ns or clock_ns)
        return values, found

    def _doubts(
        self, command: Command, awaited: _Awaited | None, now_ns: int
    ) -> tuple[GuardReason, ...]:
        if not command.checksum_ok:
            # Nothing in a damaged command can be believed, its counter included.
            return (GuardReason.CHECKSUM,)
        doubts = self._count(command.alive_counter)
        if awaited is None or awaited.capture_time_ns != command.capture_time_ns:
            return (*doubts, GuardReason.ECHO)
        if command.sequence_number < self._newest_number:
            doubts += (GuardReason.OUTDATED,)
        if now_ns - awaited.sent_ns > self.bounds.max_round_trip_ms * 1e6:
            doubts += (GuardReason.ROUND_TRIP,)
        if awaited.lag_ns > self.bounds.max_age_ms * 1e6:
            doubts += (GuardReason.CAPTURE_TIME,)
        return doubts + self._value_doubts(command, now_ns)

    def _value_doubts(self, command: Command, now_ns: int) -> tuple[GuardReason, ...]:
        if command.validity is Validity.HELD:
            return (GuardReason.SERVER_HELD,)
        if command.validity not in {Validity.VALID, Validity.WARMING_UP}:
            return (GuardReason.SERVER_FALLBACK,)
        heads = _heads(command.limited)
        if any(value is not None and not math.isfinite(value) for value in heads):
            return (GuardReason.NOT_FINITE,)
        held: tuple[float | None, ...] = (None, None, None)
        if self._accepted and self._accepted.age_ms(now_ns) <= self.bounds.max_hold_ms:
            held = _heads(self._accepted.values)
        is_less = any(new is None and old is not None for new, old in zip(heads, held, strict=True))
        if is_less or heads == (None, None, None):
            return (GuardReason.HEAD_MISSING,)
        return ()

    def _count(self, alive_counter: int) -> tuple[GuardReason, ...]:
        """Compare the alive counter with the number of answers since the last one that was read."""
        previous, self._alive_counter = self._alive_counter, alive_counter
        expected, self._answers_since = self._answers_since, 0
        if previous is None:
            return ()
        step = (alive_counter - previous) % ALIVE_COUNTER_MODULUS
        if not 0 < step < ALIVE_COUNTER_MODULUS // 2:
            return (GuardReason.ALIVE_COUNTER_STUCK,)
        return (GuardReason.ALIVE_COUNTER_MISSED,) if step > expected else ()

    def _accept(self, command: Command, awaited: _Awaited) -> tuple[GuardReason, ...]:
        values, found = clamp_values(command.limited, self.bounds)
        taken_ns = awaited.sent_ns - awaited.lag_ns
        horizon = playable(command.horizon, values, self.bounds)
        lasts_ms = min(_lasts_ms(horizon), self.bounds.max_horizon_ms)
        self._accepted = _Accepted(
            values, taken_ns, command.capture_time_ns, awaited.due_in_ms, horizon, lasts_ms
        )
        self._newest_number = command.sequence_number
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
            self._good_in_a_row = 0

    def _settle(self, awaited: _Awaited | None, *, is_good: bool) -> None:
        if awaited is None or awaited.is_lost:
            return
        if not is_good:
            self._lose(awaited)
            return
        self._losses.append(False)
        self._good_in_a_row += 1
        if self._good_in_a_row >= self.bounds.recovery_frames and self.is_lagging:
            self._losses.clear()


def clamp_values(
    wanted: ControlValues, bounds: Bounds
) -> tuple[ControlValues, tuple[GuardReason, ...]]:
    """Return the values nearest to finite ones that the bounds allow, and which bounds acted."""
    found: list[GuardReason] = []
    angle, torque = bounds.max_steering_wheel_angle_rad, bounds.max_steering_torque_nm
    low, high = bounds.min_speed_mps, bounds.max_speed_mps
    inside = ControlValues(
        _clamped(wanted.steering_wheel_angle_rad, -angle, angle, GuardReason.STEERING_ANGLE, found),
        _clamped(wanted.speed_mps, low, high, GuardReason.SPEED, found),
        _clamped(wanted.steering_torque_nm, -torque, torque, GuardReason.STEERING_TORQUE, found),
    )
    return inside, tuple(found)


def playable(
    horizon: Horizon | None, values: ControlValues, bounds: Bounds
) -> tuple[HorizonStep, ...]:
    """Return the steps of a horizon within the bounds; none where one of them makes no sense.

    Their moments go up, and each has finite values, for heads that the command has as well. A head
    that the horizon lacks keeps the command's value.

    Args:
        horizon: of a good command; None if it has none.
        values: of the command, within the bounds.
        bounds: the client's bounds.
    """
    if horizon is None or len(horizon.steps) > MAX_HORIZON_STEPS:
        return ()
    steps, before_ms = [], 0
    for step in horizon.steps:
        heads = zip(_heads(step.limited), _heads(values), strict=True)
        fits = all(new is None or (old is not None and math.isfinite(new)) for new, old in heads)
        if step.after_ms <= before_ms or not fits:
            return ()
        before_ms = step.after_ms
        inside, _ = clamp_values(step.limited, bounds)
        steps.append(HorizonStep(step.after_ms, _merged(inside, values)))
    return tuple(steps)


def _lasts_ms(horizon: tuple[HorizonStep, ...]) -> float:
    """Return how long a horizon lasts: the last step as long as the one before it."""
    if not horizon:
        return 0.0
    last_ms = horizon[-1].after_ms
    return last_ms + (last_ms - horizon[-2].after_ms if len(horizon) > 1 else last_ms)


def limit_rates(
    wanted: ControlValues, previous: ControlValues, elapsed_s: float, bounds: Bounds
) -> tuple[ControlValues, tuple[GuardReason, ...]]:
    """Return the values nearest to the wanted ones that can be reached, and which bounds acted.

    Args:
        wanted: finite values; None stays None.
        previous: what the vehicle was told before; None sets no bound.
        elapsed_s: seconds since then; less than 0 counts as 0.
        bounds: the client's bounds.
    """
    found: list[GuardReason] = []
    angle = _slewed(
        wanted.steering_wheel_angle_rad,
        previous.steering_wheel_angle_rad,
        bounds.max_steering_wheel_rate_radps * max(0.0, elapsed_s),
        GuardReason.STEERING_RATE,
        found,
    )
    speed = _slewed(
        wanted.speed_mps,
        previous.speed_mps,
        bounds.max_acceleration_mps2 * max(0.0, elapsed_s),
        GuardReason.ACCELERATION,
        found,
    )
    return ControlValues(angle, speed, wanted.steering_torque_nm), tuple(found)


def _clamped(
    wanted: float | None,
    low: float,
    high: float,
    reason: GuardReason,
    found: list[GuardReason],
) -> float | None:
    """Return the value from low to high nearest to the wanted one; note where they differ."""
    if wanted is None:
        return None
    inside = min(max(wanted, low), high)
    if inside != wanted:
        found.append(reason)
    return inside


def _slewed(
    wanted: float | None,
    previous: float | None,
    reach: float,
    reason: GuardReason,
    found: list[GuardReason],
) -> float | None:
    if previous is None:
        return wanted
    return _clamped(wanted, previous - reach, previous + reach, reason, found)


def _check_time(name: str, time_ns: int) -> None:
    """Refuse seconds, by which every command would look fresh."""
    if isinstance(time_ns, bool) or not isinstance(time_ns, int):
        raise BadRequest(f"{name} must be whole nanoseconds, not {shown(time_ns)}")


def _heads(values: ControlValues) -> tuple[float | None, float | None, float | None]:
    return values.steering_wheel_angle_rad, values.speed_mps, values.steering_torque_nm


def _merged(values: ControlValues, others: ControlValues) -> ControlValues:
    """Return the values, and the others where there is none."""
    pairs = zip(_heads(values), _heads(others), strict=True)
    return ControlValues(*(other if value is None else value for value, other in pairs))
