"""The last layer of every network: a mean and a logarithmic standard deviation for each head.

The deviations read what the means read, but detached: no gradient of theirs reaches anything else,
so the means are trained exactly as they would be without deviations.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils import skip_init

from model_export.config import HEADS
from steerstream_bundle.contract import STEERING_WHEEL_ANGLE

_ANGLE = HEADS.index(STEERING_WHEEL_ANGLE)

LEAST_LOG = -5.0
GREATEST_LOG = 3.0
"""Bounds of a logarithmic deviation in units of its head's scale: 0.7 % to 20 times of it."""


class RawOutput(NamedTuple):
    """The output of the last layer, in units of each head's scale.

    Attributes:
        mean: [..., 3].
        log_stddev: [..., 3], natural logarithm of the standard deviation.
    """

    mean: Tensor
    log_stddev: Tensor


class Heads(nn.Module):
    """Two linear layers side by side.

    Args:
        inputs: width of the features.
        steering: how many of the features, from the first on, the steering wheel angle may read;
            all by default. The other heads read all.
    """

    def __init__(self, inputs: int, steering: int | None = None) -> None:
        super().__init__()
        self._steering = steering
        self.mean = nn.Linear(inputs, len(HEADS))
        # No random number is drawn for it, so that the other weights start as they would without.
        self.log_stddev: nn.Linear = skip_init(nn.Linear, inputs, len(HEADS))  # type: ignore[no-untyped-call]
        nn.init.zeros_(self.log_stddev.weight)
        nn.init.zeros_(self.log_stddev.bias)

    def forward(self, features: Tensor) -> RawOutput:
        """Turn features [..., inputs] into raw outputs."""
        log_stddev = self.log_stddev(features.detach()).clamp(LEAST_LOG, GREATEST_LOG)
        return RawOutput(functional.linear(features, self._weight(), self.mean.bias), log_stddev)

    def _weight(self) -> Tensor:
        weight = self.mean.weight
        if self._steering is None:
            return weight
        reads = torch.ones_like(weight)
        reads[_ANGLE, self._steering :] = 0
        return weight * reads


def stacked(outputs: Sequence[RawOutput]) -> RawOutput:
    """Join the raw outputs [B, 3] of single frames to those of windows [B, T, 3]."""
    means, log_stddevs = zip(*outputs, strict=True)
    return RawOutput(torch.stack(means, dim=1), torch.stack(log_stddevs, dim=1))
