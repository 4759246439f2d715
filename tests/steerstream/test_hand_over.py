"""When a session changes its server, and which one is asked next."""

from __future__ import annotations

import pytest

from steerstream.errors import BadRequest
from steerstream.hand_over import DriveState, HandOver, SessionChange, Targets, pauses_s


def test_a_server_that_was_left_is_asked_last_and_not_before_its_hint():
    now_s = [0.0]
    targets = Targets(["a", "b", "c"], lambda: now_s[0])
    targets.leave("a", 2.0)
    assert targets.ready() == ["b", "c"]
    targets.leave("b", None)
    assert targets.ready() == ["c", "b"]
    now_s[0] = 2.0
    assert targets.ready() == ["c", "a", "b"]


def test_a_full_server_is_asked_last_and_for_a_minute_only_where_no_other_one_is_left():
    now_s = [0.0]
    targets = Targets(["a", "b"], lambda: now_s[0])
    targets.leave_full("a")
    assert targets.ready() == ["b", "a"]
    assert targets.ready(with_full=False) == ["b"]
    targets.leave_full("b")
    assert targets.ready() == ["a", "b"]
    assert targets.ready(with_full=False) == []
    targets.leave("b", 61.0)
    now_s[0] = 60.0
    assert targets.ready(with_full=False) == ["a"]


def test_pauses_double_up_to_a_second_and_are_never_shorter_than_half():
    longest, shortest = pauses_s(lambda low, high: high), pauses_s(lambda low, high: low)
    assert [longest() for _ in range(7)] == [0.05, 0.1, 0.2, 0.4, 0.8, 1.0, 1.0]
    assert [shortest() for _ in range(3)] == [0.025, 0.05, 0.1]


def test_silence_is_a_few_periods_or_the_budget_and_two():
    hand_over = HandOver()
    assert hand_over.silence_ns(0.05, 0.05) == 200_000_000
    assert hand_over.silence_ns(0.05, 1.0) == 1_100_000_000


def test_every_server_may_be_asked_at_first_whatever_the_clock_says():
    assert Targets(["a", "b"], lambda: -0.5).ready() == ["a", "b"]


def test_what_is_not_stated_is_as_documented():
    assert HandOver() == HandOver(
        missing_answers=4,
        attempt_timeout_s=1.0,
        give_up_after_s=60.0,
        max_kept_bytes=32 * 1024 * 1024,
    )
    assert SessionChange(DriveState.RESUMING, "a", "it is gone").with_state is None


def test_states_have_the_names_that_programs_print():
    assert [state.value for state in DriveState] == [
        "connecting",
        "driving",
        "degraded",
        "resuming",
        "lost",
        "closed",
    ]


@pytest.mark.parametrize(
    "edge",
    [
        {"missing_answers": 1},
        {"missing_answers": 1 << 16},
        {"attempt_timeout_s": 0.001},
        {"give_up_after_s": 0.0},
        {"max_kept_bytes": 0},
        {"max_kept_bytes": 1 << 40},
    ],
)
def test_bounds_are_taken_up_to_their_edges(edge):
    ((name, value),) = edge.items()
    assert getattr(HandOver(**edge), name) == value


@pytest.mark.parametrize(
    "wrong",
    [
        {"missing_answers": 0},
        {"missing_answers": (1 << 16) + 1},
        {"missing_answers": 1.5},
        {"attempt_timeout_s": -1.0},
        {"attempt_timeout_s": 0.0},
        {"give_up_after_s": float("nan")},
        {"give_up_after_s": -1.0},
        {"max_kept_bytes": -1},
        {"max_kept_bytes": (1 << 40) + 1},
    ],
)
def test_bounds_that_make_no_sense_are_refused(wrong):
    with pytest.raises(BadRequest, match=rf"^{next(iter(wrong))}\b"):
        HandOver(**wrong)
