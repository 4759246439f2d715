"""Batch normalisation over all rows of a batch, whichever process they lie in."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from model_export import parallel


class BatchNorm2d(nn.BatchNorm2d):
    """`nn.BatchNorm2d` whose statistics in training are those of all processes' rows.

    `nn.SyncBatchNorm` does the same on GPUs alone.
    """

    def forward(self, features: Tensor) -> Tensor:
        """Normalise features [N, C, height, width]."""
        if not self.training or parallel.size() == 1:
            return super().forward(features)
        over = (0, 2, 3)
        count = features.new_tensor([features.numel() / self.num_features])
        total = parallel.summed(torch.cat((features.sum(over), count)))
        mean, count = total[:-1] / total[-1], total[-1].detach()
        # The squares of the deviations, not of the values: nothing cancels.
        centred = features - mean[:, None, None]
        variance = parallel.summed(centred.square().sum(over)) / count
        self._remember(mean.detach(), variance.detach() * count / (count - 1))
        scale = torch.rsqrt(variance + self.eps) * self.weight
        return centred * scale[:, None, None] + self.bias[:, None, None]

    @torch.no_grad()
    def _remember(self, mean: Tensor, variance: Tensor) -> None:
        """Move the running statistics, as `nn.BatchNorm2d` does."""
        assert self.momentum is not None, "the networks use no other average"  # noqa: S101
        self.get_buffer("num_batches_tracked").add_(1)
        self.get_buffer("running_mean").lerp_(mean, self.momentum)
        self.get_buffer("running_var").lerp_(variance, self.momentum)
