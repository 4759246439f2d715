"""The steering column: actuator with delay, inertia and rate limit; torque that a sensor reads."""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass, field


@dataclass(frozen=True)
class SteeringParameters:
    """Of actuator and column.

    The torque's values are a least-squares fit to the Udacity Challenge 2 traces (HMB_1, 2, 4 and
    6): R2 0.80 over all of them from wheel angle, its rate and speed. The force that it saturates
    at stands for the power assistance, which takes over as the load grows.

    Attributes:
        delay_s: from command to first motion.
        rate_limit_radps: fastest that the wheel turns.
        natural_frequency_radps: of the second-order response.
        damping_ratio: of the second-order response.
        angle_limit_rad: stop to stop, either side.
        torque_limit_nm: aligning torque that the assistance lets through at most.
        force_scale_n: front lateral force at which the assistance takes over.
        damping_nm_s_per_rad: torque for turning the wheel.
        friction_nm: torque for turning the wheel at any rate.
        friction_rate_radps: rate at which friction is fully there.
    """

    delay_s: float = 0.06
    rate_limit_radps: float = 8.0
    natural_frequency_radps: float = 25.0
    damping_ratio: float = 0.9
    angle_limit_rad: float = 8.2
    torque_limit_nm: float = 2.0
    force_scale_n: float = 2500.0
    damping_nm_s_per_rad: float = 0.51
    friction_nm: float = 0.25
    friction_rate_radps: float = 0.03

    @property
    def lag_s(self) -> float:
        """By how much a slow movement of the wheel follows its command."""
        return self.delay_s + 2.0 * self.damping_ratio / self.natural_frequency_radps

    def torque_nm(self, rate_radps: float, front_lateral_force_n: float) -> float:
        """Return the torque at the column, left positive.

        It grows with the front tyres' force times trail over the steering ratio.

        Args:
            rate_radps: how fast the wheel turns.
            front_lateral_force_n: of the front axle.
        """
        aligning = self.torque_limit_nm * math.tanh(front_lateral_force_n / self.force_scale_n)
        friction = self.friction_nm * math.tanh(rate_radps / self.friction_rate_radps)
        return aligning + self.damping_nm_s_per_rad * rate_radps + friction


@dataclass
class SteeringColumn:
    """The wheel's angle as it follows commands; stepped at a fixed interval."""

    parameters: SteeringParameters
    step_s: float
    angle_rad: float = 0.0
    rate_radps: float = 0.0
    _delayed_rad: deque[float] = field(init=False)

    def __post_init__(self) -> None:
        self.reset(self.angle_rad)

    def reset(self, angle_rad: float) -> None:
        """Rest at an angle, with all earlier commands done."""
        self.angle_rad, self.rate_radps = angle_rad, 0.0
        steps = round(self.parameters.delay_s / self.step_s)
        self._delayed_rad = deque([angle_rad] * (steps + 1), maxlen=steps + 1)

    def step(self, command_rad: float) -> None:
        """Advance one step towards a commanded angle."""
        own = self.parameters
        self._delayed_rad.append(min(max(command_rad, -own.angle_limit_rad), own.angle_limit_rad))
        error = self._delayed_rad[0] - self.angle_rad
        frequency = own.natural_frequency_radps
        acceleration = frequency * (frequency * error - 2.0 * own.damping_ratio * self.rate_radps)
        rate = self.rate_radps + acceleration * self.step_s
        self.rate_radps = min(max(rate, -own.rate_limit_radps), own.rate_limit_radps)
        self.angle_rad += self.rate_radps * self.step_s
