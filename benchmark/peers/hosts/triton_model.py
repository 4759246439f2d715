"""The network in Triton's Python backend, as the `model.py` of its repository imports it.

The sequence batcher gives each execution at most one request of a sequence. The state lies in a
dict by correlation id: with this backend, Triton's implicit state silently feeds zeros.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import triton_python_backend_utils as pb_utils

from benchmark.loadgen.picture_set import unpack
from benchmark.peers.hosts.network import Network, State

INPUT, OUTPUT = "IMAGE", "OUTPUTS"


class TritonPythonModel:
    """The class that the backend looks for."""

    def initialize(self, args: dict[str, str]) -> None:
        """Load the bundle that the configuration's parameters name."""
        parameters = json.loads(args["model_config"])["parameters"]
        self._network = Network(Path(parameters["bundle"]["string_value"]))
        self._states: dict[int, State] = {}

    def execute(self, requests: list[Any]) -> list[Any]:
        """Answer one request of each of some sequences in one step of the network."""
        states = [self._state(request) for request in requests]
        frames = np.stack([self._frame(request) for request in requests])
        batch = [np.concatenate(each) for each in zip(*states, strict=True)]
        outputs, after = self._network.step(frames, batch)
        return [
            self._answer(request, outputs[row : row + 1], [each[row : row + 1] for each in after])
            for row, request in enumerate(requests)
        ]

    def _state(self, request: Any) -> State:  # noqa: ANN401 - a type of the backend
        if request.flags() & pb_utils.TRITONSERVER_REQUEST_FLAG_SEQUENCE_START:
            return self._network.initial_state()
        return self._states[request.correlation_id()]

    def _frame(self, request: Any) -> Any:  # noqa: ANN401 - a type of the backend
        tensor = pb_utils.get_input_tensor_by_name(request, INPUT).as_numpy()
        return self._network.picture(*unpack(memoryview(tensor.reshape(-1))))

    def _answer(self, request: Any, outputs: Any, state: State) -> Any:  # noqa: ANN401
        if request.flags() & pb_utils.TRITONSERVER_REQUEST_FLAG_SEQUENCE_END:
            self._states.pop(request.correlation_id(), None)
        else:
            self._states[request.correlation_id()] = state
        return pb_utils.InferenceResponse([pb_utils.Tensor(OUTPUT, outputs)])
