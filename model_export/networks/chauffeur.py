"""Chauffeur, 3rd in Udacity's Challenge 2: an encoder trained on other data, and an LSTM over it.

The encoder is EfficientNet-Lite0 with its ImageNet weights, chopped at the features of one of its
blocks. It runs once a frame. The LSTM carries its state from frame to frame, or, as Chauffeur's
did, is run anew over a ring of the last features; a setting decides. Beside what the encoder sees
of one frame, the LSTM is told how far the picture moved since the frame before
(:mod:`model_export.networks.parts.motion`); that, too, is a setting.
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
from model_export.networks.parts.cells import Recurrence
from model_export.networks.parts.comparison import Comparison
from model_export.networks.parts.convolutions import channels_first
from model_export.networks.parts.efficientnet_lite import (
    BLOCKS,
    PRETRAINING,
    EfficientNetLite0,
)
from model_export.networks.parts.forward_motion import ForwardMotion
from model_export.networks.parts.heads import Heads, RawOutput
from model_export.networks.parts.motion import BANDS, SidewaysMotion
from model_export.networks.parts.shapes import folded, framewise
from service.contract import StateKind, StateTensor

_LEAST_PERIODS = 0.25
"""A shorter interval is a clock's mistake: it would make any noise a motion."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ChauffeurSettings:
    """Settings of :class:`Chauffeur`.

    Attributes:
        blocks: of EfficientNet-Lite0's 16 that are kept.
        top: first row that it sees, as a fraction of the frame.
        shrink: pixels in each direction that are averaged to one for it.
        channels: to which its features are reduced.
        features: width of the visual feature that a frame becomes.
        cell: ``rnn``, ``gru`` or ``lstm``.
        layers: recurrent layers, 1 to 3.
        hidden: width of each.
        pace: width of the cell beside them that knows how fast the ground comes nearer.
        window: frames over which the cells are run anew for every frame; 0 carries their state.
        motion: tell the cells how far the picture moved since the frame before.
        reach_px: the farthest that is found. At 10 Hz a sharp bend moves it twice as far as at 20.
        forward: measure how far the ground ahead came nearer, which is the speed. A cell of its own
            remembers it, for the heads of speed and torque: few real drives teach the steering, and
            a measurement so noisy only gives it more to learn by heart.
        interval: take the time since the frame before: motion becomes motion a period, and the
            cells are told the time.
        dropout: share of visual features dropped in training; motion is never dropped.
    """

    blocks: int = BLOCKS
    top: float = 0.3
    shrink: int = 2
    channels: int = 16
    features: int = 64
    cell: str = "lstm"
    layers: int = 1
    hidden: int = 64
    pace: int = 16
    window: int = 0
    motion: bool = True
    reach_px: int = 40
    forward: bool = False
    interval: bool = False
    dropout: float = 0.3


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
        channels, rows, columns = self.trunk.shape
        self.reduce = nn.Conv2d(channels, settings.channels, 1)
        self.project = nn.Linear(settings.channels * rows * columns, settings.features)
        moved = sum(motion.width for motion in sideways) + int(settings.interval)
        self.recurrence = _Memory(settings, moved, sum(motion.width for motion in ahead))
        self.heads = Heads(self.recurrence.width, self.recurrence.steering)
        self.dropout = nn.Dropout(settings.dropout)

    @property
    def motions(self) -> list[Comparison]:
        """What compares neighbouring frames: sideways first."""
        return [layer for layer in self._motions if isinstance(layer, Comparison)]

    @property
    def takes_interval(self) -> bool:
        """As set."""
        return bool(self.settings.interval)

    @property
    def recurrent_tensors(self) -> tuple[StateTensor, ...]:
        """The cells' state, or the ring of features."""
        if not self.settings.window:
            return self.recurrence.state_tensors
        shape = (self.settings.window - 1, self.recurrence.inputs)
        kind = StateKind.FEATURE_RING
        return (StateTensor(input="ring", output="ring_next", shape=shape, kind=kind),)

    @property
    def visual_tensors(self) -> tuple[StateTensor, ...]:
        """What is compared with the next frame."""
        return tuple(motion.memory for motion in self.motions)

    def encoder(self) -> tuple[nn.Module, ...]:
        """Return the modules that turn a frame into features."""
        return (self.trunk,)

    def load_pretrained(self) -> None:
        """Give the encoder its ImageNet weights."""
        self.trunk.load_pretrained()

    def perceive(self, frames: Tensor, visual: State) -> tuple[Tensor, State]:
        """Turn windows of frames into features [B, T, F]; see :meth:`DrivingNetwork.perceive`.

        They are EfficientNet-Lite0's, then how far the picture moved.
        """
        features, after = [framewise(self._encoded, frames)], []
        for motion, before in zip(self.motions, visual, strict=True):
            moved, look = motion.follow(frames, before)
            features.append(moved)
            after.append(look)
        return torch.cat(features, dim=2), tuple(after)

    def timed(self, features: Tensor, intervals_s: Tensor) -> Tensor:
        """Bring the interval into features; see :meth:`DrivingNetwork.timed`."""
        periods = (intervals_s / self.period_s).clamp_min(_LEAST_PERIODS).unsqueeze(2)
        size = math.prod(self.trunk.shape)
        widths = [size, *(motion.width for motion in self.motions)]
        seen, *moved = torch.split(features, widths, dim=2)
        moved = [one.a_period(by, periods) for one, by in zip(self.motions, moved, strict=True)]
        moved.insert(int(self.settings.motion), periods.log())
        return torch.cat((seen, *moved), dim=2)

    def follow(self, features: Tensor, recurrent: State) -> tuple[RawOutput, State]:
        """Advance over windows; see :meth:`DrivingNetwork.follow`."""
        size = math.prod(self.trunk.shape)
        seen = self.dropout(framewise(self._reduced, features[..., :size]))
        inputs = torch.cat((seen, features[..., size:]), dim=2)
        remember = self._rerun if self.settings.window else self._carry
        known, after = remember(inputs, recurrent)
        return self.heads(known), after

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

    def _reduced(self, seen: Tensor) -> Tensor:
        """Turn the encoder's features [N, F] into the visual feature [N, features]."""
        maps = folded(seen, self.trunk.shape)
        reduced = self.dropout(torch.relu(self.reduce(maps)).flatten(1))
        return torch.relu(self.project(reduced))

    def _carry(self, inputs: Tensor, recurrent: State) -> tuple[Tensor, State]:
        outputs = []
        for step in inputs.unbind(1):
            output, recurrent = self.recurrence(step, recurrent)
            outputs.append(output)
        return torch.stack(outputs, dim=1), recurrent

    def _rerun(self, inputs: Tensor, recurrent: State) -> tuple[Tensor, State]:
        """Run the cells anew over the ring that ends with each frame."""
        window, frames = self.settings.window, inputs.shape[1]
        past = torch.cat((*recurrent, inputs), dim=1)
        rings = torch.stack([past[:, at : at + window] for at in range(frames)], dim=1)
        return framewise(self._last, rings), (past[:, frames:],)

    def _last(self, rings: Tensor) -> Tensor:
        """Run the cells from zero over rings [N, window, inputs]; return what they know at last."""
        own: State = tuple(
            rings.new_zeros(rings.shape[0], *pair.shape) for pair in self.recurrence.state_tensors
        )
        output = rings[:, 0]
        for step in rings.unbind(1):
            output, own = self.recurrence(step, own)
        return output


