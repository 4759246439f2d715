from __future__ import annotations

import math
from typing import Any, cast

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from steerstream import Action, Bounds, ControlValues, Guard, Intervention, SafeCommand, Validity
from steerstream.guard import MAX_AWAITED, bound_values
from tests.steerstream.values import command, skipped

PERIOD_MS = 50.0


def ns(milliseconds: float) -> int:
    return round(milliseconds * 1e6)


def drive(guard: Guard, number: int, **changes) -> tuple[Intervention, ...]:
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


def test_before_the_first_command_there_is_nothing_to_follow():
    safe = Guard().safe_command(0)
    assert (safe.action, safe.interventions) == (Action.RELEASE, (Intervention.NO_COMMAND,))
    assert safe.steering_wheel_angle_rad is None


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"checksum_ok": False}, Intervention.CHECKSUM),
        ({"alive_counter": 1}, Intervention.ALIVE_COUNTER_STUCK),
        ({"alive_counter": 65_530}, Intervention.ALIVE_COUNTER_STUCK),
        ({"capture_time_ns": 1}, Intervention.ECHO),
        ({"sequence_number": 7}, Intervention.ECHO),
        ({"received_ms": PERIOD_MS + 300}, Intervention.ROUND_TRIP),
        ({"validity": Validity.HELD}, Intervention.SERVER_HELD),
        ({"validity": Validity.FALLBACK}, Intervention.SERVER_FALLBACK),
        ({"validity": Validity.UNSPECIFIED}, Intervention.SERVER_FALLBACK),
        ({"limited": ControlValues(math.nan, 1.0, 0.0)}, Intervention.NOT_FINITE),
        ({"limited": ControlValues(0.0, math.inf, 0.0)}, Intervention.NOT_FINITE),
        ({"limited": ControlValues(0.0, 1.0, -math.inf)}, Intervention.NOT_FINITE),
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
    assert why in safe.interventions


def test_warming_up_is_followed():
    assert drive(Guard(), 0, validity=Validity.WARMING_UP) == ()


def test_missing_answers_are_reported_and_the_command_followed():
    guard = Guard()
    drive(guard, 0)
    assert drive(guard, 1, alive_counter=5) == (Intervention.ALIVE_COUNTER_MISSED,)
    assert guard.safe_command(now(1)).action is Action.FOLLOW


def test_skips_count_in_the_alive_counter():
    guard = Guard()
    drive(guard, 0, alive_counter=65_535)
    guard.frame_sent(1, ns(PERIOD_MS), ns(PERIOD_MS))
    assert guard.received(skipped(1, PERIOD_MS), now(1)) == (Intervention.SKIPPED,)
    assert guard.safe_command(now(1)).action is Action.HOLD
    assert drive(guard, 2, alive_counter=1) == ()


def test_an_older_command_does_not_replace_a_newer_one():
    guard = Guard()
    guard.frame_sent(0, 0, 0)
    guard.frame_sent(1, ns(50), ns(50))
    assert guard.received(command(1, 50, alive_counter=1), ns(58)) == ()
    late = command(0, 0, received_ms=59, alive_counter=2)
    assert guard.received(late, ns(59)) == (Intervention.OUTDATED,)


def test_a_command_ages_from_follow_over_hold_to_release():
    guard = Guard(Bounds(max_age_ms=100, max_hold_ms=500))
    drive(guard, 0)
    # 8 ms round trip, values 5 ms old in the server: 8 ms old when they arrive at 8 ms.
    assert guard.safe_command(ns(100)).action is Action.FOLLOW
    held = guard.safe_command(ns(101))
    assert (held.action, held.interventions) == (Action.HOLD, (Intervention.TOO_OLD,))
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
    assert Intervention.LAGGING in guard.safe_command(now(9)).interventions
    assert guard.safe_command(now(9)).action is Action.RELEASE
    for number in range(10, 18):
        drive(guard, number)
    assert guard.safe_command(now(17)).action is Action.FOLLOW


