"""Gates with large biases are saturated, those with none are not."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from model_export.config import Config
from model_export.networks import DrivingNetwork, build
from model_export.networks.parts.cells import GruCell, LstmCell, PlainCell
from model_export.training.health.gates import GateUse, GateWatch
from model_export.training.scoring import predict
from tests.model_export.builders import configured
from tests.model_export.training.health.drives import noise

HIDDEN = 6
SHUT, OPEN = -30.0, 30.0


def network_of(config: Config) -> DrivingNetwork:
    torch.manual_seed(0)
    return build(config).eval()


def with_cell(tiny: Config, cell: str, layers: int = 1) -> Config:
    settings = {"cell": cell, "layers": layers, "features": 8, "hidden": HIDDEN}
    return configured(tiny, "pilotnet_lstm", settings)


def watched(config: Config, network: DrivingNetwork) -> dict[tuple[str, str], GateUse]:
    watch = GateWatch(network)
    with watch.watching():
        predict(network, noise(config, 5), carry=True)
    return {(use.cell, use.gate): use for use in watch.uses()}


@torch.no_grad()
def decide(linear: nn.Linear, *sums: float) -> None:
    """Make each part of a layer's outputs one constant."""
    linear.weight.zero_()
    linear.bias.copy_(torch.tensor(sums).repeat_interleave(HIDDEN))


def test_each_gate_of_an_lstm(tiny: Config):
    config = with_cell(tiny, "lstm")
    network: Any = network_of(config)
    cell = network.recurrence.cells[0]
    assert isinstance(cell, LstmCell)
    decide(cell.gates, SHUT, OPEN, 0.0, 0.0)
    uses = {gate: use for (_, gate), use in watched(config, network).items()}
    assert list(uses) == ["input", "forget", "output", "candidate"]
    assert (uses["input"].low, uses["input"].high) == (1, 0)
    assert (uses["forget"].low, uses["forget"].high) == (0, 1)
    assert uses["output"].saturated == uses["candidate"].saturated == 0
    assert all(use.shares.sum() == pytest.approx(1) for use in uses.values())


def test_each_gate_of_a_gru_in_each_layer(tiny: Config):
    config = with_cell(tiny, "gru", layers=2)
    network: Any = network_of(config)
    for cell in network.recurrence.cells:
        assert isinstance(cell, GruCell)
    decide(network.recurrence.cells[1].gates, 0.0, OPEN)
    uses = watched(config, network)
    assert uses["recurrence.cells.1", "update"].high == 1
    assert uses["recurrence.cells.1", "reset"].saturated == 0
    assert uses["recurrence.cells.0", "update"].high < 1


@pytest.mark.parametrize(("tanh", "high"), [(0.89, 0.0), (0.91, 1.0)])
def test_a_plain_cells_tanh_saturates_above_a_magnitude_of_0_9(
    tiny: Config, tanh: float, high: float
):
    config = with_cell(tiny, "rnn")
    network: Any = network_of(config)
    cell = network.recurrence.cells[0]
    assert isinstance(cell, PlainCell)
    decide(cell.mix, math.atanh(tanh))
    uses = watched(config, network)
    assert list(uses) == [("recurrence.cells.0", "candidate")]
    assert uses["recurrence.cells.0", "candidate"].high == high


@pytest.mark.parametrize(("value", "low"), [(0.04, 1.0), (0.06, 0.0)])
def test_a_gate_is_shut_below_0_05(tiny: Config, value: float, low: float):
    config = with_cell(tiny, "lstm")
    network: Any = network_of(config)
    decide(network.recurrence.cells[0].gates, math.log(value / (1 - value)), 0.0, 0.0, 0.0)
    assert watched(config, network)["recurrence.cells.0", "input"].low == low


def test_a_network_without_cells_has_no_gates(tiny: Config):
    config = configured(tiny, "pilotnet", {})
    assert watched(config, network_of(config)) == {}


def test_counting_ends_with_the_block(tiny: Config):
    config = with_cell(tiny, "lstm")
    network, recording = network_of(config), noise(config, 3)
    watch = GateWatch(network)
    with watch.watching():
        predict(network, recording, carry=True)
    before = [use.shares for use in watch.uses()]
    recording.frames[:] = 0
    predict(network, recording, carry=True)
    for use, shares in zip(watch.uses(), before, strict=True):
        np.testing.assert_array_equal(use.shares, shares)
