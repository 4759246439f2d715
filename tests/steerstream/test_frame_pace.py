"""When frames are welcome to a server that asked for a pace."""

from __future__ import annotations

from steerstream import Pace
from steerstream.frame_pace import FramePace

MS = 1_000_000


def sent_ms(pace, ticks_ms):
    """When a camera's frames are sent: those that are welcome at their time."""
    sent = []
    for tick_ms in ticks_ms:
        if not pace.wait_ns(tick_ms * MS):
            pace.sent(tick_ms * MS)
            sent.append(tick_ms)
    return sent


def test_without_a_pace_every_frame_is_welcome():
    pace = FramePace()
    assert sent_ms(pace, range(0, 500, 50)) == list(range(0, 500, 50))
    assert not pace.is_kept


def test_the_first_frame_waits_as_told_and_the_others_a_period_each():
    pace = FramePace()
    pace.keep(Pace(period_ms=200.0, first_in_ms=130.0), 0)
    assert pace.is_kept
    assert pace.wait_ns(0) == 130 * MS
    assert sent_ms(pace, range(0, 1000, 10)) == [130, 330, 530, 730, 930]


def test_a_camera_keeps_the_pace_on_average_though_it_has_its_own_period():
    pace = FramePace()
    pace.keep(Pace(period_ms=130.0, first_in_ms=0.0), 0)
    assert len(sent_ms(pace, range(0, 13_000, 50))) in {100, 101}


def test_a_vehicle_that_paused_does_not_make_up_for_it():
    pace = FramePace()
    pace.keep(Pace(period_ms=200.0, first_in_ms=0.0), 0)
    assert sent_ms(pace, range(5000, 5600, 10)) == [5000, 5100, 5300, 5500]


def test_a_longer_period_stretches_the_time_to_the_next_frame():
    """Sessions that were spread over a short period are spread over the long one too."""
    pace = FramePace()
    pace.keep(Pace(period_ms=200.0, first_in_ms=100.0), 0)
    pace.keep(Pace(period_ms=600.0, first_in_ms=0.0), 50 * MS)
    assert pace.wait_ns(50 * MS) == 150 * MS


def test_no_change_of_the_pace_makes_the_next_frame_wait_for_longer_than_a_period():
    pace = FramePace()
    pace.keep(Pace(period_ms=1e-6, first_in_ms=9000.0), 0)
    pace.keep(Pace(period_ms=9000.0, first_in_ms=0.0), 0)
    assert pace.wait_ns(0) == 9000 * MS


def test_after_a_frame_that_came_too_soon_the_next_one_waits_for_a_period_at_most():
    pace = FramePace()
    pace.keep(Pace(period_ms=200.0, first_in_ms=150.0), 0)
    pace.sent(0)
    assert pace.wait_ns(0) == 200 * MS


def test_no_pace_makes_a_frame_wait_for_more_than_ten_seconds():
    pace = FramePace()
    pace.keep(Pace(period_ms=3_600_000.0, first_in_ms=3_600_000.0), 0)
    assert pace.wait_ns(0) == 10_000 * MS
    pace.keep(Pace(period_ms=200.0, first_in_ms=0.0), 0)
    pace.keep(Pace(period_ms=3_600_000.0, first_in_ms=0.0), 0)
    assert pace.wait_ns(0) == 10_000 * MS


def test_a_period_of_zero_ends_the_pace():
    pace = FramePace()
    pace.keep(Pace(period_ms=200.0, first_in_ms=100.0), 0)
    pace.keep(Pace(period_ms=0.0, first_in_ms=0.0), 10 * MS)
    assert pace.wait_ns(10 * MS) == 0
    assert not pace.is_kept
