"""Batches by deadline and cost, and steps that are committed row by row."""

from __future__ import annotations

import time

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from steerstream_bundle import loading
from steerstream_bundle.errors import BundleError, StepError
from steerstream_service.domain import NEVER_NS, NotStepped, SkipReason, Stepped
from steerstream_service.engine.model_queue import Job, Lane
from steerstream_service.engine.step_cost import StepCost
from tests.service import bundles
from tests.service.vehicle import pictures

MS = 1_000_000
FAR_NS = 10**18


@pytest.fixture
def lane(tmp_path):
    return Lane(loading.load(bundles.recurrent(tmp_path / "tiny.onnx")), sessions=8, max_batch=4)


def job(lane, *, deadline_ns=FAR_NS, slot=None, reset=True, pixels=None, interval_s=0.05):
    slot = lane.pool.allocate() if slot is None else slot
    pixels = np.zeros((8, 16, 3), np.uint8) if pixels is None else pixels
    return Job(
        lane,
        slot,
        pixels,
        reset=reset,
        interval_s=interval_s,
        deadline_ns=deadline_ns,
        reply=lambda outcome: None,
    )


def put(lane, *jobs):
    for each in jobs:
        lane.put(each)


def costs(lane, **costs_ms):
    lane.cost = StepCost(4)
    for name, cost_ms in costs_ms.items():
        lane.cost.measured(int(name.removeprefix("of_")), cost_ms * MS)


def test_warm_up_measures_every_bucket_and_touches_no_slot(lane):
    slots = [lane.pool.allocate() for _ in range(8)]
    lane.warm_up()
    assert all(0 < lane.cost[size] < 10_000 * MS for size in range(1, 5))
    assert not any(lane.pool.gather(slots, [False] * 8)[0].ravel())


def test_a_stall_at_warm_up_is_no_cost(lane, monkeypatch):
    """It would refuse every budget, and no frame would ever come to correct it."""
    run, stalls_s = lane._stepper.warm_up, [0.0, 0.5, 0.5, 0.0]

    def stalling(size):
        time.sleep(stalls_s.pop(0) if stalls_s else 0.0)
        run(size)

    monkeypatch.setattr(lane._stepper, "warm_up", stalling)
    lane.warm_up()
    assert not stalls_s
    assert 0 < lane.cost[1] < 500 * MS


def test_a_network_that_fails_is_found_at_warm_up(tmp_path):
    lane = Lane(loading.load(bundles.failing(tmp_path / "f.onnx")), sessions=1, max_batch=1)
    lane._stepper._frames[:] = 250
    with pytest.raises(BundleError, match="failing: the network fails: "):
        lane.warm_up()


def test_a_batch_is_taken_by_deadline(lane):
    late, soon, later = (job(lane, deadline_ns=FAR_NS + n) for n in (2, 0, 1))
    put(lane, late, soon, later)
    assert lane.earliest_ns == FAR_NS
    batch, missed = lane.choose(0)
    assert (batch, missed) == ([soon, later, late], [])
    assert not lane.waiting


def test_a_batch_has_a_largest_size(lane):
    jobs = [job(lane, deadline_ns=FAR_NS + n) for n in range(6)]
    put(lane, *jobs)
    assert lane.choose(0)[0] == jobs[:4]
    assert lane.choose(0)[0] == jobs[4:]


@pytest.mark.parametrize(("deadline_ms", "size"), [(1, 1), (2, 2), (3, 2), (4, 4), (9, 4)])
def test_a_batch_still_meets_its_earliest_deadline(lane, deadline_ms, size):
    costs(lane, of_1=1, of_2=2, of_4=4)
    put(lane, *(job(lane, deadline_ns=deadline_ms * MS) for _ in range(4)))
    assert len(lane.choose(0)[0]) == size


def test_frames_that_no_step_can_answer_in_time_are_given_back(lane):
    costs(lane, of_1=2, of_2=4, of_4=8)
    late, fine = job(lane, deadline_ns=5 * MS - 1), job(lane, deadline_ns=5 * MS)
    put(lane, fine, late)
    assert lane.choose(3 * MS) == ([fine], [late])


def test_a_cost_that_keeps_the_engine_from_work_is_doubted(lane):
    costs(lane, of_1=100, of_2=200, of_4=400)
    for _ in range(100):
        put(lane, job(lane, slot=lane.pool.sentinel, deadline_ns=50 * MS))
        if lane.choose(0)[0]:
            break
    assert lane.step_cost_ns <= 50 * MS


