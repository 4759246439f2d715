from __future__ import annotations

import subprocess
import sys
import warnings
from typing import Any

import gymnasium
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env

from steerstream_simulation.camera import Camera, CameraConfig
from steerstream_simulation.environment import ENVIRONMENT_ID, RoadEnvironment
from steerstream_simulation.scoring import INTERVENTION_OFFSET_M

SMALL: dict[str, Any] = {"width_px": 64, "height_px": 64}
STRAIGHT = np.array([0.0, 0.0], np.float32)


def run(policy, *, road_seed=1005, seconds=10.0, **options):
    """The rewards and the last step's results of an episode."""
    environment = RoadEnvironment(road_seed=road_seed, seconds=seconds, **SMALL, **options)
    _, info = environment.reset(seed=0)
    rewards, terminated, truncated = [], False, False
    while not (terminated or truncated):
        seen, reward, terminated, truncated, info = environment.step(policy(info))
        rewards.append(reward)
    return rewards, seen, terminated, info


def expert(info):
    return info["expert_action"]


def test_gymnasiums_own_checks_have_no_complaint():
    environment = gymnasium.make(
        ENVIRONMENT_ID, seconds=2.0, **SMALL, render_mode="rgb_array", disable_env_checker=True
    )
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        check_env(environment.unwrapped)


# Gymnasium would rather have actions of -1 to 1; these are what the wire carries, in its units.
@pytest.mark.filterwarnings("ignore:.*symmetric and normalized space.*:UserWarning")
def test_gymnasiums_own_checks_pass_with_physical_actions():
    check_env(RoadEnvironment(seconds=2.0, **SMALL, physical_actions=True), skip_render_check=True)


@pytest.mark.parametrize(
    "imports",
    [
        ["gymnasium"],
        ["steerstream_simulation", "gymnasium"],
        ["gymnasium", "steerstream_simulation"],
        ["steerstream_simulation.environment", "gymnasium"],
    ],
    ids=" then ".join,
)
def test_the_environment_is_made_by_its_id_after_imports_in_any_order(imports):
    code = (
        f"import {', '.join(imports)}\n"
        "made = gymnasium.make(\n"
        "    'steerstream_simulation.environment:steerstream/Road-v0', height_px=64\n"
        ")\n"
        "print(made.observation_space.shape)"
    )
    command = [sys.executable, "-W", "error", "-c", code]
    result = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60)
    assert result.stdout == "(64, 320, 3)\n"


def test_the_world_imports_gymnasium_for_the_environment_only():
    code = "import sys, steerstream_simulation.world; print('gymnasium' in sys.modules)"
    command = [sys.executable, "-c", code]
    result = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60)
    assert result.stdout == "False\n"


@pytest.mark.parametrize("physical", [False, True])
def test_following_the_experts_labels_is_rewarded(physical):
    rewards, _, terminated, info = run(expert, seconds=3.0, physical_actions=physical)
    assert not terminated
    assert sum(rewards) > 0.9 * 60
    assert info["autonomy_percent"] == 100.0


@pytest.mark.parametrize("road_seed", [1005, 1006, 4242])
def test_the_expert_earns_by_far_the_most(road_seed):
    def still(_info):
        return np.array([0.0, -1.0], np.float32)

    def slow(info):
        return info["expert_action"] * (1, 0.5) - (0, 0.5)

    def full_speed(info):
        return np.array([info["expert_action"][0], 1.0], np.float32)

    def straight_on(info):
        return np.array([0.0, info["expert_action"][1]], np.float32)

    policies = (expert, still, slow, full_speed, straight_on)
    earned = [sum(run(policy, road_seed=road_seed, seconds=20.0)[0]) for policy in policies]
    assert earned[0] > 0.9 * 400
    # The vehicle begins at speed, so it earns a little while it stops.
    assert max(earned[1:]) < earned[0]
    assert earned[1] < 0.2 * earned[0]
    assert earned[2] < 0.7 * earned[0]


def test_a_reward_is_never_below_0_nor_above_1():
    def weaving(info):
        at = info["simulated_s"]
        return np.array([0.05 * np.sin(3 * at), 0.3], np.float32)

    rewards = run(weaving, seconds=20.0, puts_back=True)[0]
    assert 0.0 <= min(rewards) <= max(rewards) <= 1.0
    assert min(rewards) < 0.5


@pytest.mark.parametrize("puts_back", [False, True])
def test_leaving_the_lane_ends_the_episode_unless_it_puts_back(puts_back):
    environment = RoadEnvironment(road_seed=1005, seconds=4.0, **SMALL, puts_back=puts_back)
    environment.reset(seed=0)
    ended = []
    for _ in range(80):
        _, _, terminated, truncated, info = environment.step(np.array([0.75, 0.0], np.float32))
        ended.append(terminated)
        if terminated or truncated:
            break
    assert any(ended) is not puts_back
    assert info["interventions"] >= 1


def test_the_last_observation_is_from_where_the_vehicle_left_its_lane():
    environment = RoadEnvironment(road_seed=1005, seconds=4.0, **SMALL)
    environment.reset(seed=0)
    terminated = False
    while not terminated:
        seen, reward, terminated, _, info = environment.step(np.array([0.75, 0.0], np.float32))
    assert reward == 0.0
    assert INTERVENTION_OFFSET_M < info["lateral_offset_m"] < INTERVENTION_OFFSET_M + 0.5
    world = environment._world
    assert world is not None
    at = world.position.arc_length_m
    camera = Camera(world.road, CameraConfig(**SMALL))
    there = camera.render(world.vehicle.pose, at)
    centre = camera.render(world.road.pose_at(at), at)
    np.testing.assert_array_equal(seen, there)
    assert np.abs(seen.astype(int) - centre).mean() > 5


