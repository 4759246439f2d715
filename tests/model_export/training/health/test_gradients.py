"""Gradients through time decay as the cells' weights say they must."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from model_export.config import Config
from model_export.errors import DataError
from model_export.networks import DrivingNetwork, build
from model_export.networks.parts.cells import Cell, GruCell, LstmCell, PlainCell
from model_export.networks.parts.losses import MaskedLoss
from model_export.training.health.gradients import STEPS, GradientFlow, Verdict, measure_gradients
from tests.model_export.builders import CASES, configured
from tests.model_export.training.health.drives import noise


def network_of(config: Config) -> DrivingNetwork:
    torch.manual_seed(0)
    return build(config).eval()


def measured(config: Config, network: DrivingNetwork, *lengths: int) -> tuple[GradientFlow, ...]:
    return measure_gradients(network, MaskedLoss(config.heads), noise(config, *lengths))


def with_cell(tiny: Config, cell: str, layers: int = 1) -> Config:
    settings = {"cell": cell, "layers": layers, "features": 8, "hidden": 6}
    return configured(tiny, "pilotnet_lstm", settings)


def cells(network: DrivingNetwork) -> list[Cell]:
    return [part for part in network.modules() if isinstance(part, Cell)]


@torch.no_grad()
def silence(linear: nn.Linear) -> None:
    linear.weight.zero_()
    linear.bias.zero_()


@pytest.mark.parametrize(
    ("weight", "verdict"),
    [(0.5, Verdict.VANISHING), (1.0, Verdict.KEPT), (1.3, Verdict.EXPLODING)],
)
def test_a_plain_cell_decays_by_its_recurrent_weight(tiny: Config, weight: float, verdict: Verdict):
    config = with_cell(tiny, "rnn")
    network = network_of(config)
    (cell,) = cells(network)
    assert isinstance(cell, PlainCell)
    # Without inputs the state stays 0, where the slope of tanh is 1.
    silence(cell.mix)
    with torch.no_grad():
        cell.mix.weight[:, 8:] = weight * torch.eye(6)
    (flow,) = measured(config, network, 2 * STEPS + 7, STEPS)
    assert (flow.cell, flow.tensor, flow.is_memory) == ("recurrence.cells.0", "h", True)
    assert flow.norms.shape == (3, STEPS)
    np.testing.assert_allclose(flow.median, weight ** np.arange(STEPS), rtol=1e-3)
    assert flow.decay_per_step == pytest.approx(weight, rel=1e-4)
    assert flow.verdict is verdict


def test_an_lstms_memory_decays_by_its_forget_gate(tiny: Config):
    config = with_cell(tiny, "lstm")
    network = network_of(config)
    (cell,) = cells(network)
    assert isinstance(cell, LstmCell)
    silence(cell.gates)
    with torch.no_grad():
        cell.gates.bias[6:12] = math.log(0.9 / 0.1)
    output, memory = measured(config, network, STEPS)
    assert (output.tensor, output.is_memory) == ("h", False)
    assert (memory.tensor, memory.is_memory) == ("c", True)
    assert memory.decay_per_step == pytest.approx(0.9, rel=1e-4)
    assert memory.verdict is Verdict.KEPT
    # Its gates are deaf to its output, which therefore matters at the last step alone.
    assert output.median[0] == 1
    assert not output.median[1:].any()
    assert output.decay_per_step == 0
    assert output.verdict is Verdict.VANISHING


def test_a_gru_keeps_by_its_update_gate_in_each_layer(tiny: Config):
    config = with_cell(tiny, "gru", layers=2)
    network = network_of(config)
    for cell in cells(network):
        assert isinstance(cell, GruCell)
        silence(cell.candidate)
        silence(cell.gates)
        with torch.no_grad():
            cell.gates.bias[6:] = math.log(0.8 / 0.2)
            # The second layer listens to the first, so that the loss reaches it.
            cell.candidate.weight[:, :6] = 0.1 * torch.eye(6)
    lower, upper = measured(config, network, STEPS)
    assert (lower.cell, upper.cell) == ("recurrence.cells.0", "recurrence.cells.1")
    assert upper.decay_per_step == pytest.approx(0.8, rel=1e-3)
    # What the lower said some steps ago has reached the upper in more ways than what it says now.
    assert lower.relative.max() > 1


@pytest.mark.parametrize(
    ("kind", "settings"), [case[1:] for case in CASES], ids=[name for name, *_ in CASES]
)
def test_every_cell_of_every_network_is_found(tiny: Config, kind: str, settings: dict[str, Any]):
    config = configured(tiny, kind, settings)
    network = network_of(config)
    flows = measured(config, network, 5, 6)
    assert len(flows) == sum(len(cell.names) for cell in cells(network))
    for flow in flows:
        steps = settings.get("window") or 6
        assert flow.norms.shape == (1, steps)
        assert np.isfinite(flow.norms).all()
        assert flow.median[0] == 1
        assert flow.decay_per_step > 0


def test_a_look_changes_nothing(tiny: Config):
    config = with_cell(tiny, "lstm")
    network = network_of(config)
    first, second = (measured(config, network, 8) for _ in range(2))
    for one, other in zip(first, second, strict=True):
        np.testing.assert_array_equal(one.norms, other.norms)
    assert all(parameter.grad is None for parameter in network.parameters())


def test_a_drive_that_is_too_short_or_unlabelled_is_refused(tiny: Config):
    config = with_cell(tiny, "rnn")
    network, loss = network_of(config), MaskedLoss(config.heads)
    with pytest.raises(DataError, match="4 unbroken frames, has 3"):
        measured(config, network, 3, 2)
    recording = noise(config, 6)
    recording.labels[:] = np.nan
    with pytest.raises(DataError, match="no window"):
        measure_gradients(network, loss, recording)
