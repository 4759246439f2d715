"""Chauffeur, 3rd in Udacity's Challenge 2: an encoder trained on other data, and an LSTM over it.

The encoder is EfficientNet-Lite0 with its ImageNet weights, chopped at the features of one of its
blocks. It runs once a frame. The LSTM carries its state from frame to frame, or, as Chauffeur's
did, is run again over a ring of the last features; a setting decides. Beside what the encoder sees
of one frame, the LSTM is told how far the picture moved since the frame before
(`model_export.networks.parts.motion`); that, too, is a setting, and so is how many such LSTMs
there are over the one encoder (`model_export.networks.parts.member`).
"""

from __future__ import annotations

import copy
import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from model_export.config import Config
from model_export.errors import ConfigError
from model_export.networks.base import DrivingNetwork, State
from model_export.networks.parts.comparison import Comparison
from model_export.networks.parts.convolutions import channels_first, framewise
from model_export.networks.parts.efficientnet_lite import (
    BLOCKS,
    PRETRAINING,
    EfficientNetLite0,
)
from model_export.networks.parts.forward_motion import ForwardMotion
from model_export.networks.parts.heads import RawOutput
from model_export.networks.parts.member import Members, MemberSettings, pooled
from model_export.networks.parts.motion import BANDS, SidewaysMotion
from steerstream_bundle.contract import StateTensor

_LEAST_PERIODS = 0.25
"""A shorter interval is a clock's mistake: it would make any noise a motion."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ChauffeurSettings(MemberSettings):
    """Settings of `Chauffeur`; those of its members among them.

    Attributes:
        blocks: of EfficientNet-Lite0's 16 that are kept.
        top: first row that it sees, as a fraction of the frame.
        shrink: pixels in each direction that are averaged to one for it.
        members: over its features; the network says their average.
        motion: tell the cells how far the picture moved since the frame before.
        reach_px: the farthest that is found. At 10 Hz a sharp bend moves it twice as far as at 20.
        forward: measure how far the ground ahead came nearer, which is the speed. A cell of its own
            remembers it, for the heads of speed and torque: few real drives teach the steering, and
            a measurement so noisy only gives it more to learn by heart.
        interval: take the time since the frame before: motion becomes motion a period, and the
            cells are told the time.
    """

    blocks: int = BLOCKS
    top: float = 0.3
    shrink: int = 2
    members: int = 1
    motion: bool = True
    reach_px: int = 40
    forward: bool = False
    interval: bool = False


class Chauffeur(DrivingNetwork):
    """EfficientNet-Lite0's features of each frame, and recurrent cells over them."""

    Settings = ChauffeurSettings
    pretraining = (PRETRAINING,)

    def __init__(self, config: Config, settings: ChauffeurSettings) -> None:
        super().__init__(config, settings)
        height, width = config.frame.height_px, config.frame.width_px
        self._top = round(settings.top * height)
        size = ((height - self._top) // settings.shrink, width // settings.shrink)
        self.trunk = EfficientNetLite0(settings.blocks, size)
        if not 0 < settings.reach_px < width / 2:
            raise ConfigError(f"reach_px must be above 0 and below {width / 2:g}, half the picture")
        sideways = (
            [SidewaysMotion(height, width, bands=BANDS, reach=settings.reach_px)]
            if settings.motion
            else []
        )
        ahead = [ForwardMotion(config.frame)] if settings.forward else []
        self._motions = nn.ModuleList([*sideways, *ahead])
        if settings.members < 1:
            raise ConfigError(f"members must be 1 or more, not {settings.members}")
        moved = sum(motion.width for motion in sideways) + int(settings.interval)
        self.members = Members(
            settings.members,
            settings,
            self.trunk.shape,
            moved,
            sum(motion.width for motion in ahead),
        )

    @property
    def motions(self) -> list[Comparison]:
        """The layers that compare neighbouring frames: sideways first."""
        return [layer for layer in self._motions if isinstance(layer, Comparison)]

    @property
    def takes_interval(self) -> bool:
        """As set."""
        return bool(self.settings.interval)

    @property
    def recurrent_tensors(self) -> tuple[StateTensor, ...]:
        """The cells' state, or the ring of features."""
        return self.members.state_tensors

    @property
    def visual_tensors(self) -> tuple[StateTensor, ...]:
        """The state that is compared with the next frame."""
        return tuple(motion.memory for motion in self.motions)

    @property
    def log_stddevs(self) -> tuple[nn.Module, ...]:
        """Those of each member."""
        return self.members.log_stddevs

    def encoder(self) -> tuple[nn.Module, ...]:
        """Return the modules that turn a frame into features."""
        return (self.trunk,)

    def load_pretrained(self) -> None:
        """Give the encoder its ImageNet weights."""
        self.trunk.load_pretrained()

    def perceive(self, frames: Tensor, visual: State) -> tuple[Tensor, State]:
        """Turn windows of frames into features [B, T, F]; see `DrivingNetwork.perceive`.

        They are EfficientNet-Lite0's, then how far the picture moved.
        """
        features, after = [framewise(self._encoded, frames)], []
        for motion, before in zip(self.motions, visual, strict=True):
            moved, look = motion.follow(frames, before)
            features.append(moved)
            after.append(look)
        return torch.cat(features, dim=2), tuple(after)

    def timed(self, features: Tensor, intervals_s: Tensor) -> Tensor:
        """Bring the interval into features; see `DrivingNetwork.timed`."""
        periods = (intervals_s / self.period_s).clamp_min(_LEAST_PERIODS).unsqueeze(2)
        size = math.prod(self.trunk.shape)
        widths = [size, *(motion.width for motion in self.motions)]
        seen, *moved = torch.split(features, widths, dim=2)
        moved = [one.a_period(by, periods) for one, by in zip(self.motions, moved, strict=True)]
        moved.insert(int(self.settings.motion), periods.log())
        return torch.cat((seen, *moved), dim=2)

    def follow(self, features: Tensor, recurrent: State) -> tuple[RawOutput, State]:
        """Advance over windows; see `DrivingNetwork.follow`."""
        said, after = self.taught(features, recurrent)
        return pooled(said), after

    def taught(self, features: Tensor, recurrent: State) -> tuple[tuple[RawOutput, ...], State]:
        """Have every member learn by itself: taught together they would only be one wider cell."""
        said, after = self.members(features, recurrent)
        return said, after

    def fused(self) -> Chauffeur:
        """Return a copy for inference."""
        clone = copy.deepcopy(self).eval()
        clone.trunk = self.trunk.folded()
        return clone

    def _encoded(self, frames: Tensor) -> Tensor:
        """Turn frames [N, height, width, 3] into the encoder's features [N, F]."""
        pixels = channels_first(frames[:, self._top :])
        features: Tensor = self.trunk(functional.avg_pool2d(pixels, self.settings.shrink))
        return features.flatten(1)


NETWORK = Chauffeur
