"""The limits between the network and the vehicle: pure functions, every number with its source.

Order: speed first, because steering is judged at a speed; then steering; then torque. Within each,
limits of the change since the last command come before bounds of the value, so that the bounds hold
in every case. That is the order of opendbc's `apply_steer_angle_limits_vm`.

Steering is judged by the steady state of the single-track model, as opendbc's `VehicleModel`
does: curvature = angle / (ratio x (wheelbase + understeer x speed²)), and lateral acceleration =
curvature x speed².

At 20 Hz, what the profile `passenger_car` allows:

======== ============================ =====================================================
speed    largest angle                largest change of the angle from one frame to the next
======== ============================ =====================================================
2 m/s    6.28 rad (the angle's bound) 0.218 rad (4.36 rad/s, the rate's bound)
8 m/s    2.05 rad (a curve of 21 m)   0.171 rad (3.42 rad/s, lateral jerk)
15 m/s   0.64 rad (a curve of 75 m)   0.053 rad (1.06 rad/s, lateral jerk)
30 m/s   0.22 rad (a curve of 300 m)  0.018 rad (0.36 rad/s, lateral jerk)
======== ============================ =====================================================

ISO 11270 states the jerk as a mean over half a second; here it holds from frame to frame, which is
stricter. A network that jitters by more than that is smoothed, and its mean passes unchanged.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

from steerstream_bundle.contract import Contract
from steerstream_service.domain import ControlValues, Limit

ANY_STDDEV = (math.ulp(0.0), sys.float_info.max)
"""The bounds of a plausible standard deviation: any number above zero."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Profile:
    """Bounds for one kind of vehicle. Units stand in the names; rates hold per second."""

    wheelbase_m: float
    steering_ratio: float
    understeer_s2_per_m: float
    max_steering_wheel_angle_rad: float
    max_steering_rate_radps: float
    max_lateral_acceleration_mps2: float
    max_lateral_jerk_mps3: float
    min_judged_speed_mps: float
    max_speed_mps: float
    max_acceleration_mps2: float
    max_deceleration_mps2: float
    max_steering_torque_nm: float
    max_torque_rise_nmps: float
    max_torque_fall_nmps: float


PROFILES: Mapping[str, Profile] = MappingProxyType(
    {
        "passenger_car": Profile(
            # The reference vehicle of CONTEXT.md; opendbc, Ford Fusion.
            wheelbase_m=2.85,
            steering_ratio=14.8,
            # opendbc's slip factor x wheelbase: 1,680 kg, 44 % of the wheelbase before the centre
            # of gravity, and the stiffness that its scaling gives a Ford Fusion.
            understeer_s2_per_m=0.00168,
            # 360 degrees: opendbc, Tesla, above which the power steering reports a fault.
            max_steering_wheel_angle_rad=math.radians(360),
            # 5 degrees in 20 ms: opendbc, Tesla MAX_ANGLE_RATE; it faults at 12.
            max_steering_rate_radps=math.radians(5) / 0.020,
            # ISO 11270; opendbc lateral.h.
            max_lateral_acceleration_mps2=3.0,
            # ISO 11270; opendbc lateral.h.
            max_lateral_jerk_mps3=5.0,
            # opendbc judges curvature at 1 m/s at least; below, no angle is too sharp anyway.
            min_judged_speed_mps=1.0,
            # 130 km/h: UN Regulation 157, the fastest that automated lane keeping may drive.
            max_speed_mps=130 / 3.6,
            # ISO 15622 (adaptive cruise control); opendbc ACCEL_MAX and ACCEL_MIN.
            max_acceleration_mps2=2.0,
            max_deceleration_mps2=3.5,
            # 3.0 Nm, 2.0 Nm/s away from zero and 5.0 Nm/s towards it: opendbc, Volkswagen MQB, per
            # second as there, where each of 50 messages a second may add 0.04 or take 0.10 Nm.
            max_steering_torque_nm=3.0,
            max_torque_rise_nmps=2.0,
            max_torque_fall_nmps=5.0,
        ),
    }
)
"""Profiles by the name that a contract gives."""


@dataclass(slots=True)
class Previous:
    """The last limited values, and how long before this frame they were for.

    The interval is a difference of two capture times, in seconds.
    """

    values: ControlValues
    interval_s: float


Bounds = tuple[float, float]
"""The least and the greatest plausible value."""


def plausible(contract: Contract) -> tuple[Bounds, ...]:
    """Return the bounds of a step's values, in the order of the contract's `values`.

    Those of the horizon are left out. The contract states those of the heads. A standard deviation
    is a number above zero.
    """
    heads = [(output.minimum, output.maximum) for output in contract.outputs]
    return (*heads, *[ANY_STDDEV] * len(contract.stddev_columns))


