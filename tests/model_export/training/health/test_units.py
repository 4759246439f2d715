"""Units that cannot fire are counted, however a network applies its rectifiers."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from model_export.config import Config
from model_export.networks import DrivingNetwork, build
from model_export.training.health.units import LayerFiring, UnitWatch
from model_export.training.scoring import predict
from tests.model_export.builders import CASES, configured
from tests.model_export.training.health.drives import noise

NEVER, ALWAYS = -1e6, 1e6


def network_of(config: Config) -> DrivingNetwork:
    torch.manual_seed(0)
    return build(config).eval()


def watched(config: Config, network: DrivingNetwork, frames: int = 4) -> dict[str, LayerFiring]:
    watch = UnitWatch(network)
    with watch.watching():
        predict(network, noise(config, frames), carry=True)
    return {layer.layer: layer for layer in watch.layers()}


@torch.no_grad()
def set_bias(bias: Tensor | None, dead: int) -> None:
    assert bias is not None
    bias[:dead], bias[dead:] = NEVER, ALWAYS


def test_a_function_on_a_dense_layer(tiny: Config):
    config = configured(tiny, "pilotnet_lstm", {"features": 8})
    network: Any = network_of(config)
    set_bias(network.project.bias, 3)
    layer = watched(config, network)["project"]
    assert (layer.rectifier, layer.units, layer.dead) == ("ReLU", 8, 3)
    assert layer.firing == pytest.approx(5 / 8)


def test_a_module_on_a_convolution_counts_channels(tiny: Config):
    config = configured(tiny, "pilotnet", {})
    network: Any = network_of(config)
    set_bias(network.convolutions[1].bias, 5)
    layers = watched(config, network)
    assert list(layers)[:2] == ["convolutions.1", "convolutions.4"]
    assert (layers["convolutions.1"].units, layers["convolutions.1"].dead) == (24, 5)
    assert layers["convolutions.1"].firing == pytest.approx(19 / 24)
    assert list(layers)[-3:] == ["dense.0", "dense.1", "dense.2"]


def test_windows_of_pictures_and_elu(tiny: Config):
    config = configured(tiny, "komanda", {"dense": [8]})
    network: Any = network_of(config)
    set_bias(network.dense[-1].bias, 2)
    with torch.no_grad():
        network.layers[0].bias[:4] = NEVER
    layers = watched(config, network)
    assert (layers["dense"].rectifier, layers["dense"].units) == ("ELU", 32)
    assert layers["dense"].dead == 2
    assert (layers["layers.0"].units, layers["layers.0"].dead) == (12, 4)


@torch.no_grad()
def test_a_unit_that_fires_at_one_frame_of_a_drive_lives(tiny: Config):
    config = configured(tiny, "pilotnet_lstm", {"features": 2})
    network: Any = network_of(config)
    recording = noise(config, 4)
    recording.frames[[0, 1, 3]] = 0
    dark, lit = network.convolutions(torch.from_numpy(recording.frames[1:3])).sum(1)
    side = torch.sign(lit - dark)
    network.project.weight[:] = side
    network.project.bias[:] = -side * (lit + dark) / 2
    watch = UnitWatch(network)
    with watch.watching():
        predict(network, recording, carry=True)
    layer = watch.layers()[-1]
    assert (layer.layer, layer.dead) == ("project", 0)
    assert layer.firing == pytest.approx(1 / 4)


@pytest.mark.parametrize(
    ("kind", "settings"), [case[1:] for case in CASES], ids=[name for name, *_ in CASES]
)
def test_every_network_says_the_same_when_it_is_watched(
    tiny: Config, kind: str, settings: dict[str, Any]
):
    config = configured(tiny, kind, settings)
    network, recording = network_of(config), noise(config, 3)
    alone = predict(network, recording, carry=True)
    watch = UnitWatch(network)
    with watch.watching():
        beside = predict(network, recording, carry=True)
    torch.testing.assert_close(beside.mean, alone.mean, rtol=0, atol=0)
    layers = watch.layers()
    assert bool(layers) == (kind != "motion_lstm")
    assert all(0 <= layer.dead <= layer.units and 0 <= layer.firing <= 1 for layer in layers)
    predict(network, recording, carry=True)
    assert watch.layers() == layers
