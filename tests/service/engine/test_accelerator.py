"""Memory and copies of an accelerator: the CPU's own, and CUDA's on a stand-in for libcudart."""

from __future__ import annotations

import ctypes
import math

import numpy as np
import pytest

from steerstream_service.engine.accelerator import Accelerator, Bus, Host
from tests.service.cuda_on_host import CudaOnHost, HostCudart


@pytest.fixture(params=["host", "cuda"])
def accelerator(request):
    return Host() if request.param == "host" else CudaOnHost(HostCudart())


def content(memory):
    """What lies in memory of the stand-in device."""
    buffer = (ctypes.c_float * math.prod(memory.shape)).from_address(memory.address)
    return np.array(buffer, np.float32).reshape(memory.shape)


def test_new_memory_is_zero_on_either_side(accelerator):
    assert not accelerator.staging((2, 3), np.float32).any()
    assert not content(accelerator.allocate((2, 3), np.float32)).any()


def test_an_upload_comes_back_unchanged(accelerator):
    here, back = (accelerator.staging((2, 3), np.float32) for _ in range(2))
    there = accelerator.allocate((2, 3), np.float32)
    here[...] = np.arange(6).reshape(2, 3)
    accelerator.upload(there, here)
    accelerator.download(back, there)
    accelerator.synchronize()
    np.testing.assert_array_equal(content(there), here)
    np.testing.assert_array_equal(back, here)


def test_a_part_of_a_tensor_is_copied_alone(accelerator):
    here = accelerator.staging((1, 3), np.float32)
    here[...] = 7
    there = accelerator.allocate((4, 3), np.float32)
    accelerator.upload(there.part(2, 1), here)
    accelerator.synchronize()
    np.testing.assert_array_equal(content(there), [[0] * 3, [0] * 3, [7] * 3, [0] * 3])


def test_the_bus_counts_bytes_by_tensor_and_direction(accelerator):
    bus = Bus(accelerator)
    here, there = accelerator.staging((2, 3), np.float32), accelerator.allocate((2, 3), np.float32)
    bus.upload("frames", there, here)
    bus.upload("frames", there, here[:1])
    bus.download("answers", here, there)
    assert (bus.to_device, bus.to_host) == ({"frames": 36}, {"answers": 24})
    bus.forget()
    assert not bus.to_device
    assert not bus.to_host


@pytest.mark.parametrize("graphs", [False, True])
def test_cuda_has_a_graph_for_each_size_where_graphs_are_captured(graphs):
    options = CudaOnHost(HostCudart(), graphs=graphs).run_options(4)
    assert options.get("gpu_graph_id") == ("4" if graphs else None)
    assert options["disable_synchronize_execution_providers"] == "1"


def test_an_accelerator_that_lacks_a_method_cannot_be_made():
    class Half(Accelerator):
        def synchronize(self):
            pass

    with pytest.raises(TypeError, match="abstract"):
        Half()  # type: ignore[abstract]
