"""The memory of an accelerator, and the copies to and from it: how a GPU differs from a CPU.

`Cuda` is a GPU. `Host` has the same two kinds of memory and copies between them, but
both lie in the host's, so that everything else runs and is tested where there is no GPU.
"""

from __future__ import annotations

import ctypes
import math
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Mapping

import numpy as np
import numpy.typing as npt

from steerstream_bundle import cudart
from steerstream_bundle.runtime import Array, Memory


class Accelerator(ABC):
    """Memory of a device, memory of the host from which it copies, and the order of its work."""

    provider_options: Mapping[str, str]
    """For the runtime whose graphs work on the memory."""

    @abstractmethod
    def allocate(self, shape: tuple[int, ...], dtype: npt.DTypeLike) -> Memory:
        """Return zeroed memory of the device, which stays for the life of the accelerator."""

    @abstractmethod
    def staging(self, shape: tuple[int, ...], dtype: npt.DTypeLike) -> Array:
        """Return zeroed memory of the host from and to which the device copies at its best."""

    @abstractmethod
    def upload(self, target: Memory, source: Array) -> None:
        """Begin to copy an array of staging memory to the device."""

    @abstractmethod
    def download(self, target: Array, source: Memory) -> None:
        """Begin to copy from the device until an array of staging memory is full."""

    @abstractmethod
    def run_options(self, bucket: int) -> Mapping[str, str]:
        """Return what ONNX Runtime must know to run a bucket in order with the copies."""

    @abstractmethod
    def synchronize(self) -> None:
        """Wait for all copies and runs that were begun."""


class Bus:
    """Copies between host and device, counted by the tensor's name.

    Args:
        accelerator: what copies.

    Attributes:
        to_device: bytes that went to the device since `forget`.
        to_host: bytes that came from it.
    """

    def __init__(self, accelerator: Accelerator) -> None:
        self._accelerator = accelerator
        self.to_device: Counter[str] = Counter()
        self.to_host: Counter[str] = Counter()

    def upload(self, name: str, target: Memory, source: Array) -> None:
        """Begin to copy a tensor to the device.

        Args:
            name: the tensor, for the count.
            target: where it goes, of the source's size.
            source: staging memory.
        """
        self.to_device[name] += source.nbytes
        self._accelerator.upload(target, source)

    def download(self, name: str, target: Array, source: Memory) -> None:
        """Begin to copy a tensor from the device.

        Args:
            name: the tensor, for the count.
            target: staging memory, which is filled.
            source: where it lies; may be larger.
        """
        self.to_host[name] += target.nbytes
        self._accelerator.download(target, source)

    def forget(self) -> None:
        """Begin to count from zero."""
        self.to_device.clear()
        self.to_host.clear()


class Host(Accelerator):
    """An accelerator that is the CPU itself."""

    provider_options: Mapping[str, str] = {}

    def __init__(self) -> None:
        self._memory: list[Array] = []

    def allocate(self, shape: tuple[int, ...], dtype: npt.DTypeLike) -> Memory:
        """Return zeroed memory."""
        self._memory.append(np.zeros(shape, dtype))
        return Memory.of(self._memory[-1])

    def staging(self, shape: tuple[int, ...], dtype: npt.DTypeLike) -> Array:
        """Return zeroed memory."""
        return np.zeros(shape, dtype)

    def upload(self, target: Memory, source: Array) -> None:
        """Copy at once."""
        ctypes.memmove(target.address, source.ctypes.data, source.nbytes)

    def download(self, target: Array, source: Memory) -> None:
        """Copy at once."""
        ctypes.memmove(target.ctypes.data, source.address, target.nbytes)

    def run_options(self, bucket: int) -> Mapping[str, str]:  # noqa: ARG002 - all are alike
        """Return nothing: a CPU works in order."""
        return {}

    def synchronize(self) -> None:
        """Return: everything is done."""


class Cuda(Accelerator):
    """The first GPU, with one stream in which copies and graphs follow each other.

    Memory is given back when the process ends: a server's pools live that long.

    Args:
        runtime: the CUDA runtime.
        graphs: whether each bucket is captured as a CUDA graph in its first run. ONNX Runtime runs
            the network more than once then, so the state of the first run must be of no use.
        device: what ONNX Runtime calls the memory.
    """

    def __init__(self, runtime: cudart.Cudart, *, graphs: bool, device: str = "cuda") -> None:
        self._runtime = runtime
        self._graphs = graphs
        self._device = device
        self._stream = runtime.create_stream()
        self.provider_options: Mapping[str, str] = {
            "user_compute_stream": str(self._stream),
            "enable_cuda_graph": str(int(graphs)),
        }

    def allocate(self, shape: tuple[int, ...], dtype: npt.DTypeLike) -> Memory:
        """Return zeroed memory of the GPU."""
        address = self._runtime.allocate(_size_bytes(shape, dtype))
        return Memory(address, shape, dtype, self._device)

    def staging(self, shape: tuple[int, ...], dtype: npt.DTypeLike) -> Array:
        """Return pinned memory: the GPU reads it without a copy in between."""
        size_bytes = _size_bytes(shape, dtype)
        address = self._runtime.allocate_pinned(size_bytes)
        memory = memoryview((ctypes.c_uint8 * size_bytes).from_address(address))
        array: Array = np.frombuffer(memory, dtype).reshape(shape)
        array[...] = 0
        return array

    def upload(self, target: Memory, source: Array) -> None:
        """Begin to copy, in the stream's order."""
        address = source.ctypes.data
        self._runtime.copy_to_device(target.address, address, source.nbytes, self._stream)

    def download(self, target: Array, source: Memory) -> None:
        """Begin to copy, in the stream's order."""
        address = target.ctypes.data
        self._runtime.copy_to_host(address, source.address, target.nbytes, self._stream)

    def run_options(self, bucket: int) -> Mapping[str, str]:
        """Return the bucket's graph, and that ONNX Runtime does not wait for its end."""
        graph = {"gpu_graph_id": str(bucket)} if self._graphs else {}
        return {"disable_synchronize_execution_providers": "1", **graph}

    def synchronize(self) -> None:
        """Wait for the end of the stream."""
        self._runtime.synchronize(self._stream)


def _size_bytes(shape: tuple[int, ...], dtype: npt.DTypeLike) -> int:
    return math.prod(shape) * np.dtype(dtype).itemsize
