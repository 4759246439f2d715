"""PilotNet's convolutions, then recurrent cells: the default network.

The design of the course MIT 6.S094: a convolutional network sees, a recurrent one remembers. The
heads see the cells' output and the present feature, as in Komanda. The cell is a setting, so that
plain RNN, GRU and LSTM can be compared; one to three layers. With the setting `motion` the cells
are also told how far the picture moved sideways since the frame before
(`model_export.networks.parts.motion`).
"""

from __future__ import annotations

import copy
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from model_export.config import Config
from model_export.networks.base import DrivingNetwork, State
from model_export.networks.parts.cells import Recurrence
from model_export.networks.parts.convolutions import PilotNetConvolutions, framewise
from model_export.networks.parts.heads import Heads, RawOutput
from model_export.networks.parts.motion import motion_below_the_sky
from steerstream_bundle.contract import StateTensor


@dataclass(frozen=True, slots=True, kw_only=True)
class PilotNetLstmSettings:
    """Settings of `PilotNetLstm`.

    Attributes:
        cell: `rnn`, `gru` or `lstm`.
        layers: recurrent layers, 1 to 3.
        features: width of the visual feature that a frame becomes.
        hidden: width of the recurrent state.
        motion: tell the cells how far the picture moved since the frame before.
        dropout: share of features dropped in training, before and after the recurrent cells;
            motion is never dropped.
    """

    cell: str = "lstm"
    layers: int = 1
    features: int = 100
    hidden: int = 64
    motion: bool = False
    dropout: float = 0.2


class PilotNetLstm(DrivingNetwork):
    """PilotNet with recurrent cells between its features and three heads."""

    Settings = PilotNetLstmSettings

    def __init__(self, config: Config, settings: PilotNetLstmSettings) -> None:
        super().__init__(config, settings)
        self.convolutions = PilotNetConvolutions()
        self.project = nn.Linear(PilotNetConvolutions.size(config.frame), settings.features)
        self.motion = motion_below_the_sky(config.frame) if settings.motion else None
        inputs = settings.features + (self.motion.width if self.motion else 0)
        self.recurrence = Recurrence(
            settings.cell, inputs=inputs, hidden=settings.hidden, layers=settings.layers
        )
        self.heads = Heads(inputs + settings.hidden)
        self.dropout = nn.Dropout(settings.dropout)

    @property
    def recurrent_tensors(self) -> tuple[StateTensor, ...]:
        """The cells' state, `hidden` numbers each."""
        return self.recurrence.state_tensors

    @property
    def visual_tensors(self) -> tuple[StateTensor, ...]:
        """The state that is compared with the next frame."""
        return (self.motion.memory,) if self.motion else ()

    def encoder(self) -> tuple[nn.Module, ...]:
        """Return the modules that turn a frame into features."""
        return (self.convolutions, self.project)

    def perceive(self, frames: Tensor, visual: State) -> tuple[Tensor, State]:
        """Turn windows of frames into features [B, T, F]; see `DrivingNetwork.perceive`.

        They are what the convolutions see, then how far the picture moved.
        """
        seen = framewise(self._features, frames)
        if self.motion is None:
            return seen, visual
        moved, after = self.motion.follow(frames, *visual)
        return torch.cat((seen, moved), dim=2), (after,)

    def follow(self, features: Tensor, recurrent: State) -> tuple[RawOutput, State]:
        """Advance frame by frame; see `DrivingNetwork.follow`."""
        width = self.settings.features
        inputs = torch.cat((self.dropout(features[..., :width]), features[..., width:]), dim=2)
        known = []
        for step in inputs.unbind(1):
            output, recurrent = self.recurrence(step, recurrent)
            known.append(torch.cat((self.dropout(output), step), dim=1))
        return self.heads(torch.stack(known, dim=1)), recurrent

    def fused(self) -> PilotNetLstm:
        """Return a copy for inference."""
        clone = copy.deepcopy(self).eval()
        clone.convolutions = self.convolutions.folded()
        return clone

    def _features(self, frames: Tensor) -> Tensor:
        return torch.relu(self.project(self.dropout(self.convolutions(frames))))


NETWORK = PilotNetLstm
