"""Batches by deadline and cost, and steps that are committed row by row."""

from __future__ import annotations

import time
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from steerstream_bundle import loading
from steerstream_bundle.errors import BundleError, StepError
from steerstream_service.domain import NEVER_NS, NotStepped, SkipReason, Stepped
from steerstream_service.engine import batching, model_queue
from steerstream_service.engine.model_queue import ModelQueue
from steerstream_service.engine.step_cost import StepCost
from tests.service import bundles
from tests.service.records import FAR_NS, RED, submitted
from tests.service.vehicle import pictures

MS = 1_000_000


def queue_of(path, *, sessions=2, max_batch=2):
    return ModelQueue(loading.load(path), sessions=sessions, max_batch=max_batch)


@pytest.fixture
def queue(tmp_path):
    return queue_of(bundles.recurrent(tmp_path / "tiny.onnx"), sessions=8, max_batch=4)


def put(queue, *frames):
    for each in frames:
        queue.put(each)


def costs(queue, **costs_ms):
    queue.cost = StepCost(4)
    for name, cost_ms in costs_ms.items():
        queue.cost.measured(int(name.removeprefix("of_")), cost_ms * MS)


def test_warm_up_measures_every_bucket_and_touches_no_slot(queue):
    slots = [queue.pool.allocate() for _ in range(8)]
    queue.warm_up()
    assert all(0 < queue.cost[size] < 10_000 * MS for size in range(1, 5))
    assert not any(queue.pool.gather(slots, [False] * 8)[0].ravel())


def test_a_stall_at_warm_up_is_no_cost(queue, monkeypatch):
    """It would have every budget refused, and no frame would ever come to correct it."""
    now_ns, durations_ms = 0, [1, 500, 500, 1]

    def run(size):
        nonlocal now_ns
        now_ns += MS * (durations_ms.pop(0) if durations_ms else 1)

    monkeypatch.setattr(queue._stepper, "warm_up", run)
    monkeypatch.setattr(model_queue, "time", SimpleNamespace(monotonic_ns=lambda: now_ns))
    queue.warm_up()
    assert not durations_ms
    assert queue.cost[1] == 1 * MS


def test_a_network_that_fails_is_found_at_warm_up(tmp_path):
    queue = queue_of(bundles.failing(tmp_path / "f.onnx"), sessions=1, max_batch=1)
    queue._stepper._frames[:] = 250
    with pytest.raises(BundleError, match="failing: the network fails: "):
        queue.warm_up()


def test_a_batch_is_taken_by_deadline(queue):
    late, soon, later = (submitted(queue, deadline_ns=FAR_NS + n) for n in (2, 0, 1))
    put(queue, late, soon, later)
    assert queue.earliest_ns == FAR_NS
    batch, missed = queue.choose(0)
    assert (batch, missed) == ([soon, later, late], [])
    assert not queue.waiting


def test_a_batch_has_a_largest_size(queue):
    frames = [submitted(queue, deadline_ns=FAR_NS + n) for n in range(6)]
    put(queue, *frames)
    assert queue.choose(0)[0] == frames[:4]
    assert queue.choose(0)[0] == frames[4:]


def test_a_long_queue_is_not_looked_through_for_every_batch(queue, monkeypatch):
    """Four batches are; choosing among a thousand frames would take longer than a step."""
    looked_at = []
    choose = batching.choose

    def counted(deadlines_ns, *others):
        looked_at.append(len(deadlines_ns))
        return choose(deadlines_ns, *others)

    monkeypatch.setattr(batching, "choose", counted)
    frames = [submitted(queue, slot=queue.pool.sentinel, deadline_ns=FAR_NS + n) for n in range(50)]
    put(queue, *frames)
    taken = []
    while queue.waiting:
        taken += queue.choose(0)[0]
    assert taken == frames
    assert max(looked_at) == 4 * 4


@pytest.mark.parametrize(("deadline_ms", "size"), [(1, 1), (2, 2), (3, 2), (4, 4), (9, 4)])
def test_a_batch_still_meets_its_earliest_deadline(queue, deadline_ms, size):
    costs(queue, of_1=1, of_2=2, of_4=4)
    put(queue, *(submitted(queue, deadline_ns=deadline_ms * MS) for _ in range(4)))
    assert len(queue.choose(0)[0]) == size


def test_frames_that_no_step_can_answer_in_time_are_given_back(queue):
    costs(queue, of_1=2, of_2=4, of_4=8)
    late, fine = submitted(queue, deadline_ns=5 * MS - 1), submitted(queue, deadline_ns=5 * MS)
    put(queue, fine, late)
    assert queue.choose(3 * MS) == ([fine], [late])


