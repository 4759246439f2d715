"""The client's own bounds on what it follows, as pure functions.

The server limits what it sends (`vehicle_limits.py` in `service/`), with tighter bounds that
depend on speed. These are the vehicle's last guard: wide enough never to act on a healthy server,
tight enough that a broken one does no harm. Every default names its source.
"""

from __future__ import annotations

import dataclasses
import math

from steerstream.arguments import finite_number, whole_number
from steerstream.errors import BadRequest

MAX_WINDOW_FRAMES = 1 << 16
"""The most frames that a guard remembers as answered or lost: an hour at 20 Hz, 64 kB."""


@dataclasses.dataclass(frozen=True, slots=True)
class Bounds:
    """The bounds of what the client follows. The vehicle's maker sets them for the vehicle.

    A value that is no number or makes no sense raises BadRequest, which is a ValueError.

    Attributes:
        max_steering_wheel_angle_rad: 360 degrees; Tesla's cap in opendbc.
        max_steering_wheel_rate_radps: 500 degrees a second; what electric power steering turns a
            free wheel at, about.
        min_speed_mps: 0; nothing here drives backwards.
        max_speed_mps: 45, 162 km/h; the fastest real drive in the training data has 30.
        max_acceleration_mps2: 4.0 either way; twice opendbc's longitudinal cap of 2.0 (ISO 15622).
        max_steering_torque_nm: 3.0; Volkswagen MQB's cap in opendbc.
        max_age_ms: 150; three frames at 20 Hz. An older command is held, no longer followed.
        max_hold_ms: 1000; panda's lag limit. An older command is let go of.
        max_horizon_ms: 500; what a network says comes next is followed for so long after its
            picture was taken, or after its command was due: half a second is the time over which
            ISO 11270 judges lateral jerk.
        max_round_trip_ms: 200; four frames at 20 Hz. A frame without an answer by then is lost.
        max_lost_fraction: 0.2; openpilot declares its model lagging beyond it.
        lost_window_frames: 100; frames over which losses are counted, 5 s at 20 Hz.
        recovery_frames: 20; so many good answers in a row, a second's at 20 Hz, end a lag.
    """

    max_steering_wheel_angle_rad: float = math.radians(360.0)
    max_steering_wheel_rate_radps: float = math.radians(500.0)
    min_speed_mps: float = 0.0
    max_speed_mps: float = 45.0
    max_acceleration_mps2: float = 4.0
    max_steering_torque_nm: float = 3.0
    max_age_ms: float = 150.0
    max_hold_ms: float = 1000.0
    max_horizon_ms: float = 500.0
    max_round_trip_ms: float = 200.0
    max_lost_fraction: float = 0.2
    lost_window_frames: int = 100
    recovery_frames: int = 20

    def __post_init__(self) -> None:
        for field in dataclasses.fields(self):
            finite_number(field.name, getattr(self, field.name), low=0.0)
        if self.max_hold_ms < self.max_age_ms:
            raise BadRequest("max_hold_ms must not be less than max_age_ms")
        if self.max_speed_mps < self.min_speed_mps:
            raise BadRequest("max_speed_mps must not be less than min_speed_mps")
        for name in ("lost_window_frames", "recovery_frames"):
            whole_number(name, getattr(self, name), low=1, high=MAX_WINDOW_FRAMES)
