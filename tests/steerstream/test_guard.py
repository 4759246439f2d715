from __future__ import annotations

import math
from typing import Any, cast

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from steerstream import (
    Action,
    BadRequest,
    Bounds,
    ControlValues,
    Guard,
    GuardReason,
    Horizon,
    HorizonStep,
    SafeCommand,
    StageTimings,
    Validity,
)
from steerstream.guard import MAX_AWAITED, clamp_values, limit_rates
from tests.steerstream.values import command, skipped

PERIOD_MS = 50.0


def ns(milliseconds: float) -> int:
    return round(milliseconds * 1e6)


def drive(guard: Guard, number: int, **changes) -> tuple[GuardReason, ...]:
    """Send frame `number` of a 20 Hz camera and take its answer 8 ms later."""
    sent_ms = number * PERIOD_MS
    guard.frame_sent(number, ns(sent_ms), ns(sent_ms))
    answer = command(number, sent_ms, **changes)
    return guard.received(answer, answer.received_ns)


def now(number: int, after_ms: float = 10.0) -> int:
    return ns(number * PERIOD_MS + after_ms)


def test_a_good_command_is_followed_as_it_is():
    guard = Guard()
    values = ControlValues(steering_wheel_angle_rad=0.3, speed_mps=12.0, steering_torque_nm=-1.0)
    assert drive(guard, 0, limited=values) == ()
    assert guard.safe_command(now(0)) == SafeCommand(
        Action.FOLLOW, 0.3, 12.0, -1.0, cast(float, pytest.approx(5 + 3 + 2)), ()
    )


@pytest.mark.parametrize(
    ("release", "reason"),
    [
        (Guard.release_closed, GuardReason.CLOSED),
        (Guard.release_lost, GuardReason.LOST),
    ],
)
def test_by_a_session_that_is_over_nothing_is_followed_and_the_next_one_starts_from_its_command(
    release, reason
):
    guard = Guard()
    drive(guard, 0, limited=ControlValues(steering_wheel_angle_rad=0.0))
    assert guard.safe_command(now(0)).action is Action.FOLLOW
    guard.session_lost()
    safe = release(guard)
    assert (safe.action, safe.steering_wheel_angle_rad, safe.age_ms) == (
        Action.RELEASE, None, math.inf,
    )  # fmt: skip
    assert safe.reasons == (reason,)
    guard.begin_session()
    drive(guard, 100, limited=ControlValues(steering_wheel_angle_rad=3.0))
    assert guard.safe_command(now(100)).steering_wheel_angle_rad == 3.0, "the driver had the wheel"


def test_before_the_first_command_there_is_nothing_to_follow():
    safe = Guard().safe_command(0)
    assert (safe.action, safe.reasons) == (Action.RELEASE, (GuardReason.NO_COMMAND,))
    assert safe.steering_wheel_angle_rad is None


def test_a_release_says_what_was_wrong_with_the_last_answer_too():
    guard = Guard(Bounds(lost_window_frames=10, max_lost_fraction=0.2))
    drive(guard, 0, checksum_ok=False)
    reasons = guard.safe_command(now(0)).reasons
    assert reasons == (GuardReason.NO_COMMAND, GuardReason.CHECKSUM)
    for number in range(1, 11):
        drive(guard, number, checksum_ok=number == 1)
    assert guard.is_lagging
    reasons = guard.safe_command(now(10)).reasons
    assert reasons == (GuardReason.LAGGING, GuardReason.CHECKSUM)


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"checksum_ok": False}, GuardReason.CHECKSUM),
        ({"alive_counter": 1}, GuardReason.ALIVE_COUNTER_STUCK),
        ({"alive_counter": 65_530}, GuardReason.ALIVE_COUNTER_STUCK),
        ({"capture_time_ns": 1}, GuardReason.ECHO),
        ({"sequence_number": 7}, GuardReason.ECHO),
        ({"received_ms": PERIOD_MS + 300}, GuardReason.ROUND_TRIP),
        ({"validity": Validity.HELD}, GuardReason.SERVER_HELD),
        ({"validity": Validity.FALLBACK}, GuardReason.SERVER_FALLBACK),
        ({"validity": Validity.UNSPECIFIED}, GuardReason.SERVER_FALLBACK),
        ({"limited": ControlValues(math.nan, 1.0, 0.0)}, GuardReason.NOT_FINITE),
        ({"limited": ControlValues(0.0, math.inf, 0.0)}, GuardReason.NOT_FINITE),
        ({"limited": ControlValues(0.0, 1.0, -math.inf)}, GuardReason.NOT_FINITE),
        ({"limited": ControlValues(None, 10.0, 0.0)}, GuardReason.HEAD_MISSING),
        ({"limited": ControlValues(0.0, None, 0.0)}, GuardReason.HEAD_MISSING),
        ({"limited": ControlValues(0.0, 10.0, None)}, GuardReason.HEAD_MISSING),
    ],
)
def test_a_bad_command_is_not_followed_and_the_last_good_one_is_held(changes, why):
    guard = Guard()
    good = ControlValues(steering_wheel_angle_rad=0.1, speed_mps=10.0, steering_torque_nm=0.0)
    drive(guard, 0, limited=good)
    found = drive(guard, 1, **changes)
    assert why in found
    safe = guard.safe_command(now(1))
    assert safe.action is Action.HOLD
    assert safe.steering_wheel_angle_rad == 0.1
    assert why in safe.reasons


