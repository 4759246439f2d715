"""Komanda, winner of Udacity's Challenge 2, with its structure kept and its widths scaled.

Four 3-D convolutions, VALID, over six frames, the first large and three of [2,5,5]; each adds a
linear shortcut to the visual feature beside four fully connected layers; ELU, layer normalisation.
Then an LSTM with a projection, which is fed with the visual feature and with the network's previous
output; the head sees the LSTM, the previous output and the visual feature. The initial state is
trained. Pictures are 66x200 where Komanda had 480x640, so the first convolution is [3,8,8] with
stride 2 where it had [3,12,12] with stride 6. One shortcut more, a setting: how far the picture
moved sideways and the ground forward (`model_export.networks.parts.motion`), which Komanda's
convolutions learned from eight times as many frames.

Its loss has two parts: the network runs once on its own outputs and once on the true ones, and
learns from both. Unlike in the original, both runs carry their state from window to window.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils import skip_init

from model_export.config import HEADS, Config
from model_export.networks.base import DrivingNetwork, State
from model_export.networks.parts.cells import ProjectedLstmCell, recurrent
from model_export.networks.parts.comparison import Comparison
from model_export.networks.parts.convolutions import framewise, pixels
from model_export.networks.parts.forward_motion import ForwardMotion
from model_export.networks.parts.heads import Heads, RawOutput, stacked
from model_export.networks.parts.losses import (
    Losses,
    MaskedLoss,
    gaussian_loss,
    mean_known,
    where_known,
)
from model_export.networks.parts.motion import motion_below_the_sky
from model_export.networks.parts.streamed import StreamedConvolution, memories
from steerstream_bundle.contract import STEERING_WHEEL_ANGLE, StateKind, StateTensor

_LAYERS = ((3, 8, 2), (2, 5, 2), (2, 5, 2), (2, 5, 2))
"""Frames, kernel, stride."""
_AUXILIARY = 0.1
_ANGLE = HEADS.index(STEERING_WHEEL_ANGLE)
_RECURRENT = 3
"""Recurrent state tensors: previous output, projection, cell."""


@dataclass(frozen=True, slots=True, kw_only=True)
class KomandaSettings:
    """Settings of `Komanda`; the original's values in brackets.

    Attributes:
        channels: of every convolution (64).
        dense: widths of the fully connected layers (1024, 512, 256) before the last.
        features: width of the visual feature and of the shortcuts (128).
        hidden: width of the LSTM's cell (32).
        projection: width of its output (32).
        dropout: share of features dropped in training (0.75).
        motion: measure motion too.
        unseen: share of the visual feature that is dropped in training; motion never is.
    """

    channels: int = 12
    dense: tuple[int, ...] = (256, 128, 64)
    features: int = 32
    hidden: int = 32
    projection: int = 32
    dropout: float = 0.25
    motion: bool = True
    unseen: float = 0.0


class Komanda(DrivingNetwork):
    """Convolutions over six frames, and an LSTM that knows what it said before."""

    Settings = KomandaSettings

    def __init__(self, config: Config, settings: KomandaSettings) -> None:
        super().__init__(config, settings)
        size, channels = (config.frame.height_px, config.frame.width_px), 3
        layers, shortcuts = [], []
        for layer in _LAYERS:
            layers.append(StreamedConvolution((channels, settings.channels), *layer, size))
            size, channels = layers[-1].size, settings.channels
            shortcuts.append(nn.Linear(channels * size[0] * size[1], settings.features))
        self.layers, self.shortcuts = nn.ModuleList(layers), nn.ModuleList(shortcuts)
        motions = _motions(config) if settings.motion else []
        self._memories = (*memories(layers), *(one.memory for one in motions))
        self.motions = nn.ModuleList(motions)
        self.moved = nn.ModuleList(_silent(one.width, settings.features) for one in motions)
        self._widths = [settings.features, *(one.width for one in motions)]
        self.dense = _dense(channels * size[0] * size[1], settings)
        self.norm = nn.LayerNorm(settings.features)
        context = settings.features + len(HEADS)
        self.cell = ProjectedLstmCell(context, settings.hidden, settings.projection)
        self.heads = Heads(settings.projection + context)
        self.dropout, self.hide = nn.Dropout(settings.dropout), nn.Dropout(settings.unseen)
        widths = (len(HEADS), settings.projection, settings.hidden)
        self.initial = nn.ParameterList(torch.zeros(width) for width in widths)

    @property
    def recurrent_tensors(self) -> tuple[StateTensor, ...]:
        """Previous output, projection and cell."""
        names = zip(("y", *self.cell.names), self.initial, strict=True)
        kinds = (StateKind.FEEDBACK, StateKind.RECURRENT, StateKind.RECURRENT)
        return tuple(
            recurrent(name, len(start), tuple(start.tolist()), kind)
            for (name, start), kind in zip(names, kinds, strict=True)
        )

    @property
    def visual_tensors(self) -> tuple[StateTensor, ...]:
        """The state of the convolutions over the last five frames, and of the motion layer."""
        return self._memories

    def encoder(self) -> tuple[nn.Module, ...]:
        """Return the modules that turn frames into features."""
        return (self.layers, self.shortcuts, self.dense)

    def perceive(self, frames: Tensor, visual: State) -> tuple[Tensor, State]:
        """Turn windows of frames into features [B, T, F]; see `DrivingNetwork.perceive`.

        They are the sum of what convolutions, shortcuts and dense layers see, then what moved.
        """
        count = len(self.layers)
        seen, after = self._seen(frames, visual[:count])
        features = [seen]
        for motion, before in zip(self.motions, visual[count:], strict=True):
            assert isinstance(motion, Comparison)  # noqa: S101
            moved, look = motion.follow(frames, before)
            features.append(moved)
            after.append(look)
        return torch.cat(features, dim=2), tuple(after)

    def _seen(self, frames: Tensor, visual: State) -> tuple[Tensor, list[Tensor]]:
        features, after = framewise(pixels, frames), []
        total = torch.zeros(())
        for layer, shortcut, memory in zip(self.layers, self.shortcuts, visual, strict=True):
            features, later = layer(features, memory)
            features = self.dropout(torch.relu(features))
            total = total + shortcut(features.flatten(2))
            after.append(later)
        return total + self.dense(features.flatten(2)), after

    def _normed(self, features: Tensor) -> Tensor:
        """Turn what `perceive` gave into the visual feature."""
        seen, *moved = torch.split(features, self._widths, dim=2)
        visual: Tensor = self.hide(self.norm(functional.elu(seen)))
        for shortcut, by in zip(self.moved, moved, strict=True):
            visual = visual + shortcut(by)
        return visual

    def follow(self, features: Tensor, recurrent: State) -> tuple[RawOutput, State]:
        """Run on the network's own outputs; see `DrivingNetwork.follow`."""
        return self._run(self._normed(features), recurrent, None)

    def initial_state(self, batch: int) -> State:
        """Return the trained initial state [batch, *shape]; gradients reach it."""
        zeros = (torch.zeros(batch, *pair.shape, device=self.device) for pair in self._memories)
        return (*(start.expand(batch, -1) for start in self.initial), *zeros)

    def learning_state(self, batch: int) -> State:
        """Return the state of both runs; they share what the convolutions remember."""
        state = self.initial_state(batch)
        return (*state[:_RECURRENT], *state)

    def learn(
        self,
        frames: Tensor,
        labels: Tensor,
        weights: Tensor,
        state: State,
        loss: MaskedLoss,
        *,
        intervals_s: Tensor | None = None,
    ) -> tuple[Losses, State]:
        """Return Komanda's loss of both runs; see `DrivingNetwork.learn`.

        `loss` has no part in it: errors are squared, of outputs scaled to unit variance.
        """
        del loss, intervals_s
        taught, own = state[:_RECURRENT], state[_RECURRENT : 2 * _RECURRENT]
        features, visual = self.see(frames, state[2 * _RECURRENT :])
        seen = self._normed(features)
        truth = (labels - self.get_buffer("output_mean")) / self.get_buffer("output_scale")
        alone, own = self._run(seen, own, None)
        led, taught = self._run(seen, taught, truth)
        squares = [_mean_square(raw.mean, truth, weights) for raw in (alone, led)]
        steering = squares[0][_ANGLE]
        auxiliary = squares[0].mean() + squares[1].mean()
        unsure = gaussian_loss(alone.mean, alone.log_stddev.exp(), truth, weights)
        return Losses(steering + _AUXILIARY * auxiliary, unsure), (*taught, *own, *visual)

    def _run(self, seen: Tensor, state: State, truth: Tensor | None) -> tuple[RawOutput, State]:
        """Run the recurrent part; its previous output is replaced by the truth where there is."""
        previous, state = state[0], state[1:]
        outputs = []
        for index, feature in enumerate(seen.unbind(1)):
            context = torch.cat((previous, feature), dim=1)
            state = self.cell(context, state)
            outputs.append(self.heads(torch.cat((state[0], context), dim=1)))
            previous = outputs[-1].mean
            if truth is not None:
                known = torch.isfinite(truth[:, index])
                previous = torch.where(known, truth[:, index], previous)
        return stacked(outputs), (previous, *state)


def _motions(config: Config) -> list[Comparison]:
    return [motion_below_the_sky(config.frame), ForwardMotion(config.frame)]


def _silent(inputs: int, outputs: int) -> nn.Linear:
    """Return a shortcut that starts at zero: single frames, which do not move, teach it nothing."""
    layer: nn.Linear = skip_init(nn.Linear, inputs, outputs, bias=False)  # type: ignore[no-untyped-call]
    nn.init.zeros_(layer.weight)
    return layer


def _dense(inputs: int, settings: KomandaSettings) -> nn.Sequential:
    layers: list[nn.Module] = []
    for width in settings.dense:
        layers += [nn.Linear(inputs, width), nn.ReLU(), nn.Dropout(settings.dropout)]
        inputs = width
    return nn.Sequential(*layers, nn.Linear(inputs, settings.features))


def _mean_square(raw: Tensor, truth: Tensor, weights: Tensor) -> Tensor:
    """Return the mean squared error [3] of each head over what is labelled."""
    return mean_known((raw - where_known(truth, raw)).square(), truth, weights)


NETWORK = Komanda
