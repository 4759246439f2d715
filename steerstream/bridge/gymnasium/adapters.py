"""What an environment's pictures and actions mean to a vehicle."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from steerstream.errors import BadRequest
from steerstream.guard import SafeCommand
from steerstream.images import Image
from steerstream.models import Camera

Info = Mapping[str, Any]
"""What `reset` and `step` return beside the observation."""

_STEERING_RATIO = 14.8
_CAR_RACING_WHEEL_RAD = 0.4
"""Where the wheels of CarRacing's car stop, though its actions go to 1."""
_CAR_RACING_DASHBOARD_PX = 12


@dataclasses.dataclass(frozen=True, slots=True)
class Adapter:
    """An environment as a vehicle.

    Attributes:
        to_picture: returns an observation's picture, in RGB.
        to_action: returns the action that follows a command. A command to RELEASE has no values:
            its action stops the vehicle, because a simulated one has no driver to take over.
        rate_hz: steps a second, in the environment's own time.
        camera: the camera that takes the pictures; None where nothing is known of it.
        speed_mps: returns the vehicle's speed; None where the environment does not tell it.
    """

    to_picture: Callable[[Any], Image]
    to_action: Callable[[SafeCommand], Any]
    rate_hz: float
    camera: Camera | None = None
    speed_mps: Callable[[Info], float] | None = None


def road(environment: Any) -> Adapter:  # noqa: ANN401 - Gymnasium is not imported here
    """Return the adapter of `steerstream/Road-v0`.

    Raises:
        BadRequest: its actions are not in the units of the wire.
    """
    if environment.action_space.low[1] < 0.0:
        raise BadRequest("make steerstream/Road-v0 with physical_actions=True")
    height_px, width_px, _ = environment.observation_space.shape

    def to_action(command: SafeCommand) -> NDArray[np.float32]:
        values = (command.steering_wheel_angle_rad or 0.0, command.speed_mps or 0.0)
        return np.array(values, np.float32)

    return Adapter(
        to_picture=lambda observation: observation,
        to_action=to_action,
        rate_hz=20.0,
        camera=Camera(width_px, height_px, 18.0, mount_height_m=1.3, horizon_fraction=0.45),
        speed_mps=lambda info: float(info["vehicle_speed_mps"]),
    )


def car_racing(environment: Any) -> Adapter:  # noqa: ANN401 - Gymnasium is not imported here
    """Return the adapter of `CarRacing-v3`, which looks at its car from above.

    Raises:
        BadRequest: its actions are discrete.
    """
    if environment.action_space.shape != (3,):
        raise BadRequest("make CarRacing with continuous=True")

    def speed_mps(_info: Info) -> float:
        return float(environment.unwrapped.car.hull.linearVelocity.length)

    def to_action(command: SafeCommand) -> NDArray[np.float32]:
        if command.steering_wheel_angle_rad is None:
            return np.array((0.0, 0.0, 1.0), np.float32)
        wheel_rad = np.clip(
            command.steering_wheel_angle_rad / _STEERING_RATIO,
            -_CAR_RACING_WHEEL_RAD,
            _CAR_RACING_WHEEL_RAD,
        )
        lacking_mps = (command.speed_mps or 0.0) - speed_mps({})
        gas, brake = np.clip((0.1 * lacking_mps, -0.05 * lacking_mps), 0.0, 1.0)
        # The environment's right is positive.
        return np.array((-wheel_rad, gas, brake), np.float32)

    return Adapter(
        to_picture=lambda observation: np.ascontiguousarray(
            observation[:-_CAR_RACING_DASHBOARD_PX]
        ),
        to_action=to_action,
        rate_hz=50.0,
        speed_mps=speed_mps,
    )


_ADAPTERS: Mapping[str, tuple[Callable[[Any], Adapter], Mapping[str, Any]]] = {
    "CarRacing-v3": (car_racing, {}),
    "steerstream/Road-v0": (road, {"physical_actions": True}),
}
"""By the environment's id: what returns its adapter, and what `gymnasium.make` must be told."""

KNOWN = tuple(_ADAPTERS)
"""Environments with an adapter that ships."""


def shipped(environment_id: str) -> tuple[Callable[[Any], Adapter], Mapping[str, Any]] | None:
    """Return what makes the adapter that ships for an environment, and what `make` must be told.

    Args:
        environment_id: as `gymnasium.make` takes it, with or without a module before a colon.
    """
    return _ADAPTERS.get(environment_id.rpartition(":")[2])
