"""PilotNet (arXiv 1604.07316): one image, no memory.

Convolutions 24, 36, 48 of 5x5 with stride 2, then 64, 64 of 3x3, on 66x200; then fully connected
100, 50, 10 and the output. With the paper's one output these are 252,219 parameters; three heads
have 22 more in the last layer, and their standard deviations 33. Batch normalisation helps in
training and is folded away.
"""

from __future__ import annotations

import copy
import itertools
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from model_export.config import Config
from model_export.networks.base import DrivingNetwork, State
from model_export.networks.parts.convolutions import PilotNetConvolutions, framewise
from model_export.networks.parts.heads import Heads, RawOutput

_DENSE = (100, 50, 10)


@dataclass(frozen=True, slots=True, kw_only=True)
class PilotNetSettings:
    """Settings of `PilotNet`.

    Attributes:
        dropout: share of the convolutions' features that are dropped in training.
    """

    dropout: float = 0.2


class PilotNet(DrivingNetwork):
    """The paper's network with three heads; stateless."""

    Settings = PilotNetSettings

    def __init__(self, config: Config, settings: PilotNetSettings) -> None:
        super().__init__(config, settings)
        self.convolutions = PilotNetConvolutions()
        self.dropout = nn.Dropout(settings.dropout)
        widths = (PilotNetConvolutions.size(config.frame), *_DENSE)
        self.dense = nn.ModuleList(
            nn.Linear(taken, given) for taken, given in itertools.pairwise(widths)
        )
        self.heads = Heads(_DENSE[-1])

    def encoder(self) -> tuple[nn.Module, ...]:
        """Return the modules that turn a frame into features."""
        return (self.convolutions, self.dense)

    def perceive(self, frames: Tensor, visual: State) -> tuple[Tensor, State]:
        """Turn windows of frames into features [B, T, 10]; see `DrivingNetwork.perceive`."""
        return framewise(self._features, frames), visual

    def follow(self, features: Tensor, recurrent: State) -> tuple[RawOutput, State]:
        """Give each frame's raw outputs; there is no state."""
        return self.heads(features), recurrent

    def fused(self) -> PilotNet:
        """Return a copy for inference."""
        clone = copy.deepcopy(self).eval()
        clone.convolutions = self.convolutions.folded()
        return clone

    def _features(self, frames: Tensor) -> Tensor:
        features: Tensor = self.dropout(self.convolutions(frames))
        for layer in self.dense:
            features = torch.relu(layer(features))
        return features


NETWORK = PilotNet
