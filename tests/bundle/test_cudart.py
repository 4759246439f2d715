"""The CUDA runtime's functions on a stand-in library: arguments, results and errors."""

from __future__ import annotations

import ctypes

import pytest

from steerstream_bundle import cudart
from steerstream_bundle.cudart import Cudart
from steerstream_bundle.errors import StepError
from tests.service.cuda_on_host import HostCudart


@pytest.fixture
def library():
    return HostCudart()


def test_memory_is_zeroed_copied_and_copied_back(library):
    runtime = Cudart(library)
    device, host = runtime.allocate(8), runtime.allocate_pinned(8)
    assert ctypes.string_at(device, 8) == bytes(8)
    ctypes.memmove(host, b"steering", 8)
    stream = runtime.create_stream()
    runtime.copy_to_device(device, host, 8, stream)
    ctypes.memset(host, 0, 8)
    runtime.copy_to_host(host, device, 8, stream)
    runtime.synchronize(stream)
    assert ctypes.string_at(host, 8) == b"steering"
    assert library.calls == [
        ("copy", "to_device", stream),
        ("copy", "to_host", stream),
        ("synchronize", stream),
    ]


def test_a_status_is_an_error_with_the_functions_name_and_cudas_text(library):
    library.status = 2
    with pytest.raises(StepError, match="cudaGetDeviceCount: a fault of the test"):
        Cudart(library).device_count()


def test_with_a_gpu_nothing_is_missing(monkeypatch, library):
    monkeypatch.setattr(cudart, "load", lambda: Cudart(library))
    assert cudart.missing() is None


def test_a_missing_library_is_named_with_its_package(monkeypatch):
    def load():
        raise OSError("libcudart.so.13: not there")

    monkeypatch.setattr(cudart, "load", load)
    assert (cudart.missing() or "").startswith("libcudart.so.13: not there; install it with: pip ")


def test_a_driver_that_does_not_answer_is_named(monkeypatch, library):
    library.status = 100
    monkeypatch.setattr(cudart, "load", lambda: Cudart(library))
    assert "check the driver with nvidia-smi" in (cudart.missing() or "")