def test_a_cost_that_keeps_the_engine_from_work_is_doubted(queue):
    costs(queue, of_1=100, of_2=200, of_4=400)
    for _ in range(100):
        put(queue, submitted(queue, slot=queue.pool.sentinel, deadline_ns=50 * MS))
        if queue.choose(0)[0]:
            break
    assert queue.step_cost_ns <= 50 * MS


def test_a_frame_that_was_late_anyway_casts_no_doubt(queue):
    costs(queue, of_1=100, of_2=200, of_4=400)
    put(queue, submitted(queue, deadline_ns=50 * MS))
    queue.choose(60 * MS)
    assert queue.step_cost_ns == 100 * MS


def test_a_cost_is_not_doubted_while_there_is_other_work(queue):
    costs(queue, of_1=2, of_2=4, of_4=8)
    put(queue, submitted(queue, deadline_ns=1 * MS), submitted(queue, deadline_ns=9 * MS))
    assert [len(part) for part in queue.choose(0)] == [1, 1]
    assert queue.step_cost_ns == 2 * MS


def test_a_claimed_frame_is_neither_stepped_nor_late(queue):
    taken_back, missed, fine = submitted(queue), submitted(queue, deadline_ns=0), submitted(queue)
    assert taken_back.claim()
    assert missed.claim()
    put(queue, taken_back, missed, fine)
    assert queue.choose(1) == ([fine], [])
    assert not fine.claim()


@given(st.lists(st.integers(0, 20)))
def test_frames_wait_in_the_order_of_their_deadlines_and_of_their_coming(deadlines_ns):
    queue = ModelQueue.__new__(ModelQueue)
    queue._waiting = []
    frames = [submitted(queue, 0, slot=0, deadline_ns=ns) for ns in deadlines_ns]
    put(queue, *frames)
    assert queue._waiting == sorted(frames, key=lambda each: each.deadline_ns)
    assert queue.earliest_ns == min(deadlines_ns, default=NEVER_NS)


@pytest.mark.parametrize("pads", [False, True])
def test_a_step_is_the_same_with_and_without_padding(queue, monkeypatch, pads):
    monkeypatch.setattr(type(queue._stepper.bundle.runtime), "pads_batches", pads)
    films = [pictures(6, seed) for seed in range(3)]
    slots = [queue.pool.allocate() for _ in films]
    rows = []
    for index in range(6):
        batch = [
            submitted(queue, film[index], slot=slot, reset=index == 0)
            for slot, film in zip(slots, films, strict=True)
        ]
        queue.step(batch)
        assert {frame.outcome.batch_size for frame in batch} == {3}
        rows.append([frame.outcome.outputs for frame in batch])
    expected = np.stack([bundles.expected(film) for film in films], axis=1)
    np.testing.assert_allclose(rows, expected, atol=1e-5)


def test_a_step_measures_itself(queue):
    before_ns = time.monotonic_ns()
    frame = submitted(queue)
    queue.step([frame])
    outcome = frame.outcome
    assert isinstance(outcome, Stepped)
    assert before_ns <= outcome.began_ns
    assert queue.step_cost_ns == outcome.infer_ns > 0


def test_a_step_that_fails_leaves_every_row(tmp_path):
    queue = queue_of(bundles.failing(tmp_path / "f.onnx"))
    slots = [queue.pool.allocate(), queue.pool.allocate()]
    queue.step([submitted(queue, slot=slot) for slot in slots])
    before = queue.pool.gather(slots, [False, False])[0]
    with pytest.raises(StepError):
        queue.step([submitted(queue, slot=slots[0]), submitted(queue, RED, slot=slots[1])])
    np.testing.assert_array_equal(queue.pool.gather(slots, [False, False])[0], before)


def test_a_row_that_is_not_a_number_fails_alone(tmp_path):
    queue = queue_of(bundles.nan_state(tmp_path / "n.onnx"))
    bad, good = submitted(queue, RED), submitted(queue)
    queue.step([bad, good])
    assert isinstance(bad.outcome, NotStepped)
    assert bad.outcome.reason is SkipReason.FAILED
    assert isinstance(good.outcome, Stepped)


def test_times_reach_the_network_that_is_told_them(tmp_path):
    queue = queue_of(bundles.acting(tmp_path / "t.onnx"), sessions=8, max_batch=4)
    film, intervals_s, act_in_s = pictures(3, 0), [0.05, 0.1, 0.15], [0.2, 0.0, 0.25]
    frames = [
        submitted(queue, film[row], interval_s=intervals_s[row], act_in_s=act_in_s[row])
        for row in range(3)
    ]
    queue.step(frames)
    for row, frame in enumerate(frames):
        expected = bundles.expected_timed(
            film[row : row + 1], intervals_s[row : row + 1], act_in_s[row]
        )[0]
        np.testing.assert_allclose(frame.outcome.outputs, expected, atol=1e-5)
