"""A 3-D CNN over a short clip, without recurrence, as MIT 6.S094 teaches it.

PilotNet's five convolutions, each of which also sees the frame before or the two before: together
the last eight frames. Batch normalisation, then fully connected. What it knows of the past is
exactly the clip, so its state is a ring, held as `model_export.networks.parts.streamed`
explains.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from model_export.config import Config
from model_export.networks.base import DrivingNetwork, State
from model_export.networks.parts.batch_norm import BatchNorm2d
from model_export.networks.parts.convolutions import framewise, pixels
from model_export.networks.parts.heads import Heads, RawOutput
from model_export.networks.parts.streamed import StreamedConvolution, memories
from steerstream_bundle.contract import StateTensor

_LAYERS = ((3, 5, 2), (3, 5, 2), (2, 5, 2), (2, 3, 1), (2, 3, 1))
"""Frames, kernel, stride: together eight frames."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Cnn3dSettings:
    """Settings of `Cnn3d`.

    Attributes:
        channels: of each convolution.
        features: width of the fully connected layer.
        dropout: share of features dropped in training, before and after it.
    """

    channels: tuple[int, int, int, int, int] = (12, 24, 32, 48, 48)
    features: int = 100
    dropout: float = 0.3


class Cnn3d(DrivingNetwork):
    """Convolutions over a clip of eight frames, and three heads."""

    Settings = Cnn3dSettings

    def __init__(self, config: Config, settings: Cnn3dSettings) -> None:
        super().__init__(config, settings)
        size, channels = (config.frame.height_px, config.frame.width_px), 3
        layers = []
        for width, layer in zip(settings.channels, _LAYERS, strict=True):
            layers.append(StreamedConvolution((channels, width), *layer, size))
            size, channels = layers[-1].size, width
        self.layers = nn.ModuleList(layers)
        self._memories = memories(layers)
        self.norms = nn.ModuleList(BatchNorm2d(width) for width in settings.channels)
        self.dense = nn.Linear(channels * size[0] * size[1], settings.features)
        self.heads = Heads(settings.features)
        self.dropout = nn.Dropout(settings.dropout)

    @property
    def visual_tensors(self) -> tuple[StateTensor, ...]:
        """The state of each convolution: what it keeps of the clip."""
        return self._memories

    def encoder(self) -> tuple[nn.Module, ...]:
        """Return the modules that turn frames into features."""
        return (self.layers, self.norms)

    def perceive(self, frames: Tensor, visual: State) -> tuple[Tensor, State]:
        """Turn windows of frames into features [B, T, F]; see `DrivingNetwork.perceive`."""
        features, after = framewise(pixels, frames), []
        for layer, norm, memory in zip(self.layers, self.norms, visual, strict=True):
            features, later = layer(features, memory)
            features = torch.relu(framewise(norm, features))
            after.append(later)
        return features.flatten(2), tuple(after)

    def follow(self, features: Tensor, recurrent: State) -> tuple[RawOutput, State]:
        """Give each frame's raw outputs; nothing is remembered but the clip."""
        dense = torch.relu(self.dense(self.dropout(features)))
        return self.heads(self.dropout(dense)), recurrent


NETWORK = Cnn3d
