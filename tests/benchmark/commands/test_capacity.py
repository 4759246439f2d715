"""The search for the capacity, on measures that are made up."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmark.__main__ import parser
from benchmark.commands import capacity
from benchmark.loadgen.tally import Tally


@given(st.integers(0, 2000), st.integers(1, 64), st.integers(64, 2048))
def test_the_search_ends_within_a_part_in_32_below_the_capacity(true, start, most):
    tried = []

    def is_carried(vehicles):
        tried.append(vehicles)
        return vehicles <= true

    found = capacity.search(is_carried, start=start, most=most)
    assert found <= min(true, most)
    assert min(true, most) - found <= max(1, found // 32)
    assert len(tried) <= 20
    assert max(tried) <= most


def tally(frames, commands, opened, **ended):
    counted = Tally(budget_ms=50.0, frames=frames, commands=commands, opened=opened)
    counted.ended.update(ended)
    return counted


@pytest.mark.parametrize(
    ("counted", "is_carried"),
    [
        (tally(1000, 999, 8), True),
        (tally(1000, 998, 8), False),
        (tally(1000, 1000, 7), False),
        (tally(1000, 1000, 8, TOO_MANY_SESSIONS=1), False),
        (tally(0, 0, 8), False),
    ],
)
def test_a_load_is_carried_if_all_are_admitted_kept_and_in_time(counted, is_carried):
    assert capacity.carries(counted, 8) is is_carried


def test_the_help_says_that_the_search_has_lengths_of_its_own(capsys):
    with pytest.raises(SystemExit):
        parser().parse_args(["capacity", "--help"])
    said = " ".join(capsys.readouterr().out.split())
    assert "length of the run that confirms, and of that at 80 % of the capacity" in said
    assert "steps of 3 to 8 s" in said


def test_steps_are_long_enough_for_their_misses_to_mean_something():
    assert capacity.step_s(50, 20.0) == 4.0
    assert capacity.step_s(1, 20.0) == capacity.STEP_S[1]
    assert capacity.step_s(1000, 20.0) == capacity.STEP_S[0]
