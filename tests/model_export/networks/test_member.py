"""Several members over the same features: each by itself, and what they say together."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from model_export.config import Config
from model_export.errors import ConfigError
from model_export.networks import build
from model_export.networks.parts.heads import RawOutput
from model_export.networks.parts.losses import MaskedLoss
from model_export.networks.parts.member import Members, MemberSettings, pooled
from tests.model_export.builders import configured, random_frames

SEEN = (4, 2, 3)
FEATURES = 24 + 5 + 2
"""Of the encoder, of sideways motion, of forward motion."""


def members(count: int, **settings: Any) -> Members:
    torch.manual_seed(0)
    small = MemberSettings(channels=2, features=3, hidden=6, pace=4, **settings)
    return Members(count, small, SEEN, 5, 2).eval()


@pytest.mark.parametrize("window", [0, 4])
@torch.no_grad()
def test_each_member_has_its_own_share_of_the_state(window: int):
    three = members(3, window=window)
    alone = three.each[1]
    features = torch.rand(2, 5, FEATURES)
    state = tuple(torch.rand(2, *pair.shape) for pair in three.state_tensors)
    said, after = three(features, state)
    own = tuple(tensor.chunk(3, dim=-1)[1] for tensor in state)
    expected, left = alone(features, own)
    torch.testing.assert_close(said[1], expected)
    torch.testing.assert_close(tuple(tensor.chunk(3, dim=-1)[1] for tensor in after), left)


def test_members_start_differently():
    said, _ = (two := members(2))(
        torch.rand(1, 4, FEATURES), tuple(torch.zeros(1, *pair.shape) for pair in two.state_tensors)
    )
    assert not torch.allclose(said[0].mean, said[1].mean)


def test_together_they_say_mean_and_deviation_of_the_mixture():
    torch.manual_seed(0)
    said = [RawOutput(torch.randn(1, 2, 3), torch.randn(1, 2, 3)) for _ in range(3)]
    draws = torch.cat(
        [one.mean + one.log_stddev.exp() * torch.randn(200_000, 2, 3) for one in said]
    )
    together = pooled(said)
    torch.testing.assert_close(together.mean[0], draws.mean(0), atol=0.03, rtol=0)
    torch.testing.assert_close(together.log_stddev.exp()[0], draws.std(0), atol=0, rtol=0.02)


def test_one_member_says_what_it_says():
    one = RawOutput(torch.randn(1, 2, 3), torch.randn(1, 2, 3))
    torch.testing.assert_close(pooled([one]), one)


def test_a_member_learns_from_its_own_error_whatever_the_others_say(tiny: Config):
    """Taught together, members would be free to cancel each other's errors."""
    settings = {"blocks": 2, "hidden": 6, "members": 2, "dropout": 0.0}
    config = configured(tiny, "chauffeur", settings)
    torch.manual_seed(0)
    network: Any = build(config).eval()
    frames, labels = random_frames(config, 1, 3), torch.randn(1, 3, 3)
    bias = network.members.each[0].heads.mean.bias

    def gradient() -> torch.Tensor:
        network.zero_grad()
        losses, _ = network.learn(
            frames, labels, torch.ones(1), network.learning_state(1), MaskedLoss(config.heads)
        )
        losses.mean.backward()
        return bias.grad.clone()

    before = gradient()
    with torch.no_grad():
        network.members.each[1].heads.mean.bias += 3.0
    torch.testing.assert_close(gradient(), before)


def test_there_is_at_least_one(tiny: Config):
    config = configured(tiny, "chauffeur", {"blocks": 2, "members": 0})
    with pytest.raises(ConfigError, match="members must be 1 or more, not 0"):
        build(config)
