"""Frames within the stated rate, surplus ones, and how a session fares."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from steerstream_service.admission.rate_meter import FrameCounts, RateMeter

MS = 1_000_000


def surplus(meter, times_ms):
    return [ms for ms in times_ms if meter.take(ms * MS)]


def test_a_camera_at_its_stated_rate_is_never_surplus():
    assert surplus(RateMeter(20.0), range(1000, 60_000, 50)) == []


def test_a_camera_a_quarter_above_its_stated_rate_is_not_either():
    assert surplus(RateMeter(20.0), range(1000, 60_000, 40)) == []


def test_frames_that_a_network_held_up_may_come_at_once():
    assert surplus(RateMeter(20.0), [1000] * 8) == []
    assert surplus(RateMeter(20.0), [1000] * 9) == [1000]


def test_a_surplus_frame_is_told_when_the_next_is_due():
    meter = RateMeter(20.0)
    assert [meter.take(0) for _ in range(9)] == [*[0] * 8, 40 * MS]
    assert meter.take(40 * MS) == 0


def test_a_frame_that_counts_as_several_takes_their_place():
    meter = RateMeter(20.0)
    assert [meter.take(0, 4.0) for _ in range(3)] == [0, 0, 40 * MS]
    assert meter.review().within == 2


def test_frames_that_come_in_a_bunch_are_ahead_of_their_rate():
    meter = RateMeter(20.0)
    ahead = []
    for _ in range(3):
        meter.take(0)
        ahead.append(meter.is_ahead(0))
    assert ahead == [False, False, True]
    assert not meter.is_ahead(40 * MS)


@given(st.lists(st.integers(0, 30), min_size=1, max_size=200))
def test_a_flood_gets_no_more_than_its_rate_and_a_burst(steps_ms):
    meter, now_ms, within = RateMeter(20.0), 0, 0
    for step_ms in steps_ms:
        now_ms += step_ms
        within += meter.take(now_ms * MS) == 0
    assert within <= now_ms / 40 + 8 + 1


def test_a_review_counts_from_the_last_one():
    meter = RateMeter(20.0)
    for _ in range(10):
        meter.take(0)
    meter.count_late(was_decoded=True)
    assert meter.review() == FrameCounts(within=8, surplus=2, late=1)
    assert meter.review() == FrameCounts(0, 0, 0)


def test_frames_without_a_command_and_resets_are_no_work_of_whole_frames():
    meter = RateMeter(20.0)
    for _ in range(10):
        meter.take(0)
    for _ in range(3):
        meter.count_command()
    meter.count_late(was_decoded=True)
    meter.count_late(was_decoded=False)
    meter.count_reset()
    counts = meter.review()
    assert (counts.surplus, counts.work, counts.others, counts.late) == (2, 4, 7, 2)
    assert meter.review() == FrameCounts(0, 0, 0)


def test_a_session_keeps_its_promise_if_it_sends_at_most_its_rate():
    assert FrameCounts(10, 0, 0).keeps_promise
    assert not FrameCounts(10, 1, 0).keeps_promise
    assert not FrameCounts(0, 0, 0).keeps_promise


def test_frames_that_are_late_and_frames_that_are_superseded_late_are_missed():
    meter = RateMeter(20.0)
    for _ in range(4):
        meter.take(0)
    meter.count_late(was_decoded=True)
    meter.count_overdue()
    meter.count_command()
    counts = meter.review()
    assert (counts.frames, counts.missed, counts.others) == (4, 2, 1)
    assert counts.work == pytest.approx(2 + 1 / 7)
    assert meter.review() == FrameCounts(0, 0, 0)


def test_a_frame_for_which_the_server_had_no_time_is_a_part_of_one_and_of_a_flood_it_is_none():
    given_up = FrameCounts(within=10, surplus=0, late=7, commands=3, undecoded=7)
    assert (given_up.work, given_up.others) == (pytest.approx(3 + 7 / 7), 0)
    flood = given_up._replace(within=9, surplus=1)
    assert (flood.work, flood.others) == (3, 7)
