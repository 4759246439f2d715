"""The training losses: in each head's own scale, and zero where a label is missing.

The means learn from a robust loss. The standard deviations learn from the likelihood of the means'
errors, which they take as they are.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.functional import smooth_l1_loss

from model_export import parallel
from model_export.config import HeadsConfig


class Losses(NamedTuple):
    """The two losses that are minimised; no weight gets a gradient from both.

    Attributes:
        mean: of the heads' values.
        stddev: of their predicted standard deviations; below zero where these are small and right.
    """

    mean: Tensor
    stddev: Tensor


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
            weights: [B], factor on each row of the batch.
        """
        robust, weight = self.get_buffer("robust"), self.get_buffer("weight")
        target = where_known(labels, outputs)
        errors = smooth_l1_loss(outputs / robust, target / robust, reduction="none")
        return (mean_known(errors, labels, weights) * weight).sum()


def gaussian_loss(mean: Tensor, stddev: Tensor, labels: Tensor, weights: Tensor) -> Tensor:
    """Return the negative log-likelihood of normal errors, a scalar: its constant left out.

    No gradient reaches the means.

    Args:
        mean: [B, T, 3], in any unit that the others have too.
        stddev: [B, T, 3], above zero.
        labels: [B, T, 3], NaN where a head is not labelled.
        weights: [B], factor on each row of the batch.
    """
    errors = (where_known(labels, mean) - mean).detach() / stddev
    return mean_known(stddev.log() + 0.5 * errors.square(), labels, weights).sum()


def where_known(labels: Tensor, outputs: Tensor) -> Tensor:
    """Return the labels, and the outputs themselves, detached, where there is none.

    A NaN must be replaced before a subtraction: zero times NaN is NaN in the gradient.
    """
    return torch.where(torch.isfinite(labels), labels, outputs.detach())


def mean_known(errors: Tensor, labels: Tensor, weights: Tensor) -> Tensor:
    """Return the mean [3] of each head's errors [B, T, 3] over what is labelled, rows weighted.

    Of processes that train together each gives its rows' part of the mean: the parts add up to it.

    Args:
        errors: [B, T, ..., 3].
        labels: [B, T, ..., 3], NaN where a head is not labelled.
        weights: [B], factor on each row of the batch.
    """
    factors = torch.isfinite(labels) * weights.reshape(-1, *(1,) * (labels.dim() - 1))
    over = tuple(range(labels.dim() - 1))
    return (errors * factors).sum(over) / parallel.summed(factors.sum(over)).clamp_min(1e-6)
