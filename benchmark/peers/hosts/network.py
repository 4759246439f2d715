"""The network behind every peer: the bundle in ONNX Runtime, with the decoder of the service.

It has what a careful user of a peer would write: one thread a step, no spinning, the state handed
in and out. The bare loop is this and nothing else.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnxruntime

from steerstream_bundle.contract import METADATA_KEY, Contract
from steerstream_bundle.jpeg import Scratch, decode
from steerstream_bundle.preprocess import Picture, prepare
from steerstream_bundle.times import feed_times

_OPENVINO = "OpenVINOExecutionProvider"

Array = npt.NDArray[Any]
State = list[Array]
"""One float32 array [N, *shape] a state tensor."""


class Network:
    """One bundle on one thread of the CPU.

    Args:
        model: the ONNX file.

    Attributes:
        contract: what its metadata says.
    """

    def __init__(self, model: Path) -> None:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        options.inter_op_num_threads = 1
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        self._session = onnxruntime.InferenceSession(
            model.read_bytes(), options, providers=_providers()
        )
        metadata = self._session.get_modelmeta().custom_metadata_map
        self.contract = Contract.from_json(metadata[METADATA_KEY])
        self._scratch = Scratch()
        self._heads = len(self.contract.outputs)
        self._fetches = [output.tensor for output in self.contract.outputs]
        self._fetches += [pair.output for pair in self.contract.state]
        self._feeds = [self.contract.frame.tensor]
        self._feeds += [pair.input for pair in self.contract.state]

    def initial_state(self) -> State:
        """Return the state [1, *shape] of a session that begins."""
        return [
            np.resize(np.array(pair.initial, np.float32), (1, *pair.shape))
            for pair in self.contract.state
        ]

    def picture(self, width_px: int, height_px: int, data: bytes | memoryview) -> Picture:
        """Return the network's input for one picture.

        Args:
            width_px: columns of raw pixels; 0 for a JPEG.
            height_px: rows of raw pixels; 0 for a JPEG.
            data: the file, or RGB rows without padding.

        Raises:
            UndecodableError: the JPEG is damaged.
        """
        if width_px:
            pixels = np.frombuffer(data, np.uint8).reshape(height_px, width_px, 3)
            return prepare(pixels, self.contract.frame)
        decoded = decode(bytes(data), self.contract.frame, scratch=self._scratch)
        return prepare(decoded, self.contract.frame, np.empty(self.contract.frame.shape, np.uint8))

    def step(self, frames: Array, state: Sequence[Array]) -> tuple[Array, State]:
        """Run one step: frames [N, height, width, 3] and state to outputs [N, heads] and state."""
        feed = dict(zip(self._feeds, (frames, *state), strict=True))
        # Frames of a benchmark are a camera's: one period after the other.
        feed |= feed_times(self.contract, len(frames))
        results = self._session.run(self._fetches, feed)
        return np.stack(results[: self._heads], axis=1), results[self._heads :]


def _providers() -> list[str | tuple[str, dict[str, str]]]:
    """Return the best execution provider for a CPU that this environment has."""
    if _OPENVINO in onnxruntime.get_available_providers():
        return [(_OPENVINO, {"device_type": "CPU", "num_of_threads": "1"})]
    return ["CPUExecutionProvider"]
