"""Stable-Baselines3's opinion of the environment; `make test-rl` installs what it takes."""

from __future__ import annotations

from typing import Any

import gymnasium
import pytest

from steerstream_simulation.environment import ENVIRONMENT_ID

checker = pytest.importorskip(
    "stable_baselines3.common.env_checker",
    reason="needs Stable-Baselines3, which brings a torch that is not pinned here: make test-rl",
)

SMALL: dict[str, Any] = {"width_px": 160, "height_px": 120, "seconds": 2.0}


@pytest.mark.parametrize("options", [{}, {"puts_back": True}, {"render_mode": "rgb_array"}])
def test_the_check_of_stable_baselines3_has_no_complaint(options):
    # A warning is an error, here as in all tests.
    checker.check_env(gymnasium.make(ENVIRONMENT_ID, **SMALL, **options))


def test_a_network_for_pictures_learns_from_it_for_a_few_steps():
    algorithms = pytest.importorskip("stable_baselines3")
    model = algorithms.PPO(
        "CnnPolicy", gymnasium.make(ENVIRONMENT_ID, **SMALL), n_steps=16, batch_size=8
    )
    model.learn(16)
    assert model.num_timesteps == 16
