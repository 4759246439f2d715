"""The world as a Gymnasium environment, `steerstream/Road-v0`; docs/gymnasium.md describes it."""

from __future__ import annotations

from typing import Any

import gymnasium
import numpy as np
from numpy.typing import NDArray

from steerstream.arguments import finite_number, instance, whole_number
from steerstream_simulation.camera import CameraConfig
from steerstream_simulation.closed_loop import RATE_HZ
from steerstream_simulation.road import FIRST_TRAINING_SEED
from steerstream_simulation.scoring import INTERVENTION_OFFSET_M
from steerstream_simulation.vehicle import Command, VehicleParameters
from steerstream_simulation.world import World

ENVIRONMENT_ID = "steerstream/Road-v0"

SPEED_LIMIT_MPS = 30.0
NORMALISED_ANGLE_RAD = 2.0
"""Angle of the normalised action 1: enough for the sharpest bend and a correction."""

_LAST_SEED = 1_000_000
_GREATEST_SEED = 2**63 - 1
_LEAST_PX, _GREATEST_PX = 64, 1920
_ACTION = ("steering wheel angle", "speed")


class RoadEnvironment(gymnasium.Env[NDArray[np.uint8], NDArray[np.float32]]):
    """Keep the lane of a procedural road at the speed that the road allows.

    Args:
        road_seed: the road of every episode; None draws one of the training roads at each reset.
        seconds: length of an episode.
        width_px: columns of the observation.
        height_px: rows of the observation.
        physical_actions: whether an action is in radians and metres per second, as on the wire,
            instead of -1 to 1.
        puts_back: whether leaving the lane puts the vehicle back instead of ending the episode.
        render_mode: `rgb_array` or None.

    Raises:
        ValueError: an argument is of another type or out of its range: a side has 64 to 1920
            pixels, `seconds` is above 0, `road_seed` is from 0.
    """

    metadata = {"render_modes": ["rgb_array"], "render_fps": RATE_HZ}  # noqa: RUF012

    def __init__(
        self,
        *,
        road_seed: int | None = None,
        seconds: float = 60.0,
        width_px: int = 320,
        height_px: int = 240,
        physical_actions: bool = False,
        puts_back: bool = False,
        render_mode: str | None = None,
    ) -> None:
        width_px = _side_px("width_px", width_px)
        height_px = _side_px("height_px", height_px)
        if not finite_number("seconds", seconds, low=0.0):
            raise ValueError("an episode needs more than 0 seconds")
        instance("physical_actions", physical_actions, bool)
        instance("puts_back", puts_back, bool)
        if render_mode not in (None, "rgb_array"):
            raise ValueError(f"render_mode must be 'rgb_array' or None, not {render_mode!r}")
        self.render_mode = render_mode
        self._road_seed = None if road_seed is None else _seed(road_seed)
        self._seconds = seconds
        self._camera = CameraConfig(width_px=width_px, height_px=height_px)
        self._puts_back = puts_back
        self._physical_actions = physical_actions
        self._world: World | None = None
        self._has_ended = False
        self.observation_space = gymnasium.spaces.Box(0, 255, (height_px, width_px, 3), np.uint8)
        low, high = np.array([-1.0, -1.0]), np.array([1.0, 1.0])
        if physical_actions:
            limit_rad = VehicleParameters().steering.angle_limit_rad
            low, high = np.array([-limit_rad, 0.0]), np.array([limit_rad, SPEED_LIMIT_MPS])
        self._bounds = low, high
        self.action_space = gymnasium.spaces.Box(low.astype(np.float32), high.astype(np.float32))

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[NDArray[np.uint8], dict[str, Any]]:
        """Begin an episode.

        Args:
            seed: of the draw of the road.
            options: `road_seed` names the road of this episode.

        Returns:
            The first picture, uint8 RGB [height, width, 3], and its `info`.

        Raises:
            ValueError: an option has another name, or `road_seed` is no whole number from 0.
        """
        super().reset(seed=seed)
        options = options or {}
        if unknown := sorted(options.keys() - {"road_seed"}):
            raise ValueError(f"reset has no option {unknown[0]!r}; it takes: road_seed")
        drawn = int(self.np_random.integers(FIRST_TRAINING_SEED, _LAST_SEED))
        road_seed = options.get("road_seed", drawn if self._road_seed is None else self._road_seed)
        self._world = World(
            _seed(road_seed), seconds=self._seconds, camera=self._camera, puts_back=self._puts_back
        )
        self._has_ended = False
        return self._world.capture(), self._info(self._world)

    def step(
        self, action: NDArray[np.float32]
    ) -> tuple[NDArray[np.uint8], float, bool, bool, dict[str, Any]]:
        """Follow an action for one frame.

        Args:
            action: float32 [2], steering wheel angle and speed; what is beyond the action space is
                taken as its bound.

        Returns:
            Observation, reward, terminated, truncated, info.

        Raises:
            gymnasium.error.ResetNeeded: no episode has begun, or it has ended.
            ValueError: the action has another shape, or a number of it is not finite.
        """
        world = self._begun()
        if self._has_ended:
            raise gymnasium.error.ResetNeeded("the episode has ended; call reset before step")
        command = self._command(action)
        before, begin_m = world.score.interventions, world.position.arc_length_m
        expected_m = world.expert_label(0.0).speed_mps / RATE_HZ
        world.command = command
        world.advance_to(world.time_s + 1.0 / RATE_HZ)
        reward = 0.0
        if world.score.interventions == before:
            progress = (world.position.arc_length_m - begin_m) / expected_m
            closeness = 1.0 - abs(world.position.lateral_offset_m) / INTERVENTION_OFFSET_M
            reward = min(max(progress, 0.0), 1.0) * closeness
        terminated, truncated = world.has_ended, world.time_s >= self._seconds
        self._has_ended = terminated or truncated
        return world.capture(), reward, terminated, truncated, self._info(world)

    def render(self) -> NDArray[np.uint8] | None:
        """Return the camera's picture where `render_mode` is `rgb_array`."""
        return self._begun().capture() if self.render_mode == "rgb_array" else None

    def _begun(self) -> World:
        if self._world is None:
            raise gymnasium.error.ResetNeeded("call reset before step and render")
        return self._world

    def _command(self, action: NDArray[np.float32]) -> Command:
        values = np.asarray(action, np.float64)
        if values.shape != self.action_space.shape:
            raise ValueError(f"an action has shape {self.action_space.shape}, not {values.shape}")
        for name, value in zip(_ACTION, values.tolist(), strict=True):
            if not np.isfinite(value):
                raise ValueError(f"the action's {name} is {value}; it must be a finite number")
        angle, speed = np.clip(values, *self._bounds).tolist()
        if self._physical_actions:
            return Command(angle, speed)
        return Command(angle * NORMALISED_ANGLE_RAD, 0.5 * (speed + 1.0) * SPEED_LIMIT_MPS)

    def _info(self, world: World) -> dict[str, Any]:
        label = world.expert_label(1.0 / RATE_HZ)
        return {
            **world.score.summary(),
            **label._asdict(),
            "expert_action": self._action(label.steering_wheel_angle_rad, label.speed_mps),
            "lateral_offset_m": world.position.lateral_offset_m,
            "vehicle_speed_mps": world.vehicle.speed_mps,
            "road_seed": world.road.seed,
        }

    def _action(self, angle_rad: float, speed_mps: float) -> NDArray[np.float32]:
        """Return the action that gives a command."""
        if self._physical_actions:
            return np.array([angle_rad, speed_mps], np.float32)
        scaled = [angle_rad / NORMALISED_ANGLE_RAD, 2.0 * speed_mps / SPEED_LIMIT_MPS - 1.0]
        return np.array(scaled, np.float32)


def _side_px(name: str, value: object) -> int:
    return whole_number(name, value, low=_LEAST_PX, high=_GREATEST_PX)


def _seed(value: object) -> int:
    return whole_number("road_seed", value, low=0, high=_GREATEST_SEED)


def register() -> None:
    """Make the environment known to Gymnasium; doing so again does nothing."""
    if ENVIRONMENT_ID not in gymnasium.registry:
        gymnasium.register(
            ENVIRONMENT_ID, entry_point="steerstream_simulation.environment:RoadEnvironment"
        )


register()
