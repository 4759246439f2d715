"""Dropout of the same features in a whole window.

A feature that was trained on these very frames explains them too well, and in the same way from
frame to frame. Dropped frame by frame, a recurrent cell would average over what is left; dropped
for a window (arXiv 1512.05287), it has to do without.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn


class LockedDropout(nn.Module):
    """Drops features of windows, as `nn.Dropout` does those of frames.

    Args:
        share: of the features that are dropped.
    """

    def __init__(self, share: float) -> None:
        super().__init__()
        self._share = share

    def forward(self, features: Tensor) -> Tensor:
        """Drop the same features [B, T, F] at all T."""
        if not self.training or not self._share:
            return features
        draws = torch.rand(features.shape[0], 1, features.shape[2], device=features.device)
        return features * (draws >= self._share) / (1.0 - self._share)
