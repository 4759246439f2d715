"""Which capture times are refused: clocks in the wrong unit and single wrong stamps, no others."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from steerstream_service.domain import FramePolicy, Skip, SkipReason
from steerstream_service.session.capture_clock import CaptureClock
from tests.service.shell import MS, Shell

START_NS = 1_000_000 * MS
"""The vehicle's clock at the first frame: it has run for 1,000 s."""
BAD_CLOCKS = {
    "microseconds": lambda ms: 10**9 + ms * 1000,
    "milliseconds": lambda ms: 10**6 + ms,
    "a counter": lambda ms: ms // 50,
    "ticks of 100 ns": lambda ms: 10**10 + ms * 10_000,
}

both = pytest.mark.parametrize("is_live", [True, False], ids=["LATEST", "EVERY"])


def refusals(frames, *, is_live):
    """The reasons by which frames (capture_ns, arrived_ns) are refused; None where one is taken."""
    clock = CaptureClock(is_live=is_live)
    found = [clock.refusal(*frame) for frame in frames]
    return [None if each is None else each[0] for each in found]


def live(count, period_ms=50):
    """Frames of a camera whose clock is true."""
    return [(START_NS + ms * MS, ms * MS) for ms in range(0, count * period_ms, period_ms)]


@both
@pytest.mark.parametrize("unit", BAD_CLOCKS)
def test_a_clock_in_the_wrong_unit_is_found_within_half_a_second(unit, is_live):
    frames = [(BAD_CLOCKS[unit](ms), ms * MS) for ms in range(0, 5000, 50)]
    found = refusals(frames, is_live=is_live)
    assert found[:10] == [None] * 10
    assert found[10:] == [SkipReason.CAPTURE_TIME] * 90


UPTIME_NS = 10**15
"""The server's clock at the first frame."""


def evenly(count, capture_step_ns, arrival_step_ns):
    """Frames as far apart as this, by their captures and by their arrivals."""
    return [
        (START_NS + number * capture_step_ns, UPTIME_NS + number * arrival_step_ns)
        for number in range(count)
    ]


@both
@pytest.mark.parametrize(
    ("period_ms", "first_refused"), [(10, 50), (50, 10), (100, 10), (1000, 10)]
)
def test_a_clock_stands_still_after_ten_frames_and_half_a_second(period_ms, first_refused, is_live):
    found = refusals(evenly(100, 1000, period_ms * MS), is_live=is_live)
    assert found[:first_refused] == [None] * first_refused
    assert found[first_refused:] == [SkipReason.CAPTURE_TIME] * (100 - first_refused)


@both
def test_after_a_pause_of_over_a_second_comparing_begins_again(is_live):
    found = refusals(evenly(100, 1000, 1000 * MS + 1), is_live=is_live)
    assert found == [None] * 100


def test_a_fiftieth_of_real_time_is_as_slow_as_a_clock_may_be():
    assert set(refusals(evenly(100, MS, 50 * MS), is_live=True)) == {None}
    assert refusals(evenly(100, MS - 1, 50 * MS), is_live=True)[10] is SkipReason.CAPTURE_TIME


def test_under_every_captures_a_millisecond_apart_are_a_simulator():
    assert set(refusals(evenly(100, MS, 900 * MS), is_live=False)) == {None}
    assert refusals(evenly(100, MS - 1, 900 * MS), is_live=False)[10] is SkipReason.CAPTURE_TIME


@pytest.mark.parametrize(("ahead_ns", "refused"), [(0, None), (1, SkipReason.CAPTURE_TIME)])
def test_ten_seconds_more_than_have_passed_are_the_largest_step(ahead_ns, refused):
    (capture_ns, arrived_ns), *_ = live(1)
    later = (capture_ns + 10_050 * MS + ahead_ns, arrived_ns + 50 * MS)
    assert refusals([(capture_ns, arrived_ns), later], is_live=True) == [None, refused]


@both
def test_nothing_is_a_step_ahead_of_a_frame_that_was_replayed(is_live):
    """It was captured long before it arrived here, and the frame behind it a moment ago."""
    clock = CaptureClock(is_live=is_live)
    minute_ns = 60_000 * MS
    captures = [START_NS, START_NS + minute_ns, START_NS + 2 * minute_ns]
    for number, capture_ns in enumerate(captures):
        at_ns = UPTIME_NS + number * MS
        assert clock.refusal(capture_ns, at_ns, is_replayed=True) is None
    assert clock.refusal(START_NS + 3 * minute_ns, UPTIME_NS + 3 * MS) is None
    far_ahead = clock.refusal(START_NS + 4 * minute_ns, UPTIME_NS + 4 * MS)
    assert (far_ahead is not None) == is_live, "a live frame arrives when it is captured"


