"""PilotNet's convolutions, then an LSTM: the default network.

PilotNet (arXiv 1604.07316): convolutions 24, 36, 48 of 5x5 with stride 2, then 64, 64 of 3x3, on
66x200. Here its features feed one LSTM cell, and linear heads see the cell's output and the present
feature, as in Komanda. Batch normalisation, which PilotNet does not have, follows every
convolution; :meth:`PilotNetLstm.fused` folds it away for export.
"""

from __future__ import annotations

import copy

import torch
from torch import Tensor, nn
from torch.nn.utils import fusion

from model_export.config import HEADS, Config
from model_export.networks.base import DrivingNetwork, State
from service.contract import StateKind, StateTensor

_CONVOLUTIONS = ((24, 5, 2), (36, 5, 2), (48, 5, 2), (64, 3, 1), (64, 3, 1))
"""Channels, kernel, stride."""


class PilotNetLstm(DrivingNetwork):
    """PilotNet with an LSTM cell between its features and three heads.

    Its state is the cell's ``h`` and ``c``, ``hidden`` numbers each.
    """

    def __init__(self, config: Config) -> None:
        super().__init__(config)
        network = config.network
        self.state_tensors = tuple(
            StateTensor(
                input=name,
                output=f"{name}_next",
                shape=(network.hidden,),
                kind=StateKind.RECURRENT,
            )
            for name in ("h", "c")
        )
        self.scale_pixels: nn.Module = _ScalePixels()
        self.convolutions = _convolutions()
        self.project = nn.Linear(_flat_size(config), network.features)
        self.gates = nn.Linear(network.features + network.hidden, 4 * network.hidden)
        self.heads = nn.Linear(network.features + network.hidden, len(HEADS))
        self.dropout = nn.Dropout(network.dropout)
        _initialise_gates(self.gates, network.hidden)

    def encoder(self) -> tuple[nn.Module, ...]:
        """Return the modules that turn a frame into features."""
        return (self.convolutions, self.project)

    def encode(self, frames: Tensor) -> Tensor:
        """Turn uint8 frames [N, height, width, 3] into features [N, F]."""
        # Channels last, as the frames lie: the permutation moves no bytes.
        pixels = frames.permute(0, 3, 1, 2).float()
        flat = self.dropout(self.convolutions(self.scale_pixels(pixels)).flatten(1))
        return torch.relu(self.project(flat))

    def step(self, features: Tensor, state: State) -> tuple[Tensor, State]:
        """Advance the LSTM by one frame; see :meth:`DrivingNetwork.step`."""
        hidden, cell = state
        features = self.dropout(features)
        gates = self.gates(torch.cat((features, hidden), dim=1))
        take, keep, give, new = gates.chunk(4, dim=1)
        cell = torch.sigmoid(keep) * cell + torch.sigmoid(take) * torch.tanh(new)
        hidden = torch.sigmoid(give) * torch.tanh(cell)
        raw = self.heads(torch.cat((self.dropout(hidden), features), dim=1))
        return raw, (hidden, cell)

    def fused(self) -> PilotNetLstm:
        """Return a copy for inference: scaling and batch normalisation folded into convolutions."""
        clone = copy.deepcopy(self).eval()
        layers: list[nn.Module] = []
        for layer in clone.convolutions:
            if isinstance(layer, nn.BatchNorm2d):
                convolution = layers.pop()
                assert isinstance(convolution, nn.Conv2d)  # noqa: S101
                layers.append(fusion.fuse_conv_bn_eval(convolution, layer))
            else:
                layers.append(layer)
        _fold_scaling(layers[0])
        clone.scale_pixels = nn.Identity()
        clone.convolutions = nn.Sequential(*layers)
        return clone


class _ScalePixels(nn.Module):
    """Maps 0..255 to -1..1."""

    def forward(self, pixels: Tensor) -> Tensor:
        return pixels / 127.5 - 1.0


@torch.no_grad()
def _fold_scaling(first: nn.Module) -> None:
    """Make the first convolution take pixels 0..255; exact, because it pads nothing."""
    assert isinstance(first, nn.Conv2d)  # noqa: S101
    assert first.bias is not None  # noqa: S101
    first.bias -= first.weight.sum((1, 2, 3))
    first.weight /= 127.5


def _convolutions() -> nn.Sequential:
    layers: list[nn.Module] = []
    channels = 3
    for width, kernel, stride in _CONVOLUTIONS:
        convolution = nn.Conv2d(channels, width, kernel, stride, bias=False)
        layers += [convolution, nn.BatchNorm2d(width), nn.ReLU(inplace=True)]
        channels = width
    sequence = nn.Sequential(*layers)
    for parameter in sequence.parameters():
        if parameter.dim() == 4:
            parameter.data = parameter.data.to(memory_format=torch.channels_last)
    return sequence


def _flat_size(config: Config) -> int:
    height, width = config.frame.height_px, config.frame.width_px
    for _, kernel, stride in _CONVOLUTIONS:
        height, width = (height - kernel) // stride + 1, (width - kernel) // stride + 1
    return height * width * _CONVOLUTIONS[-1][0]


def _initialise_gates(gates: nn.Linear, hidden: int) -> None:
    """Open the forget gate at first, so that gradients reach back over the window."""
    with torch.no_grad():
        gates.bias.zero_()
        gates.bias[hidden : 2 * hidden] = 1.0
