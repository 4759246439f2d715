"""State on an accelerator: the same answers as with state on the host, and none of it on the bus.

The accelerator is the CPU with two kinds of memory, and then the CUDA one on a stand-in for
libcudart that copies within the host: what a GPU would do beside that was never run here.
"""

from __future__ import annotations

import ctypes
import math

import numpy as np
import pytest

from steerstream_bundle import loading
from steerstream_bundle.errors import StepError
from steerstream_bundle.runtime import Memory
from steerstream_service.engine.accelerator import Host
from steerstream_service.engine.device_stepper import DeviceStepper
from steerstream_service.engine.host_stepper import HostStepper
from tests.service import bundles
from tests.service.cuda_on_host import CudaOnHost, HostCudart
from tests.service.vehicle import pictures

BUCKETS = [1, 2, 4]
RED = np.full((8, 16, 3), 250, np.uint8)
GREY = np.full((8, 16, 3), 100, np.uint8)


@pytest.fixture(params=["host", "cuda"])
def accelerator(request):
    return Host() if request.param == "host" else CudaOnHost(HostCudart())


def stepper_of(path, accelerator, sessions=4):
    return DeviceStepper(
        loading.load(path), sessions=sessions, buckets=BUCKETS, accelerator=accelerator
    )


def step(stepper, frames, slots, reset, times_s=None):
    rows = stepper.step(frames, slots, reset, times_s)
    return np.asarray(rows.outputs), rows.fit


def pool_rows(stepper, index):
    """The rows of a state tensor's pool as they lie in memory."""
    memory = stepper._pool_there[index]
    buffer = (ctypes.c_float * math.prod(memory.shape)).from_address(memory.address)
    return np.frombuffer(memoryview(buffer).cast("B"), np.float32).reshape(memory.shape)


@pytest.mark.parametrize(
    "write",
    [
        bundles.recurrent,
        bundles.ring,
        bundles.stateless,
        bundles.timed,
        bundles.acting,
        bundles.horizon,
    ],
)
def test_the_answers_are_those_of_state_on_the_host(tmp_path, accelerator, write):
    path = write(tmp_path / "a.onnx")
    device = stepper_of(path, accelerator)
    host = HostStepper(loading.load(path), sessions=4, buckets=BUCKETS)
    films = [pictures(12, seed) for seed in range(4)]
    ours = [device.pool.allocate() for _ in films]
    theirs = [host.pool.allocate() for _ in films]
    rng, seen = np.random.default_rng(3), [0] * 4
    for _ in range(30):
        rows = rng.permutation(4)[: rng.integers(1, 5)]
        frames = [films[row][seen[row] % 12] for row in rows]
        reset = [seen[row] % 7 == 0 for row in rows]
        times_s = rng.uniform(0.01, 0.3, (2, len(rows))) if rng.random() < 0.8 else None
        left, fit = step(device, frames, [ours[row] for row in rows], reset, times_s)
        right, _ = step(host, frames, [theirs[row] for row in rows], reset, times_s)
        np.testing.assert_allclose(left, right, atol=1e-6)
        assert fit == [True] * len(rows)
        for row in rows:
            seen[row] += 1


def test_no_state_goes_over_the_bus(tmp_path, accelerator):
    stepper = stepper_of(bundles.recurrent(tmp_path / "a.onnx"), accelerator)
    slots = [stepper.pool.allocate() for _ in range(3)]
    assert stepper.bus.to_device == {"h": 3 * 4}, "once, at the start: where sessions begin"
    stepper.bus.forget()
    for index in range(5):
        stepper.step([GREY] * 3, slots, [index == 0] * 3)
    assert stepper.bus.to_device == {"frames": 5 * 3 * GREY.nbytes, "routes": 5 * 2 * 4 * 8}
    assert stepper.bus.to_host == {"answers": 5 * 3 * (3 + 1) * 4}


def test_times_go_over_the_bus_where_the_network_is_told_them(tmp_path, accelerator):
    stepper = stepper_of(bundles.acting(tmp_path / "a.onnx"), accelerator)
    slots = [stepper.pool.allocate() for _ in range(3)]
    stepper.bus.forget()
    times_s = [[0.05, 0.1, 0.2], [0.0, 0.1, 0.25]]
    values, _ = step(stepper, [GREY] * 3, slots, [True] * 3, times_s)
    np.testing.assert_allclose(values[:, 3], [0.15, 0.2, 0.3], atol=1e-6)
    expected = bundles.expected_timed(np.stack([GREY]), [0.05], 0.0)[0]
    np.testing.assert_allclose(values[0], expected, atol=1e-6)
    values, _ = step(stepper, [GREY] * 3, slots, [False] * 3)
    np.testing.assert_allclose(values[:, 3], [0.15] * 3, atol=1e-6)
    assert stepper.bus.to_device["interval_s"] == 2 * 3 * 4
    assert stepper.bus.to_device["act_in_s"] == 2 * 3 * 4
    assert stepper.bus.to_host == {"answers": 2 * 3 * (5 + 1) * 4}


