"""The training loss: robust, in each head's own scale, and silent where a label is missing."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.functional import smooth_l1_loss

from model_export.config import HeadsConfig


class MaskedLoss(nn.Module):
    """Weighted smooth L1 loss over three heads, of which any label may be NaN.

    Args:
        heads: scale, robust threshold and weight of each head.
    """

    def __init__(self, heads: HeadsConfig) -> None:
        super().__init__()
        ordered = heads.ordered()
        self.register_buffer("robust", torch.tensor([head.robust for head in ordered]))
        self.register_buffer("weight", torch.tensor([head.weight for head in ordered]))

    def forward(self, outputs: Tensor, labels: Tensor, weights: Tensor) -> Tensor:
        """Return the loss, a scalar.

        Args:
            outputs: [B, T, 3] in SI units.
            labels: [B, T, 3] in SI units, NaN where a head is not labelled.
            weights: [B], factor on each lane.
        """
        robust, weight = self.get_buffer("robust"), self.get_buffer("weight")
        known = torch.isfinite(labels)
        # A NaN must be replaced before the subtraction: zero times NaN is NaN in the gradient.
        target = torch.where(known, labels, outputs.detach())
        errors = smooth_l1_loss(outputs / robust, target / robust, reduction="none")
        factors = known * weights[:, None, None]
        per_head = (errors * factors).sum((0, 1)) / factors.sum((0, 1)).clamp_min(1e-6)
        return (per_head * weight).sum()