def test_times_that_are_no_nanoseconds_are_refused():
    """By seconds, every command would look fresh."""
    guard = Guard()
    calls = [
        lambda now: guard.frame_sent(0, 0, now),
        lambda now: guard.received(command(0, 0.0), now),
        guard.safe_command,
    ]
    for call in calls:
        with pytest.raises(BadRequest, match=r"now_ns must be whole nanoseconds, not 1234\.5"):
            call(cast(Any, 1234.5))
        with pytest.raises(BadRequest, match="now_ns must be whole nanoseconds, not True"):
            call(True)
    with pytest.raises(BadRequest, match="bounds must be Bounds"):
        Guard(cast(Any, 200.0))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda guard: guard.frame_sent(0, "x", 1), "capture_time_ns must be whole nanoseconds"),
        (lambda guard: guard.frame_sent("x", 0, 1), "sequence_number must be a whole number"),
        (lambda guard: guard.frame_sent([], 0, 1), "sequence_number must be a whole number"),
        (lambda guard: guard.received(None, 1), "answer must be Command or Skipped, not None"),
        (lambda guard: guard.begin_session(live=None), "live must be bool"),
        (lambda _: Bounds(max_hold_ms=10**400), "max_hold_ms must be finite"),
    ],
)
def test_an_argument_of_the_wrong_type_is_refused_by_name_and_changes_nothing(call, message):
    guard = Guard()
    drive(guard, 0)
    with pytest.raises(BadRequest, match=message):
        call(guard)
    assert drive(guard, 1) == ()
    assert guard.safe_command(now(1)).action is Action.FOLLOW


def test_warming_up_is_followed():
    assert drive(Guard(), 0, validity=Validity.WARMING_UP) == ()


def test_missing_answers_are_reported_and_the_command_followed():
    guard = Guard()
    drive(guard, 0)
    assert drive(guard, 1, alive_counter=5) == (GuardReason.ALIVE_COUNTER_MISSED,)
    assert guard.safe_command(now(1)).action is Action.FOLLOW


def test_skips_count_in_the_alive_counter():
    guard = Guard()
    drive(guard, 0, alive_counter=65_535)
    guard.frame_sent(1, ns(PERIOD_MS), ns(PERIOD_MS))
    assert guard.received(skipped(1, PERIOD_MS), now(1)) == (GuardReason.SKIPPED,)
    assert guard.safe_command(now(1)).action is Action.HOLD
    assert drive(guard, 2, alive_counter=1) == ()


def test_an_older_command_does_not_replace_a_newer_one():
    guard = Guard()
    guard.frame_sent(0, 0, 0)
    guard.frame_sent(1, ns(50), ns(50))
    assert guard.received(command(1, 50, alive_counter=1), ns(58)) == ()
    late = command(0, 0, received_ms=59, alive_counter=2)
    assert guard.received(late, ns(59)) == (GuardReason.OUTDATED,)


def test_a_command_ages_from_follow_over_hold_to_release():
    guard = Guard(Bounds(max_age_ms=100, max_hold_ms=500))
    drive(guard, 0)
    assert guard.safe_command(ns(100)).action is Action.FOLLOW
    held = guard.safe_command(ns(101))
    assert (held.action, held.reasons) == (Action.HOLD, (GuardReason.TOO_OLD,))
    assert guard.safe_command(ns(500)).action is Action.HOLD
    gone = guard.safe_command(ns(501))
    assert (gone.action, gone.steering_wheel_angle_rad) == (Action.RELEASE, None)


def test_too_many_lost_frames_are_lagging_until_enough_arrive_again():
    guard = Guard(Bounds(lost_window_frames=10, max_lost_fraction=0.2))
    for number in range(7):
        drive(guard, number)
    for number in range(7, 10):
        guard.frame_sent(number, ns(number * PERIOD_MS), ns(number * PERIOD_MS))
        guard.received(skipped(number, number * PERIOD_MS), now(number))
    assert guard.is_lagging
    assert GuardReason.LAGGING in guard.safe_command(now(9)).reasons
    assert guard.safe_command(now(9)).action is Action.RELEASE
    for number in range(10, 18):
        drive(guard, number)
    assert guard.safe_command(now(17)).action is Action.FOLLOW


def test_frames_without_any_answer_are_lost():
    guard = Guard(Bounds(lost_window_frames=4, max_lost_fraction=0.5, max_round_trip_ms=100))
    drive(guard, 0)
    for number in range(1, 5):
        guard.frame_sent(number, ns(number * PERIOD_MS), ns(number * PERIOD_MS))
    guard.safe_command(ns(200))
    assert not guard.is_lagging
    guard.safe_command(ns(301))
    assert guard.is_lagging


def test_a_lag_is_noticed_before_the_window_is_full():
    """What is still to come cannot make up for more losses than a full window may hold."""
    guard = Guard()
    for number in range(21):
        guard.frame_sent(number, ns(number * PERIOD_MS), ns(number * PERIOD_MS))
        guard.received(skipped(number, number * PERIOD_MS), now(number))
        assert guard.is_lagging == (number == 20)


def test_a_lag_ends_when_the_server_has_recovered():
    guard = Guard()
    for number in range(80):
        guard.frame_sent(number, ns(number * PERIOD_MS), ns(number * PERIOD_MS))
        guard.received(skipped(number, number * PERIOD_MS), now(number))
    for number in range(80, 100):
        assert guard.is_lagging
        drive(guard, number)
    assert not guard.is_lagging
    assert guard.safe_command(now(99)).action is Action.FOLLOW


def test_no_more_losses_are_counted_than_frames():
    """Frames that are awaited no longer count once, when they are dropped or answered late."""
    guard = Guard(Bounds(lost_window_frames=1000, max_lost_fraction=0.5))
    for number in range(MAX_AWAITED + 500):
        guard.frame_sent(number, number, number)
        assert not guard.is_lagging
    guard.frame_sent(MAX_AWAITED + 500, MAX_AWAITED + 500, MAX_AWAITED + 500)
    assert guard.is_lagging


def test_between_two_sessions_the_last_command_is_held():
    guard = Guard()
    drive(guard, 0, alive_counter=500)
    guard.begin_session()
    held = guard.safe_command(now(0))
    assert (held.action, held.speed_mps) == (Action.HOLD, 10.0)
    assert held.reasons == (GuardReason.NEW_SESSION,)
    assert drive(guard, 1, alive_counter=1) == ()
    assert guard.safe_command(now(1)).action is Action.FOLLOW


def test_a_new_session_counts_its_frames_from_the_beginning():
    guard = Guard()
    for number in range(5):
        drive(guard, number)
    guard.begin_session()
    guard.frame_sent(0, ns(300), ns(300))
    assert guard.received(command(0, 300), ns(308)) == ()


