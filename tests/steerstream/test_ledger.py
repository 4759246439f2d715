from __future__ import annotations

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from steerstream import BadRequest, ProtocolError
from steerstream.ledger import Ledger


def test_frames_are_numbered_from_zero_and_stamped_with_now():
    ledger = Ledger()
    assert ledger.enter(None, None, 100, None).sequence_number == 0
    frame = ledger.enter(None, None, 200, None)
    assert (frame.sequence_number, frame.capture_time_ns, frame.sent_ns) == (1, 200, 200)


def test_numbers_may_jump_ahead():
    ledger = Ledger()
    ledger.enter(10, 5, 100, None)
    assert ledger.enter(None, 6, 200, None).sequence_number == 11


def test_numbers_go_on_after_those_that_the_state_has_seen():
    ledger = Ledger(first_number=8)
    with pytest.raises(BadRequest, match="sequence_number must be above the last frame's, 7"):
        ledger.enter(7, None, 100, None)
    assert ledger.enter(None, None, 100, None).sequence_number == 8


ABOVE = "must be above the last frame's"
WHOLE = f"must be 0 to {(1 << 64) - 1}"


@pytest.mark.parametrize(
    ("number", "message"),
    [(9, f"{ABOVE}, 10, not 9"), (10, f"{ABOVE}, 10, not 10"), (-1, WHOLE), (1 << 64, WHOLE)],
)
def test_a_number_that_does_not_go_up_is_refused(number, message):
    ledger = Ledger()
    ledger.enter(10, None, 100, None)
    with pytest.raises(BadRequest, match=f"sequence_number {message}"):
        ledger.enter(number, None, 200, None)
    assert len(ledger) == 1


@pytest.mark.parametrize(
    ("capture_time_ns", "message"),
    [(100, f"{ABOVE}, 100, not 100"), (99, f"{ABOVE}, 100, not 99"), (1 << 64, WHOLE)],
)
def test_a_capture_time_that_does_not_go_up_is_refused(capture_time_ns, message):
    ledger = Ledger()
    ledger.enter(None, 100, 100, None)
    with pytest.raises(BadRequest, match=f"capture_time_ns {message}"):
        ledger.enter(None, capture_time_ns, 200, None)


def test_capture_times_go_up_where_the_clock_stands_still():
    ledger = Ledger()
    times = [ledger.enter(None, None, 100, None).capture_time_ns for _ in range(3)]
    assert times == [100, 101, 102]


def test_an_answer_belongs_to_one_frame_once():
    ledger = Ledger()
    frame = ledger.enter(None, None, 100, None)
    assert ledger.settle(0) is frame
    with pytest.raises(ProtocolError, match="frame 0"):
        ledger.settle(0)


def test_abandoned_frames_are_gone():
    ledger = Ledger()
    frames = [ledger.enter(None, None, 100, None) for _ in range(3)]
    assert ledger.abandon() == frames
    assert len(ledger) == 0


@pytest.mark.parametrize(
    ("number", "capture_time_ns", "message"),
    [
        (1.0, None, "sequence_number must be a whole number"),
        ("1", None, "sequence_number must be a whole number"),
        (True, None, "sequence_number must be a whole number"),
        (None, 1e9, "capture_time_ns must be a whole number"),
        (None, math.nan, "capture_time_ns must be a whole number"),
    ],
)
def test_a_wrong_type_is_refused_and_changes_nothing(number, capture_time_ns, message):
    ledger = Ledger()
    with pytest.raises(BadRequest, match=message):
        ledger.enter(number, capture_time_ns, 100, None)
    assert len(ledger) == 0
    assert ledger.enter(None, None, 100, None).sequence_number == 0


SECOND_NS = 1_000_000_000
WALL_NS = 1_790_000_000 * SECOND_NS
"""A wall clock's time, decades ahead of a monotonic clock."""


def test_one_stamp_by_the_wall_clock_and_then_none_is_refused_with_what_to_do():
    ledger = Ledger()
    ledger.enter(None, WALL_NS, 100 * SECOND_NS, None)
    with pytest.raises(BadRequest, match=r"or leave all of them out.*live=False"):
        ledger.enter(None, None, 100 * SECOND_NS + 50_000_000, None)
    assert len(ledger) == 1
    frame = ledger.enter(None, WALL_NS + 100_000_000, 100 * SECOND_NS + 100_000_000, None)
    assert frame.sequence_number == 1


@pytest.mark.parametrize("first_ns", [None, 7, 1_000])
def test_a_stamp_by_another_clock_than_the_first_is_refused(first_ns):
    ledger = Ledger()
    ledger.enter(None, first_ns, 100 * SECOND_NS, None)
    with pytest.raises(BadRequest, match="s ahead of the client's clock"):
        ledger.enter(None, WALL_NS, 101 * SECOND_NS, None)


def test_after_stamps_from_a_counter_a_frame_without_one_is_refused():
    ledger = Ledger()
    ledger.enter(None, 1, 100 * SECOND_NS, None)
    with pytest.raises(BadRequest, match="leave all of them out"):
        ledger.enter(None, None, 101 * SECOND_NS, None)


@pytest.mark.parametrize("factor", [2, 10, 1000])
def test_stamps_that_run_too_fast_are_refused_soon(factor):
    ledger = Ledger()

    def drive_for(seconds: int) -> None:
        for number in range(20 * seconds):
            now_ns = number * 50_000_000
            ledger.enter(None, factor * now_ns, now_ns, None)

    with pytest.raises(BadRequest, match="ahead"):
        drive_for(10)


def test_one_stamp_far_ahead_is_refused_and_the_next_true_one_is_taken():
    ledger = Ledger()
    ledger.enter(None, 100 * SECOND_NS, 100 * SECOND_NS, None)
    with pytest.raises(BadRequest, match="runs 900 s ahead"):
        ledger.enter(None, 1001 * SECOND_NS, 101 * SECOND_NS, None)
    assert ledger.enter(None, 102 * SECOND_NS, 102 * SECOND_NS, None).sequence_number == 1


def test_a_backlog_of_old_pictures_is_taken():
    """A process that stood still for a minute catches up; the guard knows that they are old."""
    ledger = Ledger()
    ledger.enter(None, 0, 4 * SECOND_NS, None)
    for number in range(1, 60):
        ledger.enter(None, number * SECOND_NS, 64 * SECOND_NS + number, None)
    ledger.enter(None, 66 * SECOND_NS, 66 * SECOND_NS, None)
    assert len(ledger) == 61


def test_a_recording_has_a_time_of_its_own():
    ledger = Ledger(live=False)
    for number in range(100):
        ledger.enter(None, WALL_NS + number * 3600 * SECOND_NS, number, None)
    assert ledger.enter(None, None, 200, None).capture_time_ns > WALL_NS


@settings(deadline=None)
@given(
    steps_ms=st.lists(st.floats(0, 5000), min_size=1, max_size=100),
    delay_ms=st.lists(st.floats(0, 4900), min_size=100, max_size=100),
    drift=st.floats(-2e-4, 2e-4),
    began_ns=st.integers(0, 1 << 62),
)
def test_no_true_clock_is_refused(steps_ms, delay_ms, drift, began_ns):
    ledger, now_ms, captured_ns = Ledger(), 5000.0, -1
    for step_ms, late_ms in zip(steps_ms, delay_ms, strict=False):
        now_ms += step_ms
        true_ms = (now_ms - late_ms) * (1 + drift)
        # Frames are sent in the order in which they were taken.
        captured_ns = max(captured_ns + 1, began_ns + round(true_ms * 1e6))
        ledger.enter(None, captured_ns, round(now_ms * 1e6), None)