@both
def test_a_replayed_frame_before_the_last_one_is_refused(is_live):
    clock = CaptureClock(is_live=is_live)
    assert clock.refusal(START_NS, UPTIME_NS, is_replayed=True) is None
    refusal = clock.refusal(START_NS, UPTIME_NS + MS, is_replayed=True)
    assert refusal is not None
    assert refusal[0] is SkipReason.OUT_OF_ORDER


def test_a_refusal_says_what_is_wrong():
    clock = CaptureClock(is_live=True)
    advice = "send the time of one monotonic clock, in nanoseconds"
    assert clock.refusal(5 * 10**9, UPTIME_NS) is None
    assert clock.refusal(5 * 10**9, UPTIME_NS + 50 * MS) == (
        SkipReason.OUT_OF_ORDER,
        "capture_time_ns must be above 5000000000, the last one",
    )
    assert clock.refusal(35 * 10**9 + 10**19, UPTIME_NS + 30_000 * MS) == (
        SkipReason.CAPTURE_TIME,
        f"capture_time_ns stepped ahead by 10000000000 s; {advice}",
    )
    still = CaptureClock(is_live=True)
    for number in range(10):
        assert still.refusal(5 * 10**9 + number, UPTIME_NS + number * 50 * MS) is None
    assert still.refusal(5 * 10**9 + 10, UPTIME_NS + 500 * MS) == (
        SkipReason.CAPTURE_TIME,
        f"capture_time_ns 5000000010 stands nearly still while frames arrive; {advice}",
    )


@both
def test_a_clock_that_is_put_right_is_taken_again(is_live):
    wrong = [(10**9 + ms * 1000, ms * MS) for ms in range(0, 1000, 50)]
    right = [(START_NS + ms * MS, ms * MS) for ms in range(1000, 3000, 50)]
    found = refusals(wrong + right, is_live=is_live)
    assert found[19] is SkipReason.CAPTURE_TIME
    assert found[-20:] == [None] * 20


def test_one_stamp_far_ahead_costs_a_vehicle_one_frame():
    frames = live(40)
    frames[10] = (1_790_000_000 * 10**9, frames[10][1])
    expected: list[SkipReason | None] = [None] * 40
    expected[10] = SkipReason.CAPTURE_TIME
    assert refusals(frames, is_live=True) == expected


@both
def test_a_first_stamp_far_ahead_costs_two_frames(is_live):
    frames = live(40)
    frames[0] = (1_790_000_000 * 10**9, frames[0][1])
    found = refusals(frames, is_live=is_live)
    assert found[:4] == [None, SkipReason.OUT_OF_ORDER, SkipReason.OUT_OF_ORDER, None]
    assert found[4:] == [None] * 36


def test_a_vehicle_s_clock_that_was_set_is_followed_after_two_frames():
    for step_ns in (3600 * 10**9, -500 * 10**9):
        frames = live(10) + [(capture + step_ns, at) for capture, at in live(20)[10:]]
        found = refusals(frames, is_live=True)
        assert None not in found[10:12]
        assert found[12:] == [None] * 8


def test_a_clock_that_is_set_again_is_followed_two_frames_later_still():
    hour_ns = 3600 * 10**9
    frames = [
        (capture_ns + hour_ns * min(number, 2), UPTIME_NS + arrived_ns)
        for number, (capture_ns, arrived_ns) in enumerate(live(8))
    ]
    expected = [None, *[SkipReason.CAPTURE_TIME] * 3, *[None] * 4]
    assert refusals(frames, is_live=True) == expected


@both
def test_one_stamp_and_then_none_is_refused_for_as_long_as_it_lasts(is_live):
    frames = live(1) + [(0, arrived) for _, arrived in live(40)[1:]]
    assert refusals(frames, is_live=is_live)[1:] == [SkipReason.OUT_OF_ORDER] * 39


@both
def test_after_one_stamp_for_half_a_second_a_clock_must_show_for_as_long_that_it_runs(is_live):
    stopped = [(START_NS, arrived) for _, arrived in live(11)]
    found = refusals(stopped + live(40)[11:], is_live=is_live)
    assert found[1:11] == [SkipReason.OUT_OF_ORDER] * 10
    assert found[11:20] == [SkipReason.CAPTURE_TIME] * 9
    assert found[20:] == [None] * 20


