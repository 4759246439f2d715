import gymnasium
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env

from steerstream_simulation.camera import CameraConfig
from steerstream_simulation.environment import ENVIRONMENT_ID, RoadEnvironment

SMALL = CameraConfig(width=160, height=120)


# Gymnasium would rather have actions of -1 to 1; these are what the wire carries, in its units.
@pytest.mark.filterwarnings("ignore:.*symmetric and normalized space.*:UserWarning")
def test_passes_gymnasiums_own_checks():
    environment = gymnasium.make(
        ENVIRONMENT_ID, seconds=2.0, camera=SMALL, render_mode="rgb_array", disable_env_checker=True
    )
    check_env(environment.unwrapped)


def test_following_the_experts_labels_is_rewarded():
    environment = RoadEnvironment(road_seed=1005, seconds=3.0, camera=SMALL)
    _, info = environment.reset(seed=0)
    total, truncated = 0.0, False
    while not truncated:
        action = np.array([info["steering_wheel_angle_rad"], info["speed_mps"]], np.float32)
        _, reward, terminated, truncated, info = environment.step(action)
        assert not terminated
        total += reward
    assert total > 0.9 * 60
    assert info["autonomy_percent"] == 100.0


@pytest.mark.parametrize("puts_back", [False, True])
def test_leaving_the_lane_ends_the_episode_unless_it_puts_back(puts_back):
    environment = RoadEnvironment(road_seed=1005, seconds=4.0, camera=SMALL, puts_back=puts_back)
    environment.reset(seed=0)
    ended = []
    for _ in range(80):
        _, _, terminated, truncated, info = environment.step(np.array([1.5, 15.0], np.float32))
        ended.append(terminated)
        if terminated or truncated:
            break
    assert any(ended) is not puts_back
    assert info["interventions"] >= 1


def test_options_name_the_road():
    environment = RoadEnvironment(seconds=1.0, camera=SMALL)
    _, info = environment.reset(seed=3, options={"road_seed": 4242})
    assert info["road_seed"] == 4242
    drawn = environment.reset(seed=3)[1]["road_seed"]
    assert drawn >= 1000


def test_stepping_before_a_reset_is_refused():
    with pytest.raises(gymnasium.error.ResetNeeded):
        RoadEnvironment(camera=SMALL).step(np.zeros(2, np.float32))
