"""What a network says of the time after a frame, limited step by step as if it were commanded.

Each step is what `vehicle_limits.apply` makes of it after the step before, to the last bit; a test
holds that. Here the steps of a head are limited in one loop, because every frame has thirty.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

from steerstream_bundle.contract import SPEED, STEERING_TORQUE, STEERING_WHEEL_ANGLE, Contract
from steerstream_service.domain import ControlValues, Horizon, Stddevs
from steerstream_service.session import vehicle_limits

_HEADS = (STEERING_WHEEL_ANGLE, SPEED, STEERING_TORQUE)


class _Head(NamedTuple):
    """Where the steps of a head lie in a frame's values, and what is plausible there."""

    steps: slice
    least: float
    greatest: float


class Horizons:
    """Makes the horizons of a session's commands.

    Args:
        contract: of a network that has a horizon.
        profile: the limits of the vehicle.
    """

    def __init__(self, contract: Contract, profile: vehicle_limits.Profile) -> None:
        horizon = contract.horizon
        bounds = {output.head: (output.minimum, output.maximum) for output in contract.outputs}
        heads, stddevs = {}, []
        end = len(contract.values) - len(horizon.values)
        for output in horizon.outputs:
            begin, end = end, end + horizon.steps
            heads[output.head] = _Head(slice(begin, end), *bounds[output.head])
            if output.stddev_tensor:
                stddevs.append(output.head)
        self._heads = [heads.get(head) for head in _HEADS]
        self._first_stddev = end
        self._stddevs = [stddevs.index(head) if head in stddevs else None for head in _HEADS]
        self._plausible_stddevs = [vehicle_limits.ANY_STDDEV] * len(stddevs)
        self._spacing_ms = horizon.spacing_ms
        self._limits = _Limits(profile, horizon.spacing_ms / 1e3)

    def after(
        self, outputs: Sequence[float], limited: ControlValues, vehicle_speed_mps: float | None
    ) -> Horizon | None:
        """Return what comes after a command; None where a value of it is not plausible.

        Args:
            outputs: of the step, in the order of the contract's `values`.
            limited: the values of the command.
            vehicle_speed_mps: the vehicle's measured speed; None where it is not known.
        """
        said: list[Any] = [head and outputs[head.steps] for head in self._heads]
        stddevs = outputs[self._first_stddev :]
        if not (
            all(map(_is_plausible, said, self._heads))
            and vehicle_limits.is_plausible(stddevs, self._plausible_stddevs)
        ):
            return None
        # The heads of a horizon are heads of the command, the angle always.
        angles, speeds, torques = said
        before: Any = limited
        last_raw = ControlValues(*[steps and steps[-1] for steps in said])
        limits = self._limits
        if speeds is not None:
            speeds = limits.speeds(speeds, before.speed_mps)
        judged_at = speeds if vehicle_speed_mps is None else abs(vehicle_speed_mps)
        angles = limits.angles(angles, before.steering_wheel_angle_rad, judged_at)
        if torques is not None:
            torques = limits.torques(torques, before.steering_torque_nm)
        return Horizon(
            self._spacing_ms,
            angles,
            speeds,
            torques,
            last_raw,
            Stddevs(*[None if at is None else stddevs[at] for at in self._stddevs]),
        )


class _Limits:
    """The limits of steps that are equally far apart in time.

    Args:
        profile: of the vehicle.
        spacing_s: between two steps.
    """

    # ruff: noqa: FURB136 - `min` and `max` take three times as long as comparisons.

    def __init__(self, profile: vehicle_limits.Profile, spacing_s: float) -> None:
        self._profile = profile
        self._speed_fall = profile.max_deceleration_mps2 * spacing_s
        self._speed_rise = profile.max_acceleration_mps2 * spacing_s
        self._lateral_acceleration = profile.max_lateral_acceleration_mps2
        self._greatest_angle = profile.max_steering_wheel_angle_rad
        self._steering_change = profile.max_steering_rate_radps * spacing_s
        self._jerk_change = profile.max_lateral_jerk_mps3 * spacing_s
        self._torque_rise = profile.max_torque_rise_nmps * spacing_s
        self._torque_fall = profile.max_torque_fall_nmps * spacing_s

    def speeds(self, steps: Sequence[float], last: float) -> list[float]:
        """Return the limited speeds of steps that follow the speed `last`."""
        fall, rise, greatest = self._speed_fall, self._speed_rise, self._profile.max_speed_mps
        limited = []
        for step in steps:
            low, high = last - fall, last + rise
            last = low if step < low else high if step > high else step
            last = 0.0 if last < 0.0 else greatest if last > greatest else last
            limited.append(last)
        return limited

    def angles(
        self, steps: Sequence[float], last: float, judged_at: list[float] | float | None
    ) -> Sequence[float]:
        """Return the limited angles of steps that follow an angle.

        Args:
            steps: the network's.
            last: the command's.
            judged_at: the vehicle's measured speed, or the limited speed of each step; None where
                neither is known.
        """
        limits: Iterable[tuple[float, float]]
        if judged_at is None:
            limits = itertools.repeat((self._steering_change, self._greatest_angle))
        elif isinstance(judged_at, list):
            limits = self._angle_limits(judged_at)
        else:
            limits = itertools.repeat(*self._angle_limits([judged_at]))
        limited = []
        for step, (change, bound) in zip(steps, limits):  # noqa: B905 - one of them may be endless
            low, high = last - change, last + change
            last = low if step < low else high if step > high else step
            last = -bound if last < -bound else bound if last > bound else last
            limited.append(last)
        return limited

    def torques(self, steps: Sequence[float], last: float) -> Sequence[float]:
        """Return the limited torques of steps that follow the torque `last`."""
        rise, fall, bound = (
            self._torque_rise,
            self._torque_fall,
            self._profile.max_steering_torque_nm,
        )
        limited = []
        for step in steps:
            if last > 0:
                low, high = max(last - fall, -rise), last + rise
            else:
                low, high = last - rise, min(last + fall, rise)
            last = low if step < low else high if step > high else step
            last = -bound if last < -bound else bound if last > bound else last
            limited.append(last)
        return limited

    def _angle_limits(self, speeds_mps: Iterable[float]) -> list[tuple[float, float]]:
        """Return by how much the angle may change up to each step, and its bound there.

        Rate and jerk bound a change on both sides alike: the smaller of the two decides. So it is
        with the two bounds of the angle. The formula is that of `vehicle_limits.angle_per_mps2`,
        which called for each step would take three times as long.
        """
        profile, rate_change, greatest = self._profile, self._steering_change, self._greatest_angle
        ratio, wheelbase = profile.steering_ratio, profile.wheelbase_m
        understeer, slowest = profile.understeer_s2_per_m, profile.min_judged_speed_mps
        jerk_change, acceleration = self._jerk_change, self._lateral_acceleration
        limits = []
        for speed in speeds_mps:
            square = max(speed, slowest) ** 2
            per_mps2 = ratio * (wheelbase + understeer * square) / square
            change, bound = jerk_change * per_mps2, acceleration * per_mps2
            limits.append((min(rate_change, change), min(greatest, bound)))
        return limits


def _is_plausible(steps: Sequence[float], head: _Head | None) -> bool:
    if head is None:
        return True
    # Neither the smallest nor the largest shows a value that is not a number; the sum does.
    return head.least <= min(steps) and max(steps) <= head.greatest and not math.isnan(sum(steps))
