"""The interface of every network to training, export and verification."""

from __future__ import annotations

import copy
from abc import ABC, abstractmethod
from typing import Any, ClassVar, NamedTuple

import torch
from torch import Tensor, nn

from model_export.config import Config
from model_export.networks.parts.heads import Heads, RawOutput
from model_export.networks.parts.losses import Losses, MaskedLoss, gaussian_loss
from model_export.networks.parts.trajectory import TrajectoryHeads
from steerstream_bundle.contract import StateTensor, TrainingSource

State = tuple[Tensor, ...]
"""One float32 tensor [N, *shape] for each of a network's state tensors, in their order."""


class Prediction(NamedTuple):
    """The outputs of a network, in SI units.

    Attributes:
        mean: [..., 3].
        stddev: [..., 3], the standard deviation of the error that it expects.
    """

    mean: Tensor
    stddev: Tensor


class DrivingNetwork(nn.Module, ABC):
    """A network that turns one frame and its state into one command.

    A subclass says how it sees (`perceive`) and what it makes of that over time
    (`follow`), and what each has to remember from frame to frame. Training, export and
    verification need no more.

    Args:
        config: the run's configuration.
        settings: the network's own part of it, of the type `Settings`.

    Attributes:
        period_s: nominal time between frames.
    """

    Settings: ClassVar[type[Any]]
    """A frozen dataclass: the keys that `[network.settings]` takes."""

    pretraining: ClassVar[tuple[TrainingSource, ...]] = ()
    """The data behind the weights of `load_pretrained`, for a bundle's metadata."""

    heads: Heads | TrajectoryHeads
    """The last layer, of a network that has one."""

    def __init__(self, config: Config, settings: Any) -> None:  # noqa: ANN401
        super().__init__()
        self.settings = settings
        heads = config.heads.ordered()
        self.register_buffer("output_mean", torch.tensor([head.mean for head in heads]))
        self.register_buffer("output_scale", torch.tensor([head.scale for head in heads]))
        self.register_buffer("calibration", torch.ones(len(heads)))
        self.period_s = 1 / config.serving.rate_hz

    @property
    def takes_interval(self) -> bool:
        """Whether it wants to know how long the frame before is ago; see `timed`."""
        return False

    @property
    def takes_act_in(self) -> bool:
        """Whether it wants to know how long after its frame a command acts."""
        return False

    @property
    def label_times_s(self) -> tuple[float, ...]:
        """The times after a frame that it learns labels of; the frame's own alone by default."""
        return (0.0,)

    @property
    def recurrent_tensors(self) -> tuple[StateTensor, ...]:
        """The state that `follow` carries; none by default."""
        return ()

    @property
    def visual_tensors(self) -> tuple[StateTensor, ...]:
        """The state that `perceive` carries; none by default."""
        return ()

    @property
    def state_tensors(self) -> tuple[StateTensor, ...]:
        """The whole state as a bundle's contract states it."""
        return self.recurrent_tensors + self.visual_tensors

    @property
    def log_stddevs(self) -> tuple[nn.Module, ...]:
        """The layers that say how sure it is; they share no weight with what says the means."""
        return (self.heads.log_stddev,)

    @abstractmethod
    def encoder(self) -> tuple[nn.Module, ...]:
        """Return the modules that turn a frame into features; stages may train them slower."""

    @abstractmethod
    def perceive(self, frames: Tensor, visual: State) -> tuple[Tensor, State]:
        """Turn windows of frames uint8 [B, T, height, width, 3] into features [B, T, ...].

        Args:
            frames: the windows.
            visual: of `visual_tensors`, before the first frame.

        Returns:
            The features, and the new visual state.
        """

    @abstractmethod
    def follow(self, features: Tensor, recurrent: State) -> tuple[RawOutput, State]:
        """Turn windows of features [B, T, ...] into raw outputs [B, T, 3] and the new state."""

    def taught(self, features: Tensor, recurrent: State) -> tuple[tuple[RawOutput, ...], State]:
        """Return as `follow` does what `learn` has to judge: all of it, one by one."""
        raw, after = self.follow(features, recurrent)
        return (raw,), after

    def timed(self, features: Tensor, intervals_s: Tensor) -> Tensor:  # noqa: ARG002
        """Bring the time since the frame before [B, T] into features [B, T, ...].

        Only networks that take the interval say how; `follow` gets what this returns.
        """
        return features

    @property
    def device(self) -> torch.device:
        """What it computes on."""
        return self.get_buffer("output_mean").device

    def load_pretrained(self) -> None:
        """Take weights from training on other data, where the network uses such; else nothing."""

    def fused(self) -> DrivingNetwork:
        """Return a copy for inference, with what training alone needs folded away."""
        return copy.deepcopy(self).eval()

    def initial_state(self, batch: int) -> State:
        """Return the state [batch, *shape] of sessions that begin."""
        return tuple(
            torch.tensor(pair.initial, device=self.device)
            .reshape(pair.shape if len(pair.initial) > 1 else ()).expand(batch, *pair.shape).clone()
            for pair in self.state_tensors
        )  # fmt: skip

    def forward(self, frame: Tensor, *inputs: Tensor) -> tuple[Tensor, ...]:
        """Make one step as a bundle does.

        Args:
            frame: uint8 [N, height, width, 3], RGB.
            inputs: seconds since the frame before, float32 [N], if the network takes that; seconds
                until the command acts, float32 [N], if it takes that; then the state, float32
                [N, *shape] each.

        Returns:
            One tensor [N] in SI units for each head, one for the standard deviation of each, then
            the horizon's, then the new state.
        """
        timings = int(self.takes_interval) + int(self.takes_act_in)
        intervals_s = inputs[0].unsqueeze(1) if self.takes_interval else None
        act_in_s = inputs[timings - 1] if self.takes_act_in else None
        windows, after = self._said(frame.unsqueeze(1), inputs[timings:], intervals_s)
        raw = RawOutput(*(part.flatten(0, 1) for part in windows))
        return (*self.values(raw, act_in_s), *after)

    def values(self, raw: RawOutput, act_in_s: Tensor | None) -> tuple[Tensor, ...]:  # noqa: ARG002
        """Return the contract's `values`: [N] each, and [N, steps] for a horizon's.

        Args:
            raw: of N frames.
            act_in_s: how long after its frame each command acts, [N], if the network takes that.
        """
        mean, stddev = self.to_si(raw)
        return (*mean.unbind(1), *stddev.unbind(1))

    def at_once(self, raw: RawOutput) -> Prediction:
        """Return the command [..., 3] that acts at the moment of its frame."""
        return self.to_si(raw)

    def unroll(
        self, frames: Tensor, state: State, intervals_s: Tensor | None = None
    ) -> tuple[Prediction, State]:
        """Run over windows with carried state.

        Args:
            frames: uint8 [B, T, height, width, 3], or float16 [B, T, ...]: features that
                `perceive` gave before.
            state: before the first frame.
            intervals_s: float32 [B, T], time since the frame before; the nominal period by
                default. Networks that do not take it are the same for any.

        Returns:
            Outputs [B, T, 3] that act at once, and the state after the last frame.
        """
        raw, after = self._said(frames, state, intervals_s)
        return self.at_once(raw), after

    def _said(
        self, frames: Tensor, state: State, intervals_s: Tensor | None
    ) -> tuple[RawOutput, State]:
        features, recurrent, visual = self._noticed(frames, state, intervals_s)
        raw, after = self.follow(features, recurrent)
        return raw, (*after, *visual)

    def _noticed(
        self, frames: Tensor, state: State, intervals_s: Tensor | None
    ) -> tuple[Tensor, State, State]:
        """Return timed features, the recurrent state before and the visual state after them."""
        recurrent = len(self.recurrent_tensors)
        features, visual = self.see(frames, state[recurrent:])
        if self.takes_interval:
            if intervals_s is None:
                intervals_s = torch.full(features.shape[:2], self.period_s, device=self.device)
            features = self.timed(features, intervals_s)
        return features, state[:recurrent], visual

    def see(self, frames: Tensor, visual: State) -> tuple[Tensor, State]:
        """Return the features of windows, computed or stored; see `unroll`."""
        return (
            (frames.float(), visual)
            if frames.is_floating_point()
            else self.perceive(frames, visual)
        )

    def learning_state(self, batch: int) -> State:
        """Return the state that `learn` begins with."""
        return self.initial_state(batch)

    def learn(
        self,
        frames: Tensor,
        labels: Tensor,
        weights: Tensor,
        state: State,
        loss: MaskedLoss,
        *,
        intervals_s: Tensor | None = None,
    ) -> tuple[Losses, State]:
        """Return the training losses over windows, and the state to carry on.

        Args:
            frames: as `unroll` takes them.
            labels: [B, T, 3] in SI units, NaN where a head is not labelled; [B, T, K, 3] for a
                network with K label times.
            weights: [B], factor on each row of the batch.
            state: of `learning_state`, carried from window to window.
            loss: the usual loss of the means.
            intervals_s: as `unroll` takes them.
        """
        features, recurrent, visual = self._noticed(frames, state, intervals_s)
        said, after = self.taught(features, recurrent)
        judged = [self.judged(self.to_si(raw), labels, weights, loss) for raw in said]
        right, sure = (torch.stack(one).mean() for one in zip(*judged, strict=True))
        return Losses(right, sure), (*after, *visual)

    def foresee(
        self,
        frames: Tensor,
        state: State,
        intervals_s: Tensor | None = None,
    ) -> tuple[Losses, State]:
        """Return the losses of `planning` over windows of the network's own drives, and the state.

        What it planned is judged by the commands that it gave later: such windows need no labels.
        Only networks that plan say how.

        Args:
            frames: as `unroll` takes them.
            state: of `learning_state`, carried from window to window.
            intervals_s: as `unroll` takes them.
        """
        raise NotImplementedError

    def planning(self) -> tuple[nn.Module, ...]:
        """Return the modules that `foresee` trains; none by default."""
        return ()

    def judged(
        self, said: Prediction, labels: Tensor, weights: Tensor, loss: MaskedLoss
    ) -> tuple[Tensor, Tensor]:
        """Return the losses of means and deviations.

        Args:
            said: [B, T, 3] or [B, T, K, 3] in SI units.
            labels: of the same shape; see `learn`.
            weights: [B], factor on each row of the batch.
            loss: the usual loss of the means.
        """
        return loss(said.mean, labels, weights), gaussian_loss(*said, labels, weights)

    def to_si(self, raw: RawOutput) -> Prediction:
        """Scale raw outputs to SI units, and their deviations by what calibration found."""
        mean, scale = self.get_buffer("output_mean"), self.get_buffer("output_scale")
        stddev = raw.log_stddev.exp() * scale * self.get_buffer("calibration")
        return Prediction(raw.mean * scale + mean, stddev)