def test_a_frame_that_was_late_anyway_casts_no_doubt(lane):
    costs(lane, of_1=100, of_2=200, of_4=400)
    put(lane, job(lane, deadline_ns=50 * MS))
    lane.choose(60 * MS)
    assert lane.step_cost_ns == 100 * MS


def test_a_cost_is_not_doubted_while_there_is_other_work(lane):
    costs(lane, of_1=2, of_2=4, of_4=8)
    put(lane, job(lane, deadline_ns=1 * MS), job(lane, deadline_ns=9 * MS))
    assert [len(part) for part in lane.choose(0)] == [1, 1]
    assert lane.step_cost_ns == 2 * MS


def test_a_claimed_frame_is_neither_stepped_nor_late(lane):
    taken_back, missed, fine = job(lane), job(lane, deadline_ns=0), job(lane)
    assert taken_back.claim()
    assert missed.claim()
    put(lane, taken_back, missed, fine)
    assert lane.choose(1) == ([fine], [])
    assert not fine.claim()


@given(st.lists(st.integers(0, 20)))
def test_frames_wait_in_the_order_of_their_deadlines_and_of_their_coming(deadlines_ns):
    lane = Lane.__new__(Lane)
    lane._waiting = []
    jobs = [job(lane, slot=0, pixels=0, deadline_ns=ns) for ns in deadlines_ns]
    put(lane, *jobs)
    assert lane._waiting == sorted(jobs, key=lambda each: each.deadline_ns)
    assert lane.earliest_ns == min(deadlines_ns, default=NEVER_NS)


@pytest.mark.parametrize("pads", [False, True])
def test_a_step_is_the_same_with_and_without_padding(lane, monkeypatch, pads):
    monkeypatch.setattr(type(lane._stepper.bundle.runtime), "pads_batches", pads)
    films = [pictures(6, seed) for seed in range(3)]
    slots = [lane.pool.allocate() for _ in films]
    rows = []
    for index in range(6):
        batch = [
            job(lane, slot=slot, pixels=film[index], reset=index == 0)
            for slot, film in zip(slots, films, strict=True)
        ]
        outcomes = lane.step(batch)
        assert {outcome.batch_size for outcome in outcomes} == {3}
        rows.append([outcome.outputs for outcome in outcomes])
    expected = np.stack([bundles.expected(film) for film in films], axis=1)
    np.testing.assert_allclose(rows, expected, atol=1e-5)


def test_a_step_measures_itself(lane):
    before_ns = time.monotonic_ns()
    (outcome,) = lane.step([job(lane)])
    assert isinstance(outcome, Stepped)
    assert before_ns <= outcome.began_ns
    assert lane.step_cost_ns == outcome.infer_ns > 0


def test_a_step_that_fails_leaves_every_row(tmp_path):
    lane = Lane(loading.load(bundles.failing(tmp_path / "f.onnx")), sessions=2, max_batch=2)
    slots = [lane.pool.allocate(), lane.pool.allocate()]
    lane.step([job(lane, slot=slot) for slot in slots])
    before = lane.pool.gather(slots, [False, False])[0]
    red = np.full((8, 16, 3), 250, np.uint8)
    with pytest.raises(StepError):
        lane.step([job(lane, slot=slots[0]), job(lane, slot=slots[1], pixels=red)])
    np.testing.assert_array_equal(lane.pool.gather(slots, [False, False])[0], before)


def test_a_row_that_is_not_a_number_fails_alone(tmp_path):
    lane = Lane(loading.load(bundles.nan_state(tmp_path / "n.onnx")), sessions=2, max_batch=2)
    red = np.full((8, 16, 3), 250, np.uint8)
    bad, good = lane.step([job(lane, pixels=red), job(lane)])
    assert isinstance(bad, NotStepped)
    assert bad.reason is SkipReason.FAILED
    assert isinstance(good, Stepped)


def test_intervals_reach_the_network_that_takes_them(tmp_path):
    lane = Lane(loading.load(bundles.timed(tmp_path / "t.onnx")), sessions=8, max_batch=4)
    film, intervals_s = pictures(3, 0), [0.05, 0.1, 0.15]
    jobs = [job(lane, pixels=film[row], interval_s=intervals_s[row]) for row in range(3)]
    for row, outcome in enumerate(lane.step(jobs)):
        expected = bundles.expected_timed(film[row : row + 1], intervals_s[row : row + 1])[0]
        np.testing.assert_allclose(outcome.outputs, expected, atol=1e-5)
