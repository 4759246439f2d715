"""Recurrent cells, one step each: plain, GRU, LSTM, and LSTM with a projection; stacks of them.

Written out, because a bundle makes one step at a time and its server wants the state by name.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from typing import ClassVar, NamedTuple

import torch
from torch import Tensor, nn

from model_export.errors import ConfigError
from steerstream_bundle.contract import StateKind, StateTensor

State = tuple[Tensor, ...]

_MOST_MEMORY = 10.0
"""Its hyperbolic tangent is 1 to the last digit of a float."""


class Inside(NamedTuple):
    """The gates of a cell in one step: the cell uses them, and the examination shows them.

    Attributes:
        gates: of each sigmoid, by the name that the literature gives it, [N, hidden] in 0..1.
        candidate: of its tanh, [N, hidden] in -1..1: what may be remembered.
    """

    gates: Mapping[str, Tensor]
    candidate: Tensor


class Cell(nn.Module, ABC):
    """One step of recurrence."""

    names: ClassVar[tuple[str, ...]]
    """Of the state tensors: the first is the cell's output, the last its memory."""

    @abstractmethod
    def inside(self, inputs: Tensor, state: State) -> Inside:
        """Return what is decided upon inputs [N, I] and state [N, hidden] each."""

    @abstractmethod
    def forward(self, inputs: Tensor, state: State) -> State:
        """Advance by one frame: inputs [N, I] and state [N, hidden] each to the new state."""


class PlainCell(Cell):
    """`h = tanh(W [x, h] + b)`, started as the identity so that it can remember at all."""

    names = ("h",)

    def __init__(self, inputs: int, hidden: int) -> None:
        super().__init__()
        self.mix = nn.Linear(inputs + hidden, hidden)
        with torch.no_grad():
            self.mix.weight[:, inputs:] = 0.9 * torch.eye(hidden)
            self.mix.bias.zero_()

    def inside(self, inputs: Tensor, state: State) -> Inside:
        """There are no gates; all that is new is remembered."""
        return Inside({}, torch.tanh(self.mix(torch.cat((inputs, state[0]), dim=1))))

    def forward(self, inputs: Tensor, state: State) -> State:
        """Advance by one frame."""
        return (self.inside(inputs, state).candidate,)


class GruCell(Cell):
    """Gated recurrent unit (arXiv 1406.1078), started so that it keeps what it has."""

    names = ("h",)

    def __init__(self, inputs: int, hidden: int) -> None:
        super().__init__()
        self.gates = nn.Linear(inputs + hidden, 2 * hidden)
        self.candidate = nn.Linear(inputs + hidden, hidden)
        with torch.no_grad():
            self.gates.bias.zero_()
            self.gates.bias[hidden:] = 1.0

    def inside(self, inputs: Tensor, state: State) -> Inside:
        """An update gate that is open, 1, keeps the state as it is."""
        (hidden,) = state
        gates = torch.sigmoid(self.gates(torch.cat((inputs, hidden), dim=1)))
        reset, update = gates.chunk(2, dim=1)
        new = torch.tanh(self.candidate(torch.cat((inputs, reset * hidden), dim=1)))
        return Inside({"reset": reset, "update": update}, new)

    def forward(self, inputs: Tensor, state: State) -> State:
        """Advance by one frame."""
        gates, new = self.inside(inputs, state)
        return (gates["update"] * state[0] + (1 - gates["update"]) * new,)


class LstmCell(Cell):
    """Long short-term memory; its forget gate starts open, so that gradients reach back."""

    names = ("h", "c")

    def __init__(self, inputs: int, hidden: int) -> None:
        super().__init__()
        self.gates = nn.Linear(inputs + hidden, 4 * hidden)
        with torch.no_grad():
            self.gates.bias.zero_()
            self.gates.bias[hidden : 2 * hidden] = 1.0

    def inside(self, inputs: Tensor, state: State) -> Inside:
        """A forget gate that is open, 1, keeps the memory as it is."""
        return _lstm_inside(self.gates(torch.cat((inputs, state[0]), dim=1)))

    def forward(self, inputs: Tensor, state: State) -> State:
        """Advance by one frame."""
        return _lstm(self.inside(inputs, state), state[1])


class BoundedLstmCell(LstmCell):
    """An LSTM whose memory cannot grow beyond what its output can show.

    Over a long drive a plain one adds up to hundreds, where a float has few digits left for what is
    new, and a bundle's memory drifts from that of the network that it was made from.
    """

    def forward(self, inputs: Tensor, state: State) -> State:
        """Advance by one frame."""
        hidden, memory = super().forward(inputs, state)
        return hidden, memory.clamp(-_MOST_MEMORY, _MOST_MEMORY)


class ProjectedLstmCell(Cell):
    """LSTM whose output is a linear projection of its cell (arXiv 1402.1128), as in Komanda.

    Args:
        inputs: width of what it is fed with.
        hidden: width of the memory c.
        projection: width of the output m.
    """

    names = ("m", "c")

    def __init__(self, inputs: int, hidden: int, projection: int) -> None:
        super().__init__()
        self.gates = nn.Linear(inputs + projection, 4 * hidden)
        self.project = nn.Linear(hidden, projection, bias=False)
        with torch.no_grad():
            self.gates.bias.zero_()
            self.gates.bias[hidden : 2 * hidden] = 1.0

    def inside(self, inputs: Tensor, state: State) -> Inside:
        """As in `LstmCell`, upon the projection."""
        return _lstm_inside(self.gates(torch.cat((inputs, state[0]), dim=1)))

    def forward(self, inputs: Tensor, state: State) -> State:
        """Advance by one frame."""
        hidden, cell = _lstm(self.inside(inputs, state), state[1])
        return self.project(hidden), cell


CELLS: Mapping[str, Callable[[int, int], Cell]] = {
    "rnn": PlainCell,
    "gru": GruCell,
    "lstm": LstmCell,
    "bounded_lstm": BoundedLstmCell,
}


class Recurrence(nn.Module):
    """One to three cells of one kind, each fed by the one below.

    Args:
        cell: a name in `CELLS`.
        inputs: width of what the lowest is fed with.
        hidden: width of each cell's state.
        layers: cells.
        prefix: of the state tensors' names.

    Attributes:
        state_tensors: as a bundle's contract states them; numbered where there are several layers.
    """

    def __init__(
        self, cell: str, *, inputs: int, hidden: int, layers: int, prefix: str = ""
    ) -> None:
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
            recurrent(prefix + (name if layers == 1 else f"{name}{layer}"), hidden)
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
    """Return a state tensor of one dimension.

    Args:
        name: of the input; the output is called `NAME_next`.
        width: numbers in it.
        initial: its value where a session begins: one number for all, or one for each.
        kind: what it remembers.
    """
    return StateTensor(
        input=name, output=f"{name}_next", shape=(width,), kind=kind, initial=initial
    )


def cells_of(network: nn.Module) -> dict[str, Cell]:
    """Return a network's recurrent cells by their names in it, the lowest first."""
    return {name: part for name, part in network.named_modules() if isinstance(part, Cell)}


def _lstm_inside(sums: Tensor) -> Inside:
    take, keep, give, new = sums.chunk(4, dim=1)
    gates = {"input": take, "forget": keep, "output": give}
    return Inside({name: torch.sigmoid(gate) for name, gate in gates.items()}, torch.tanh(new))


def _lstm(inside: Inside, cell: Tensor) -> tuple[Tensor, Tensor]:
    gates, new = inside
    cell = gates["forget"] * cell + gates["input"] * new
    return gates["output"] * torch.tanh(cell), cell
