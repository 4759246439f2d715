"""Which stepper a model gets: on the host, on a GPU, and what happens if that cannot hold it."""

from __future__ import annotations

import ctypes
import dataclasses
import sys
from typing import cast

import pytest

from steerstream_bundle import cudart, loading, providers
from steerstream_bundle.cudart import Cudart
from steerstream_bundle.errors import BundleError
from steerstream_service.engine import accelerator
from steerstream_service.engine.device_stepper import DeviceStepper
from steerstream_service.engine.host_stepper import HostStepper
from steerstream_service.engine.model_queue import ModelQueue
from tests.service import bundles
from tests.service.cuda_on_host import CudaOnHost, HostCudart

ON_DEVICE = dataclasses.replace(providers.CPU, pool_on_device=True)


@pytest.fixture
def library(monkeypatch):
    """A GPU in name: the pool on the device, and the device on the host."""
    library = HostCudart()
    monkeypatch.setattr(cudart, "load", lambda: Cudart(cast(ctypes.CDLL, library)))
    monkeypatch.setattr(
        accelerator, "Cuda", lambda runtime, *, graphs: CudaOnHost(runtime._library, graphs=graphs)
    )
    return library


def opened(path, provider=ON_DEVICE):
    loaded = loading.load(bundles.recurrent(path / "a.onnx"), provider=provider)
    return ModelQueue(loaded, sessions=2, max_batch=2)._stepper


def test_a_cpu_keeps_the_state_on_the_host(tmp_path):
    assert isinstance(opened(tmp_path, providers.CPU), HostStepper)


def test_a_gpu_keeps_the_state_and_captures_graphs(tmp_path, library):
    stepper = opened(tmp_path)
    assert isinstance(stepper, DeviceStepper)
    assert isinstance(stepper._accelerator, CudaOnHost)
    assert stepper._accelerator.asked["enable_cuda_graph"] == "1"


def test_a_network_that_cannot_be_captured_runs_without(tmp_path, library, monkeypatch, caplog):
    def refusing(runtime, *, graphs):
        if graphs:
            raise BundleError("this session cannot use the graph capture feature")
        return CudaOnHost(runtime._library, graphs=graphs)

    monkeypatch.setattr(accelerator, "Cuda", refusing)
    assert opened(tmp_path)._accelerator.asked["enable_cuda_graph"] == "0"
    assert [record.message for record in caplog.records] == ["no_cuda_graphs"]


def test_a_gpu_without_memory_is_a_reason_not_to_start(tmp_path, library):
    library.status = 2
    with pytest.raises(BundleError, match="tiny: the GPU cannot hold it: cuda"):
        opened(tmp_path)


def test_a_missing_package_is_named_with_the_command_to_install_it(tmp_path, library, monkeypatch):
    monkeypatch.delitem(sys.modules, "steerstream_service.engine.device_stepper", raising=False)
    monkeypatch.delattr("steerstream_service.engine.device_stepper", raising=False)
    monkeypatch.delitem(sys.modules, "steerstream_service.engine.pooled_graph", raising=False)
    monkeypatch.delattr("steerstream_service.engine.pooled_graph", raising=False)
    loaded = loading.load(bundles.recurrent(tmp_path / "a.onnx"), provider=ON_DEVICE)
    monkeypatch.setitem(sys.modules, "onnx", None)
    with pytest.raises(BundleError, match=r"onnx.*; install it with: pip install onnx$"):
        ModelQueue(loaded, sessions=2, max_batch=2)
