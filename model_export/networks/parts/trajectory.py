"""The last layer of a network that says what comes next: values of now and of every 50 ms after it.

The command and what follows it are read from these values, as many milliseconds after the picture
as the command acts, by linear interpolation. So a network need not learn what a delay is, and what
it says changes evenly with it.
"""

from __future__ import annotations

import copy

import torch
from torch import Tensor, nn
from torch.nn.utils import skip_init

from model_export.config import HEADS
from model_export.networks.parts.heads import GREATEST_LOG, LEAST_LOG, RawOutput

SPACING_S = 0.05
STEPS = 10
"""Values that follow a command."""
MAX_ACT_IN_S = 0.25
"""The latest that a command may act after its picture."""

_DELAYS = round(MAX_ACT_IN_S / SPACING_S)
TIMES_S = tuple(SPACING_S * step for step in range(_DELAYS + STEPS + 1))


class TrajectoryHeads(nn.Module):
    """Two linear layers: means of all times, and logarithmic deviations of the first and the last.

    Both give [..., 3, times], so that in a bundle the steps of a head lie side by side.

    Args:
        inputs: width of the features.
    """

    def __init__(self, inputs: int) -> None:
        super().__init__()
        self.mean = nn.Linear(inputs, len(TIMES_S) * len(HEADS))
        # No random number is drawn for it, so that the other weights start as they would without.
        self.log_stddev: nn.Linear = skip_init(nn.Linear, inputs, 2 * len(HEADS))  # type: ignore[no-untyped-call]
        nn.init.zeros_(self.log_stddev.weight)
        nn.init.zeros_(self.log_stddev.bias)

    def forward(self, features: Tensor) -> RawOutput:
        """Turn features [..., inputs] into raw means [..., 3, times] and deviations [..., 3, 2]."""
        mean = self.mean(features).unflatten(-1, (len(HEADS), len(TIMES_S)))
        log_stddev = self.log_stddev(features.detach()).clamp(LEAST_LOG, GREATEST_LOG)
        return RawOutput(mean, log_stddev.unflatten(-1, (len(HEADS), 2)))

    @torch.no_grad()
    def scaled(self, mean: Tensor, scale: Tensor) -> TrajectoryHeads:
        """Return a copy whose means are in SI units: scales [3] folded into the weights.

        Args:
            mean: what a raw output of zero stands for.
            scale: one unit of a raw output.
        """
        clone = copy.deepcopy(self)
        factors = scale.repeat_interleave(len(TIMES_S))
        clone.mean.weight.mul_(factors[:, None])
        clone.mean.bias.mul_(factors).add_(mean.repeat_interleave(len(TIMES_S)))
        return clone


def from_then_on(values: Tensor, act_in_s: Tensor) -> Tensor:
    """Return a command and the steps that follow it, [N, heads, 1 + STEPS].

    Args:
        values: [N, heads, times].
        act_in_s: how long after its picture the command acts, [N].
    """
    place = act_in_s[:, None] / SPACING_S
    shares = torch.relu(1.0 - (place - torch.arange(_DELAYS + 1)).abs())
    # The steps' weights are the command's, moved on by one value each.
    weights: Tensor = (shares @ _moved_on()).unflatten(1, (len(TIMES_S), STEPS + 1))  # type: ignore[no-untyped-call]
    return values @ weights


def both_ends(ends: Tensor, act_in_s: Tensor) -> tuple[Tensor, Tensor]:
    """Return values [N, 3] for a command and for the last of the steps that follow it.

    Args:
        ends: those of the first and the last time, [N, 3, 2]; they change evenly in between.
        act_in_s: how long after its picture the command acts, [N].
    """
    first, last = ends.unbind(-1)
    growth = (last - first) * (1 / TIMES_S[-1])
    command = first + growth * act_in_s[:, None]
    return command, command + growth * (STEPS * SPACING_S)


def _moved_on() -> Tensor:
    """Return [delays, times * steps]: a one where value `delay + step` is that step's."""
    where = torch.zeros(_DELAYS + 1, len(TIMES_S), STEPS + 1)
    for delay in range(_DELAYS + 1):
        for step in range(STEPS + 1):
            where[delay, delay + step, step] = 1.0
    return where.flatten(1)
