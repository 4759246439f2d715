from __future__ import annotations

import math
from typing import Any

import gymnasium
import numpy as np
import pytest

from steerstream import Action, BadRequest, SafeCommand
from steerstream.bridge.gymnasium.adapters import KNOWN, car_racing, road, shipped

# Box2D's own, when it is imported; as an error it would end the interpreter.
pytestmark = pytest.mark.filterwarnings("ignore:builtin type .wig:DeprecationWarning")

RELEASED = SafeCommand(Action.RELEASE, None, None, None, math.inf, ())


def follow(angle_rad, speed_mps=None):
    return SafeCommand(Action.FOLLOW, angle_rad, speed_mps, None, 0.0, ())


def test_what_ships_is_found_with_and_without_a_module():
    assert shipped("CarRacing-v3") is not None
    assert shipped("steerstream_simulation.environment:steerstream/Road-v0") is not None
    assert shipped("CartPole-v1") is None


@pytest.mark.parametrize("name", KNOWN)
def test_what_ships_takes_the_environments_pictures_and_gives_its_actions(name, monkeypatch):
    monkeypatch.setenv("SDL_VIDEODRIVER", "dummy")
    module = "steerstream_simulation.environment:" if name.startswith("steerstream/") else ""
    found = shipped(name)
    assert found is not None
    make, arguments = found
    environment: Any = gymnasium.make(module + name, **arguments)
    try:
        adapter = make(environment)
        assert adapter.speed_mps is not None
        observation, info = environment.reset(seed=1)
        picture = adapter.to_picture(observation)
        assert isinstance(picture, np.ndarray)
        assert picture.dtype == np.uint8
        assert picture.shape[2] == 3
        assert adapter.speed_mps(info) >= 0.0
        assert environment.metadata["render_fps"] == adapter.rate_hz
        for command in (RELEASED, follow(-0.5, 8.0), follow(0.5)):
            assert environment.action_space.contains(adapter.to_action(command))
    finally:
        environment.close()


def test_the_road_is_driven_in_the_units_of_the_wire():
    environment = gymnasium.make(
        "steerstream_simulation.environment:steerstream/Road-v0", width_px=160, height_px=120,
        physical_actions=True,
    )  # fmt: skip
    adapter = road(environment)
    assert adapter.to_action(follow(-0.5, 8.0)).tolist() == [-0.5, 8.0]
    assert adapter.to_action(RELEASED).tolist() == [0.0, 0.0]
    assert (adapter.camera.width_px, adapter.camera.height_px) == (160, 120)
    normalised = gymnasium.make("steerstream/Road-v0", width_px=160, height_px=120)
    with pytest.raises(BadRequest, match="physical_actions=True"):
        road(normalised)


class Racer:
    """As much of CarRacing as tells a speed."""

    class _Box:
        shape = (3,)

    action_space = _Box()

    def __init__(self, speed_mps):
        self.unwrapped = self
        self.car = self.hull = self.linearVelocity = self
        self.length = speed_mps


@pytest.mark.parametrize(
    ("command", "speed_mps", "action"),
    [
        (follow(1.48, 10.0), 10.0, [-0.1, 0.0, 0.0]),
        (follow(-1.48, 14.0), 10.0, [0.1, 0.4, 0.0]),
        (follow(0.0, 8.0), 10.0, [0.0, 0.0, 0.1]),
        (follow(-20.0, 100.0), 0.0, [0.4, 1.0, 0.0]),
        (RELEASED, 10.0, [0.0, 0.0, 1.0]),
    ],
)
def test_car_racing_steers_to_the_right_where_it_is_positive(command, speed_mps, action):
    np.testing.assert_allclose(car_racing(Racer(speed_mps)).to_action(command), action, atol=1e-6)


def test_car_racings_car_turns_to_the_side_that_the_command_says(monkeypatch):
    monkeypatch.setenv("SDL_VIDEODRIVER", "dummy")
    environment: Any = gymnasium.make("CarRacing-v3")
    adapter = car_racing(environment)
    headings_rad = []
    for angle_rad in (4.0, -4.0):
        environment.reset(seed=1)
        car = environment.unwrapped.car
        before = car.hull.angle
        for _ in range(60):
            environment.step(adapter.to_action(follow(angle_rad, 12.0)))
        headings_rad.append(car.hull.angle - before)
    environment.close()
    left, right = headings_rad
    assert left > 0.1
    assert right < -0.1


def test_discrete_actions_are_refused(monkeypatch):
    monkeypatch.setenv("SDL_VIDEODRIVER", "dummy")
    environment = gymnasium.make("CarRacing-v3", continuous=False)
    with pytest.raises(BadRequest, match="continuous=True"):
        car_racing(environment)
    environment.close()


def test_car_racings_dashboard_is_not_shown():
    picture = car_racing(Racer(0.0)).to_picture(np.zeros((96, 96, 3), np.uint8))
    assert isinstance(picture, np.ndarray)
    assert picture.shape == (84, 96, 3)
