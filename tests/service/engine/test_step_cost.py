"""The cost of steps: followed, told from stalls, and known for sizes that have not run lately."""

from __future__ import annotations

import pytest

from steerstream_service.engine.step_cost import StepCost
from tests.service.costs import table

MS = 1_000_000


def warm(max_batch=8, *, pads=False, fixed_ms=0.0):
    return table(lambda size: fixed_ms + size, max_batch, pads=pads)


@pytest.mark.parametrize(
    ("max_batch", "buckets"), [(1, [1]), (4, [1, 2, 4]), (6, [1, 2, 4, 6]), (8, [1, 2, 4, 8])]
)
def test_buckets_are_powers_of_two_and_the_largest_batch(max_batch, buckets):
    assert StepCost(max_batch).buckets == buckets


def test_a_step_that_is_padded_costs_as_much_as_its_bucket():
    cost = warm(pads=True)
    assert [cost[size] // MS for size in range(1, 9)] == [1, 2, 4, 4, 8, 8, 8, 8]


def test_a_step_that_is_not_padded_costs_by_its_frames():
    cost = warm(max_batch=6, fixed_ms=2)
    assert [cost[size] // MS for size in range(1, 7)] == [3, 4, 5, 6, 7, 8]


def test_costs_that_have_risen_are_forgotten_and_those_that_have_fallen_are_not():
    cost = warm()
    first = [cost[size] for size in cost.buckets]
    for _ in range(100):
        cost.measured(4, 12 * MS)
    cost.forget()
    assert [cost[size] for size in cost.buckets] == first
    for _ in range(100):
        cost.measured(4, 2 * MS)
    fallen = [cost[size] for size in cost.buckets]
    cost.forget()
    assert [cost[size] for size in cost.buckets] == fallen
    assert all(map(int.__lt__, fallen, first))


@pytest.mark.parametrize("to_ms", [0.2, 2.0, 3.9])
def test_the_cost_follows_what_is_measured(to_ms):
    cost = warm()
    for _ in range(100):
        cost.measured(1, round(to_ms * MS))
    assert cost[1] == pytest.approx(to_ms * MS, rel=0.01)


def test_a_machine_that_has_become_slow_is_known_for_the_other_sizes():
    cost = warm()
    for _ in range(100):
        cost.measured(1, 3 * MS)
    assert 1.8 < cost[8] / (8 * MS) <= 3


def test_a_size_that_was_measured_wrong_is_put_right_when_it_runs():
    cost = warm()
    cost._share_ns[3] *= 0.5
    for _ in range(300):
        cost.measured(8, 8 * MS)
        cost.measured(1, 1 * MS)
    assert cost[8] == pytest.approx(8 * MS, rel=0.1)
    assert cost[1] == pytest.approx(1 * MS, rel=0.1)


def test_one_stall_is_not_load():
    cost = warm()
    cost.measured(1, 1000 * MS)
    assert cost[1] == pytest.approx(1.42 * MS, rel=0.01)


def test_a_slow_step_after_a_pause_counts_little_and_a_lasting_one_is_found_out():
    cost = warm()
    cost.measured(1, 3 * MS, cold=True)
    assert cost[1] < 1.06 * MS
    for _ in range(200):
        cost.measured(1, 3 * MS, cold=True)
    assert cost[1] == pytest.approx(3 * MS, rel=0.02)


def test_a_cost_that_keeps_the_engine_from_work_goes_down():
    cost = warm()
    cost.doubt()
    assert cost[1] == pytest.approx(0.9 * MS)
