"""What a network will steer next, remembered from frame to frame and corrected by each.

The picture begins some 12 m ahead of the vehicle, so the road of the next half second is not in
it: it was seen before. A plan is the steering of the coming 1.5 s. Each frame finds
in it what the frame before said of the same moments, and mixes that with what it sees itself.

It learns from the network's own drives (`own_commands`): what the network will say, not what would
be right. So what plays while answers are missing leads the vehicle where the answers would have.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.functional import smooth_l1_loss

from model_export import parallel
from model_export.networks.parts.cells import recurrent
from model_export.networks.parts.locked_dropout import LockedDropout
from model_export.networks.parts.losses import where_known
from steerstream_bundle.contract import StateKind, StateTensor

PERIODS = 31
"""Values of a plan, a period apart: 0 to 1.5 s. The last second is there to be remembered."""
_JUDGED = 21
"""Changes up to a second are judged by themselves; later ones are only remembered."""
_LOOK, _HIDDEN = 32, 64
_DROPPED = 0.3
_ROBUST = 0.8
"""Error in raw units beyond which the loss of a plan's values grows linearly."""
_UNIT, _UNIT_A_PERIOD = 0.04, 0.02
"""Unit of a change's error, now and for each period later, in raw units: later is less certain."""
_KEY_CHANGE = 0.4
"""Change over half a second, in raw units, that counts twice: a bend that begins or ends."""
_KEY_PERIODS = 10
_CHANGES_SHARE = 0.5


class Plan(nn.Module):
    """Carries the steering of the next 1.5 s, in raw units, from frame to frame.

    Args:
        seen: width of what the convolutions see: it shows the road better than what the commands
            were taught from.
        known: width of what is known of a frame otherwise.
    """

    def __init__(self, seen: int, known: int) -> None:
        super().__init__()
        self.dropout = LockedDropout(_DROPPED)
        self.look = nn.Linear(seen, _LOOK)
        self.mix = nn.Linear(_LOOK + known + PERIODS, _HIDDEN)
        self.fresh = nn.Linear(_LOOK + _HIDDEN, PERIODS)
        self.trust = nn.Linear(_HIDDEN, PERIODS)
        # Until it has learned, it says that nothing changes.
        nn.init.zeros_(self.fresh.weight)
        nn.init.zeros_(self.fresh.bias)

    @property
    def memory(self) -> StateTensor:
        """The plan of the frame before, as a bundle's contract states it."""
        return recurrent("plan", PERIODS, kind=StateKind.FEEDBACK)

    def follow(
        self, seen: Tensor, known: Tensor, periods: Tensor, before: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Return the plans of windows of frames, [B, T, PERIODS], and the last, [B, PERIODS].

        Args:
            seen: of each frame, [B, T, seen].
            known: of each frame, [B, T, known].
            periods: since the frame before, [B, T].
            before: the plan before the first frame, [B, PERIODS].
        """
        looks = torch.relu(self.look(self.dropout(seen)))
        plans = []
        steps = (part.unbind(1) for part in (looks, self.dropout(known), periods))
        for look, step, period in zip(*steps, strict=True):
            before = self(look, step, moved_on(before, period))
            plans.append(before)
        return torch.stack(plans, dim=1), before

    def forward(self, look: Tensor, known: Tensor, expected: Tensor) -> Tensor:
        """Correct what was expected of a frame, [N, PERIODS].

        Args:
            look: what is seen in it, [N, looks].
            known: what is known of it, [N, known].
            expected: the plan of the frame before, moved on, [N, PERIODS].
        """
        hidden = torch.relu(self.mix(torch.cat((look, known, expected), dim=1)))
        trust, fresh = torch.sigmoid(self.trust(hidden)), self.fresh(torch.cat((look, hidden), 1))
        plan: Tensor = fresh + trust * (expected - fresh)
        return plan


def moved_on(plans: Tensor, periods: Tensor) -> Tensor:
    """Return plans [N, PERIODS] as they say it so many periods later [N]; their end holds."""
    places = torch.arange(PERIODS, device=plans.device)
    wanted = (places + periods[:, None]).clamp_max(PERIODS - 1)
    # No rectifier: those are counted as units where a network is looked into.
    shares = (1.0 - (wanted[:, None] - places[:, None]).abs()).clamp_min(0.0)
    found: Tensor = plans[:, None] @ shares
    return found.squeeze(1)


def own_commands(said: Tensor) -> Tensor:
    """Return what windows of commands [B, T] say later: [B, T, PERIODS], NaN beyond their end."""
    beyond = said.new_full((len(said), PERIODS - 1), torch.nan)
    later: Tensor = torch.cat((said, beyond), dim=1).unfold(1, PERIODS, 1)
    return later


def plan_loss(plans: Tensor, commands: Tensor) -> Tensor:
    """Return the loss of plans [B, T, PERIODS] against the commands that came, a scalar.

    Values and changes are judged apart, because the horizon is read from the changes. Frames after
    which the steering changes count more: in most it stays as it is.
    """
    known, target = torch.isfinite(commands), where_known(commands, plans)
    values = smooth_l1_loss(plans / _ROBUST, target / _ROBUST, reduction="none")
    change = (target - target[..., :1])[..., :_JUDGED]
    unit = _UNIT + _UNIT_A_PERIOD * torch.arange(_JUDGED, device=plans.device)
    changes = smooth_l1_loss(
        (plans - plans[..., :1])[..., :_JUDGED] / unit, change / unit, reduction="none"
    )
    key = 1.0 + change[..., _KEY_PERIODS : _KEY_PERIODS + 1].abs() / _KEY_CHANGE
    total = (values * known).sum() + _CHANGES_SHARE * (changes * key * known[..., :_JUDGED]).sum()
    return total / parallel.summed(known.sum())
