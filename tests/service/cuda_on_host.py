"""CUDA without a GPU: a stand-in for libcudart, and the accelerator that works on it."""

# ruff: noqa: N802 - the names are those of CUDA
from __future__ import annotations

import ctypes

from steerstream_bundle.cudart import Cudart
from steerstream_service.engine.accelerator import Cuda


class HostCudart:
    """libcudart as far as the server calls it, with memory of the host and a log of the calls."""

    def __init__(self):
        self.calls = []
        self.memory = []
        self.cudaGetErrorString = lambda status: b"a fault of the test"
        self.status = 0

    def _allocate(self, pointer, size):
        self.memory.append(ctypes.create_string_buffer(size.value))
        pointer._obj.value = ctypes.addressof(self.memory[-1])
        return self.status

    def cudaGetDeviceCount(self, count):
        count._obj.value = 1
        return self.status

    def cudaStreamCreateWithFlags(self, stream, flags):
        stream._obj.value = 77
        return self.status

    def cudaMalloc(self, pointer, size):
        return self._allocate(pointer, size)

    def cudaHostAlloc(self, pointer, size, flags):
        return self._allocate(pointer, size)

    def cudaMemset(self, pointer, value, size):
        ctypes.memset(pointer.value, value.value, size.value)
        return self.status

    def cudaMemcpyAsync(self, target, source, size, kind, stream):
        self.calls.append(("copy", {1: "to_device", 2: "to_host"}[kind.value], stream.value))
        ctypes.memmove(target.value, source.value, size.value)
        return self.status

    def cudaStreamSynchronize(self, stream):
        self.calls.append(("synchronize", stream.value))
        return self.status


class CudaOnHost(Cuda):
    """The CUDA accelerator on a CPU: ONNX Runtime is told nothing of streams and graphs."""

    def __init__(self, library, *, graphs=True):
        super().__init__(Cudart(library), graphs=graphs, device="cpu")
        self.asked, self.provider_options = self.provider_options, {}
