"""PilotNet's convolutions, then recurrent cells: the default network.

The design of the course MIT 6.S094: a convolutional network sees, a recurrent one remembers. The
heads see the cells' output and the present feature, as in Komanda. The cell is a setting, so that
plain RNN, GRU and LSTM can be compared; one to three layers. With the setting `motion` the cells
are also told how far the picture moved sideways since the frame before
(`model_export.networks.parts.motion`); with `horizon` it says what comes next, and what is right
when its command acts (`model_export.networks.parts.trajectory`); with `plan` it reads how the
steering changes from what it remembers of the road ahead (`model_export.networks.parts.plan`); with
`lead` it leads a command that acts late (`model_export.networks.parts.lead`).
"""

from __future__ import annotations

import copy
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from model_export.config import HEADS, Config
from model_export.networks.base import DrivingNetwork, Prediction, State
from model_export.networks.parts import lead
from model_export.networks.parts.cells import Recurrence
from model_export.networks.parts.convolutions import PilotNetConvolutions, framewise
from model_export.networks.parts.heads import Heads, RawOutput
from model_export.networks.parts.locked_dropout import LockedDropout
from model_export.networks.parts.losses import Losses, MaskedLoss, gaussian_loss
from model_export.networks.parts.motion import motion_below_the_sky
from model_export.networks.parts.plan import Plan, own_commands, plan_loss
from model_export.networks.parts.trajectory import (
    STEPS,
    TIMES_S,
    TrajectoryHeads,
    both_ends,
    from_then_on,
)
from steerstream_bundle.contract import STEERING_WHEEL_ANGLE, StateTensor

