"""The default network: state, one step against a window, and what is folded for export."""

from __future__ import annotations

import dataclasses

import pytest
import torch

from model_export.config import Config
from model_export.errors import ConfigError
from model_export.networks import NETWORKS, DrivingNetwork, build


def random_frames(*shape: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(1)
    return torch.randint(0, 256, (*shape, 66, 200, 3), dtype=torch.uint8, generator=generator)


def warmed(config: Config) -> DrivingNetwork:
    """A network whose batch normalisation has seen something."""
    torch.manual_seed(0)
    network = build(config)
    network.train().unroll(random_frames(2, 3), network.initial_state(2))
    return network.eval()


@pytest.mark.parametrize("kind", sorted(NETWORKS))
@torch.no_grad()
def test_a_window_equals_its_steps(tiny: Config, kind: str):
    network = warmed(
        dataclasses.replace(tiny, network=dataclasses.replace(tiny.network, kind=kind))
    )
    frames, state = random_frames(2, 5), network.initial_state(2)
    outputs, after = network.unroll(frames, state)
    for index in range(5):
        angle, speed, torque, *state = network(frames[:, index], *state)
        one = torch.stack((angle, speed, torque), dim=1)
        torch.testing.assert_close(one, outputs[:, index], rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(tuple(state), after, rtol=1e-5, atol=1e-5)


@torch.no_grad()
def test_state_has_the_promised_shapes_and_changes_the_answer(tiny: Config):
    network = warmed(tiny)
    state = network.initial_state(2)
    assert [tuple(one.shape) for one in state] == [(2, *p.shape) for p in network.state_tensors]
    frames = random_frames(2)
    fresh = network(frames, *state)
    carried = network(frames, *fresh[3:])
    assert (fresh[0] != carried[0]).all()


@torch.no_grad()
def test_folding_keeps_the_outputs(tiny: Config):
    network = warmed(tiny)
    fused = network.fused()
    assert not any(isinstance(module, torch.nn.BatchNorm2d) for module in fused.modules())
    frames = random_frames(3)
    state = network.initial_state(3)
    torch.testing.assert_close(fused(frames, *state), network(frames, *state), rtol=1e-4, atol=1e-4)


def test_an_unknown_network_is_named(tiny: Config):
    config = dataclasses.replace(tiny, network=dataclasses.replace(tiny.network, kind="resnet"))
    with pytest.raises(ConfigError, match="no network 'resnet'; there are: pilotnet_lstm"):
        build(config)
