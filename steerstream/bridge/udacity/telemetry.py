"""What Udacity's simulator tells, and what it is told.

Its numbers are text in .NET's format `N4` by the culture of its machine: `1,234.5678` is
`1.234,5678` in Germany and `1 234,5678` in France. It reads numbers by the same culture, so it is
told them with the decimal separator that it used.
"""

from __future__ import annotations

import base64
import binascii
import math
import re
from typing import Any, NamedTuple

from steerstream.bridge.driver import LARGEST_PICTURE_BYTES, Order, SimulatorError

FULL_STEER_RAD = math.radians(25.0)
"""The road wheels' angle that the simulator calls 1."""

_MPS_PER_MPH = 0.44704
# Groups are parted by a point, a comma, an apostrophe, or one of several spaces.
_N4 = re.compile(r"([-\u2212]?)([0-9](?:[0-9.,'\u2019\s]*[0-9])?)([.,\u066b])([0-9]{4})")
_PLAIN = re.compile(r"[-+]?[0-9]+(?:([.,])[0-9]+)?(?:[eE][-+]?[0-9]+)?")


class Telemetry(NamedTuple):
    """One picture of the simulator.

    Attributes:
        picture: a JPEG file.
        speed_mps: of the vehicle.
        decimal_separator: with which its machine writes numbers.
    """

    picture: bytes
    speed_mps: float
    decimal_separator: str


def read_telemetry(value: Any) -> Telemetry | None:  # noqa: ANN401 - from JSON
    """Read the value of a `telemetry` event; None where a person drives.

    Raises:
        SimulatorError: a part is missing or cannot be read.
    """
    if value is None or value == {}:
        return None
    if not isinstance(value, dict):
        raise SimulatorError(f"telemetry is no object: {str(value)[:60]!r}")
    speed, separator = read_number(value.get("speed"), "speed")
    _, other = read_number(value.get("steering_angle"), "steering_angle")
    return Telemetry(
        read_picture(value.get("image")), speed * _MPS_PER_MPH, separator or other or "."
    )


def read_number(text: Any, name: str) -> tuple[float, str]:  # noqa: ANN401 - from JSON
    """Read a number in whatever culture.

    Args:
        text: as it came, or a number of JSON.
        name: for the error.

    Returns:
        The number, and the decimal separator; empty where the text does not show it.

    Raises:
        SimulatorError: it is no finite number.
    """
    if isinstance(text, int | float) and not isinstance(text, bool):
        text = str(text)
    if isinstance(text, str):
        if found := _N4.fullmatch(text.strip()):
            sign, whole, separator, fraction = found.groups()
            number = float(f"{re.sub('[^0-9]', '', whole)}.{fraction}")
            return -number if sign else number, separator
        if found := _PLAIN.fullmatch(text.strip()):
            number = float(text.replace(",", "."))
            if math.isfinite(number):
                return number, found[1] or ""
    raise SimulatorError(f"{name} is no number: {str(text)[:40]!r}")


def read_picture(text: Any) -> bytes:  # noqa: ANN401 - from JSON
    """Read a picture in base64.

    Raises:
        SimulatorError: it is none, or too large.
    """
    if not isinstance(text, str) or not text:
        raise SimulatorError("telemetry has no picture")
    if len(text) > LARGEST_PICTURE_BYTES * 4 // 3:
        raise SimulatorError(
            f"a picture of {len(text) * 3 // 4:,} bytes is too large; make the window smaller"
        )
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        raise SimulatorError("a picture is no base64") from None


def steer(order: Order, decimal_separator: str) -> dict[str, str]:
    """Return the value of a `steer` event.

    Args:
        order: what the vehicle is to do.
        decimal_separator: of the simulator's machine.
    """
    # The simulator steers to the right with positive values.
    steering = min(max(-order.road_wheel_rad / FULL_STEER_RAD, -1.0), 1.0)
    return {
        key: f"{value + 0.0:.6f}".replace(".", decimal_separator)
        for key, value in (("steering_angle", steering), ("throttle", order.throttle))
    }
