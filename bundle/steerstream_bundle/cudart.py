"""The few functions of the CUDA runtime that the server calls itself, through ctypes.

ONNX Runtime offers neither an asynchronous copy nor pinned memory for a NumPy array. The
library comes with the `gpu` extra, as a dependency of ONNX Runtime.
"""

from __future__ import annotations

import ctypes
import functools

import onnxruntime

from steerstream_bundle.errors import StepError

_HOST_TO_DEVICE, _DEVICE_TO_HOST = 1, 2
_NON_BLOCKING = 1
"""Flag of a stream that does not wait for the default stream."""


class Cudart:
    """The CUDA runtime: one method for each function, addresses as numbers, errors as exceptions.

    Args:
        library: libcudart, or what stands in for it.
    """

    def __init__(self, library: ctypes.CDLL) -> None:
        self._library = library
        library.cudaGetErrorString.restype = ctypes.c_char_p

    def device_count(self) -> int:
        """Return how many GPUs there are."""
        count = ctypes.c_int()
        self._call("cudaGetDeviceCount", ctypes.byref(count))
        return count.value

    def versions(self) -> tuple[int, int]:
        """Return the newest CUDA that the driver serves, and the runtime's own, as 1000 x.y."""
        driver, runtime = ctypes.c_int(), ctypes.c_int()
        self._call("cudaDriverGetVersion", ctypes.byref(driver))
        self._call("cudaRuntimeGetVersion", ctypes.byref(runtime))
        return driver.value, runtime.value

    def create_stream(self) -> int:
        """Return a new stream, which waits for no other."""
        stream = ctypes.c_void_p()
        self._call("cudaStreamCreateWithFlags", ctypes.byref(stream), ctypes.c_uint(_NON_BLOCKING))
        return stream.value or 0

    def allocate(self, size_bytes: int) -> int:
        """Return zeroed memory of the device."""
        pointer = ctypes.c_void_p()
        self._call("cudaMalloc", ctypes.byref(pointer), ctypes.c_size_t(size_bytes))
        self._call("cudaMemset", pointer, ctypes.c_int(0), ctypes.c_size_t(size_bytes))
        return pointer.value or 0

    def allocate_pinned(self, size_bytes: int) -> int:
        """Return memory of the host that the device can copy from directly."""
        pointer = ctypes.c_void_p()
        size = ctypes.c_size_t(size_bytes)
        self._call("cudaHostAlloc", ctypes.byref(pointer), size, ctypes.c_uint(0))
        return pointer.value or 0

    def copy_to_device(self, target: int, source: int, size_bytes: int, stream: int) -> None:
        """Copy from pinned memory, in the stream's order.

        Args:
            target: address on the device.
            source: address of pinned memory.
            size_bytes: how much.
            stream: the stream.
        """
        self._copy(target, source, size_bytes, _HOST_TO_DEVICE, stream)

    def copy_to_host(self, target: int, source: int, size_bytes: int, stream: int) -> None:
        """Copy to pinned memory, in the stream's order.

        Args:
            target: address of pinned memory.
            source: address on the device.
            size_bytes: how much.
            stream: the stream.
        """
        self._copy(target, source, size_bytes, _DEVICE_TO_HOST, stream)

    def synchronize(self, stream: int) -> None:
        """Wait until everything in the stream is done, without holding Python's lock."""
        self._call("cudaStreamSynchronize", ctypes.c_void_p(stream))

    def _copy(self, target: int, source: int, size_bytes: int, kind: int, stream: int) -> None:
        self._call(
            "cudaMemcpyAsync",
            ctypes.c_void_p(target),
            ctypes.c_void_p(source),
            ctypes.c_size_t(size_bytes),
            ctypes.c_int(kind),
            ctypes.c_void_p(stream),
        )

    def _call(self, name: str, *arguments: object) -> None:
        status = getattr(self._library, name)(*arguments)
        if status:
            text = self._library.cudaGetErrorString(status)
            raise StepError(f"{name}: {text.decode()}")


@functools.cache
def load() -> Cudart:
    """Return the CUDA runtime that ONNX Runtime was built against.

    Raises:
        OSError: it is not installed.
    """
    # CUDA and cuDNN come as Python packages, which the loader does not search by itself.
    onnxruntime.preload_dlls()
    major = onnxruntime.cuda_version.partition(".")[0]
    return Cudart(ctypes.CDLL(f"libcudart.so.{major}"))


def missing() -> str | None:
    """Return why CUDA cannot be used on this machine, or None."""
    try:
        return None if load().device_count() else "this machine has no NVIDIA GPU"
    except OSError as error:
        return f"{error}; install it with: pip install 'onnxruntime-gpu[cuda,cudnn]'"
    except StepError as error:
        return f"no NVIDIA GPU answers ({error}); check the driver with nvidia-smi"