@both
def test_a_single_time_that_goes_back_is_refused_alone(is_live):
    frames = live(20)
    frames[5] = (START_NS - 10**9, frames[5][1])
    expected: list[SkipReason | None] = [None] * 20
    expected[5] = SkipReason.OUT_OF_ORDER
    assert refusals(frames, is_live=is_live) == expected


@both
def test_two_cameras_with_two_clocks_are_served_as_one(is_live):
    ahead, behind = (
        live(20, 100),
        [(capture - 10**9, at + 50 * MS) for capture, at in live(20, 100)],
    )
    frames = [frame for pair in zip(ahead, behind, strict=True) for frame in pair]
    found = refusals(frames, is_live=is_live)
    assert found[::2] == [None] * 20
    assert found[1::2] == [SkipReason.OUT_OF_ORDER] * 20


@given(
    delays_ms=st.lists(st.floats(0, 2000), min_size=5, max_size=60),
    jitter_ms=st.lists(st.floats(-20, 20), min_size=60, max_size=60),
    period_ms=st.sampled_from([10, 33, 50, 100, 200]),
)
def test_no_jitter_of_camera_or_network_is_refused(delays_ms, jitter_ms, period_ms):
    """A stream keeps its order, so a delayed frame holds up those behind it."""
    captures = [
        START_NS + round((number * period_ms + jitter_ms[number] * period_ms / 50) * MS)
        for number in range(len(delays_ms))
    ]
    arrivals = itertools.accumulate(
        (
            capture - START_NS + round((20 + delay_ms) * MS)
            for capture, delay_ms in zip(captures, delays_ms, strict=True)
        ),
        max,
    )
    frames = list(zip(captures, arrivals, strict=True))
    assert set(refusals(frames, is_live=True)) == {None}


@pytest.mark.parametrize(
    ("capture_ms", "arrival_ms"),
    [(50, 0.2), (50, 900), (10, 900), (1, 900), (50, 60_000), (10 * 24 * 3600 * 1000, 1)],
    ids=["fast replay", "slow", "slow at 100 Hz", "slow at 1 kHz", "by hand", "days apart"],
)
def test_simulators_and_replays_keep_their_own_time_under_every(capture_ms, arrival_ms):
    frames = [
        (START_NS + number * capture_ms * MS, round(number * arrival_ms * MS))
        for number in range(100)
    ]
    assert refusals(frames, is_live=False) == [None] * 100


def test_a_fast_replay_under_latest_is_not_refused():
    frames = [(START_NS + number * 50 * MS, number * MS) for number in range(10_000)]
    assert set(refusals(frames, is_live=True)) == {None}


def test_a_simulator_that_was_stopped_goes_on():
    frames = live(5) + [
        (START_NS + (250 + ms) * MS, (30_000 + ms) * MS) for ms in range(0, 900, 50)
    ]
    assert refusals(frames, is_live=True) == [None] * 23


@both
def test_frames_sent_as_fast_as_possible_and_stamped_when_sent_are_taken(is_live):
    frames = [(START_NS + number * MS // 10, number * MS // 8) for number in range(10_000)]
    assert set(refusals(frames, is_live=is_live)) == {None}


# What a session makes of it.


def test_a_refused_time_holds_the_last_command_and_advances_no_state():
    shell = Shell()
    answers = []
    for number in range(40):
        shell.wait(50)
        shell.frame(number, (10**9 + number * 50_000) / MS)
        if shell.decoding:
            shell.decode().step()
        answers.append(shell.answers[-1])
    last = answers[-1]
    assert isinstance(last, Skip)
    assert last.reason is SkipReason.CAPTURE_TIME
    assert "in nanoseconds" in last.detail
    assert last.held.age_ms > 1000
    taken = [answer for answer in answers if not isinstance(answer, Skip)]
    assert shell.session.step_count == len(taken) < 15


@pytest.mark.parametrize("policy", list(FramePolicy))
def test_a_clock_that_was_set_back_begins_a_new_epoch(policy):
    shell = Shell(policy)
    for number in range(3):
        shell.wait(50).drive(number, 10_000 + 50 * number)
    for number in range(3, 5):
        shell.wait(50).frame(number, 50 * number)
        assert shell.answers[-1].reason is SkipReason.OUT_OF_ORDER
    command = shell.wait(50).drive(5, 250)
    assert (command.state_epoch, command.step_count) == (1, 1)
    assert shell.stepped[-1].interval_s == 0.05
    assert shell.wait(50).drive(6, 300).step_count == 2
