"""An LSTM over nothing but how far the picture moved sideways since the frame before.

It sees no road. It measures what the vehicle is doing, not what it should do next: it says how a
picture's motion alone compares with what the other networks see, and cannot drive a vehicle.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from model_export.config import Config
from model_export.networks.base import DrivingNetwork, State
from model_export.networks.parts.cells import Recurrence
from model_export.networks.parts.heads import Heads, RawOutput
from model_export.networks.parts.motion import BANDS, SidewaysMotion
from steerstream_bundle.contract import StateTensor


@dataclass(frozen=True, slots=True, kw_only=True)
class MotionLstmSettings:
    """Settings of `MotionLstm`.

    Attributes:
        hidden: width of the recurrent state.
    """

    hidden: int = 32


class MotionLstm(DrivingNetwork):
    """Sideways motion of three bands, and an LSTM."""

    Settings = MotionLstmSettings

    def __init__(self, config: Config, settings: MotionLstmSettings) -> None:
        super().__init__(config, settings)
        frame = config.frame
        self.motion = SidewaysMotion(frame.height_px, frame.width_px, bands=BANDS)
        inputs = self.motion.width
        self.recurrence = Recurrence("lstm", inputs=inputs, hidden=settings.hidden, layers=1)
        self.heads = Heads(inputs + settings.hidden)

    @property
    def recurrent_tensors(self) -> tuple[StateTensor, ...]:
        """The cell's state."""
        return self.recurrence.state_tensors

    @property
    def visual_tensors(self) -> tuple[StateTensor, ...]:
        """The state that is compared with the next frame."""
        return (self.motion.memory,)

    def encoder(self) -> tuple[nn.Module, ...]:
        """Return the modules that turn frames into features; they have no weights."""
        return (self.motion,)

    def perceive(self, frames: Tensor, visual: State) -> tuple[Tensor, State]:
        """Turn windows of frames into features [B, T, 6]; see `DrivingNetwork.perceive`."""
        moved, after = self.motion.follow(frames, *visual)
        return moved, (after,)

    def follow(self, features: Tensor, recurrent: State) -> tuple[RawOutput, State]:
        """Advance frame by frame; see `DrivingNetwork.follow`."""
        inputs = []
        for moved in features.unbind(1):
            output, recurrent = self.recurrence(moved, recurrent)
            inputs.append(torch.cat((output, moved), dim=1))
        return self.heads(torch.stack(inputs, dim=1)), recurrent


NETWORK = MotionLstm
