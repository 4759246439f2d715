"""Opens ONNX graphs and runs them over arrays or bound memory, with ONNX Runtime.

Only the thread that owns a runtime runs it; in the server that is the engine's thread.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import onnxruntime
from onnxruntime.capi import onnxruntime_pybind11_state as ort_errors

from steerstream_bundle import providers
from steerstream_bundle.errors import BundleError, StepError
from steerstream_bundle.providers import Provider

_ORT_ERRORS = (
    ort_errors.EPFail,
    ort_errors.Fail,
    ort_errors.InvalidArgument,
    ort_errors.InvalidGraph,
    ort_errors.InvalidProtobuf,
    ort_errors.NoSuchFile,
    ort_errors.NotImplemented,
    ort_errors.RuntimeException,
)
_NO_UTF_8 = "a text in it is no UTF-8"
"""Where ONNX Runtime's bindings cannot decode a name of the graph, even one in an error's text."""

Array = npt.NDArray[Any]


@dataclass(frozen=True, slots=True)
class TensorInfo:
    """One input or output of a graph: ONNX type text, and the shape with None where it is free."""

    name: str
    type: str
    shape: tuple[int | None, ...]


@dataclass(frozen=True, slots=True)
class Memory:
    """Where a tensor lies: on the host, or on the device that ONNX Runtime calls `device`.

    The memory must live as long as this object and everything that is bound to it.
    """

    address: int
    shape: tuple[int, ...]
    dtype: npt.DTypeLike
    device: str = "cpu"

    @classmethod
    def of(cls, array: Array) -> Memory:
        """Return where a contiguous array lies."""
        return cls(array.ctypes.data, array.shape, array.dtype)

    def part(self, start: int, count: int) -> Memory:
        """Return a part along the first dimension."""
        row_bytes = math.prod(self.shape[1:]) * np.dtype(self.dtype).itemsize
        address = self.address + start * row_bytes
        return dataclasses.replace(self, address=address, shape=(count, *self.shape[1:]))


class Runtime:
    """One ONNX graph, ready to run.

    Args:
        model: the ONNX file's bytes.
        provider: what runs it.
        intra_op_threads: threads of one step on a CPU; 0 for one a core.
        provider_options: options beside those that the provider always has.

    Raises:
        BundleError: the bytes are no ONNX model, or one that cannot be run here.
    """

    def __init__(
        self,
        model: bytes,
        *,
        provider: Provider = providers.CPU,
        intra_op_threads: int = 1,
        provider_options: Mapping[str, str] | None = None,
    ) -> None:
        self.model = model
        self.provider = provider
        self.intra_op_threads = intra_op_threads
        chosen = _chosen(provider, intra_op_threads, provider_options or {})
        self.metadata: Mapping[str, str]
        try:
            self._session = _open(model, _options(intra_op_threads), chosen)
            self.metadata = self._session.get_modelmeta().custom_metadata_map
            self.inputs = tuple(_info(node) for node in self._session.get_inputs())
            self.outputs = tuple(_info(node) for node in self._session.get_outputs())
        except UnicodeDecodeError:
            raise BundleError(_NO_UTF_8) from None
        if self._session.get_providers()[0] != provider.ort_name:
            raise BundleError(f"provider {provider.name!r} did not start: see ONNX Runtime's log")

    @property
    def pads_batches(self) -> bool:
        """Whether batches are filled up to a bucket's size."""
        return self.provider.pads_batches

    def run(self, names: Sequence[str], feed: Mapping[str, Array]) -> list[Array]:
        """Run the graph once and return the named outputs in their order.

        On a CPU the inputs are not copied; the outputs are new arrays.

        Raises:
            StepError: the graph failed.
        """
        try:
            result: list[Array] = self._session.run(names, feed)
        except _ORT_ERRORS as error:
            raise StepError(str(error)) from None
        except UnicodeDecodeError:
            raise StepError(f"the graph failed; {_NO_UTF_8}") from None
        return result

    def bind(
        self,
        inputs: Mapping[str, Memory],
        outputs: Mapping[str, Memory],
        options: Mapping[str, str] | None = None,
    ) -> BoundGraph:
        """Bind inputs and outputs to memory, once for many runs.

        Args:
            inputs: where each input is read.
            outputs: where each output is written; it may be where an input is read.
            options: ONNX Runtime's options of each run.
        """
        binding = self._session.io_binding()
        for name, memory in inputs.items():
            binding.bind_input(name, memory.device, 0, memory.dtype, memory.shape, memory.address)
        for name, memory in outputs.items():
            binding.bind_output(name, memory.device, 0, memory.dtype, memory.shape, memory.address)
        return BoundGraph(self._session, binding, _run_options(options or {}))


class BoundGraph:
    """A graph whose inputs and outputs are bound to memory; made by `Runtime.bind`.

    Args:
        session: the graph.
        binding: its memory.
        options: options of each run, or None.
    """

    def __init__(
        self,
        session: onnxruntime.InferenceSession,
        binding: onnxruntime.IOBinding,
        options: onnxruntime.RunOptions | None,
    ) -> None:
        self._session = session
        self._binding = binding
        self._options = options

    def run(self) -> None:
        """Run the graph once over its memory.

        Raises:
            StepError: the graph failed; what the outputs hold is undefined.
        """
        try:
            self._session.run_with_iobinding(self._binding, self._options)
        except RuntimeError as error:  # ONNX Runtime raises nothing more specific here
            raise StepError(str(error)) from None
        except UnicodeDecodeError:
            raise StepError(f"the graph failed; {_NO_UTF_8}") from None


def _chosen(
    provider: Provider, intra_op_threads: int, options: Mapping[str, str]
) -> list[tuple[str, dict[str, str]]]:
    asked = {**provider.options, **options}
    if provider.thread_option and intra_op_threads:
        asked[provider.thread_option] = str(intra_op_threads)
    chosen = [(provider.ort_name, asked)]
    if provider is providers.TENSORRT:
        # TensorRT runs the parts of a graph that it can; CUDA runs the others.
        chosen.append((providers.CUDA.ort_name, dict(providers.CUDA.options)))
    if provider.ort_name != providers.CPU.ort_name:
        chosen.append((providers.CPU.ort_name, {}))
    return chosen


def _options(intra_op_threads: int) -> onnxruntime.SessionOptions:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = intra_op_threads
    options.inter_op_num_threads = 1
    options.log_severity_level = 3
    # A thread that spins while it waits takes CPU time from decoding and the event loop.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    return options


def _run_options(entries: Mapping[str, str]) -> onnxruntime.RunOptions | None:
    # Options without `gpu_graph_id` cost a C++ exception, thrown and caught, at each run:
    # findings/onnxruntime_run_options.sh.
    if not entries:
        return None
    options = onnxruntime.RunOptions()
    for key, value in entries.items():
        options.add_run_config_entry(key, value)
    return options


def _open(
    model: bytes,
    options: onnxruntime.SessionOptions,
    chosen: list[tuple[str, dict[str, str]]],
) -> onnxruntime.InferenceSession:
    try:
        # ONNX Runtime's fallback would print, and use a CPU although a GPU was asked for.
        return onnxruntime.InferenceSession(model, options, providers=chosen, enable_fallback=0)
    except _ORT_ERRORS as error:
        reason = str(error).splitlines()[0]
        raise BundleError(f"not an ONNX model that runs here: {reason}") from None


def _info(node: onnxruntime.NodeArg) -> TensorInfo:
    shape = tuple(size if isinstance(size, int) else None for size in node.shape)
    return TensorInfo(node.name, node.type, shape)