def test_the_pool_is_one_place_that_the_graph_reads_and_writes(tmp_path, accelerator):
    stepper = stepper_of(bundles.recurrent(tmp_path / "a.onnx"), accelerator)
    slot = stepper.pool.allocate()
    stepper.step([GREY], [slot], [True])
    expected = np.tanh(GREY.mean(axis=(0, 1)) / 255)
    np.testing.assert_allclose(pool_rows(stepper, 0)[slot.index], expected, atol=1e-6)


def test_warm_up_touches_no_slot(tmp_path, accelerator):
    stepper = stepper_of(bundles.ring(tmp_path / "a.onnx"), accelerator)
    slots = [stepper.pool.allocate() for _ in range(4)]
    stepper.step([GREY] * 4, slots, [True] * 4)
    before = pool_rows(stepper, 0).copy()
    for size in BUCKETS:
        stepper.warm_up(size)
    after = pool_rows(stepper, 0)
    np.testing.assert_array_equal(after[:4], before[:4])
    np.testing.assert_array_equal(after[5].ravel(), np.array(bundles.RING.initial, np.float32))


def test_a_row_that_is_not_a_number_is_left_as_it_was(tmp_path, accelerator):
    stepper = stepper_of(bundles.nan_state(tmp_path / "a.onnx"), accelerator)
    bad, good = stepper.pool.allocate(), stepper.pool.allocate()
    stepper.step([GREY, GREY], [bad, good], [True, True])
    before = pool_rows(stepper, 0).copy()
    assert stepper.step([RED, GREY], [bad, good], [False, False]).fit == [False, True]
    after = pool_rows(stepper, 0)
    np.testing.assert_array_equal(after[bad.index], before[bad.index])
    assert not np.array_equal(after[good.index], before[good.index])
    assert stepper.step([RED], [bad], [True]).fit == [False]
    np.testing.assert_array_equal(pool_rows(stepper, 0)[bad.index], before[bad.index])
    stepper.warm_up(4)
    assert stepper.step([GREY], [good], [False]).fit == [True]


def test_an_output_that_is_not_a_number_is_no_matter_of_the_state(tmp_path, accelerator):
    stepper = stepper_of(bundles.nan_output(tmp_path / "a.onnx"), accelerator)
    outputs, fit = step(stepper, [RED], [stepper.pool.allocate()], [True])
    assert math.isnan(outputs[0, 0])
    assert fit == [True]


def test_a_step_that_fails_leaves_every_row(tmp_path, accelerator):
    stepper = stepper_of(bundles.failing(tmp_path / "a.onnx"), accelerator)
    slots = [stepper.pool.allocate() for _ in range(2)]
    stepper.step([GREY, GREY], slots, [True, True])
    before = pool_rows(stepper, 0).copy()
    with pytest.raises(StepError):
        stepper.step([GREY, RED], slots, [False, False])
    np.testing.assert_array_equal(pool_rows(stepper, 0), before)


def test_a_step_that_outlives_its_slot_writes_nothing(tmp_path, accelerator):
    stepper = stepper_of(bundles.recurrent(tmp_path / "a.onnx"), accelerator, sessions=1)
    old = stepper.pool.allocate()
    stepper.pool.release(old)
    new = stepper.pool.allocate()
    stepper.step([GREY], [new], [True])
    before = pool_rows(stepper, 0)[0].copy()
    stepper.step([RED], [old], [False])
    np.testing.assert_array_equal(pool_rows(stepper, 0)[0], before)


def test_a_network_that_fails_is_found_at_warm_up(tmp_path, accelerator):
    stepper = stepper_of(bundles.failing(tmp_path / "a.onnx"), accelerator)
    stepper._frames[:] = 250
    with pytest.raises(StepError):
        stepper.warm_up(2)


def test_copies_and_runs_share_one_stream_and_one_wait(tmp_path):
    library = HostCudart()
    accelerator = CudaOnHost(library)
    stepper = stepper_of(bundles.recurrent(tmp_path / "a.onnx"), accelerator)
    assert accelerator.asked == {"user_compute_stream": "77", "enable_cuda_graph": "1"}
    assert accelerator.run_options(4) == {
        "gpu_graph_id": "4",
        "disable_synchronize_execution_providers": "1",
    }
    library.calls.clear()
    stepper.step([GREY], [stepper.pool.allocate()], [True])
    assert library.calls == [
        ("copy", "to_device", 77),
        ("copy", "to_device", 77),
        ("copy", "to_host", 77),
        ("synchronize", 77),
    ]


