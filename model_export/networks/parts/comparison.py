"""Shared by layers that measure, without weights, how far the picture moved between two frames."""

from __future__ import annotations

from abc import ABC, abstractmethod

import torch
from torch import Tensor, nn

from model_export.networks.parts.convolutions import framewise
from steerstream_bundle.contract import StateKind, StateTensor


class Comparison(nn.Module, ABC):
    """Compares each frame with the one before it.

    Attributes:
        name: of the state tensor that holds what has to be remembered.
        shape: of what has to be remembered of a frame, its look.
        lengths: how many of a comparison's numbers are lengths; they come first.
        width: numbers of a comparison.
    """

    name: str
    shape: tuple[int, ...]
    lengths: int
    width: int

    @abstractmethod
    def look(self, frames: Tensor) -> Tensor:
        """Turn frames [N, height, width, 3] of 0..255 into what is compared, [N, *shape]."""

    @abstractmethod
    def forward(self, before: Tensor, now: Tensor) -> Tensor:
        """Compare two looks [N, *shape]; return [N, width]."""

    def follow(self, frames: Tensor, before: Tensor) -> tuple[Tensor, Tensor]:
        """Compare each of the frames [B, T, height, width, 3] with the one before it.

        Args:
            frames: windows.
            before: the look [B, *shape] of the frame before the first; zero where there is none.

        Returns:
            Comparisons [B, T, width], and the look of the last frame.
        """
        now = framewise(self.look, frames)
        # A bundle makes one step at a time, and each operation counts there.
        past = torch.cat((before[:, None], now[:, :-1]), 1) if now.shape[1] > 1 else before[:, None]
        moved: Tensor = self(past.flatten(0, 1), now.flatten(0, 1))
        return moved.reshape(*now.shape[:2], -1), now[:, -1]

    def a_period(self, moved: Tensor, periods: Tensor) -> Tensor:
        """Divide the lengths of comparisons [..., width] by the periods [..., 1] that they took."""
        return torch.cat((moved[..., : self.lengths] / periods, moved[..., self.lengths :]), dim=-1)

    @property
    def memory(self) -> StateTensor:
        """The look, as a bundle's contract states it."""
        kind = StateKind.FRAME_RING
        return StateTensor(input=self.name, output=f"{self.name}_next", shape=self.shape, kind=kind)
