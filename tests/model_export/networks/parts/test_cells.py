"""Cells: one step is what the literature's equations give, and a look inside sees its gates."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from model_export.networks.parts.cells import (
    BoundedLstmCell,
    Cell,
    GruCell,
    LstmCell,
    PlainCell,
    ProjectedLstmCell,
)

INPUTS, HIDDEN = 3, 4
CELLS = {
    "rnn": lambda: PlainCell(INPUTS, HIDDEN),
    "gru": lambda: GruCell(INPUTS, HIDDEN),
    "lstm": lambda: LstmCell(INPUTS, HIDDEN),
    "projected": lambda: ProjectedLstmCell(INPUTS, HIDDEN, 2),
}
GATES = {
    "rnn": set(),
    "gru": {"reset", "update"},
    "lstm": {"input", "forget", "output"},
    "projected": {"input", "forget", "output"},
}


def step_inputs(cell: Cell) -> tuple[Tensor, tuple[Tensor, ...]]:
    widths = (2, HIDDEN) if isinstance(cell, ProjectedLstmCell) else (HIDDEN,) * len(cell.names)
    return torch.randn(5, INPUTS), tuple(torch.randn(5, width) for width in widths)


def split(mix: nn.Linear) -> tuple[Tensor, Tensor]:
    return mix.weight[:, :INPUTS], mix.weight[:, INPUTS:]


@pytest.mark.parametrize("name", CELLS)
def test_gates_lie_in_0_to_1_and_the_candidate_in_minus_1_to_1(name: str):
    torch.manual_seed(0)
    cell = CELLS[name]()
    inputs, state = step_inputs(cell)
    gates, candidate = cell.inside(inputs, state)
    assert set(gates) == GATES[name]
    for gate in gates.values():
        assert gate.shape == (5, HIDDEN)
        assert 0 < gate.min() <= gate.max() < 1
    assert candidate.shape == (5, HIDDEN)
    assert candidate.min() < 0 < candidate.max() < 1


def test_the_plain_cell_is_torchs():
    torch.manual_seed(0)
    ours, theirs = PlainCell(INPUTS, HIDDEN), nn.RNNCell(INPUTS, HIDDEN)
    weight_in, weight_own = split(ours.mix)
    theirs.load_state_dict(
        {
            "weight_ih": weight_in,
            "weight_hh": weight_own,
            "bias_ih": ours.mix.bias,
            "bias_hh": torch.zeros(HIDDEN),
        }
    )
    inputs, (hidden,) = step_inputs(ours)
    torch.testing.assert_close(ours(inputs, (hidden,))[0], theirs(inputs, hidden))


def test_the_lstm_is_torchs():
    torch.manual_seed(0)
    ours, theirs = LstmCell(INPUTS, HIDDEN), nn.LSTMCell(INPUTS, HIDDEN)
    # torch has the candidate third and the output gate last.
    order = torch.cat([torch.arange(HIDDEN) + HIDDEN * gate for gate in (0, 1, 3, 2)])
    weight_in, weight_own = split(ours.gates)
    theirs.load_state_dict(
        {
            "weight_ih": weight_in[order],
            "weight_hh": weight_own[order],
            "bias_ih": ours.gates.bias[order],
            "bias_hh": torch.zeros(4 * HIDDEN),
        }
    )
    inputs, state = step_inputs(ours)
    torch.testing.assert_close(ours(inputs, state), theirs(inputs, state))


def test_an_open_update_gate_keeps_what_a_gru_has():
    torch.manual_seed(0)
    cell = GruCell(INPUTS, HIDDEN)
    with torch.no_grad():
        cell.gates.bias[HIDDEN:] = 30.0
    inputs, (hidden,) = step_inputs(cell)
    torch.testing.assert_close(cell(inputs, (hidden,))[0], hidden)


def test_a_projection_is_all_that_a_projected_lstm_gives_out():
    torch.manual_seed(0)
    plain, cell = LstmCell(INPUTS, 2), ProjectedLstmCell(INPUTS, 2, 2)
    cell.gates.load_state_dict(plain.gates.state_dict())
    with torch.no_grad():
        cell.project.weight.copy_(torch.tensor([[2.0, 0.0], [0.0, -1.0]]))
    inputs, state = torch.randn(5, INPUTS), (torch.randn(5, 2), torch.randn(5, 2))
    hidden, memory = plain(inputs, state)
    projected, own = cell(inputs, state)
    torch.testing.assert_close(projected, hidden * torch.tensor([2.0, -1.0]))
    torch.testing.assert_close(own, memory)


def test_a_bounded_memory_says_the_same_and_does_not_grow():
    torch.manual_seed(0)
    plain, bounded = LstmCell(INPUTS, HIDDEN), BoundedLstmCell(INPUTS, HIDDEN)
    bounded.load_state_dict(plain.state_dict())
    inputs, (hidden, memory) = step_inputs(plain)
    torch.testing.assert_close(bounded(inputs, (hidden, memory)), plain(inputs, (hidden, memory)))
    full = torch.full_like(memory, 100.0)
    expected, grown = plain(inputs, (hidden, full))
    said, kept = bounded(inputs, (hidden, full))
    torch.testing.assert_close(said, expected)
    assert grown.max() > 10.0
    assert kept.max() == 10.0
