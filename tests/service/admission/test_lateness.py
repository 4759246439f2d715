"""When a server is late: by the frames that it missed, and by those that it cannot have seen."""

from __future__ import annotations

import pytest

from steerstream_service.admission.lateness import Lateness
from steerstream_service.admission.rate_meter import FrameCounts

MS, S = 1_000_000, 1_000_000_000
REVIEW_NS = S // 2
BUDGET_NS = 50 * MS
GOOD = FrameCounts(10, 0, 0)


class Clock:
    """Reviews every half second, of sessions at 20 Hz."""

    def __init__(self):
        self.lateness = Lateness()
        self.now_ns = 0
        self.go()

    def go(self, counts=(GOOD,) * 4, lags_ms=(0,) * 20, reviews=1):
        """Whether the server was late in each review."""
        found = []
        for _ in range(reviews):
            self.now_ns += REVIEW_NS
            lags_ns = [lag_ms * MS for lag_ms in lags_ms]
            self.lateness.update(self.now_ns, counts, lags_ns, BUDGET_NS)
            found.append(self.lateness.is_late)
        return found


def test_a_server_that_answers_everything_is_in_time():
    clock = Clock()
    assert not any(clock.go(reviews=100))
    assert clock.lateness.missed == 0.0


@pytest.mark.parametrize("late", [FrameCounts(10, 0, 2), FrameCounts(10, 0, 0, overdue=2)])
def test_frames_that_are_late_or_superseded_late_make_it_late(late):
    clock = Clock()
    assert all(clock.go([late] * 4, reviews=8))
    assert clock.lateness.missed == pytest.approx(0.2)


def test_one_session_of_many_is_its_own_affair():
    clock = Clock()
    assert not any(clock.go([GOOD] * 4 + [FrameCounts(10, 0, 10)], reviews=8))
    assert any(clock.go([GOOD] * 3 + [FrameCounts(10, 0, 10)], reviews=8))


def test_a_loop_that_turns_late_has_frames_that_it_does_not_see_in_time():
    """Of each half second it stood still for 100 ms: frames of the first 75 waited too long."""
    clock = Clock()
    assert all(clock.go(lags_ms=(100, 0, 0), reviews=8))
    assert clock.lateness.missed == pytest.approx(0.15)


def test_lags_within_half_the_budget_are_no_lateness():
    assert not any(Clock().go(lags_ms=(24,) * 20, reviews=20))


def test_lags_count_without_sessions_too():
    assert all(Clock().go((), lags_ms=(200,), reviews=8))


def test_lateness_is_forgotten_after_two_seconds():
    clock = Clock()
    clock.go(lags_ms=(400,))
    assert clock.go(reviews=3) == [True] * 3
    assert clock.go(reviews=10) == [False] * 10


def test_it_lasts_when_it_goes_on_for_longer_than_one_stall_is_remembered():
    clock = Clock()
    clock.go(lags_ms=(400,))
    for _ in range(10):
        clock.go()
        assert not clock.lateness.lasts
    for _ in range(4):
        clock.go(lags_ms=(400,))
        assert not clock.lateness.lasts
    clock.go(lags_ms=(400,))
    assert clock.lateness.lasts


def test_a_review_that_comes_seconds_late_itself_is_judged_by_all_that_passed():
    clock = Clock()
    clock.now_ns += 4 * S
    clock.go(lags_ms=(4000,))
    assert clock.lateness.missed == pytest.approx((4000 - 25) / 4500)
    assert not clock.lateness.lasts
    clock.go(lags_ms=(4000,))
    assert clock.lateness.missed == 1.0, "never above all of them"
