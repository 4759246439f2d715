"""Messages of a log: what they show, when that was, and what they say of steering.

ROS 1, ROS 2 and Foxglove name the same things alike, so that attributes tell what a message is.
"""

from __future__ import annotations

import bisect
import math
from collections.abc import Iterable, Sequence
from typing import Any

from steerstream.answers import ControlValues
from steerstream.errors import MediaError
from steerstream.pixels import to_rgb
from steerstream.sources.labels import check_time_ns
from steerstream.sources.pictures import Picture, from_encoded

COMPRESSED = frozenset({"sensor_msgs/CompressedImage", "foxglove.CompressedImage"})
RAW = frozenset({"sensor_msgs/Image", "foxglove.RawImage"})
VIDEO = frozenset({"foxglove.CompressedVideo", "foxglove_msgs/CompressedVideo"})
PICTURES = COMPRESSED | RAW | VIDEO

_STEERING = "/SteeringReport"
"""The end of the name of a type that may say how the wheel is turned."""

_REACH_NS = 100_000_000
"""A picture further from a report than this has no label."""


def plain_type(name: str) -> str:
    """Return a type's name as ROS 1 writes it: ROS 2 adds `/msg`."""
    return name.replace("/msg/", "/")


def reports_steering(type_name: str) -> bool:
    """Return whether messages of a type may say how the wheel is turned."""
    return type_name.endswith(_STEERING)


def stamp_ns(message: Any) -> int:  # noqa: ANN401
    """Return when a message's content was taken, in nanoseconds; 0 where it does not say.

    Raises:
        MediaError: its stamp is no time.
    """
    try:
        if hasattr(message, "header"):
            return check_time_ns(_nanoseconds(message.header.stamp))
        return (
            check_time_ns(_nanoseconds(message.timestamp)) if hasattr(message, "timestamp") else 0
        )
    except (ValueError, TypeError, OverflowError, AttributeError) as error:
        raise MediaError(f"its stamp is no time: {error}") from None


def _nanoseconds(stamp: Any) -> int:  # noqa: ANN401
    for seconds, nanoseconds in (("sec", "nanosec"), ("sec", "nsec"), ("seconds", "nanos")):
        if hasattr(stamp, seconds) and hasattr(stamp, nanoseconds):
            return int(getattr(stamp, seconds)) * 10**9 + int(getattr(stamp, nanoseconds))
    return 0


def picture_of(message: Any, place: str) -> Picture:  # noqa: ANN401
    """Return the picture of a message that is one, not a part of a video.

    Raises:
        MediaError: it is damaged, or its encoding is not known.
    """
    data = data_of(message, place)
    if not hasattr(message, "encoding"):
        return from_encoded(data, place)
    try:
        return to_rgb(
            data,
            width_px=int(message.width),
            height_px=int(message.height),
            encoding=str(message.encoding),
            step=int(message.step),
        )
    except (MediaError, ValueError, TypeError, OverflowError, AttributeError) as error:
        raise MediaError(f"{place}: {error}") from None


def data_of(message: Any, place: str) -> bytes:  # noqa: ANN401
    """Return the bytes of a message.

    Raises:
        MediaError: it has none.
    """
    data = getattr(message, "data", None)
    # `bytes` of a number are so many zeros, as many as whoever wrote it liked.
    if data is None or isinstance(data, int):
        raise MediaError(f"{place}: has no data")
    try:
        return bytes(data)
    except (ValueError, TypeError) as error:
        raise MediaError(f"{place}: has no data: {error}") from None


def steering_of(message: Any, field: str = "") -> ControlValues | None:  # noqa: ANN401
    """Return what a report says, or None where it does not say how the wheel is turned.

    Args:
        message: the report.
        field: the path of the steering within it, such as `drive.steering_angle`; by default the
            fields of Dataspeed's reports, whose units are this project's.
    """
    if field:
        value = message
        for part in field.split("."):
            value = getattr(value, part, None)
        angle = _finite(value)
        return None if angle is None else ControlValues(angle)
    angle = _finite(getattr(message, "steering_wheel_angle", None))
    if angle is None:
        return None
    speed, torque = (
        _finite(getattr(message, name, None)) for name in ("speed", "steering_wheel_torque")
    )
    return ControlValues(angle, speed, torque)


def _finite(value: Any) -> float | None:  # noqa: ANN401
    """Return a number, or None for what is none: vehicles report an unknown value as NaN."""
    try:
        number = float(value)
    except (TypeError, ValueError, OverflowError):
        return None
    return number if math.isfinite(number) else None


class Reports:
    """What was reported when, for the time of any picture.

    Args:
        reports: times in nanoseconds and values, in any order.
    """

    def __init__(self, reports: Iterable[tuple[int, ControlValues]]) -> None:
        self._reports: Sequence[tuple[int, ControlValues]] = sorted(
            reports, key=lambda report: report[0]
        )
        self._times = [time_ns for time_ns, _ in self._reports]

    def at(self, time_ns: int) -> ControlValues | None:
        """Return the values at a time, between the reports before and after it.

        None where one of them is further than 100 ms away.
        """
        after = bisect.bisect_left(self._times, time_ns)
        if after < len(self._times) and self._times[after] == time_ns:
            return self._reports[after][1]
        if not 0 < after < len(self._times):
            return None
        (before_ns, old), (after_ns, new) = self._reports[after - 1 : after + 1]
        if time_ns - before_ns > _REACH_NS or after_ns - time_ns > _REACH_NS:
            return None
        share = (time_ns - before_ns) / (after_ns - before_ns)
        return ControlValues(
            _between(old.steering_wheel_angle_rad, new.steering_wheel_angle_rad, share),
            _between(old.speed_mps, new.speed_mps, share),
            _between(old.steering_torque_nm, new.steering_torque_nm, share),
        )


def _between(old: float | None, new: float | None, share: float) -> float | None:
    return None if old is None or new is None else old + share * (new - old)
