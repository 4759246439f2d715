"""Which frames the next step takes, for machines whose costs differ in every way."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from steerstream_service.engine import batching
from steerstream_service.engine.batching import Batch
from tests.service.costs import table

MS = 1_000_000
NEVER = 1 << 62


CPU = table(lambda size: size)
GPU = table(lambda size: 0.25 + size * 0.006, max_batch=64, pads=True)
CACHED = table(lambda size: size * (0.8 if size <= 4 else 1.2))


def choose(deadlines_ms, cost=CPU, *, free_by_ms=None):
    free_by_ns = NEVER if free_by_ms is None else round(free_by_ms * MS)
    return batching.choose([round(ms * MS) for ms in deadlines_ms], 0, cost, free_by_ns)


@pytest.mark.parametrize("waiting", [1, 2, 5, 8, 64])
def test_where_a_large_step_costs_little_more_all_go_at_once(waiting):
    assert choose([50] * waiting, GPU) == Batch(0, waiting)


@pytest.mark.parametrize(("waiting", "size"), [(1, 1), (3, 3), (4, 4), (8, 8), (20, 8)])
def test_equal_frame_costs_make_a_step_large_enough_to_share_a_turns_cost(waiting, size):
    assert choose([50] * waiting) == Batch(0, size)


def test_a_batch_is_not_doubled_for_a_tiny_gain():
    cost = table(lambda size: 30 * size, max_batch=32)
    assert choose([1000] * 32, cost).size == 1


def test_a_step_is_no_larger_than_pays():
    assert choose([50] * 8, CACHED) == Batch(0, 4)


@pytest.mark.parametrize(("deadline_ms", "size"), [(1, 1), (2, 2), (3.9, 2), (4, 4), (9, 8)])
def test_a_step_meets_its_earliest_deadline(deadline_ms, size):
    assert choose([deadline_ms, *[90] * 7]) == Batch(0, size)


def test_a_frame_that_no_step_can_answer_is_given_up():
    assert choose([0.9, 5]) == Batch(1, 1)
    assert choose([0.1, 0.2]) == Batch(2, 0)


def test_one_frame_is_given_up_rather_than_many_made_late():
    """A step for the first alone would end too late for the thirty behind it."""
    cost = table(lambda size: 10 + size * 0.01, max_batch=32, pads=True)
    deadlines = [10.1, *[12] * 30]
    assert choose(deadlines, cost) == Batch(1, 30)


def test_one_for_one_the_earlier_frame_is_served():
    cost = table(lambda size: 1 + size, max_batch=2, pads=True)
    assert choose([2, 3.5], cost) == Batch(0, 1)


def test_frames_of_other_models_bound_a_step():
    assert choose([50] * 8, free_by_ms=2.5).size == 2
    assert choose([50] * 8, free_by_ms=0).size == 8


curves = st.builds(
    lambda fixed, each, bend: table(lambda size: fixed + each * size**bend, max_batch=8),
    st.sampled_from([0.0, 1.0, 5.0]),
    st.sampled_from([0.1, 1.0, 3.0]),
    st.sampled_from([0.7, 1.0, 1.3]),
)
queues = st.lists(st.integers(0, 60), min_size=1, max_size=24).map(sorted)


def drain(deadlines_ms, cost):
    """How many frames are late if nothing more comes."""
    now_ns, missed, left = 0, 0, [ms * MS for ms in deadlines_ms]
    while left:
        late, size = batching.choose(left, now_ns, cost, NEVER)
        assert 0 < late + size <= len(left)
        if size:
            now_ns += cost[size]
            assert now_ns <= left[late], "a frame in the step is late"
        missed += late
        left = left[late + size :]
    return missed


def drain_in_steps_of(size, deadlines_ms, cost):
    now_ns, missed, left = 0, 0, [ms * MS for ms in deadlines_ms]
    for batch in (left[at : at + size] for at in range(0, len(left), size)):
        now_ns += cost[len(batch)]
        missed += sum(deadline < now_ns for deadline in batch)
    return missed


@given(queues, curves)
def test_every_step_is_in_time_and_every_frame_is_taken_once(deadlines_ms, cost):
    assert 0 <= drain(deadlines_ms, cost) <= len(deadlines_ms)


@given(queues, curves)
def test_no_more_frames_are_late_than_in_steps_of_the_size_that_pays(deadlines_ms, cost):
    paying = batching.paying(len(deadlines_ms), cost)
    if drain_in_steps_of(paying, deadlines_ms, cost) == 0:
        assert drain(deadlines_ms, cost) == 0
