"""When sessions have to go: after an overload that lasts, to a load that fits, and not in turns."""

from __future__ import annotations

import pytest

from steerstream_service.admission.shedding import Shedding

S = 1_000_000_000


def run(shedding, seconds, *, load=0.5, missed=0.0, start_s=0.0, step_s=0.5):
    """What was decided, with the second in which it was."""
    decided = []
    for index in range(round(seconds / step_s)):
        now_s = start_s + index * step_s
        goal = shedding.update(round(now_s * S), load, missed)
        if goal is not None:
            decided.append((now_s, goal))
    return decided


@pytest.fixture
def shedding():
    return Shedding(3 * S, 1 * S)


def test_nobody_goes_while_all_fits(shedding):
    assert run(shedding, 600, load=1.0) == []
    assert shedding.limit == 1.0


def test_a_cost_that_wavers_about_what_is_admitted_lets_nobody_go(shedding):
    assert run(shedding, 600, load=1.15) == []


def test_an_overload_that_passes_lets_nobody_go(shedding):
    for second in range(0, 100, 4):
        assert run(shedding, 3, load=3.0, start_s=second) == []
        assert run(shedding, 1, load=1.0, start_s=second + 3) == []


def test_an_overload_that_lasts_goes_back_to_what_fits(shedding):
    assert run(shedding, 5, load=3.0) == [(3.0, 1.0)]


def test_sessions_that_were_let_go_have_time_to_leave(shedding):
    assert run(shedding, 12, load=3.0) == [(3.0, 1.0), (7.0, 1.0), (11.0, 1.0)]


@pytest.mark.parametrize(("missed", "kept"), [(0.03, 0.9), (0.14, 0.72), (1.0, 0.5)])
def test_missed_frames_without_a_cost_that_shows_it_take_a_step_back(shedding, missed, kept):
    """The more frames are missed, the longer the step: a slow neighbour takes most of a core."""
    ((when_s, goal),) = run(shedding, 5, load=0.8, missed=missed)
    assert when_s == 3.0
    assert goal == pytest.approx(kept * 0.8)
    assert goal <= shedding.limit < 0.8, "nobody comes in their place at once"


@pytest.mark.parametrize("left", [0.0, 0.1])
def test_frames_that_sessions_missed_before_they_ended_say_nothing_against_those_that_are_left(
    shedding, left
):
    """Of the load of the few that are left the limit was a half, and the next 136 vehicles had a
    tenth of the server: it carried 7 of 39."""
    run(shedding, 3, load=1.0, missed=1.0)
    assert run(shedding, 1, load=left, missed=1.0, start_s=3) == [(3.0, 0.5)]
    assert shedding.limit == pytest.approx(0.51)


def test_frames_that_were_missed_under_a_load_that_shows_why_lower_no_limit(shedding):
    run(shedding, 3, load=3.0, missed=1.0)
    assert run(shedding, 1, load=0.1, missed=1.0, start_s=3) == [(3.0, 1.0)]
    assert shedding.limit == 1.0


def test_the_limit_comes_back(shedding):
    run(shedding, 5, load=1.0, missed=1.0)
    run(shedding, 60, start_s=5)
    assert shedding.limit == 1.0


def test_a_cost_that_is_known_later_raises_the_limit_that_fell_for_want_of_it(shedding):
    """Otherwise sessions went twice: half for the misses, and then of the rest for the cost."""
    run(shedding, 3.5, load=1.0, missed=1.0)
    shedding.priced(1.5)
    assert shedding.limit == pytest.approx(0.75)
    shedding.priced(1.0)
    shedding.priced(2.0)
    assert shedding.limit == 1.0


def test_a_cost_that_wavers_raises_no_limit(shedding):
    run(shedding, 3.5, load=1.0, missed=1.0)
    shedding.priced(1.1)
    for _ in range(100):
        shedding.priced(1 / 1.1)
        shedding.priced(1.1)
    assert shedding.limit == pytest.approx(0.55)


def test_there_is_always_room_for_some(shedding):
    run(shedding, 1000, load=1.0, missed=1.0)
    assert shedding.limit >= 0.1