def test_after_letting_go_the_first_command_is_not_held_back_by_the_old_one():
    guard = Guard(Bounds(max_hold_ms=200, max_steering_wheel_rate_radps=0.1))
    drive(guard, 0, limited=ControlValues(1.0, 10.0, 0.0))
    assert guard.safe_command(now(0)).steering_wheel_angle_rad == 1.0
    assert guard.safe_command(now(5)).action is Action.RELEASE
    assert drive(guard, 10, limited=ControlValues(-1.0, 10.0, 0.0), alive_counter=2) == ()
    assert guard.safe_command(now(10)).steering_wheel_angle_rad == -1.0


@settings(deadline=None)
@given(
    stall_frames=st.integers(1, 200),
    after_ms=st.floats(3, 49),
    from_rad=st.floats(-6.28, 6.28),
    to_rad=st.floats(-6.28, 6.28),
)
@example(stall_frames=25, after_ms=10.0, from_rad=6.28, to_rad=-6.28)
def test_a_caller_that_stalled_has_not_let_go(stall_frames, after_ms, from_rad, to_rad):
    """Good commands keep coming while nobody asks; the next answer starts from the last one."""
    guard = Guard()
    drive(guard, 0, limited=ControlValues(from_rad, 10.0, 0.0))
    guard.safe_command(now(0, 3))
    for number in range(1, stall_frames + 1):
        drive(guard, number, limited=ControlValues(to_rad, 45.0, 0.0))
    asked_ns = now(stall_frames, max(8.0, after_ms))
    safe = guard.safe_command(asked_ns)
    assert safe.action is Action.FOLLOW
    elapsed_s = min((asked_ns - now(0, 3)) / 1e9, guard.bounds.max_hold_ms / 1e3)
    assert safe.steering_wheel_angle_rad is not None
    assert safe.speed_mps is not None
    reach_rad = guard.bounds.max_steering_wheel_rate_radps * elapsed_s
    assert abs(safe.steering_wheel_angle_rad - from_rad) <= reach_rad + 1e-6
    assert abs(safe.speed_mps - 10.0) <= guard.bounds.max_acceleration_mps2 * elapsed_s + 1e-6


def test_after_a_hold_the_angle_moves_no_faster_than_an_actuator_can_follow():
    guard = Guard(Bounds(max_steering_wheel_rate_radps=1.0))
    drive(guard, 0, limited=ControlValues(0.0, 10.0, 0.0))
    assert guard.safe_command(now(0, 900)).action is Action.HOLD
    drive(guard, 18, limited=ControlValues(1.0, 10.0, 0.0), alive_counter=2)
    soon = guard.safe_command(now(18, 10))
    assert soon.action is Action.FOLLOW
    assert soon.steering_wheel_angle_rad == pytest.approx(0.010)
    assert soon.reasons == (GuardReason.STEERING_RATE,)
    assert guard.safe_command(now(18, 60)).steering_wheel_angle_rad == pytest.approx(0.060)


def test_one_command_without_an_angle_does_not_forget_the_reference():
    guard = Guard(Bounds(max_steering_wheel_rate_radps=1.0))
    for number, angle_rad in enumerate([0.0, None, 6.28]):
        drive(guard, number, limited=ControlValues(angle_rad, 10.0, 0.0))
        safe = guard.safe_command(now(number))
        assert safe.steering_wheel_angle_rad == pytest.approx(0.0, abs=0.11)


def test_an_angle_that_was_missing_for_long_comes_back_as_a_ramp():
    guard = Guard(Bounds(max_steering_wheel_rate_radps=1.0))
    drive(guard, 0, limited=ControlValues(0.0, 10.0, 0.0))
    assert guard.safe_command(now(0, 990)).steering_wheel_angle_rad == 0.0
    # The last good command is too old by now, so that one without an angle is a good one.
    drive(guard, 21, limited=ControlValues(None, 10.0, 0.0), alive_counter=2)
    assert guard.safe_command(now(21)).steering_wheel_angle_rad is None
    drive(guard, 22, limited=ControlValues(6.28, 10.0, 0.0), alive_counter=3)
    assert guard.safe_command(now(22)).steering_wheel_angle_rad == pytest.approx(0.05)


def test_a_picture_that_was_old_when_it_was_sent_makes_an_older_command():
    guard = Guard()
    drive(guard, 0)
    late_ns = ns(PERIOD_MS - 100)
    guard.frame_sent(1, late_ns, ns(PERIOD_MS))
    answer = command(1, PERIOD_MS, capture_time_ns=late_ns)
    assert guard.received(answer, answer.received_ns) == ()
    assert guard.safe_command(now(1, 50)).age_ms == 150.0
    assert guard.safe_command(now(1, 51)).action is Action.HOLD


def test_frames_without_an_answer_at_the_end_of_a_session_are_lost():
    guard = Guard()
    for number in range(21):
        guard.frame_sent(number, number, number)
    assert not guard.is_lagging
    guard.begin_session()
    assert guard.is_lagging


def test_good_answers_with_losses_between_them_are_no_recovery():
    guard = Guard(Bounds(lost_window_frames=1000))
    number = 0
    for run in [0] * 201 + [19] * 5:
        for _ in range(run):
            drive(guard, number, alive_counter=number + 1)
            number += 1
        guard.frame_sent(number, ns(number * PERIOD_MS), ns(number * PERIOD_MS))
        guard.received(skipped(number, number * PERIOD_MS), now(number))
        number += 1
    assert guard.is_lagging
    for _ in range(20):
        drive(guard, number, alive_counter=number + 1)
        number += 1
    assert not guard.is_lagging


def test_a_command_without_any_value_is_not_followed():
    guard = Guard()
    assert drive(guard, 0, limited=ControlValues()) == (GuardReason.HEAD_MISSING,)
    assert guard.safe_command(now(0)).action is Action.RELEASE


