"""Lead: a command that acts late goes on changing as it has been changing.

What a network says is right for its picture. Where the command acts later, the vehicle follows the
road late and leads back late. A slow mean of the commands stays behind them where they change; how
far, tells how fast. The command of later is that of now, led by as much (a lead compensator, the
usual cure for delay in control). No weight is learned, and a command that acts at once stays as it
is.
"""

from __future__ import annotations

from torch import Tensor

from model_export.networks.parts.cells import recurrent
from steerstream_bundle.contract import StateKind

SETTLES_S = 1.0
"""Time constant of the slow mean."""
MEMORY = recurrent("slow", 1, kind=StateKind.FEEDBACK)
"""The slow mean of the commands, in the steering's unit."""


def slow_mean(command: Tensor, before: Tensor, periods: Tensor, period_s: float) -> Tensor:
    """Return the slow mean [N, 1] after a command.

    Args:
        command: [N, 1], as it would act at once.
        before: the slow mean after the command before, [N, 1].
        periods: since the command before, [N, 1].
        period_s: their length.
    """
    # A server begins a session anew after a gap that would make the share more than one.
    return before + periods * (period_s / SETTLES_S) * (command - before)


def led(command: Tensor, slow: Tensor, act_in_s: Tensor, gain: float) -> Tensor:
    """Return the command [N, 1] that acts late.

    Args:
        command: [N, 1], as it would act at once.
        slow: their slow mean, [N, 1].
        act_in_s: how long after its picture the command acts, [N, 1].
        gain: seconds of lead for each second of delay.
    """
    return command + act_in_s * (gain / SETTLES_S) * (command - slow)
