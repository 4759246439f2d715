"""A bundle run frame by frame with carried state: the bare loop that everything is compared with.

Verification, evaluation and the network's drives for training share it. It is what a server does
for one vehicle, without the server.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import onnxruntime
from onnxruntime.capi import onnxruntime_pybind11_state as ort_errors

from model_export.errors import BundleError
from service.contract import METADATA_KEY, SPEED, STEERING_WHEEL_ANGLE, Contract, ContractError
from service.preprocess import Picture, prepare

FloatArray = npt.NDArray[np.float32]

_ERRORS = (
    ort_errors.Fail,
    ort_errors.InvalidArgument,
    ort_errors.InvalidGraph,
    ort_errors.InvalidProtobuf,
    ort_errors.NoSuchFile,
    ort_errors.NotImplemented,
)


class BundleRunner:
    """One bundle on one thread of the CPU.

    Args:
        path: the ONNX file.

    Attributes:
        contract: what its metadata says.

    Raises:
        BundleError: the file is missing, damaged, or has no valid contract.
    """

    def __init__(self, path: Path) -> None:
        self._session = _open(path)
        metadata = self._session.get_modelmeta().custom_metadata_map
        if METADATA_KEY not in metadata:
            raise BundleError(f"{path}: no contract in its metadata; export the bundle again")
        try:
            self.contract = Contract.from_json(metadata[METADATA_KEY])
        except ContractError as error:
            raise BundleError(f"{path}: {error}") from None
        self._fetches = [output.tensor for output in self.contract.outputs]
        self._fetches += [pair.output for pair in self.contract.state]

    def initial_state(self, batch: int) -> list[FloatArray]:
        """Return the state [batch, *shape] of sessions that begin."""
        return [
            np.resize(np.array(pair.initial, np.float32), (batch, *pair.shape))
            for pair in self.contract.state
        ]

    def step(
        self, frames: Picture, state: Sequence[FloatArray]
    ) -> tuple[list[FloatArray], list[FloatArray]]:
        """Run one step: frames [N, height, width, 3] and state to outputs [N] and state."""
        feed = {pair.input: value for pair, value in zip(self.contract.state, state, strict=True)}
        results = self._session.run(self._fetches, feed | {self.contract.frame.tensor: frames})
        heads = len(self.contract.outputs)
        return results[:heads], results[heads:]


class BundleDriver:
    """Carries one vehicle's state through a bundle, picture by picture.

    Args:
        runner: the bundle.
    """

    def __init__(self, runner: BundleRunner) -> None:
        self._runner = runner
        self._heads = [output.head for output in runner.contract.outputs]
        self.reset()

    def reset(self) -> None:
        """Begin anew from the initial state."""
        self._state = self._runner.initial_state(1)

    def outputs(self, picture: Picture) -> dict[str, float]:
        """Return every head's output in SI units for one source picture of any size."""
        frame = prepare(picture, self._runner.contract.frame)
        values, self._state = self._runner.step(frame[None], self._state)
        return {head: float(value[0]) for head, value in zip(self._heads, values, strict=True)}

    def drive(self, picture: Picture) -> tuple[float, float]:
        """Return angle and speed: a policy of :mod:`simulation.drivers`."""
        outputs = self.outputs(picture)
        return outputs[STEERING_WHEEL_ANGLE], outputs[SPEED]


def _open(path: Path) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.inter_op_num_threads = 1
    options.log_severity_level = 3
    try:
        data = path.read_bytes()
        return onnxruntime.InferenceSession(data, options, providers=["CPUExecutionProvider"])
    except OSError as error:
        raise BundleError(f"{path}: {error.strerror}") from None
    except _ERRORS as error:
        reason = str(error).splitlines()[0]
        raise BundleError(f"{path}: not an ONNX model that runs here: {reason}") from None
