"""All networks: state, windows against steps, gradients, and what is particular to each."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch

from model_export.config import Config
from model_export.errors import ConfigError
from model_export.networks import DrivingNetwork, State, build
from model_export.networks.base import Prediction
from model_export.networks.parts.heads import GREATEST_LOG, LEAST_LOG
from model_export.networks.parts.losses import MaskedLoss
from tests.model_export.builders import CASES, configured, random_frames, warmed

every_network = pytest.mark.parametrize(
    ("kind", "settings"), [case[1:] for case in CASES], ids=[name for name, *_ in CASES]
)


def stepped(network: DrivingNetwork, frames: torch.Tensor, state: State) -> Prediction:
    """Outputs [B, T, 3] of one step after the other."""
    outputs = []
    interval = (torch.full(frames.shape[:1], 0.05),) if network.takes_interval else ()
    act_in = (torch.zeros(frames.shape[0]),) if network.takes_act_in else ()
    for index in range(frames.shape[1]):
        results = network(frames[:, index], *interval, *act_in, *state)
        outputs.append(torch.stack(results[:6], dim=1))
        state = results[len(results) - len(state) :]
    return Prediction(*torch.stack(outputs, dim=1).split(3, dim=2))


def close(actual: object, expected: object, tolerance: float = 1e-4) -> None:
    torch.testing.assert_close(actual, expected, rtol=tolerance, atol=tolerance)


@every_network
@torch.no_grad()
def test_a_window_equals_its_steps(tiny: Config, kind: str, settings: dict[str, object]):
    config = configured(tiny, kind, settings)
    network = warmed(config)
    frames, state = random_frames(config, 2, 5), network.initial_state(2)
    outputs, _ = network.unroll(frames, state)
    close(stepped(network, frames, state), outputs)


@every_network
@torch.no_grad()
def test_two_windows_equal_one(tiny: Config, kind: str, settings: dict[str, object]):
    config = configured(tiny, kind, settings)
    network = warmed(config)
    frames, state = random_frames(config, 1, 6), network.initial_state(1)
    whole, after = network.unroll(frames, state)
    first, between = network.unroll(frames[:, :2], state)
    second, last = network.unroll(frames[:, 2:], between)
    for one, other, both in zip(first, second, whole, strict=True):
        close(torch.cat((one, other), 1), both)
    close(last, after)


@every_network
@torch.no_grad()
def test_a_folded_network_has_the_same_outputs_and_state(
    tiny: Config, kind: str, settings: dict[str, object]
):
    config = configured(tiny, kind, settings)
    network = warmed(config)
    frames, state = random_frames(config, 3), network.initial_state(3)
    assert [tuple(one.shape) for one in state] == [(3, *p.shape) for p in network.state_tensors]
    interval = (torch.rand(3),) if network.takes_interval else ()
    act_in = (torch.rand(3) / 4,) if network.takes_act_in else ()
    inputs = (frames, *interval, *act_in, *state)
    close(network.fused()(*inputs), network(*inputs), 1e-3)


@every_network
def test_learning_reaches_every_weight(tiny: Config, kind: str, settings: dict[str, object]):
    config = configured(tiny, kind, settings)
    torch.manual_seed(0)
    network = build(config).train()
    times = (len(network.label_times_s),) if network.takes_act_in else ()
    frames, labels = random_frames(config, 2, 6), torch.randn(2, 6, *times, 3)
    labels[0, ..., 1:] = torch.nan
    losses, state = network.learn(
        frames, labels, torch.ones(2), network.learning_state(2), MaskedLoss(config.heads)
    )
    (losses.mean + losses.stddev).backward()
    assert [one.shape for one in state] == [one.shape for one in network.learning_state(2)]
    if network.planning():
        # It starts where its later layers hide the earlier ones.
        plan = network.get_submodule("plan.fresh")
        torch.nn.init.normal_(plan.get_parameter("weight"))
        losses, planned = network.eval().foresee(frames, network.learning_state(2))
        assert [one.shape for one in planned] == [one.shape for one in state]
        losses.mean.backward()
    unreached = [
        name
        for name, weight in network.named_parameters()
        if weight.grad is None or not torch.isfinite(weight.grad).all() or not weight.grad.any()
    ]
    assert not unreached


@every_network
def test_deviations_teach_nothing_else(tiny: Config, kind: str, settings: dict[str, object]):
    config = configured(tiny, kind, settings)
    torch.manual_seed(0)
    network = build(config).train()
    times = (len(network.label_times_s),) if network.takes_act_in else ()
    labels = torch.randn(2, 3, *times, 3)
    losses, _ = network.learn(
        random_frames(config, 2, 3),
        labels,
        torch.ones(2),
        network.learning_state(2),
        MaskedLoss(config.heads),
    )
    losses.stddev.backward()
    reached = {name for name, weight in network.named_parameters() if weight.grad is not None}
    own = [weight for layer in network.log_stddevs for weight in layer.parameters()]
    assert reached == {
        name for name, weight in network.named_parameters() if any(weight is one for one in own)
    }
    assert all(".log_stddev." in f".{name}" for name in reached)


@torch.no_grad()
def test_deviations_are_in_si_units_and_calibrated(tiny: Config):
    network: Any = warmed(configured(tiny, "pilotnet", {}))
    network.heads.log_stddev.bias.copy_(torch.tensor([1.0, -100.0, 100.0]))
    network.calibration.copy_(torch.tensor([2.0, 1.0, 1.0]))
    frames = random_frames(configured(tiny, "pilotnet", {}), 1)
    stddevs = torch.stack(network(frames)[3:6]).flatten()
    scales = torch.tensor([head.scale for head in tiny.heads.ordered()])
    close(stddevs, scales * torch.tensor([2 * math.e, math.exp(LEAST_LOG), math.exp(GREATEST_LOG)]))


def test_pilotnet_has_the_papers_weights_two_more_heads_and_deviations(tiny: Config):
    network = build(configured(tiny, "pilotnet", {})).eval().fused()
    counted = sum(weight.numel() for weight in network.parameters())
    assert counted == 252_219 + 2 * (10 + 1) + 3 * (10 + 1)


@torch.no_grad()
def test_the_clip_is_all_that_cnn3d_knows(tiny: Config):
    config = configured(tiny, "cnn3d", {})
    network = warmed(config)
    frames = random_frames(config, 1, 12)
    other = frames.clone()
    other[:, :4] = 0
    state = network.initial_state(1)
    left, right = (network.unroll(one, state)[0].mean for one in (frames, other))
    torch.testing.assert_close(left[:, 11], right[:, 11], rtol=1e-4, atol=1e-4)
    assert (left[:, 10] != right[:, 10]).any()


@torch.no_grad()
def test_komanda_starts_as_it_learned_to(tiny: Config):
    network: Any = build(configured(tiny, "komanda", {}))
    for start in network.initial:
        start.copy_(torch.randn_like(start))
    previous, projection, cell = network.state_tensors[:3]
    assert previous.kind == "feedback"
    assert [len(one.initial) for one in (previous, projection, cell)] == [3, 32, 32]
    for tensor, start in zip(network.initial_state(2), network.initial, strict=False):
        assert torch.equal(tensor, start.expand(2, -1))


@torch.no_grad()
def test_komanda_is_led_by_the_truth_where_there_is_one(tiny: Config):
    """Its loss changes with the labels of the past, beyond what the errors themselves change."""
    config = configured(tiny, "komanda", {"dropout": 0.0})
    torch.manual_seed(0)
    network = build(config)
    frames = random_frames(config, 1, 2)
    labels = torch.zeros(1, 2, 3)
    state, loss = network.learning_state(1), MaskedLoss(config.heads)
    weights = torch.ones(1)
    _, after = network.learn(frames, labels, weights, state, loss)
    _, other = network.learn(frames, labels + 1, weights, state, loss)
    led, alone = slice(0, 3), slice(3, 6)
    assert any((a != b).any() for a, b in zip(after[led], other[led], strict=True))
    assert all(torch.equal(a, b) for a, b in zip(after[alone], other[alone], strict=True))


def test_an_error_names_the_unknown_network_setting_or_cell(tiny: Config):
    with pytest.raises(ConfigError, match="no network 'resnet'; there are: chauffeur, cnn3d"):
        build(configured(tiny, "resnet", {}))
    with pytest.raises(ConfigError, match=r"unknown key 'network\.settings\.hiden'"):
        build(configured(tiny, "pilotnet_lstm", {"hiden": 6}))
    with pytest.raises(ConfigError, match="no cell 'elman'; there are: rnn, gru, lstm"):
        build(configured(tiny, "pilotnet_lstm", {"cell": "elman"}))
    with pytest.raises(ConfigError, match="1 to 3 recurrent layers, not 4"):
        build(configured(tiny, "pilotnet_lstm", {"layers": 4}))


def test_a_reach_that_the_picture_does_not_have_is_refused(tiny: Config):
    config = configured(tiny, "chauffeur", {"blocks": 1, "reach_px": 10_000})
    with pytest.raises(ConfigError, match="reach_px must be above 0 and below"):
        build(config)


@torch.no_grad()
def test_the_same_shift_in_twice_the_time_is_half_the_motion(tiny: Config):
    network: Any = build(configured(tiny, "chauffeur", {"blocks": 1, "interval": True}))
    size, moved = math.prod(network.trunk.shape), network.motions[0].width
    features = torch.rand(1, 2, size + moved)
    timed = network.timed(features, torch.tensor([[0.05, 0.1]]))
    shifts = slice(size, size + moved // 2)
    close(timed[0, 0, shifts], features[0, 0, shifts])
    close(timed[0, 1, shifts], features[0, 1, shifts] / 2)
    likeness = slice(size + moved // 2, size + moved)
    close(timed[..., likeness], features[..., likeness])
    close(timed[..., -1], torch.tensor([[0.0, math.log(2)]]))


def test_steering_learns_nothing_of_the_pace(tiny: Config):
    config = configured(tiny, "chauffeur", {"blocks": 1, "forward": True, "interval": True})
    network = build(config)
    prediction, _ = network.unroll(random_frames(config, 1, 3), network.initial_state(1))
    prediction.mean[..., 0].sum().backward(retain_graph=True)
    pace = [weight for name, weight in network.named_parameters() if ".pace." in name]
    assert pace
    assert not any(weight.grad is not None and weight.grad.any() for weight in pace)
    prediction.mean[..., 1].sum().backward()
    assert all(weight.grad.any() for weight in pace)
