"""The one seam to ONNX Runtime, and the only file in which a GPU differs from a CPU.

A runtime belongs to the thread that runs it; the engine's thread owns them all.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy.typing as npt
import onnxruntime
from onnxruntime.capi import onnxruntime_pybind11_state as ort_errors

from service.errors import BundleError, StepError

PREFERENCE = ("CUDAExecutionProvider", "CPUExecutionProvider")
"""Execution providers, best first; those that are installed are used in this order."""

_ORT_ERRORS = (
    ort_errors.Fail,
    ort_errors.InvalidArgument,
    ort_errors.InvalidGraph,
    ort_errors.InvalidProtobuf,
    ort_errors.NoSuchFile,
    ort_errors.NotImplemented,
    ort_errors.RuntimeException,
)

Array = npt.NDArray[Any]


@dataclass(frozen=True, slots=True)
class TensorInfo:
    """One input or output of a graph: ONNX type text, and the shape with None where it is free."""

    name: str
    type: str
    shape: tuple[int | None, ...]


class Runtime:
    """One ONNX graph, ready to run on the best device that is there.

    Args:
        model: the ONNX file's bytes.
        intra_op_threads: threads of one step on a CPU; 0 for one a core.
        providers: execution providers to use, best first.

    Raises:
        BundleError: the bytes are no ONNX model, or one that cannot be run here.
    """

    def __init__(
        self,
        model: bytes,
        *,
        intra_op_threads: int = 1,
        providers: Sequence[str] | None = None,
    ) -> None:
        chosen = list(providers or available_providers())
        self._session = _open(model, _options(intra_op_threads), chosen)
        self.provider: str = self._session.get_providers()[0]
        self.metadata: Mapping[str, str] = self._session.get_modelmeta().custom_metadata_map
        self.inputs = tuple(_info(node) for node in self._session.get_inputs())
        self.outputs = tuple(_info(node) for node in self._session.get_outputs())

    @property
    def pads_batches(self) -> bool:
        """Whether batches are filled up to a bucket's size.

        On a GPU a fixed set of shapes keeps the convolution algorithms that warm-up chose; on a CPU
        every padded row costs as much as a real one.
        """
        return self.provider != "CPUExecutionProvider"

    def run(self, names: Sequence[str], feed: Mapping[str, Array]) -> list[Array]:
        """Run the graph once and return the named outputs in their order.

        On a CPU the inputs are read where they lie; the outputs are new arrays.

        Raises:
            StepError: the graph failed.
        """
        try:
            result: list[Array] = self._session.run(names, feed)
        except _ORT_ERRORS as error:
            raise StepError(str(error)) from None
        return result


def available_providers() -> list[str]:
    """Return the execution providers that are installed here, best first."""
    installed = onnxruntime.get_available_providers()
    if "CUDAExecutionProvider" in installed:
        # CUDA and cuDNN come as Python packages, which the loader does not search by itself.
        onnxruntime.preload_dlls()
    return [name for name in PREFERENCE if name in installed]


def _options(intra_op_threads: int) -> onnxruntime.SessionOptions:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = intra_op_threads
    options.inter_op_num_threads = 1
    options.log_severity_level = 3
    # A thread that spins while it waits takes the core from decoding and from the event loop.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    return options


def _open(
    model: bytes, options: onnxruntime.SessionOptions, providers: list[str]
) -> onnxruntime.InferenceSession:
    try:
        return onnxruntime.InferenceSession(model, options, providers=providers)
    except _ORT_ERRORS as error:
        reason = str(error).splitlines()[0]
        raise BundleError(f"not an ONNX model that runs here: {reason}") from None


def _info(node: onnxruntime.NodeArg) -> TensorInfo:
    shape = tuple(size if isinstance(size, int) else None for size in node.shape)
    return TensorInfo(node.name, node.type, shape)
