"""A bundle run frame by frame with carried state: the bare loop that everything is compared with.

Verification, evaluation and the network's drives for training share it. It is what a server does
for one vehicle, without the server.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import onnxruntime
from onnxruntime.capi import onnxruntime_pybind11_state as ort_errors

from model_export.errors import BundleError
from steerstream_bundle.contract import (
    METADATA_KEY,
    SPEED,
    STEERING_WHEEL_ANGLE,
    Contract,
    ContractError,
)
from steerstream_bundle.preprocess import Picture, prepare
from steerstream_bundle.times import feed_times

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
        self._fetches = [value.name for value in self.contract.values]
        self._fetches += [pair.output for pair in self.contract.state]

    def initial_state(self, batch: int) -> list[FloatArray]:
        """Return the state [batch, *shape] of sessions that begin."""
        return [
            np.resize(np.array(pair.initial, np.float32), (batch, *pair.shape))
            for pair in self.contract.state
        ]

    def step(
        self,
        frames: Picture,
        state: Sequence[FloatArray],
        interval_s: FloatArray | None = None,
        act_in_s: FloatArray | None = None,
    ) -> tuple[list[FloatArray], list[FloatArray]]:
        """Run one step.

        Args:
            frames: uint8 [N, height, width, 3].
            state: float32 [N, *shape] for each of the contract's state tensors.
            interval_s: float32 [N], seconds since the last frame that each state has seen, for a
                bundle that takes it; by default one period of the contract's rate.
            act_in_s: float32 [N], seconds from each frame's capture until its command acts, for a
                bundle that takes it; by default what the contract says.

        Returns:
            One array [N, *shape] for each of the contract's `values`: heads, then their standard
            deviations, then the horizon. And the new state.
        """
        contract = self.contract
        feed: dict[str, npt.NDArray[Any]] = {contract.frame.tensor: frames}
        feed |= {pair.input: value for pair, value in zip(contract.state, state, strict=True)}
        feed |= feed_times(contract, len(frames), interval_s=interval_s, act_in_s=act_in_s)
        results = self._session.run(self._fetches, feed)
        values = len(contract.values)
        return results[:values], results[values:]


class Prediction(NamedTuple):
    """The outputs of a bundle for one picture, by head, in SI units.

    Attributes:
        outputs: every head's value.
        stddevs: the predicted standard deviation of every head that has one.
    """

    outputs: dict[str, float]
    stddevs: dict[str, float]


class BundleDriver:
    """Carries one vehicle's state through a bundle, picture by picture.

    Args:
        runner: the bundle.
    """

    def __init__(self, runner: BundleRunner) -> None:
        self._runner = runner
        self._heads = [output.head for output in runner.contract.outputs]
        self._stddevs = runner.contract.stddev_columns
        self._at_once = len(self._heads) + len(self._stddevs)
        self.reset()

    def reset(self) -> None:
        """Return to the initial state."""
        self._state = self._runner.initial_state(1)

    def predict(
        self, picture: Picture, interval_s: float | None = None, act_in_s: float | None = None
    ) -> Prediction:
        """Run one step on a source picture of any size.

        Args:
            picture: uint8 [height, width, 3], RGB.
            interval_s: seconds since the picture before, for a bundle that takes it. By default
                one period of the contract's rate, which is right for the first after a reset too.
            act_in_s: seconds from the picture's capture until the command acts, for a bundle that
                takes it; by default what the contract says. More than was trained counts as the
                most that was, as in a server.
        """
        return self.step(prepare(picture, self._runner.contract.frame), interval_s, act_in_s)

    def step(
        self, frame: Picture, interval_s: float | None = None, act_in_s: float | None = None
    ) -> Prediction:
        """Run one step on the network's input; see `predict`.

        Args:
            frame: uint8 of the contract's `frame.shape`, RGB.
            interval_s: seconds since the picture before.
            act_in_s: seconds from the picture's capture until the command acts.
        """
        interval = None if interval_s is None else np.array([interval_s], np.float32)
        act_in = np.array([self._runner.contract.act_in_s(act_in_s)], np.float32)
        results, self._state = self._runner.step(frame[None], self._state, interval, act_in)
        values = [value.item() for value in results[: self._at_once]]
        return Prediction(
            dict(zip(self._heads, values, strict=False)),
            {head: values[at] for head, at in self._stddevs.items()},
        )

    def outputs(self, picture: Picture, interval_s: float | None = None) -> dict[str, float]:
        """Return every head's output in SI units; see `predict`."""
        return self.predict(picture, interval_s).outputs

    def drive(self, picture: Picture) -> tuple[float, float]:
        """Return angle and speed: a policy of `steerstream_simulation.drivers`."""
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