def test_a_fault_of_the_device_is_typed(tmp_path):
    library = HostCudart()
    stepper = stepper_of(bundles.recurrent(tmp_path / "a.onnx"), CudaOnHost(library))
    library.status = 700
    with pytest.raises(StepError, match="cudaMemcpyAsync: a fault of the test"):
        stepper.step([GREY], [stepper.pool.allocate()], [True])


def test_a_part_of_memory_lies_within_it():
    array = np.arange(12, dtype=np.float32).reshape(4, 3)
    part = Memory.of(array).part(2, 1)
    assert (part.address, part.shape) == (array.ctypes.data + 2 * 3 * 4, (1, 3))


@pytest.mark.parametrize("write", [bundles.recurrent, bundles.ring, bundles.stateless])
def test_a_state_goes_from_one_device_to_another(tmp_path, accelerator, write):
    path = write(tmp_path / "a.onnx")
    first, second = stepper_of(path, accelerator), stepper_of(path, accelerator)
    host = HostStepper(loading.load(path), sessions=4, buckets=BUCKETS)
    film, others = pictures(6, 1), pictures(6, 2)
    here = [first.pool.allocate() for _ in range(2)]
    there = [host.pool.allocate(), host.pool.allocate()]
    for at in range(3):
        frames, reset = [others[at], film[at]], [at == 0] * 2
        rows = first.step(frames, here, reset, save={1: True} if at == 2 else {})
        on_host = host.step(frames, there, reset, save={1: True} if at == 2 else {})
    np.testing.assert_allclose(
        np.frombuffer(rows.saved[0], np.float32),
        np.frombuffer(on_host.saved[0], np.float32),
        atol=1e-6,
    )
    company, slot = second.pool.allocate(), second.pool.allocate()
    second.step([others[0]], [company], [True])
    for at in range(3, 6):
        left = second.step(
            [others[at], film[at]],
            [company, slot],
            [False, False],
            load={1: rows.saved[0]} if at == 3 else {},
        )
        right = host.step([others[at], film[at]], there, [False, False])
        np.testing.assert_allclose(left.outputs[1], right.outputs[1], atol=1e-6)


def test_a_saved_state_and_no_other_is_counted_on_the_bus(tmp_path, accelerator):
    stepper = stepper_of(bundles.recurrent(tmp_path / "a.onnx"), accelerator)
    slots = [stepper.pool.allocate() for _ in range(3)]
    saved = stepper.step([GREY] * 3, slots, [True] * 3, save={0: True, 2: True}).saved
    assert [len(state) for state in saved] == [3 * 4] * 2
    assert stepper.bus.to_host["h"] == 2 * 3 * 4
    stepper.bus.forget()
    stepper.step([GREY] * 3, slots, [False] * 3, load={1: saved[0]})
    assert stepper.bus.to_device["h"] == 3 * 4
    assert "h" not in stepper.bus.to_host


def test_a_state_without_its_rings_leaves_those_of_the_pool(tmp_path, accelerator):
    path = bundles.remembering(tmp_path / "a.onnx")
    stepper = stepper_of(path, accelerator)
    first, second = stepper.pool.allocate(), stepper.pool.allocate()
    film = pictures(7, 3)
    for at in range(6):
        # The second sees the last four alone, which are all that the rings remember.
        slots = [first, second] if at >= 2 else [first]
        reset = [at == 0, at == 2][: len(slots)]
        rows = stepper.step([film[at]] * len(slots), slots, reset, save={0: False})
    assert [len(state) for state in rows.saved] == [3 * 4]
    assert "ring" not in stepper.bus.to_host
    stepper.bus.forget()
    rows = stepper.step([film[6]] * 2, [first, second], [False] * 2, load={1: rows.saved[0]})
    assert rows.outputs[0] == rows.outputs[1]
    assert stepper.bus.to_device["h"] == 3 * 4
    assert "ring" not in stepper.bus.to_device


def test_a_state_is_not_loaded_into_the_slot_of_another_session(tmp_path, accelerator):
    stepper = stepper_of(bundles.recurrent(tmp_path / "a.onnx"), accelerator, sessions=1)
    old = stepper.pool.allocate()
    state = stepper.step([GREY], [old], [True], save={0: True}).saved[0]
    stepper.pool.release(old)
    new = stepper.pool.allocate()
    first = stepper.step([GREY], [new], [True]).outputs
    stepper.step([RED], [old], [False], load={0: state})
    second = stepper.step([GREY], [new], [False]).outputs
    fresh = stepper_of(bundles.recurrent(tmp_path / "a.onnx"), accelerator, sessions=1)
    slot = fresh.pool.allocate()
    assert [fresh.step([GREY], [slot], [reset]).outputs for reset in (True, False)] == [
        first,
        second,
    ]
