"""What every network offers to training, export and verification."""

from __future__ import annotations

import copy
from abc import ABC, abstractmethod

import torch
from torch import Tensor, nn

from model_export.config import Config
from service.contract import StateTensor

State = tuple[Tensor, ...]
"""One float32 tensor [N, *shape] for each of a network's state tensors, in their order."""


class DrivingNetwork(nn.Module, ABC):
    """A network that turns one frame and its state into one command.

    Args:
        config: the run's configuration.

    Attributes:
        state_tensors: the recurrent state as a bundle's contract states it.
    """

    state_tensors: tuple[StateTensor, ...] = ()

    def __init__(self, config: Config) -> None:
        super().__init__()
        heads = config.heads.ordered()
        self.register_buffer("output_mean", torch.tensor([head.mean for head in heads]))
        self.register_buffer("output_scale", torch.tensor([head.scale for head in heads]))

    @abstractmethod
    def encode(self, frames: Tensor) -> Tensor:
        """Turn uint8 frames [N, height, width, 3] into features [N, F]."""

    @abstractmethod
    def encoder(self) -> tuple[nn.Module, ...]:
        """Return the modules that turn a frame into features; stages may train them slower."""

    def fused(self) -> DrivingNetwork:
        """Return a copy for inference, with what training alone needs folded away."""
        return copy.deepcopy(self).eval()

    @abstractmethod
    def step(self, features: Tensor, state: State) -> tuple[Tensor, State]:
        """Advance by one frame: features [N, F] to raw outputs [N, 3] and the new state."""

    def initial_state(self, batch: int) -> State:
        """Return the state [batch, *shape] of sessions that begin."""
        return tuple(
            torch.tensor(pair.initial).expand(batch, *pair.shape).clone()
            for pair in self.state_tensors
        )

    def forward(self, frame: Tensor, *state: Tensor) -> tuple[Tensor, ...]:
        """Make one step as a bundle does.

        Args:
            frame: uint8 [N, height, width, 3], RGB.
            state: float32 [N, *shape] each.

        Returns:
            One tensor [N] in SI units for each head, then the new state.
        """
        raw, after = self.step(self.encode(frame), state)
        return (*self.to_si(raw).unbind(1), *after)

    def unroll(self, frames: Tensor, state: State) -> tuple[Tensor, State]:
        """Run over windows of frames uint8 [B, T, height, width, 3] with carried state.

        Returns:
            Outputs [B, T, 3] in SI units, and the state after the last frame.
        """
        lanes, window = frames.shape[:2]
        features = self.encode(frames.flatten(0, 1)).view(lanes, window, -1)
        outputs = []
        for step in features.unbind(1):
            raw, state = self.step(step, state)
            outputs.append(self.to_si(raw))
        return torch.stack(outputs, dim=1), state

    def to_si(self, raw: Tensor) -> Tensor:
        """Scale raw outputs [..., 3] to SI units."""
        mean, scale = self.get_buffer("output_mean"), self.get_buffer("output_scale")
        return raw * scale + mean
