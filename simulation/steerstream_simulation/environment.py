"""The world as a Gymnasium environment, `steerstream/Road-v0`.

Observation: the camera's picture, uint8 RGB `[height, width, 3]`. Action: `[steering wheel angle
in radians, speed in metres per second]`, float32; it acts from when the picture was taken. Reward
for each step: 1 on the lane's centre, falling linearly to 0 at 1.5 m from it, and 0 where the
vehicle had to be put back. An episode terminates when the vehicle leaves its lane, unless
`puts_back` is set, and is truncated after its seconds. `info` holds the score and the expert's
label for the new observation.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import gymnasium
import numpy as np

from steerstream_simulation import FIRST_TRAINING_SEED
from steerstream_simulation.camera import CameraConfig
from steerstream_simulation.closed_loop import RATE_HZ
from steerstream_simulation.scoring import INTERVENTION_OFFSET_M
from steerstream_simulation.vehicle import Command, VehicleParameters
from steerstream_simulation.world import World

if TYPE_CHECKING:
    from numpy.typing import NDArray

ENVIRONMENT_ID = "steerstream/Road-v0"

_SPEED_LIMIT_MPS = 30.0
_LAST_SEED = 1_000_000


class RoadEnvironment(gymnasium.Env["NDArray[np.uint8]", "NDArray[np.float32]"]):
    """Keep the lane of a procedural road.

    Args:
        road_seed: The road of every episode; None draws one of the training roads at each reset.
        seconds: Length of an episode.
        camera: Size and mounting.
        puts_back: Whether leaving the lane puts the vehicle back instead of ending the episode.
        render_mode: `rgb_array` or None.
    """

    metadata = {"render_modes": ["rgb_array"], "render_fps": RATE_HZ}  # noqa: RUF012

    def __init__(
        self,
        *,
        road_seed: int | None = None,
        seconds: float = 60.0,
        camera: CameraConfig | None = None,
        puts_back: bool = False,
        render_mode: str | None = None,
    ) -> None:
        self.render_mode = render_mode
        self._road_seed = road_seed
        self._seconds = seconds
        self._camera = camera or CameraConfig()
        self._puts_back = puts_back
        self._world: World | None = None
        limit = VehicleParameters().steering.angle_limit_rad
        shape = (self._camera.height, self._camera.width, 3)
        self.observation_space = gymnasium.spaces.Box(0, 255, shape, np.uint8)
        self.action_space = gymnasium.spaces.Box(
            np.array([-limit, 0.0], np.float32), np.array([limit, _SPEED_LIMIT_MPS], np.float32)
        )

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[NDArray[np.uint8], dict[str, Any]]:
        """Begin an episode.

        Args:
            seed: Of the draw of the road.
            options: `road_seed` names the road of this episode.

        Returns:
            The first picture and its `info`.
        """
        super().reset(seed=seed)
        drawn = int(self.np_random.integers(FIRST_TRAINING_SEED, _LAST_SEED))
        chosen = drawn if self._road_seed is None else self._road_seed
        road_seed = (options or {}).get("road_seed", chosen)
        self._world = World(road_seed, seconds=self._seconds, camera=self._camera)
        return self._world.capture(), self._info(self._world)

    def step(
        self, action: NDArray[np.float32]
    ) -> tuple[NDArray[np.uint8], float, bool, bool, dict[str, Any]]:
        """Follow an action for one frame.

        Returns:
            Observation, reward, terminated, truncated, info.

        Raises:
            gymnasium.error.ResetNeeded: If no episode has begun.
        """
        world = self._begun()
        before = world.score.interventions
        world.command = Command(float(action[0]), float(action[1]))
        world.advance_to(world.time_s + 1.0 / RATE_HZ)
        has_left = world.score.interventions > before
        closeness = 1.0 - abs(world.position.lateral_offset_m) / INTERVENTION_OFFSET_M
        return (
            world.capture(),
            0.0 if has_left else closeness,
            has_left and not self._puts_back,
            world.time_s >= self._seconds,
            self._info(world),
        )

    def render(self) -> NDArray[np.uint8] | None:
        """Return the camera's picture where `render_mode` is `rgb_array`."""
        return self._begun().capture() if self.render_mode == "rgb_array" else None

    def _begun(self) -> World:
        if self._world is None:
            raise gymnasium.error.ResetNeeded("call reset before step and render")
        return self._world

    def _info(self, world: World) -> dict[str, Any]:
        return {
            **world.score.summary(),
            **world.expert_label(1.0 / RATE_HZ)._asdict(),
            "lateral_offset_m": world.position.lateral_offset_m,
            "vehicle_speed_mps": world.vehicle.speed_mps,
            "road_seed": world.road.seed,
        }


def register() -> None:
    """Make the environment known to Gymnasium; doing so again does nothing."""
    if ENVIRONMENT_ID not in gymnasium.registry:
        gymnasium.register(
            ENVIRONMENT_ID, entry_point="steerstream_simulation.environment:RoadEnvironment"
        )


register()
