"""A member: it turns the encoder's features into outputs, by a visual feature, cells and heads.

A network may have several members over the same features, each with its own weights, and give the
mean of their outputs: a deep ensemble (arXiv 1612.01474) for little more than the price of one.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from model_export.networks.parts.cells import Recurrence, State
from model_export.networks.parts.convolutions import folded, framewise
from model_export.networks.parts.heads import Heads, RawOutput
from steerstream_bundle.contract import StateKind, StateTensor


@dataclass(frozen=True, slots=True, kw_only=True)
class MemberSettings:
    """Settings of `Member`.

    Attributes:
        channels: to which the encoder's features are reduced.
        features: width of the visual feature that a frame becomes.
        cell: `rnn`, `gru` or `lstm`.
        layers: recurrent layers, 1 to 3.
        hidden: width of each.
        pace: width of the cell beside them that knows how fast the ground comes nearer.
        window: frames over which the cells are run again for every frame; 0 carries their state.
        dropout: share of visual features dropped in training; motion is never dropped.
    """

    channels: int = 16
    features: int = 64
    cell: str = "lstm"
    layers: int = 1
    hidden: int = 64
    pace: int = 16
    window: int = 0
    dropout: float = 0.3


class Member(nn.Module):
    """A visual feature of each frame, recurrent cells over it, and heads.

    Args:
        settings: its own.
        seen: shape of the encoder's features, (channels, rows, columns); they come first.
        moved: numbers after them that tell of sideways motion and time.
        ahead: numbers after these that tell of forward motion; 0 for no cell of the pace.

    Attributes:
        state_tensors: as a bundle's contract states them.
    """

    def __init__(
        self, settings: MemberSettings, seen: Sequence[int], moved: int, ahead: int
    ) -> None:
        super().__init__()
        self._seen, self._window = tuple(seen), settings.window
        channels, rows, columns = seen
        self.reduce = nn.Conv2d(channels, settings.channels, 1)
        self.project = nn.Linear(settings.channels * rows * columns, settings.features)
        self.recurrence = _Memory(settings, moved, ahead)
        self.heads = Heads(self.recurrence.width, self.recurrence.steering)
        self.dropout = nn.Dropout(settings.dropout)
        self.state_tensors = self.recurrence.state_tensors
        if settings.window:
            shape = (settings.window - 1, self.recurrence.inputs)
            kind = StateKind.FEATURE_RING
            self.state_tensors = (
                StateTensor(input="ring", output="ring_next", shape=shape, kind=kind),
            )

    def forward(self, features: Tensor, state: State) -> tuple[RawOutput, State]:
        """Advance over windows of features [B, T, F]: raw outputs [B, T, 3], and the new state."""
        size = math.prod(self._seen)
        seen = self.dropout(framewise(self._reduced, features[..., :size]))
        inputs = torch.cat((seen, features[..., size:]), dim=2)
        remember = self._rerun if self._window else self._carry
        known, after = remember(inputs, state)
        return self.heads(known), after

    def _reduced(self, seen: Tensor) -> Tensor:
        """Turn the encoder's features [N, F] into the visual feature [N, features]."""
        maps = folded(seen, self._seen)
        reduced = self.dropout(torch.relu(self.reduce(maps)).flatten(1))
        return torch.relu(self.project(reduced))

    def _carry(self, inputs: Tensor, state: State) -> tuple[Tensor, State]:
        outputs = []
        for step in inputs.unbind(1):
            output, state = self.recurrence(step, state)
            outputs.append(output)
        return torch.stack(outputs, dim=1), state

    def _rerun(self, inputs: Tensor, state: State) -> tuple[Tensor, State]:
        """Run the cells from their initial state over the ring that ends with each frame."""
        frames = inputs.shape[1]
        past = torch.cat((*state, inputs), dim=1)
        rings = torch.stack([past[:, at : at + self._window] for at in range(frames)], dim=1)
        return framewise(self._last, rings), (past[:, frames:],)

    def _last(self, rings: Tensor) -> Tensor:
        """Run the cells from zero over rings [N, window, inputs]; return what they know at last."""
        own: State = tuple(
            rings.new_zeros(rings.shape[0], *pair.shape) for pair in self.recurrence.state_tensors
        )
        output = rings[:, 0]
        for step in rings.unbind(1):
            output, own = self.recurrence(step, own)
        return output