def test_a_model_without_an_angle_is_followed_as_it_is():
    guard = Guard()
    assert drive(guard, 0, limited=ControlValues(None, 10.0, None)) == ()
    safe = guard.safe_command(now(0))
    assert (safe.action, safe.steering_wheel_angle_rad) == (Action.FOLLOW, None)


def test_in_a_recording_rates_go_by_capture_time():
    guard = Guard(Bounds(max_steering_wheel_rate_radps=1.0))
    guard.begin_session(live=False)
    for number, expected_rad in enumerate([0.0, 0.5, 1.0]):
        # Captured half a second apart, sent one millisecond apart.
        capture_time_ns, sent_ms = number * 500_000_000, float(number)
        guard.frame_sent(number, capture_time_ns, ns(sent_ms))
        answer = command(
            number, sent_ms, capture_time_ns=capture_time_ns, limited=ControlValues(number * 1.0)
        )
        assert guard.received(answer, ns(sent_ms)) == ()
        for _ in range(2):
            safe = guard.safe_command(ns(sent_ms))
            assert safe.steering_wheel_angle_rad == pytest.approx(expected_rad)
            assert safe.action is Action.FOLLOW


def sent_with_clock(capture_time_ns) -> list[SafeCommand]:
    """Drive 3 s at 20 Hz with capture times that are a function of the true ones."""
    guard, told = Guard(), []
    for number in range(60):
        now_ns = ns(number * PERIOD_MS)
        captured_ns = capture_time_ns(now_ns)
        guard.frame_sent(number, captured_ns, now_ns)
        answer = command(number, number * PERIOD_MS, capture_time_ns=captured_ns)
        guard.received(answer, answer.received_ns)
        told.append(guard.safe_command(now(number)))
    return told


