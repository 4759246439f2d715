"""The state pool: rows of their own, transactions, and slots that are used again."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from steerstream_bundle.contract import StateKind, StateTensor
from steerstream_service.engine.state_pool import PoolFullError, StatePool
from tests.service import bundles

NO_RESET = [False, False]


@pytest.fixture
def pool():
    return StatePool([bundles.HIDDEN, bundles.RING], slots=4)


def write(pool, slots, value):
    rows = np.asarray(value, np.float32)
    return pool.commit(
        slots,
        [
            np.broadcast_to(rows[:, None], (len(slots), 3)),
            np.broadcast_to(rows[:, None, None], (len(slots), 4, 3)),
        ],
    )


def read(pool, slots):
    return [float(row[0]) for row in pool.gather(slots, [False] * len(slots))[0]]


def test_a_reset_row_starts_from_the_initial_value(pool):
    one, two = pool.allocate(), pool.allocate()
    write(pool, [one, two], [5, 6])
    hidden, ring = pool.gather([one, two], [True, False])
    assert hidden.tolist() == [[0, 0, 0], [6, 6, 6]]
    np.testing.assert_array_equal(ring[0].ravel(), np.array(bundles.RING.initial, np.float32))
    assert read(pool, [one]) == [5], "a gather changes nothing"


def test_rows_come_and_go_in_any_order(pool):
    slots = [pool.allocate() for _ in range(4)]
    write(pool, slots[::-1], [4, 3, 2, 1])
    assert read(pool, slots) == [1, 2, 3, 4]
    assert read(pool, [slots[2], slots[0]]) == [3, 1]


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_a_row_that_is_not_a_number_is_not_written(pool, bad):
    one, two = pool.allocate(), pool.allocate()
    write(pool, [one, two], [5, 6])
    fit = write(pool, [one, two], [bad, 7])
    assert fit == [False, True]
    assert read(pool, [one, two]) == [5, 7]


def test_one_bad_tensor_spoils_the_whole_row(pool):
    slot = pool.allocate()
    write(pool, [slot], [5])
    ring = np.ones((1, 4, 3), np.float32)
    ring[0, 3, 2] = np.nan
    assert pool.commit([slot], [np.ones((1, 3), np.float32), ring]) == [False]
    assert read(pool, [slot]) == [5]


def test_a_step_that_outlives_its_slot_writes_nothing():
    pool = StatePool([bundles.HIDDEN], slots=1)
    old = pool.allocate()
    pool.release(old)
    new = pool.allocate()
    assert new.index == old.index
    pool.commit([new], [np.full((1, 3), 1, np.float32)])
    pool.commit([old], [np.full((1, 3), 9, np.float32)])
    assert read(pool, [new]) == [1]


def test_slots_run_out_and_come_back(pool):
    slots = [pool.allocate() for _ in range(4)]
    with pytest.raises(PoolFullError):
        pool.allocate()
    pool.release(slots[1])
    pool.release(slots[1])
    assert pool.free == 1
    again = pool.allocate()
    assert again.index == slots[1].index
    assert again.generation == slots[1].generation + 1


def test_the_sentinel_is_nobody_s(pool):
    slots = [pool.allocate() for _ in range(4)]
    write(pool, slots, [1, 2, 3, 4])
    write(pool, [pool.sentinel] * 3, [7, 8, 9])
    pool.release(pool.sentinel)
    assert read(pool, slots) == [1, 2, 3, 4]
    assert pool.free == 0


def test_a_network_without_state_has_slots_too():
    pool = StatePool([], slots=2)
    slots = [pool.allocate(), pool.allocate()]
    assert pool.gather(slots, NO_RESET) == []
    assert pool.commit(slots, []) == [True, True]


@given(st.lists(st.tuples(st.integers(0, 7), st.floats(-1e6, 1e6, width=32)), max_size=60))
def test_slots_never_share_state(writes):
    pool = StatePool(
        [StateTensor(input="h", output="o", shape=(3,), kind=StateKind.RECURRENT)], slots=8
    )
    slots = [pool.allocate() for _ in range(8)]
    expected = [0.0] * 8
    for index, value in writes:
        pool.commit([slots[index]], [np.full((1, 3), value, np.float32)])
        expected[index] = value
    assert read(pool, slots) == expected