class Members(nn.Module):
    """Several members over the same features; the state of all is in the tensors of one.

    Args:
        count: of them, 1 or more.
        settings: of each.
        seen: see `Member`.
        moved: see there.
        ahead: see there.

    Attributes:
        state_tensors: those of one member, `count` times as wide.
    """

    def __init__(
        self, count: int, settings: MemberSettings, seen: Sequence[int], moved: int, ahead: int
    ) -> None:
        super().__init__()
        members = [Member(settings, seen, moved, ahead) for _ in range(count)]
        self.each = nn.ModuleList(members)
        self.state_tensors = tuple(
            replace(pair, shape=(*pair.shape[:-1], count * pair.shape[-1]))
            for pair in members[0].state_tensors
        )

    @property
    def log_stddevs(self) -> tuple[nn.Module, ...]:
        """The layers that say how sure each member is."""
        return tuple(one.heads.log_stddev for one in self.each if isinstance(one, Member))

    def forward(self, features: Tensor, state: State) -> tuple[tuple[RawOutput, ...], State]:
        """Advance over windows of features [B, T, F].

        Returns:
            What each member says, raw outputs [B, T, 3], and the new state of all.
        """
        shares = zip(*(tensor.chunk(len(self.each), dim=-1) for tensor in state), strict=True)
        steps = [member(features, own) for member, own in zip(self.each, shares, strict=True)]
        said, after = zip(*steps, strict=True)
        return said, tuple(torch.cat(parts, dim=-1) for parts in zip(*after, strict=True))


def pooled(said: Sequence[RawOutput]) -> RawOutput:
    """Return what members say together: mean and deviation of their normal mixture.

    Where they contradict each other, the deviation is the greater for it.
    """
    means = torch.stack([one.mean for one in said])
    variances = torch.stack([(2 * one.log_stddev).exp() for one in said])
    mean = means.mean(0)
    return RawOutput(mean, 0.5 * (variances + (means - mean).square()).mean(0).log())


class _Memory(nn.Module):
    """The recurrence that steers, and the one of the pace beside it.

    Args:
        settings: the member's.
        moved: numbers that tell of sideways motion and time.
        ahead: numbers that tell of forward motion; 0 for no recurrence of the pace.

    Attributes:
        inputs: numbers that a frame brings: the visual feature, `moved`, `ahead`.
        width: numbers that are known after a frame: those of the inputs and of the cells' outputs.
        steering: how many of them, from the first on, have nothing of the pace.
    """

    def __init__(self, settings: MemberSettings, moved: int, ahead: int) -> None:
        super().__init__()
        self._seen, self._own = settings.features, settings.features + moved
        self.inputs = self._own + ahead
        self.steering = settings.hidden + self._own
        self.cells = Recurrence(
            settings.cell, inputs=self._own, hidden=settings.hidden, layers=settings.layers
        )
        self.state_tensors, self.width = self.cells.state_tensors, self.steering
        self.pace: Recurrence | None = None
        if ahead:
            self.pace = Recurrence(
                settings.cell,
                inputs=moved + ahead,
                hidden=settings.pace,
                layers=1,
                prefix="pace_",
            )
            self.state_tensors += self.pace.state_tensors
            self.width += settings.pace + ahead

    def forward(self, inputs: Tensor, state: State) -> tuple[Tensor, State]:
        """Advance by one frame: inputs [N, inputs] to what is known [N, width], and the state."""
        own = len(self.cells.state_tensors)
        output, after = self.cells(inputs[:, : self._own], state[:own])
        known = torch.cat((output, inputs[:, : self._own]), dim=1)
        if self.pace is None:
            return known, after
        pace, later = self.pace(inputs[:, self._seen :], state[own:])
        return torch.cat((known, pace, inputs[:, self._own :]), dim=1), (*after, *later)
