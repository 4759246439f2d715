"""Recurrent cells, one step each: plain, GRU, LSTM, and LSTM with a projection; stacks of them.

Written out, because a bundle makes one step at a time and its server wants the state by name.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Protocol

import torch
from torch import Tensor, nn

from model_export.errors import ConfigError
from service.contract import StateKind, StateTensor

State = tuple[Tensor, ...]


class Cell(Protocol):
    """One step of recurrence; the first number of ``names`` is its output's."""

    names: tuple[str, ...]

    def __call__(self, inputs: Tensor, state: State) -> State:
        """Advance by one frame: inputs [N, I] and state [N, hidden] each to the new state."""


class PlainCell(nn.Module):
    """``h = tanh(W [x, h] + b)``, started as the identity so that it can remember at all."""

    names = ("h",)

    def __init__(self, inputs: int, hidden: int) -> None:
        super().__init__()
        self.mix = nn.Linear(inputs + hidden, hidden)
        with torch.no_grad():
            self.mix.weight[:, inputs:] = 0.9 * torch.eye(hidden)
            self.mix.bias.zero_()

    def forward(self, inputs: Tensor, state: State) -> State:
        """Advance by one frame."""
        return (torch.tanh(self.mix(torch.cat((inputs, state[0]), dim=1))),)


class GruCell(nn.Module):
    """Gated recurrent unit (arXiv 1406.1078), started so that it keeps what it has."""

    names = ("h",)

    def __init__(self, inputs: int, hidden: int) -> None:
        super().__init__()
        self.gates = nn.Linear(inputs + hidden, 2 * hidden)
        self.candidate = nn.Linear(inputs + hidden, hidden)
        with torch.no_grad():
            self.gates.bias.zero_()
            self.gates.bias[hidden:] = 1.0

    def forward(self, inputs: Tensor, state: State) -> State:
        """Advance by one frame."""
        (hidden,) = state
        reset, keep = torch.sigmoid(self.gates(torch.cat((inputs, hidden), dim=1))).chunk(2, dim=1)
        new = torch.tanh(self.candidate(torch.cat((inputs, reset * hidden), dim=1)))
        return (keep * hidden + (1 - keep) * new,)


class LstmCell(nn.Module):
    """Long short-term memory; its forget gate starts open, so that gradients reach back."""

    names = ("h", "c")

    def __init__(self, inputs: int, hidden: int) -> None:
        super().__init__()
        self.gates = nn.Linear(inputs + hidden, 4 * hidden)
        with torch.no_grad():
            self.gates.bias.zero_()
            self.gates.bias[hidden : 2 * hidden] = 1.0

    def forward(self, inputs: Tensor, state: State) -> State:
        """Advance by one frame."""
        hidden, cell = state
        return _lstm(self.gates(torch.cat((inputs, hidden), dim=1)), cell)


class ProjectedLstmCell(nn.Module):
    """LSTM whose output is a linear projection of its cell (arXiv 1402.1128), as in Komanda."""

    names = ("m", "c")

    def __init__(self, inputs: int, hidden: int, projection: int) -> None:
        super().__init__()
        self.gates = nn.Linear(inputs + projection, 4 * hidden)
        self.project = nn.Linear(hidden, projection, bias=False)
        with torch.no_grad():
            self.gates.bias.zero_()
            self.gates.bias[hidden : 2 * hidden] = 1.0

    def forward(self, inputs: Tensor, state: State) -> State:
        """Advance by one frame."""
        projected, cell = state
        hidden, cell = _lstm(self.gates(torch.cat((inputs, projected), dim=1)), cell)
        return self.project(hidden), cell


CELLS: Mapping[str, Callable[[int, int], PlainCell | GruCell | LstmCell]] = {
    "rnn": PlainCell,
    "gru": GruCell,
    "lstm": LstmCell,
}


class Recurrence(nn.Module):
    """One to three cells of one kind, each fed by the one below.

    Args:
        cell: a name in :data:`CELLS`.
        inputs: width of what the lowest is fed with.
        hidden: width of each cell's state.
        layers: cells.

    Attributes:
        state_tensors: as a bundle's contract states them; numbered where there are several layers.
    """

    def __init__(self, cell: str, *, inputs: int, hidden: int, layers: int) -> None:
        super().__init__()
        if cell not in CELLS:
            raise ConfigError(f"no cell {cell!r}; there are: {', '.join(CELLS)}")
        if not 1 <= layers <= 3:
            raise ConfigError(f"a network has 1 to 3 recurrent layers, not {layers}")
        widths = [inputs] + [hidden] * (layers - 1)
        cells = [CELLS[cell](width, hidden) for width in widths]
        self.cells = nn.ModuleList(cells)
        self._width = len(cells[0].names)
        self.state_tensors = tuple(
            recurrent(name if layers == 1 else f"{name}{layer}", hidden)
            for layer, one in enumerate(cells, 1)
            for name in one.names
        )

    def forward(self, inputs: Tensor, state: State) -> tuple[Tensor, State]:
        """Advance by one frame: inputs [N, I] to the highest cell's output and the new state."""
        after: list[Tensor] = []
        for layer, cell in enumerate(self.cells):
            own = state[layer * self._width : (layer + 1) * self._width]
            after += cell(inputs, own)
            inputs = after[layer * self._width]
        return inputs, tuple(after)


def recurrent(
    name: str,
    width: int,
    initial: tuple[float, ...] = (0.0,),
    kind: StateKind = StateKind.RECURRENT,
) -> StateTensor:
    """Return a state tensor of one dimension."""
    return StateTensor(
        input=name, output=f"{name}_next", shape=(width,), kind=kind, initial=initial
    )


def _lstm(gates: Tensor, cell: Tensor) -> tuple[Tensor, Tensor]:
    take, keep, give, new = gates.chunk(4, dim=1)
    cell = torch.sigmoid(keep) * cell + torch.sigmoid(take) * torch.tanh(new)
    return torch.sigmoid(give) * torch.tanh(cell), cell