_ANGLE = HEADS.index(STEERING_WHEEL_ANGLE)
_LEAST_PERIODS = 0.2
"""A shorter interval is a clock's mistake: it would make any noise a motion."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PilotNetLstmSettings:
    """Settings of `PilotNetLstm`.

    Attributes:
        cell: `rnn`, `gru`, `lstm` or `bounded_lstm`.
        layers: recurrent layers, 1 to 3.
        features: width of the visual feature that a frame becomes.
        hidden: width of the recurrent state.
        first: channels of the first convolution.
        second: channels of the second; the two have most of all work.
        motion: tell the cells how far the picture moved since the frame before.
        interval: take the time since the frame before: motion becomes motion a period.
        horizon: say what comes next, and take the time until the command acts.
        plan: remember the steering of the road ahead, and let it say how the horizon changes.
        lead: seconds by which the steering is led for each second that the command acts later.
        dropout: share of features dropped in training, before and after the recurrent cells;
            motion is never dropped.
        unseen: share of the visual features dropped for a whole window: features that learned these
            very frames explain them too well there.
    """

    cell: str = "lstm"
    layers: int = 1
    features: int = 100
    hidden: int = 64
    first: int = 24
    second: int = 36
    motion: bool = False
    interval: bool = False
    horizon: bool = False
    plan: bool = False
    lead: float = 0.0
    dropout: float = 0.2
    unseen: float = 0.0


class PilotNetLstm(DrivingNetwork):
    """PilotNet with recurrent cells between its features and three heads."""

    Settings = PilotNetLstmSettings

    def __init__(self, config: Config, settings: PilotNetLstmSettings) -> None:
        super().__init__(config, settings)
        if settings.interval and not settings.motion:
            raise ValueError("interval has a meaning for motion alone")
        if settings.plan and not (settings.interval and settings.horizon):
            raise ValueError("a plan needs interval and horizon")
        if settings.lead and not settings.plan:
            raise ValueError("lead needs a plan, which says what comes after the command")
        self.convolutions = PilotNetConvolutions((settings.first, settings.second))
        self.project = nn.Linear(PilotNetConvolutions.size(config.frame), settings.features)
        self.motion = motion_below_the_sky(config.frame) if settings.motion else None
        inputs = settings.features + (self.motion.width if self.motion else 0)
        self.recurrence = Recurrence(
            settings.cell, inputs=inputs, hidden=settings.hidden, layers=settings.layers
        )
        known = inputs + settings.hidden
        self.heads = TrajectoryHeads(known) if settings.horizon else Heads(known)
        wide = PilotNetConvolutions.size(config.frame)
        self.plan = Plan(wide, known) if settings.plan else None
        self._inputs = inputs
        self.dropout = nn.Dropout(settings.dropout)
        self.unseen = LockedDropout(settings.unseen)
        self.speaks_si = False
        lengths = torch.zeros(inputs + (wide if settings.plan else 0))
        if self.motion is not None:
            lengths[settings.features : settings.features + self.motion.lengths] = 1.0
        self.register_buffer("lengths", lengths, persistent=False)

    @property
    def takes_interval(self) -> bool:
        """A setting."""
        return bool(self.settings.interval)

    @property
    def takes_act_in(self) -> bool:
        """A network that says what comes next says also what is right then."""
        return bool(self.settings.horizon)

    @property
    def label_times_s(self) -> tuple[float, ...]:
        """Those of the trajectory, if it says one."""
        return TIMES_S if self.settings.horizon else super().label_times_s

    @property
    def recurrent_tensors(self) -> tuple[StateTensor, ...]:
        """The cells' state, `hidden` numbers each; the plan, if it has one; what leads."""
        planned = (self.plan.memory,) if self.plan else ()
        leading = (lead.MEMORY,) if self.settings.lead else ()
        return (*self.recurrence.state_tensors, *planned, *leading)

    @property
    def visual_tensors(self) -> tuple[StateTensor, ...]:
        """The state that is compared with the next frame."""
        return (self.motion.memory,) if self.motion else ()

    def encoder(self) -> tuple[nn.Module, ...]:
        """Return the modules that turn a frame into features."""
        return (self.convolutions, self.project)

    def perceive(self, frames: Tensor, visual: State) -> tuple[Tensor, State]:
        """Turn windows of frames into features [B, T, F]; see `DrivingNetwork.perceive`.

        They are what the projection makes of the convolutions, then how far the picture moved, then
        for a plan the convolutions themselves.
        """
        wide = framewise(self.convolutions, frames)
        seen = framewise(self._projected, wide)
        if self.motion is None:
            return seen, visual
        moved, after = self.motion.follow(frames, *visual)
        return torch.cat((seen, moved, *((wide,) if self.plan else ())), dim=2), (after,)

    def follow(self, features: Tensor, recurrent: State) -> tuple[RawOutput, State]:
        """Advance frame by frame; see `DrivingNetwork.follow`."""
        if self.plan is None:
            known, after = self._known(features, recurrent)
            return self._raw(known), after
        cells, planned, slow = self._parts(recurrent)
        known, cells = self._known(features, cells)
        said = self._raw(known)
        if self.training:
            # Commands learn as if there were no plan: it is theirs, not they its.
            return said, (*cells, planned, *slow)
        _, last = self._planned(features, known, planned)
        return said, (*cells, last, *self._slower(said, features, slow))

    def forward(self, frame: Tensor, *inputs: Tensor) -> tuple[Tensor, ...]:
        """Make one step as a bundle does; a plan says how the steering changes after it."""
        if self.plan is None:
            return super().forward(frame, *inputs)
        interval_s, act_in_s, *state = inputs
        windows, after = self._said(frame.unsqueeze(1), tuple(state), interval_s.unsqueeze(1))
        mean, stddev = self.to_si(RawOutput(*(part.flatten(0, 1) for part in windows)))
        _, plan, slow = self._parts(after[: len(self.recurrent_tensors)])
        # Of the plan its changes alone count: they go on from the command.
        planned = plan[:, : len(TIMES_S)] * self.get_buffer("output_scale")[_ANGLE]
        foreseen = torch.cat((planned[:, None], mean[:, _ANGLE + 1 :]), dim=1)
        if slow:
            now = self._at_once(windows)[:, 0]
            command = lead.led(now, slow[0], act_in_s[:, None], self.settings.lead)
        else:
            command = from_then_on(mean[:, _ANGLE, None], act_in_s)[:, 0, :1]
        return (*self._read(foreseen, stddev, act_in_s, command), *after)

    def foresee(
        self, frames: Tensor, state: State, intervals_s: Tensor | None = None
    ) -> tuple[Losses, State]:
        """Judge the plan alone; see `DrivingNetwork.foresee`."""
        if self.plan is None:
            return super().foresee(frames, state, intervals_s)
        features, recurrent, visual = self._noticed(frames, state, intervals_s)
        cells, planned, slow = self._parts(recurrent)
        known, cells = self._known(features, cells)
        plans, last = self._planned(features, known, planned)
        commands = own_commands(self._raw(known).mean[:, :, _ANGLE, 0])
        right = plan_loss(plans, commands)
        return Losses(right, torch.zeros_like(right)), (*cells, last, *slow, *visual)

    def planning(self) -> tuple[nn.Module, ...]:
        """Return the plan, if it has one; see `DrivingNetwork.planning`."""
        return (self.plan,) if self.plan else ()

    def timed(self, features: Tensor, intervals_s: Tensor) -> Tensor:
        """Turn motion into motion a period; see `DrivingNetwork.timed`."""
        periods = (intervals_s * (1 / self.period_s)).clamp_min(_LEAST_PERIODS)
        # A factor of 1 on all that is no length: no slices, which cost more than products.
        timed = features * (1.0 + (1.0 / periods - 1.0).unsqueeze(2) * self.get_buffer("lengths"))
        return torch.cat((timed, periods.unsqueeze(2)), dim=2) if self.plan else timed

    def at_once(self, raw: RawOutput) -> Prediction:
        """Return the command of now; see `DrivingNetwork.at_once`."""
        said = self.to_si(raw)
        return Prediction(*(part[..., 0] for part in said)) if self.settings.horizon else said

    def to_si(self, raw: RawOutput) -> Prediction:
        """Scale what is [..., 3, times]; see `DrivingNetwork.to_si`."""
        if not self.settings.horizon:
            return super().to_si(raw)
        if self.speaks_si:
            return Prediction(
                raw.mean, raw.log_stddev.exp() * self.get_buffer("calibration")[:, None]
            )
        turned = super().to_si(RawOutput(raw.mean.mT, raw.log_stddev.mT))
        return Prediction(turned.mean.mT, turned.stddev.mT)

    def values(self, raw: RawOutput, act_in_s: Tensor | None) -> tuple[Tensor, ...]:
        """Return the command that acts then, and what follows it; see `DrivingNetwork.values`."""
        if act_in_s is None:
            return super().values(raw, act_in_s)
        return self._read(*self.to_si(raw), act_in_s)

    def judged(
        self, said: Prediction, labels: Tensor, weights: Tensor, loss: MaskedLoss
    ) -> tuple[Tensor, Tensor]:
        """Judge the whole trajectory, and the deviations of its ends."""
        if not self.settings.horizon:
            return super().judged(said, labels, weights, loss)
        mean, stddev = said.mean.mT, said.stddev.mT
        ends = [0, -1]
        sure = gaussian_loss(mean[:, :, ends], stddev, labels[:, :, ends], weights)
        return loss(mean, labels, weights), sure

    def fused(self) -> PilotNetLstm:
        """Return a copy for inference."""
        clone = copy.deepcopy(self).eval()
        clone.convolutions = self.convolutions.folded()
        if isinstance(self.heads, TrajectoryHeads):
            scale = self.get_buffer("output_scale")
            clone.heads = self.heads.scaled(self.get_buffer("output_mean"), scale)
            clone.calibration = self.get_buffer("calibration") * scale
            clone.speaks_si = True
        return clone

    def _known(self, features: Tensor, cells: State) -> tuple[Tensor, State]:
        """Return what the heads read, [B, T, known], and the cells' new state."""
        inputs = features[..., : self._inputs] if self.plan else features
        if self.training:
            inputs = self._partly_hidden(inputs)
        known = []
        for step in inputs.unbind(1):
            output, cells = self.recurrence(step, cells)
            known.append(torch.cat((self.dropout(output), step), dim=1))
        return torch.stack(known, dim=1), cells

    def _read(
        self, mean: Tensor, stddev: Tensor, act_in_s: Tensor, command: Tensor | None = None
    ) -> tuple[Tensor, ...]:
        """Return a bundle's values, read from trajectories [N, 3, times] where commands act.

        Args:
            mean: the trajectories.
            stddev: of their first and last values, [N, 3, 2].
            act_in_s: when each command acts, [N].
            command: the steering [N, 1] in place of the one that is read; what follows goes on
                from it.
        """
        said = from_then_on(mean, act_in_s).flatten(1)
        # One split, in which the steps of a head are a tensor of the bundle as they come.
        parts = list(torch.split(said, [1, STEPS] * len(HEADS), dim=1))
        if command is not None:
            parts[:2] = command, parts[1] + (command - parts[0])
        sure, surely_last = both_ends(stddev, act_in_s)
        return (
            *(part.squeeze(1) for part in parts[::2]),
            *sure.unbind(1),
            *parts[1::2],
            *surely_last.unbind(1),
        )

    def _at_once(self, said: RawOutput) -> Tensor:
        """Return the steering of windows that acts at once, [B, T, 1]."""
        return self.to_si(said).mean[:, :, _ANGLE, :1]

    def _parts(self, recurrent: State) -> tuple[State, Tensor, State]:
        """Split the recurrent state of a network that plans: cells, plan, and what leads."""
        cells = len(self.recurrence.state_tensors)
        return recurrent[:cells], recurrent[cells], recurrent[cells + 1 :]

    def _slower(self, said: RawOutput, features: Tensor, slow: State) -> State:
        """Return the slow mean after windows of commands, if the network leads."""
        if not slow:
            return ()
        (mean,) = slow
        steps = zip(self._at_once(said).unbind(1), features[..., -1].unbind(1), strict=True)
        for command, periods in steps:
            mean = lead.slow_mean(command, mean, periods[:, None], self.period_s)
        return (mean,)

    def _planned(self, features: Tensor, known: Tensor, before: Tensor) -> tuple[Tensor, Tensor]:
        assert self.plan is not None, "only networks that plan come here"  # noqa: S101
        return self.plan.follow(
            features[..., self._inputs : -1], known, periods=features[..., -1], before=before
        )

    def _raw(self, known: Tensor) -> RawOutput:
        said = self.heads(known.flatten(0, 1))
        return RawOutput(*(part.unflatten(0, known.shape[:2]) for part in said))

    def _partly_hidden(self, features: Tensor) -> Tensor:
        """Return training features; of what the convolutions see, a part is dropped."""
        width = self.settings.features
        seen = self.unseen(self.dropout(features[..., :width]))
        return torch.cat((seen, features[..., width:]), dim=2)

    def _projected(self, wide: Tensor) -> Tensor:
        return torch.relu(self.project(self.dropout(wide)))


NETWORK = PilotNetLstm