class _Memory(nn.Module):
    """The recurrence that steers, and the one of the pace beside it.

    Args:
        settings: the network's.
        moved: numbers that tell of sideways motion and time.
        ahead: numbers that tell of forward motion; 0 for no recurrence of the pace.

    Attributes:
        inputs: numbers that a frame brings: the visual feature, ``moved``, ``ahead``.
        width: numbers that are known after a frame: those of the inputs and of the cells' outputs.
        steering: how many of them, from the first on, have nothing of the pace.
    """

    def __init__(self, settings: ChauffeurSettings, moved: int, ahead: int) -> None:
        super().__init__()
        self._seen, self._own = settings.features, settings.features + moved
        self.inputs = self._own + ahead
        self.steering = settings.hidden + self._own
        self.cells = Recurrence(
            settings.cell, inputs=self._own, hidden=settings.hidden, layers=settings.layers
        )
        self.state_tensors, self.width = self.cells.state_tensors, self.steering
        self.pace: Recurrence | None = None
        if ahead:
            self.pace = Recurrence(
                settings.cell,
                inputs=moved + ahead,
                hidden=settings.pace,
                layers=1,
                prefix="pace_",
            )
            self.state_tensors += self.pace.state_tensors
            self.width += settings.pace + ahead

    def forward(self, inputs: Tensor, state: State) -> tuple[Tensor, State]:
        """Advance by one frame: inputs [N, inputs] to what is known [N, width], and the state."""
        own = len(self.cells.state_tensors)
        output, after = self.cells(inputs[:, : self._own], state[:own])
        known = torch.cat((output, inputs[:, : self._own]), dim=1)
        if self.pace is None:
            return known, after
        pace, later = self.pace(inputs[:, self._seen :], state[own:])
        return torch.cat((known, pace, inputs[:, self._own :]), dim=1), (*after, *later)


NETWORK = Chauffeur