def test_frames_without_any_answer_are_lost():
    guard = Guard(Bounds(lost_window_frames=4, max_round_trip_ms=100))
    drive(guard, 0)
    for number in range(1, 5):
        guard.frame_sent(number, ns(number * PERIOD_MS), ns(number * PERIOD_MS))
    guard.safe_command(ns(200))
    assert not guard.is_lagging
    guard.safe_command(ns(301))
    assert guard.is_lagging


def test_what_is_awaited_is_bounded():
    guard = Guard()
    for number in range(MAX_AWAITED + 10):
        guard.frame_sent(number, number, number)
    assert len(guard._awaited) == MAX_AWAITED


def test_a_new_session_starts_from_nothing():
    guard = Guard()
    drive(guard, 0, alive_counter=500)
    guard.begin_session()
    assert guard.safe_command(now(0)).action is Action.RELEASE
    assert drive(guard, 1, alive_counter=1) == ()


def test_after_letting_go_the_first_command_is_not_held_back_by_the_old_one():
    guard = Guard(Bounds(max_hold_ms=200, max_steering_wheel_rate_radps=0.1))
    drive(guard, 0, limited=ControlValues(1.0, 10.0, 0.0))
    assert drive(guard, 10, limited=ControlValues(-1.0, 10.0, 0.0), alive_counter=2) == ()


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
@given(wanted=values, previous=inside, elapsed_s=st.floats(0, 10))
def test_bounded_values_keep_every_bound(wanted, previous, elapsed_s):
    bounds = Bounds()
    bounded, found = bound_values(wanted, previous, elapsed_s, bounds)
    assert (bounded == wanted) == (not found)
    angle, speed = bounded.steering_wheel_angle_rad, bounded.speed_mps
    torque = bounded.steering_torque_nm
    assert (angle is None) == (wanted.steering_wheel_angle_rad is None)
    if angle is not None:
        assert abs(angle) <= bounds.max_steering_wheel_angle_rad
        if previous.steering_wheel_angle_rad is not None:
            reach = bounds.max_steering_wheel_rate_radps * elapsed_s
            assert abs(angle - previous.steering_wheel_angle_rad) <= reach + 1e-9
    if speed is not None:
        assert bounds.min_speed_mps <= speed <= bounds.max_speed_mps
    if torque is not None:
        assert abs(torque) <= bounds.max_steering_torque_nm


events = st.lists(
    st.tuples(
        st.sampled_from(["good", "damaged", "nan", "huge", "held", "skip", "silence", "repeat"]),
        st.floats(0, 400),
    ),
    max_size=60,
)


@settings(deadline=None)
@given(events)
def test_whatever_comes_the_vehicle_gets_finite_bounded_young_values_or_none(script):
    guard = Guard(Bounds(lost_window_frames=10))
    time_ms, counter, last_sent_ms = 0.0, 0, 0.0
    last_angle: float | None = None
    for number, (kind, wait_ms) in enumerate(script):
        time_ms += wait_ms
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
                    "held": {"validity": Validity.HELD},
                }
                changes = every_change.get(kind, {})
                answer = command(number, time_ms, alive_counter=counter % 65_536, **changes)
                guard.received(answer, answer.received_ns)
        time_ms += 8
        safe = guard.safe_command(ns(time_ms))
        angle = safe.steering_wheel_angle_rad
        if safe.action is Action.RELEASE:
            assert angle is None
            last_angle = None
            continue
        assert angle is not None
        assert math.isfinite(angle)
        assert abs(angle) <= guard.bounds.max_steering_wheel_angle_rad
        assert safe.age_ms <= guard.bounds.max_hold_ms
        if kind == "good" and Intervention.LAGGING not in safe.interventions:
            assert safe.action is Action.FOLLOW
        if kind in {"damaged", "nan", "held", "skip"}:
            assert safe.action is Action.HOLD
        if last_angle is not None:
            reach = guard.bounds.max_steering_wheel_rate_radps * (time_ms - last_sent_ms) / 1e3
            assert abs(angle - last_angle) <= reach + 1e-6
        if kind in {"good", "huge"} or last_angle is None:
            last_angle, last_sent_ms = angle, time_ms