def test_an_episode_that_has_ended_takes_no_step():
    environment = RoadEnvironment(road_seed=1005, seconds=0.1, **SMALL)
    environment.reset(seed=0)
    for _ in range(2):
        *_, truncated, _ = environment.step(STRAIGHT)
    assert truncated
    with pytest.raises(gymnasium.error.ResetNeeded, match="has ended; call reset"):
        environment.step(STRAIGHT)
    environment.reset()
    environment.step(STRAIGHT)


@pytest.mark.parametrize(
    ("action", "message"),
    [
        ([np.nan, 0.0], "the action's steering wheel angle is nan"),
        ([0.0, np.inf], "the action's speed is inf"),
        ([0.0, 0.0, 0.0], r"an action has shape \(2,\), not \(3,\)"),
    ],
)
def test_an_action_that_is_none_is_refused_and_nothing_moves(action, message):
    environment = RoadEnvironment(road_seed=1005, seconds=1.0, **SMALL)
    _, before = environment.reset(seed=0)
    with pytest.raises(ValueError, match=message):
        environment.step(np.array(action, np.float32))
    world = environment._world
    assert world is not None
    assert world.time_s == before["simulated_s"] == 0.0


def test_options_name_the_road():
    environment = RoadEnvironment(seconds=1.0, **SMALL)
    _, info = environment.reset(seed=3, options={"road_seed": 4242})
    assert info["road_seed"] == 4242
    drawn = environment.reset(seed=3)[1]["road_seed"]
    assert drawn >= 1000
    with pytest.raises(ValueError, match="no option 'seed'; it takes: road_seed"):
        environment.reset(options={"seed": 1})


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"width_px": 16}, "width_px must be 64 to 1920, not 16"),
        ({"height_px": 4000}, "height_px must be 64 to 1920, not 4000"),
        ({"height_px": 96.5}, "height_px must be a whole number, not 96.5"),
        ({"seconds": 0.0}, "more than 0 seconds"),
        ({"seconds": -1}, "seconds must be finite, 0 or more, not -1"),
        ({"seconds": float("nan")}, "seconds must be finite"),
        ({"seconds": "20"}, "seconds must be a number, not '20'"),
        ({"road_seed": "x"}, "road_seed must be a whole number, not 'x'"),
        ({"road_seed": -4}, "road_seed must be 0 to .*, not -4"),
        ({"physical_actions": "no"}, "physical_actions must be bool, not 'no'"),
        ({"puts_back": 1}, "puts_back must be bool, not 1"),
        ({"render_mode": "human"}, "render_mode must be 'rgb_array' or None, not 'human'"),
    ],
)
def test_a_wrong_argument_is_named(options, message):
    with pytest.raises(ValueError, match=message):
        RoadEnvironment(**options)


@pytest.mark.parametrize("road_seed", ["x", -4, 1.5, None])
def test_a_road_of_an_episode_that_is_none_is_named(road_seed):
    environment = RoadEnvironment(seconds=1.0, **SMALL)
    with pytest.raises(ValueError, match="road_seed must be"):
        environment.reset(options={"road_seed": road_seed})


def test_stepping_before_a_reset_is_refused():
    with pytest.raises(gymnasium.error.ResetNeeded):
        RoadEnvironment(**SMALL).step(np.zeros(2, np.float32))


def episode(environment, seed):
    """The pictures, rewards and roads of a short weaving drive."""
    seen, info = environment.reset(seed=seed)
    pictures, rewards = [seen], []
    for step in range(6):
        action = np.array([0.2 * np.sin(step), 0.1], np.float32)
        seen, reward, *_ = environment.step(action)
        pictures.append(seen)
        rewards.append(reward)
    return np.stack(pictures), rewards, info["road_seed"]


def test_the_same_seed_gives_the_same_episode_bit_by_bit():
    first, second = (RoadEnvironment(seconds=2.0, **SMALL) for _ in range(2))
    pictures, rewards, road_seed = episode(first, 11)
    for again in (episode(first, 11), episode(second, 11)):
        np.testing.assert_array_equal(again[0], pictures)
        assert again[1:] == (rewards, road_seed)
    assert episode(first, 12)[2] != road_seed


def test_episodes_after_a_seeded_one_follow_from_its_seed():
    roads = []
    for environment in (RoadEnvironment(seconds=2.0, **SMALL) for _ in range(2)):
        environment.reset(seed=11)
        roads.append([environment.reset()[1]["road_seed"] for _ in range(3)])
    assert roads[0] == roads[1]
    assert len(set(roads[0])) == 3


@pytest.mark.parametrize("mode", ["sync", "async"])
def test_several_environments_are_stepped_as_one(mode):
    vector: Any = gymnasium.make_vec(
        f"steerstream_simulation.environment:{ENVIRONMENT_ID}",
        num_envs=2,
        vectorization_mode=mode,
        vector_kwargs={"context": "spawn"} if mode == "async" else None,
        seconds=0.2,
        **SMALL,
    )
    try:
        seen, info = vector.reset(seed=[11, 12])
        alone = [RoadEnvironment(seconds=0.2, **SMALL).reset(seed=seed) for seed in (11, 12)]
        np.testing.assert_array_equal(seen, np.stack([picture for picture, _ in alone]))
        assert info["road_seed"].tolist() == [found["road_seed"] for _, found in alone]
        assert vector.action_space.shape == (2, 2)
        ends = []
        for _ in range(5):
            seen, rewards, terminated, truncated, _ = vector.step(info["expert_action"])
            assert seen.shape == (2, 64, 64, 3)
            assert rewards.shape == (2,)
            ends.append(bool(truncated.all()))
        assert not terminated.any()
        # After the end, the next step begins the next episode.
        assert ends == [False, False, False, True, False]
    finally:
        vector.close()
