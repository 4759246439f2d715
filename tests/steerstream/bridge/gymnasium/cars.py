"""A small environment with a camera, and its adapter."""

from __future__ import annotations

import gymnasium
import numpy as np

from steerstream.bridge.gymnasium import Adapter

STEPS = 5
MOVES: list[float] = []
"""Actions of all steps, newest last; a test empties it."""


class Car(gymnasium.Env):
    """It shows its step count and is rewarded by its action; it terminates after an odd seed."""

    observation_space = gymnasium.spaces.Box(0, 255, (48, 64, 3), np.uint8)
    action_space = gymnasium.spaces.Box(-1.0, 1.0, (1,), np.float32)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self._step, self._seed = 0, seed
        return self._picture(), {"speed": 3.0}

    def step(self, action):
        self._step += 1
        MOVES.append(float(action[0]))
        is_over = self._step == STEPS
        odd = bool(self._seed % 2)
        return self._picture(), MOVES[-1], is_over and odd, is_over and not odd, {"speed": 4.0}

    def _picture(self):
        return np.full((48, 64, 3), self._step, np.uint8)


def adapter(environment):
    """An action is the angle; none is -1."""

    def to_action(command):
        angle_rad = command.steering_wheel_angle_rad
        return np.array([-1.0 if angle_rad is None else angle_rad], np.float32)

    return Adapter(
        to_picture=lambda observation: observation,
        to_action=to_action,
        rate_hz=10.0,
        speed_mps=lambda info: info["speed"],
    )


def register():
    if "tests/Car-v0" not in gymnasium.registry:
        gymnasium.register("tests/Car-v0", entry_point=f"{__name__}:Car", disable_env_checker=True)


register()