def is_plausible(values: Iterable[float], bounds: Iterable[Bounds]) -> bool:
    """Return whether every value is a number within its bounds."""
    for value, (least, greatest) in zip(values, bounds, strict=True):
        if not least <= value <= greatest:
            return False
    return True


def apply(
    raw: ControlValues,
    profile: Profile,
    *,
    vehicle_speed_mps: float | None,
    previous: Previous | None,
) -> tuple[ControlValues, tuple[Limit, ...]]:
    """Limit a network's values.

    Args:
        raw: finite values; None for heads that the network lacks.
        profile: the vehicle's bounds.
        vehicle_speed_mps: the vehicle's measured speed. Where it is None the network's limited
            speed stands in; where there is neither, lateral acceleration and jerk cannot be judged
            and only the angle's own bound and rate hold.
        previous: the last limited values; None after a reset, when there is no rate to limit.

    Returns:
        The limited values, and the limits that changed one, in the order in which they acted.
    """
    acted: list[Limit] = []
    speed = _limit_speed(raw.speed_mps, profile, previous, acted)
    judged_at = speed if vehicle_speed_mps is None else abs(vehicle_speed_mps)
    angle = _limit_angle(raw.steering_wheel_angle_rad, profile, judged_at, previous, acted)
    torque = _limit_torque(raw.steering_torque_nm, profile, previous, acted)
    return ControlValues(angle, speed, torque), tuple(acted)


def steering_per_curvature(speed_mps: float, profile: Profile) -> float:
    """Return the steering wheel angle in radians that a curvature of 1/m takes at a speed."""
    length = profile.wheelbase_m + profile.understeer_s2_per_m * speed_mps**2
    return profile.steering_ratio * length


def angle_per_mps2(speed_mps: float, profile: Profile) -> float:
    """Return the steering wheel angle that makes a lateral acceleration of 1 m/s² at a speed.

    A slower vehicle than the profile's slowest is judged at that speed.
    """
    judged_at = max(speed_mps, profile.min_judged_speed_mps)
    return steering_per_curvature(judged_at, profile) / judged_at**2


def _limit_speed(
    speed: float | None, profile: Profile, previous: Previous | None, acted: list[Limit]
) -> float | None:
    if speed is None:
        return None
    if previous is not None and (last := previous.values.speed_mps) is not None:
        fall = profile.max_deceleration_mps2 * previous.interval_s
        rise = profile.max_acceleration_mps2 * previous.interval_s
        speed = _clip(speed, last - fall, last + rise, Limit.ACCELERATION, acted)
    return _clip(speed, 0.0, profile.max_speed_mps, Limit.SPEED, acted)


def _limit_angle(
    angle: float | None,
    profile: Profile,
    speed: float | None,
    previous: Previous | None,
    acted: list[Limit],
) -> float | None:
    if angle is None:
        return None
    per_mps2 = None if speed is None else angle_per_mps2(speed, profile)
    if previous is not None and (last := previous.values.steering_wheel_angle_rad) is not None:
        change = profile.max_steering_rate_radps * previous.interval_s
        angle = _clip(angle, last - change, last + change, Limit.STEERING_RATE, acted)
        if per_mps2 is not None:
            change = profile.max_lateral_jerk_mps3 * previous.interval_s * per_mps2
            angle = _clip(angle, last - change, last + change, Limit.LATERAL_JERK, acted)
    if per_mps2 is not None:
        sharpest = profile.max_lateral_acceleration_mps2 * per_mps2
        angle = _clip(angle, -sharpest, sharpest, Limit.LATERAL_ACCELERATION, acted)
    bound = profile.max_steering_wheel_angle_rad
    return _clip(angle, -bound, bound, Limit.STEERING_ANGLE, acted)


def _limit_torque(
    torque: float | None, profile: Profile, previous: Previous | None, acted: list[Limit]
) -> float | None:
    if torque is None:
        return None
    if previous is not None and (last := previous.values.steering_torque_nm) is not None:
        low, high = _torque_bounds(last, profile, previous.interval_s)
        torque = _clip(torque, low, high, Limit.STEERING_TORQUE_RATE, acted)
    bound = profile.max_steering_torque_nm
    return _clip(torque, -bound, bound, Limit.STEERING_TORQUE, acted)


def _torque_bounds(last: float, profile: Profile, interval_s: float) -> tuple[float, float]:
    """Falling towards zero is fast, rising away from it slow, on either side."""
    rise = profile.max_torque_rise_nmps * interval_s
    fall = profile.max_torque_fall_nmps * interval_s
    if last > 0:
        return max(last - fall, -rise), last + rise
    return last - rise, min(last + fall, rise)


def _clip(value: float, low: float, high: float, limit: Limit, acted: list[Limit]) -> float:
    if low <= value <= high:
        return value
    acted.append(limit)
    return low if value < low else high
