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
from steerstream_bundle.times import feed_times

_CONFIG = Path(model_export.__file__).parent / "configs" / "pilotnet_lstm_plan.toml"


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
        weights = _weights(onnx.load(model).graph)
        # Folded for inference, as the bundle is: the parameters come in the same order in both.
        network = build(load(_CONFIG)).fused()
        network.load_state_dict(
            {name: _take(weights, name, want) for name, want in network.state_dict().items()}
        )
        self._network = network.eval()

    def step(self, frames: Array, state: Sequence[Array]) -> tuple[Array, State]:
        """Run one step; see `Network.step`."""
        times = feed_times(self.contract, len(frames)).values()
        with torch.inference_mode():
            results = self._network(*(torch.from_numpy(each) for each in (frames, *times, *state)))
        arrays = [result.numpy() for result in results]
        # Between the heads and the state stand the heads' deviations and the horizon.
        return np.stack(arrays[: self._heads], axis=1), arrays[-len(self.contract.state) :]


def _weights(graph: onnx.GraphProto) -> dict[str, torch.Tensor]:
    """Return a bundle's weights by name, with the matrix of every linear layer under its own.

    An exporter keeps the name of a layer's bias, but may transpose its matrix, whose name is lost.
    """
    weights = {
        each.name: torch.from_numpy(numpy_helper.to_array(each).copy())
        for each in graph.initializer
    }
    products = {node.output[0]: node.input[1] for node in graph.node if node.op_type == "MatMul"}
    for node in graph.node:
        if node.op_type == "Add" and node.input[0] in products and node.input[1] in weights:
            layer = node.input[1].removesuffix(".bias")
            weights[f"{layer}.weight"] = weights.pop(products[node.input[0]]).T
    return weights


def _take(weights: dict[str, torch.Tensor], name: str, want: torch.Tensor) -> torch.Tensor:
    """Take a parameter out of a bundle's weights, by its name or else by shape and order.

    A bundle keeps the names that its exporter's revision had. A wrong guess cannot pass: outputs
    are checked before anything is measured.

    Raises:
        RuntimeError: the bundle has no such parameter left.
    """
    fitting = [key for key, value in weights.items() if value.shape == want.shape]
    last = name.rpartition(".")[0].rpartition(".")[2]
    for key in (name, *(key for key in fitting if last in key), *fitting):
        if key in fitting:
            return weights.pop(key)
    raise RuntimeError(f"the bundle has no weights for {name!r} of the shipped configuration")