@pytest.mark.parametrize(
    "capture_time_ns",
    [
        pytest.param(lambda now_ns: now_ns // 1000, id="microseconds"),
        pytest.param(lambda now_ns: now_ns // 1_000_000, id="milliseconds"),
        pytest.param(lambda now_ns: now_ns // ns(PERIOD_MS), id="counter"),
        pytest.param(lambda now_ns: now_ns // 2, id="half speed"),
    ],
)
def test_capture_times_that_stand_still_are_held_with_a_reason_and_let_go(capture_time_ns):
    told = sent_with_clock(capture_time_ns)
    assert all(GuardReason.CAPTURE_TIME in safe.reasons for safe in told[10:])
    assert all(safe.action is not Action.FOLLOW for safe in told[10:])
    assert told[-1].action is Action.RELEASE


def test_a_stamp_far_ahead_does_not_poison_a_session():
    def glitch(now_ns: int) -> int:
        return now_ns + (ns(10_000) if now_ns == ns(5 * PERIOD_MS) else 0)

    guard = Guard()
    for number in range(200):
        now_ns = ns(number * PERIOD_MS)
        guard.frame_sent(number, glitch(now_ns), now_ns)
        answer = command(number, number * PERIOD_MS, capture_time_ns=glitch(now_ns))
        guard.received(answer, answer.received_ns)
    assert guard.safe_command(now(199)).action is Action.FOLLOW


@settings(deadline=None)
@given(
    delays_ms=st.lists(st.floats(0, 140), min_size=60, max_size=60),
    drift=st.floats(-2e-4, 2e-4),
    began_ns=st.integers(0, 1 << 62),
)
def test_a_camera_with_a_clock_of_its_own_that_is_true_is_believed(delays_ms, drift, began_ns):
    delay = iter(delays_ms)
    told = sent_with_clock(
        lambda now_ns: began_ns + round((ns(200) + now_ns - ns(next(delay))) * (1 + drift))
    )
    assert not any(GuardReason.CAPTURE_TIME in safe.reasons for safe in told)


doubtful_ms = st.floats() | st.sampled_from([math.nan, -math.inf, math.inf, -1e9, 1e300])


@settings(deadline=None)
@given(
    words=st.lists(st.tuples(doubtful_ms, st.integers(0, (1 << 32) - 1)), min_size=1, max_size=20),
    wait_ms=st.floats(0, 60_000),
)
def test_the_servers_word_on_time_is_not_believed(words, wait_ms):
    """Whatever a fresh command says of its age, what the vehicle may do is the same."""
    honest, told = Guard(), Guard()
    for number, (age_ms, total_us) in enumerate(words):
        drive(honest, number)
        drive(told, number, age_ms=age_ms, timings=StageTimings(total_us=total_us))
    when = now(len(words) - 1, wait_ms)
    assert told.safe_command(when) == honest.safe_command(when)


@settings(deadline=None)
@given(age_ms=doubtful_ms, wait_ms=st.floats(1001, 1e6))
def test_no_command_is_followed_or_held_after_a_second_whatever_it_says(age_ms, wait_ms):
    guard = Guard()
    drive(guard, 0, age_ms=age_ms)
    assert guard.safe_command(ns(wait_ms)).action is Action.RELEASE


finite = st.floats(allow_nan=False, allow_infinity=False)
value = st.none() | finite
values = st.builds(
    ControlValues, steering_wheel_angle_rad=value, speed_mps=value, steering_torque_nm=value
)
inside = st.builds(
    ControlValues,
    steering_wheel_angle_rad=st.none() | st.floats(-6.28, 6.28),
    speed_mps=st.none() | st.floats(0, 45),
    steering_torque_nm=st.none() | st.floats(-3, 3),
)


@settings(deadline=None)
@given(wanted=values)
def test_clamped_values_keep_every_bound_and_nothing_else_changes(wanted):
    bounds = Bounds()
    inside, found = clamp_values(wanted, bounds)
    assert (inside == wanted) == (not found)
    angle, speed = inside.steering_wheel_angle_rad, inside.speed_mps
    torque = inside.steering_torque_nm
    assert (angle is None) == (wanted.steering_wheel_angle_rad is None)
    if angle is not None:
        assert abs(angle) <= bounds.max_steering_wheel_angle_rad
    if speed is not None:
        assert bounds.min_speed_mps <= speed <= bounds.max_speed_mps
    if torque is not None:
        assert abs(torque) <= bounds.max_steering_torque_nm


@settings(deadline=None)
@given(wanted=inside, previous=inside, elapsed_s=st.floats(-1, 10))
def test_limited_rates_go_as_near_as_they_may_and_no_farther(wanted, previous, elapsed_s):
    bounds = Bounds()
    reached, found = limit_rates(wanted, previous, elapsed_s, bounds)
    assert (reached == wanted) == (not found)
    for field, rate in (
        ("steering_wheel_angle_rad", bounds.max_steering_wheel_rate_radps),
        ("speed_mps", bounds.max_acceleration_mps2),
    ):
        value, goal = getattr(reached, field), getattr(wanted, field)
        before, reach = getattr(previous, field), rate * max(0.0, elapsed_s)
        if goal is None or before is None:
            assert value == goal
        else:
            assert abs(value - before) <= reach + 1e-9
            assert abs(value - goal) <= max(0.0, abs(goal - before) - reach) + 1e-9


KINDS = ["good", "damaged", "nan", "huge", "empty", "no angle", "held", "skip", "silence",
         "repeat", "new session"]  # fmt: skip
events = st.lists(
    st.tuples(st.sampled_from(KINDS), st.floats(0, 400), st.floats(-10, 10)), max_size=60
)


@settings(deadline=None)
@given(events)
def test_whatever_comes_the_vehicle_gets_finite_bounded_young_values_or_none(script):
    """And they change no faster than its actuators can follow, by its own clock."""
    guard = Guard(Bounds(lost_window_frames=20))
    time_ms, counter, told_ms = 0.0, 0, 0.0
    told_rad: float | None = None
    for number, (kind, wait_ms, angle_rad) in enumerate(script):
        time_ms += wait_ms
        if kind == "new session":
            guard.begin_session()
            counter = 0
        guard.frame_sent(number, ns(time_ms), ns(time_ms))
        counter += kind not in {"silence", "repeat"}
        match kind:
            case "skip":
                guard.received(skipped(number, time_ms), ns(time_ms + 8))
            case "silence":
                pass
            case _:
                every_change: dict[str, dict[str, Any]] = {
                    "damaged": {"checksum_ok": False},
                    "nan": {"limited": ControlValues(math.nan, math.nan, math.nan)},
                    "huge": {"limited": ControlValues(1e9, -1e9, 1e9)},
                    "empty": {"limited": ControlValues()},
                    "no angle": {"limited": ControlValues(None, 10.0, 0.0)},
                    "held": {"validity": Validity.HELD},
                }
                angle_alone = {"limited": ControlValues(angle_rad, 10.0, 0.0)}
                changes = every_change.get(kind, angle_alone)
                answer = command(number, time_ms, alive_counter=counter % 65_536, **changes)
                guard.received(answer, answer.received_ns)
        time_ms += 8
        safe = guard.safe_command(ns(time_ms))
        angle = safe.steering_wheel_angle_rad
        if safe.action is Action.RELEASE:
            assert angle is None
            continue
        assert safe.age_ms <= guard.bounds.max_hold_ms
        if kind == "good":
            assert safe.action is Action.FOLLOW
        if kind in {"damaged", "nan", "empty", "held", "skip"}:
            assert safe.action is Action.HOLD
        if angle is None:
            continue
        assert math.isfinite(angle)
        assert abs(angle) <= guard.bounds.max_steering_wheel_angle_rad
        elapsed_ms = time_ms - told_ms
        if told_rad is not None and elapsed_ms <= guard.bounds.max_hold_ms:
            reach = guard.bounds.max_steering_wheel_rate_radps * elapsed_ms / 1e3
            assert abs(angle - told_rad) <= reach + 1e-6
        told_rad, told_ms = angle, time_ms


@settings(deadline=None)
@given(
    script=st.lists(st.sampled_from(["good", "new session"]), min_size=1, max_size=30),
    wait_ms=st.floats(0, 900),
)
def test_no_new_session_lets_go_of_a_young_command(script, wait_ms):
    guard = Guard()
    drive(guard, 0)
    for number, kind in enumerate(script, start=1):
        if kind == "new session":
            guard.begin_session()
        else:
            # The server counts from the beginning, so any count is good after a new session.
            guard.begin_session()
            assert drive(guard, number) == ()
    last = max([0, *(number for number, kind in enumerate(script, start=1) if kind == "good")])
    assert guard.safe_command(now(last, wait_ms)).action is not Action.RELEASE


def test_over_a_change_of_server_the_last_command_is_held_and_marked():
    guard = Guard()
    guard.session_lost()
    assert guard.safe_command(now(0)).reasons == (GuardReason.NO_COMMAND,)
    drive(guard, 0, alive_counter=7)
    guard.frame_sent(1, ns(PERIOD_MS), ns(PERIOD_MS))
    guard.session_lost()
    safe = guard.safe_command(now(1))
    assert (safe.action, safe.reasons) == (Action.HOLD, (GuardReason.RESUMING,))
    guard.resume_session(with_state=True)
    answer = command(1, PERIOD_MS, alive_counter=3)
    assert guard.received(answer, answer.received_ns) == (), "another server counts by itself"
    assert guard.safe_command(now(1)).action is Action.FOLLOW
    guard.resume_session(with_state=False)
    assert guard.safe_command(now(1)).reasons == (GuardReason.NEW_SESSION,)


def ahead(*angles_rad, every_ms=50, speed_mps=None):
    """A horizon of these angles."""
    steps = [
        HorizonStep(every_ms * at, ControlValues(angle_rad, speed_mps))
        for at, angle_rad in enumerate(angles_rad, start=1)
    ]
    return Horizon(tuple(steps), ControlValues())


def test_where_answers_are_missing_the_horizon_is_played_by_the_pictures_age():
    guard = Guard()
    drive(guard, 0, limited=ControlValues(0.1, 10.0, 0.5), horizon=ahead(0.2, 0.3, 0.4))
    guard.session_lost()
    found = []
    for after_ms in (10, 49, 65, 99, 115, 149, 165, 199, 201, 999, 1001):
        safe = guard.safe_command(now(0, after_ms))
        found.append((after_ms, safe.action, safe.steering_wheel_angle_rad))
        if 65 <= after_ms <= 199:
            assert safe.reasons[:1] == (GuardReason.PREDICTED,)
            assert safe.age_ms == after_ms
            assert (safe.speed_mps, safe.steering_torque_nm) == (10.0, 0.5)
    follow, hold, release = Action
    assert [(after_ms, action, pytest.approx(rad)) for after_ms, action, rad in found] == [
        (10, follow, 0.1),
        (49, follow, 0.1),
        (65, follow, 0.2),
        (99, follow, 0.2),
        (115, follow, 0.3),
        (149, follow, 0.3),
        (165, follow, 0.4),
        (199, follow, 0.4),
        (201, hold, 0.4),
        (999, hold, 0.4),
        (1001, release, None),
    ]


def test_a_horizon_counts_from_when_its_command_is_due():
    """The network was told that its command is applied 100 ms after the frame was sent."""
    guard = Guard(Bounds(max_age_ms=80))
    guard.frame_sent(0, 0, 0, due_in_ms=100.0)
    values = ControlValues(0.1, 10.0, 0.0)
    guard.received(command(0, 0, received_ms=90, limited=values, horizon=ahead(0.2, 0.3)), ns(90))
    angles = {}
    for after_ms in (95, 149, 170, 199, 220, 249, 260):
        safe = guard.safe_command(ns(after_ms))
        angles[after_ms] = (safe.steering_wheel_angle_rad, safe.action)
    assert angles == {
        95: (0.1, Action.FOLLOW),
        149: (0.1, Action.FOLLOW),
        170: (0.2, Action.FOLLOW),
        199: (0.2, Action.FOLLOW),
        220: (0.3, Action.FOLLOW),
        249: (0.3, Action.FOLLOW),
        260: (0.3, Action.HOLD),
    }


@pytest.mark.parametrize(
    ("horizon_ms", "after_ms", "action"),
    [(0.0, 90.0, Action.HOLD), (1.0, 100.5, Action.FOLLOW), (1.0, 101.5, Action.HOLD)],
)
def test_a_command_is_followed_beyond_its_age_for_as_long_as_it_has_a_horizon(
    horizon_ms, after_ms, action
):
    guard = Guard(Bounds(max_age_ms=80, max_horizon_ms=horizon_ms))
    guard.frame_sent(0, 0, 0, due_in_ms=100.0)
    values = ControlValues(0.1, 10.0, 0.0)
    guard.received(command(0, 0, received_ms=70, limited=values, horizon=ahead(0.2)), ns(70))
    assert guard.safe_command(round(after_ms * 1e6)).action is action


@pytest.mark.parametrize("due_in_ms", [-1.0, math.nan, math.inf])
def test_a_command_cannot_be_due_at_no_time(due_in_ms):
    with pytest.raises(BadRequest, match=r"^due_in_ms "):
        Guard().frame_sent(0, 0, 0, due_in_ms=due_in_ms)


def test_a_horizon_is_followed_no_longer_than_the_bounds_allow():
    guard = Guard(Bounds(max_horizon_ms=120))
    drive(guard, 0, horizon=ahead(0.1, 0.2, 0.3, 0.4))
    for after_ms, action, angle_rad in ((119, Action.FOLLOW, 0.2), (160, Action.HOLD, 0.2)):
        safe = guard.safe_command(now(0, after_ms))
        assert (safe.action, safe.steering_wheel_angle_rad) == (action, angle_rad)


def test_a_horizon_moves_the_wheel_no_faster_than_an_actuator_follows():
    guard = Guard()
    drive(guard, 0, limited=ControlValues(0.0, 10.0, 0.0), horizon=ahead(99.0, -99.0))
    rate = guard.bounds.max_steering_wheel_rate_radps
    told, last_ms = 0.0, 10.0
    for after_ms in (10, 40, 60, 90, 110, 140):
        safe = guard.safe_command(now(0, after_ms))
        assert safe.steering_wheel_angle_rad is not None
        assert abs(safe.steering_wheel_angle_rad - told) <= rate * (after_ms - last_ms) / 1e3 + 1e-9
        assert abs(safe.steering_wheel_angle_rad) <= guard.bounds.max_steering_wheel_angle_rad
        told, last_ms = safe.steering_wheel_angle_rad, after_ms


def test_the_next_good_command_takes_the_place_of_a_horizon_also_of_another_session():
    guard = Guard()
    drive(guard, 0, limited=ControlValues(0.1, 10.0, 0.0), horizon=ahead(0.2, 0.3, 0.4, 0.5))
    guard.session_lost()
    assert guard.safe_command(now(2)).steering_wheel_angle_rad == 0.3
    guard.resume_session(with_state=True)
    drive(guard, 3, limited=ControlValues(0.3, 10.0, 0.0))
    safe = guard.safe_command(now(3))
    assert (safe.action, safe.steering_wheel_angle_rad, safe.reasons) == (Action.FOLLOW, 0.3, ())


def test_an_old_picture_has_an_old_horizon():
    """The age that a frame had when it was sent counts, as for its command."""
    guard = Guard()
    for number in range(3):
        drive(guard, number)
    sent_ms, captured_ms = 250.0, 150.0
    guard.frame_sent(3, ns(captured_ms), ns(sent_ms))
    answer = command(3, sent_ms, capture_time_ns=ns(captured_ms), horizon=ahead(0.1, 0.2, 0.3))
    assert guard.received(answer, answer.received_ns) == ()
    assert guard.safe_command(ns(sent_ms + 10)).steering_wheel_angle_rad == 0.2


@pytest.mark.parametrize(
    "horizon",
    [
        ahead(0.1, math.nan),
        ahead(0.1, 0.2, every_ms=0),
        Horizon(tuple(reversed(ahead(0.1, 0.2).steps)), ControlValues()),
        ahead(*[0.1] * 65, every_ms=2),
        Horizon((), ControlValues()),
    ],
)
def test_a_horizon_that_makes_no_sense_is_not_played(horizon):
    guard = Guard()
    assert drive(guard, 0, horizon=horizon) == ()
    safe = guard.safe_command(now(0, 160))
    assert (safe.action, safe.steering_wheel_angle_rad) == (Action.HOLD, 0.0)


def test_a_horizon_with_a_head_that_the_command_lacks_is_not_played():
    guard = Guard()
    drive(guard, 0, limited=ControlValues(0.1), horizon=ahead(0.2, speed_mps=10.0))
    assert guard.safe_command(now(0, 60)).steering_wheel_angle_rad == 0.1


def test_in_a_recording_no_horizon_is_played():
    """Its pictures are as old as they are by another clock than the client's."""
    guard = Guard()
    guard.begin_session(live=False)
    drive(guard, 0, limited=ControlValues(0.1, 10.0, 0.0), horizon=ahead(0.2, 0.3, 0.4))
    safe = guard.safe_command(now(0, 160))
    assert (safe.action, safe.steering_wheel_angle_rad) == (Action.HOLD, 0.1)


# Where one thing ends and the next begins.


def test_the_names_of_actions_are_public():
    assert [action.value for action in Action] == ["follow", "hold", "release"]


def test_ages_are_limits_to_the_nanosecond():
    guard = Guard()
    drive(guard, 0)
    assert guard.safe_command(-5).age_ms == guard.safe_command(0).age_ms == 0.0
    assert guard.safe_command(ns(150)).action is Action.FOLLOW
    assert guard.safe_command(ns(150) + 1).action is Action.HOLD
    assert guard.safe_command(ns(1000)).action is Action.HOLD
    assert guard.safe_command(ns(1000) + 1) == SafeCommand(
        Action.RELEASE, None, None, None, math.inf, (GuardReason.TOO_OLD,)
    )


@pytest.mark.parametrize(("late_ns", "found"), [(0, ()), (1, (GuardReason.ROUND_TRIP,))])
def test_an_answer_may_take_200_ms(late_ns, found):
    guard = Guard()
    guard.frame_sent(0, 0, 0)
    assert guard.received(command(0, 0.0), ns(200) + late_ns) == found


@pytest.mark.parametrize(("older_ns", "found"), [(0, ()), (1, (GuardReason.CAPTURE_TIME,))])
def test_a_picture_may_be_150_ms_older_than_others_when_it_is_sent(older_ns, found):
    guard = Guard()
    guard.frame_sent(0, ns(1000), ns(1000))
    guard.received(command(0, 1000.0), ns(1008))
    captured_ns = ns(1050) - older_ns
    guard.frame_sent(1, captured_ns, ns(1200))
    answer = command(1, 1200.0, capture_time_ns=captured_ns, alive_counter=2)
    assert guard.received(answer, ns(1208)) == found


@pytest.mark.parametrize(("late_ns", "lost"), [(0, False), (1, True)])
def test_a_frame_is_lost_when_its_answer_can_no_longer_be_in_time(late_ns, lost):
    guard = Guard(Bounds(lost_window_frames=1, max_lost_fraction=0.5))
    guard.frame_sent(0, 0, 0)
    guard.safe_command(ns(200) + late_ns)
    assert guard.is_lagging is lost


def test_a_frame_is_lost_once_however_often_that_is_noticed():
    guard = Guard(Bounds(lost_window_frames=4, max_lost_fraction=0.25))
    guard.frame_sent(0, 0, 0)
    for after_ms in (201, 202, 203):
        guard.safe_command(ns(after_ms))
    guard.received(skipped(0, 0.0), ns(204))
    guard.begin_session()
    assert not guard.is_lagging
    guard.frame_sent(1, ns(250), ns(250))
    guard.safe_command(ns(500))
    assert guard.is_lagging


def test_256_frames_are_awaited_and_the_oldest_is_let_go_first():
    guard = Guard()
    for number in range(257):
        guard.frame_sent(number, 0, 0)
    assert guard.received(command(0, 0.0), ns(8)) == (GuardReason.ECHO,)
    assert guard.received(command(1, 0.0), ns(8)) == ()
    assert guard.received(command(256, 0.0, alive_counter=3), ns(8)) == ()


def test_frames_of_an_earlier_session_are_awaited_no_longer():
    guard = Guard()
    guard.frame_sent(5, 0, 0)
    guard.begin_session()
    assert guard.received(command(5, 0.0), ns(8)) == (GuardReason.ECHO,)


@pytest.mark.parametrize("number", [1, 2])
def test_one_missing_answer_is_noticed_every_time(number):
    guard = Guard()
    for before in range(number):
        drive(guard, before)
    assert drive(guard, number, alive_counter=number + 2) == (GuardReason.ALIVE_COUNTER_MISSED,)


@pytest.mark.parametrize(
    ("step", "found"),
    [
        (0, GuardReason.ALIVE_COUNTER_STUCK),
        (32_767, GuardReason.ALIVE_COUNTER_MISSED),
        (32_768, GuardReason.ALIVE_COUNTER_STUCK),
        (65_535, GuardReason.ALIVE_COUNTER_STUCK),
    ],
)
def test_half_of_all_counters_lie_ahead(step, found):
    guard = Guard()
    drive(guard, 0, alive_counter=40_000)
    assert drive(guard, 1, alive_counter=(40_000 + step) % 65_536) == (found,)


def test_all_doubts_are_named():
    guard = Guard()
    guard.frame_sent(0, ns(1000), ns(1000))
    guard.received(command(0, 1000.0), ns(1008))
    guard.frame_sent(1, ns(1001), ns(1200))
    guard.frame_sent(2, ns(1201), ns(1201))
    guard.received(command(2, 1201.0, alive_counter=2), ns(1209))
    answer = command(1, 1001.0, alive_counter=9, validity=Validity.HELD)
    assert guard.received(answer, ns(1401)) == (
        GuardReason.ALIVE_COUNTER_MISSED,
        GuardReason.OUTDATED,
        GuardReason.ROUND_TRIP,
        GuardReason.CAPTURE_TIME,
        GuardReason.SERVER_HELD,
    )


@pytest.mark.parametrize(("after_ns", "found"), [(0, (GuardReason.HEAD_MISSING,)), (1, ())])
def test_a_head_may_go_when_the_command_that_had_it_is_let_go(after_ns, found):
    guard = Guard()
    drive(guard, 0)
    guard.frame_sent(1, ns(990), ns(990))
    answer = command(1, 990.0, limited=ControlValues(None, 10.0, 0.0), alive_counter=2)
    assert guard.received(answer, ns(1000) + after_ns) == found


def test_values_go_as_far_as_the_time_allows_and_no_farther():
    guard = Guard(Bounds(max_steering_wheel_rate_radps=1.0))
    drive(guard, 0, limited=ControlValues(0.0, 10.0, 0.0))
    assert guard.safe_command(ns(10)).steering_wheel_angle_rad == 0.0
    drive(guard, 1, limited=ControlValues(6.0, 10.0, 0.0))
    assert guard.safe_command(ns(135)).steering_wheel_angle_rad == 0.125
    # A caller that stalled for ten seconds: no farther than in one.
    drive(guard, 202, limited=ControlValues(6.0, 10.0, 0.0), alive_counter=3)
    assert guard.safe_command(ns(10_135)).steering_wheel_angle_rad == 1.125


@pytest.mark.parametrize(("after_ns", "angle_rad"), [(0, 0.5), (1, 6.0)])
def test_after_letting_go_values_are_bound_as_long_as_a_command_is_held(after_ns, angle_rad):
    bounds = Bounds(
        max_steering_wheel_rate_radps=0.5,
        lost_window_frames=1,
        max_lost_fraction=0.5,
        recovery_frames=1,
    )
    guard = Guard(bounds)
    drive(guard, 0, limited=ControlValues(0.0, 10.0, 0.0))
    assert guard.safe_command(ns(10)).steering_wheel_angle_rad == 0.0
    guard.frame_sent(1, ns(50), ns(50))
    guard.received(skipped(1, 50.0), ns(58))
    assert guard.safe_command(ns(60)).action is Action.RELEASE
    drive(guard, 20, limited=ControlValues(6.0, 10.0, 0.0), alive_counter=3)
    assert guard.safe_command(ns(1010) + after_ns).steering_wheel_angle_rad == angle_rad


def test_a_recording_begins_where_its_first_command_is():
    guard = Guard(Bounds(max_steering_wheel_rate_radps=0.1))
    drive(guard, 0, limited=ControlValues(1.0, 10.0, 0.0))
    guard.safe_command(now(0))
    guard.begin_session(live=False)
    # Captured 1,000 s ago: a recording is no older for that.
    turned = ControlValues(-1.0, 10.0, 0.0)
    for number in range(3):
        guard.frame_sent(number, number, ns(1000 * number))
        answer = command(number, 0.0, capture_time_ns=number, limited=turned)
        guard.received(answer, ns(1000 * number))
        safe = guard.safe_command(ns(1000 * number))
        assert (safe.action, safe.steering_wheel_angle_rad) == (Action.FOLLOW, -1.0)
        assert safe.age_ms == 0.0


def test_a_session_that_goes_on_with_its_state_is_followed_at_once():
    guard = Guard()
    drive(guard, 0)
    guard.resume_session(with_state=True)
    assert guard.safe_command(now(0)).action is Action.FOLLOW
    guard.resume_session(with_state=False)
    assert guard.safe_command(now(0)).reasons == (GuardReason.NEW_SESSION,)


def test_before_any_command_a_session_without_state_has_nothing_to_hold():
    guard = Guard()
    guard.resume_session(with_state=False)
    assert guard.safe_command(0).reasons == (GuardReason.NO_COMMAND,)


@pytest.mark.parametrize(
    ("horizon", "after_ns", "action", "angle_rad"),
    [
        (ahead(0.2, 0.3), ns(50) - 1, Action.FOLLOW, 0.1),
        (ahead(0.2, 0.3), ns(50), Action.FOLLOW, 0.2),
        (ahead(0.2, 0.3, every_ms=100), ns(300) - 1, Action.FOLLOW, 0.3),
        (ahead(0.2, 0.3, every_ms=100), ns(300), Action.HOLD, 0.3),
        # A step that is alone lasts as long as it took to come.
        (ahead(0.2, every_ms=100), ns(200) - 1, Action.FOLLOW, 0.2),
        (ahead(0.2, every_ms=100), ns(200), Action.HOLD, 0.2),
        (ahead(*[0.2] * 64, every_ms=1), ns(64), Action.FOLLOW, 0.2),
    ],
)
def test_a_step_begins_at_its_moment_and_the_horizon_ends_with_its_last(
    horizon, after_ns, action, angle_rad
):
    guard = Guard()
    drive(guard, 0, limited=ControlValues(0.1, 10.0, 0.0), horizon=horizon)
    safe = guard.safe_command(after_ns)
    assert (safe.action, safe.steering_wheel_angle_rad) == (action, angle_rad)


def test_a_command_without_a_horizon_says_nothing_of_the_next_moment():
    guard = Guard()
    guard.frame_sent(0, 0, 0)
    guard.received(command(0, 0.0), 100_000)
    guard.session_lost()
    assert guard.safe_command(500_000).action is Action.HOLD


def test_every_bound_that_acts_is_named():
    inside, found = clamp_values(ControlValues(9.0, 99.0, -9.0), Bounds())
    assert inside == ControlValues(math.radians(360), 45.0, -3.0)
    assert found == (GuardReason.STEERING_ANGLE, GuardReason.SPEED, GuardReason.STEERING_TORQUE)
    reached, found = limit_rates(
        ControlValues(9.0, 99.0, 1.0),
        ControlValues(0.0, 0.0, 0.0),
        0.5,
        Bounds(max_steering_wheel_rate_radps=1.0),
    )
    assert reached == ControlValues(0.5, 2.0, 1.0)
    assert found == (GuardReason.STEERING_RATE, GuardReason.ACCELERATION)
