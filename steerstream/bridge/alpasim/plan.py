"""Plans for AlpaSim: a command, rolled out through a bicycle model.

Poses are those of the rear axle in the rig: x forward, y left. A plan's times are absolute, and the
simulator takes a pose from it by its time alone: where a plan ends early the vehicle stands, and
where its times are wrong the vehicle leaps, without an error in either case.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

from steerstream.bridge.driver import STEERING_RATIO

WHEELBASE_M = 2.85
"""Of the reference vehicle."""

_STEP_US = 50_000
_HORIZON_US = 2_000_000
_LONGEST_US = 60_000_000
"""A step of a simulator that takes longer is a fault of its clock."""

_ACCELERATION_MPS2 = 2.0
_DECELERATION_MPS2 = 4.0


class Waypoint(NamedTuple):
    """Where the vehicle is to be at a time.

    Attributes:
        time_us: by the simulator's clock.
        x_m: ahead of where it is now.
        y_m: left of where it is now.
        yaw_rad: left of its present heading.
    """

    time_us: int
    x_m: float
    y_m: float
    yaw_rad: float


class Target(NamedTuple):
    """What the vehicle follows from a time on.

    Attributes:
        from_us: by the simulator's clock.
        steering_wheel_angle_rad: left positive.
        speed_mps: 0 for a stop.
    """

    from_us: int
    steering_wheel_angle_rad: float
    speed_mps: float


def roll_out(
    now_us: int, speed_mps: float, targets: Sequence[Target], *, query_us: int
) -> list[Waypoint]:
    """Return where the vehicle will be, from now until well behind the simulator's next step.

    Args:
        now_us: the simulator's time.
        speed_mps: of the vehicle now.
        targets: what it follows, in the order of their times; the first one from now on.
        query_us: when the simulator will look.
    """
    end_us = now_us + min(max(_HORIZON_US, 2 * (query_us - now_us)), _LONGEST_US)
    x = y = yaw = 0.0
    waypoints = [Waypoint(now_us, x, y, yaw)]
    for time_us in range(now_us, end_us, _STEP_US):
        acting = [each for each in targets if each.from_us <= time_us]
        target = acting[-1] if acting else targets[0]
        step_s = _STEP_US / 1e6
        change = target.speed_mps - speed_mps
        speed_mps += min(max(change, -_DECELERATION_MPS2 * step_s), _ACCELERATION_MPS2 * step_s)
        curvature = math.tan(target.steering_wheel_angle_rad / STEERING_RATIO) / WHEELBASE_M
        middle = yaw + 0.5 * curvature * speed_mps * step_s
        x += math.cos(middle) * speed_mps * step_s
        y += math.sin(middle) * speed_mps * step_s
        yaw += curvature * speed_mps * step_s
        waypoints.append(Waypoint(time_us + _STEP_US, x, y, yaw))
    return waypoints
