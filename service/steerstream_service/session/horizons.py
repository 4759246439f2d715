"""What a network says of the time after a frame, limited step by step as if it were commanded.

Each step is what `vehicle_limits.apply` makes of it after the step before, to the last bit; a test
holds that. Here the steps of a head are limited in one loop, because every frame has thirty.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple, TypeAlias, cast

from steerstream_bundle.contract import SPEED, STEERING_TORQUE, STEERING_WHEEL_ANGLE, Contract
from steerstream_service.domain import ControlValues, Horizon, Stddevs
from steerstream_service.session import vehicle_limits

_HEADS = (STEERING_WHEEL_ANGLE, SPEED, STEERING_TORQUE)

_Steps: TypeAlias = Sequence[float]


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
        said = [None if head is None else outputs[head.steps] for head in self._heads]
        stddevs = outputs[self._first_stddev :]
        if not (
            all(map(_is_plausible, said, self._heads))
            and vehicle_limits.is_plausible(stddevs, self._plausible_stddevs)
        ):
            return None
        # A network with a horizon has the angle, in it too; other heads only where commands do.
        angles, speeds, torques = said
        last_raw = ControlValues(*(None if steps is None else steps[-1] for steps in said))
        limits = self._limits
        if speeds is not None:
            speeds = limits.speeds(speeds, cast("float", limited.speed_mps))
        judged_at = speeds if vehicle_speed_mps is None else abs(vehicle_speed_mps)
        angles = limits.angles(
            cast("_Steps", angles), cast("float", limited.steering_wheel_angle_rad), judged_at
        )
        if torques is not None:
            torques = limits.torques(torques, cast("float", limited.steering_torque_nm))
        return Horizon(
            self._spacing_ms,
            angles,
            speeds,
            torques,
            last_raw,
            Stddevs(*(None if at is None else stddevs[at] for at in self._stddevs)),
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

    def speeds(self, steps: _Steps, last: float) -> _Steps:
        """Return the limited speeds of steps that follow the speed `last`."""
        fall, rise, greatest = self._speed_fall, self._speed_rise, self._profile.max_speed_mps
        limited = []
        for step in steps:
            low, high = last - fall, last + rise
            last = low if step < low else high if step > high else step
            last = 0.0 if last < 0.0 else greatest if last > greatest else last
            limited.append(last)
        return limited

    def angles(self, steps: _Steps, last: float, judged_at: _Steps | float | None) -> _Steps:
        """Return the limited angles of steps that follow an angle.

        Args:
            steps: the network's.
            last: the command's.
            judged_at: the vehicle's measured speed, or the limited speed of each step; None where
                neither is known.
        """
        if isinstance(judged_at, Sequence):
            per_mps2 = [vehicle_limits.angle_per_mps2(speed, self._profile) for speed in judged_at]
        elif judged_at is not None:
            per_mps2 = [vehicle_limits.angle_per_mps2(judged_at, self._profile)] * len(steps)
        else:
            per_mps2 = [math.inf] * len(steps)
        greatest_change, by_jerk = self._steering_change, self._jerk_change
        greatest, by_acceleration = self._greatest_angle, self._lateral_acceleration
        limited = []
        for step, angle_per_mps2 in zip(steps, per_mps2, strict=True):
            # Rate and jerk bound a change on both sides alike: the smaller of the two decides. So
            # it is with the two bounds of the angle.
            change = by_jerk * angle_per_mps2
            change = greatest_change if change > greatest_change else change
            bound = by_acceleration * angle_per_mps2
            bound = greatest if bound > greatest else bound
            low, high = last - change, last + change
            last = low if step < low else high if step > high else step
            last = -bound if last < -bound else bound if last > bound else last
            limited.append(last)
        return limited

    def torques(self, steps: _Steps, last: float) -> _Steps:
        """Return the limited torques of steps that follow the torque `last`."""
        rise, fall, bound = (
            self._torque_rise,
            self._torque_fall,
            self._profile.max_steering_torque_nm,
        )
        limited = []
        for step in steps:
            if last > 0:
                low, high = last - fall, last + rise
                low = -rise if low < -rise else low
            else:
                low, high = last - rise, last + fall
                high = rise if high > rise else high
            last = low if step < low else high if step > high else step
            last = -bound if last < -bound else bound if last > bound else last
            limited.append(last)
        return limited


def _is_plausible(steps: _Steps | None, head: _Head | None) -> bool:
    if steps is None or head is None:
        return True
    # Neither the smallest nor the largest shows a value that is not a number; the sum does.
    return head.least <= min(steps) and max(steps) <= head.greatest and not math.isnan(sum(steps))
