"""The network in torch, eager: the class that trained it, with the weights of the bundle."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import onnx
import torch
from onnx import numpy_helper

import model_export
from benchmark.peers.hosts.network import Array, Network, State
from model_export.config import load
from model_export.networks import build

_CONFIG = Path(model_export.__file__).parent / "configs" / "pilotnet_lstm.toml"


class TorchNetwork(Network):
    """A bundle's network, rebuilt in torch from the file's weights.

    Args:
        model: the ONNX file.

    Raises:
        RuntimeError: the bundle's weights are not those of the shipped configuration's network.
    """

    def __init__(self, model: Path) -> None:
        super().__init__(model)
        torch.set_num_threads(1)
        weights = {
            each.name: torch.from_numpy(numpy_helper.to_array(each).copy())
            for each in onnx.load(model).graph.initializer
        }
        # Folded for inference, as the bundle is: the parameters have the same names in both.
        network = build(load(_CONFIG)).fused()
        network.load_state_dict({name: weights[name] for name in network.state_dict()})
        self._network = network.eval()

    def step(self, frames: Array, state: Sequence[Array]) -> tuple[Array, State]:
        """Run one step; see :meth:`Network.step`."""
        with torch.inference_mode():
            results = self._network(*(torch.from_numpy(each) for each in (frames, *state)))
        arrays = [result.numpy() for result in results]
        return np.stack(arrays[: self._heads], axis=1), arrays[self._heads :]
