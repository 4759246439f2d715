"""Messages of the Donkey simulator.

Its messages are JSON objects that end in a newline; those to it have no end, and it takes what one
read gives it for one message, so only one may be under way. What a machine with decimal commas
sends is no JSON: `"speed":1,5` is mended here.
"""

from __future__ import annotations

import base64
import binascii
import contextlib
import json
import math
import re
from collections.abc import Iterator
from typing import Any, NamedTuple

from steerstream.bridge.driver import LARGEST_PICTURE_BYTES, Order, SimulatorError

FULL_STEER_RAD = math.radians(16.0)
"""The road wheels' angle that the simulator calls 1."""

LARGEST_MESSAGE_BYTES = LARGEST_PICTURE_BYTES * 4 // 3 + (64 << 10)

_MARK = re.compile(rb'["{}\n\\]')
# After a number of an object comes a key in quotes, so a comma before a digit is a decimal one.
_DECIMAL_COMMA = re.compile(r"(:\s*-?[0-9]+),([0-9])")


class Splitter:
    """Cuts a stream of bytes into the texts of its objects, at newlines or where they are glued.

    An object that is broken off is dropped at the next newline, which no object holds.
    """

    def __init__(self) -> None:
        self._buffer = bytearray()
        self._scanned = 0
        self._depth = 0
        self._is_text = False

    def feed(self, data: bytes) -> Iterator[bytes | SimulatorError]:
        """Take bytes and yield the objects that they complete, and an error for a broken one."""
        self._buffer += data
        while (mark := _MARK.search(self._buffer, self._scanned)) is not None:
            self._scanned = mark.end()
            found = mark[0]
            if found == b"\n":
                broken = bytes(self._buffer[:60]) if self._depth else b""
                self._cut()
                if broken:
                    yield SimulatorError(f"a message is broken off: {broken!r}")
            elif found == b"\\":
                self._scanned += 1
            elif found == b'"':
                self._is_text = not self._is_text
            elif not self._is_text:
                self._depth += 1 if found == b"{" else -1
                if self._depth <= 0:
                    yield self._cut()
        # The end of what was looked at may lie behind a backslash whose character is to come.
        self._scanned = max(self._scanned, len(self._buffer))
        if len(self._buffer) > LARGEST_MESSAGE_BYTES:
            self._cut()
            yield SimulatorError(f"a message is over {LARGEST_MESSAGE_BYTES:,} bytes")

    def _cut(self) -> bytes:
        done = bytes(self._buffer[: self._scanned])
        del self._buffer[: self._scanned]
        self._scanned, self._depth, self._is_text = 0, 0, False
        return done


class Telemetry(NamedTuple):
    """One picture of the simulator.

    Attributes:
        picture: a JPEG file.
        speed_mps: of the vehicle.
        cross_track_m: from the middle of the road, where the scene knows it.
    """

    picture: bytes
    speed_mps: float
    cross_track_m: float | None


def read_message(text: bytes) -> dict[str, Any]:
    """Read an object with a `msg_type`.

    Raises:
        SimulatorError: it is none.
    """
    try:
        plain = text.decode()
        try:
            message = json.loads(plain)
        except ValueError:
            message = json.loads(_DECIMAL_COMMA.sub(r"\1.\2", plain))
    except (ValueError, RecursionError):
        raise SimulatorError(f"a message is no JSON: {text[:60]!r}") from None
    if not isinstance(message, dict) or not isinstance(message.get("msg_type"), str):
        raise SimulatorError(f"a message has no msg_type: {text[:60]!r}")
    return message


def read_telemetry(message: dict[str, Any]) -> Telemetry:
    """Read a message of the type `telemetry`.

    Raises:
        SimulatorError: a part is missing or cannot be read.
    """
    image = message.get("image")
    if not isinstance(image, str):
        raise SimulatorError("telemetry has no picture")
    try:
        picture = base64.b64decode(image, validate=True)
    except (binascii.Error, ValueError):
        raise SimulatorError("a picture is no base64") from None
    cross_track = None if message.get("cte") is None else _number(message, "cte")
    return Telemetry(picture, _number(message, "speed"), cross_track)


def control(order: Order) -> dict[str, str]:
    """Return the message for an order."""
    # The simulator steers to the right with positive values.
    steering = min(max(-order.road_wheel_rad / FULL_STEER_RAD, -1.0), 1.0)
    return {
        "msg_type": "control",
        "steering": f"{steering + 0.0:.6f}",
        "throttle": f"{max(order.throttle, 0.0):.6f}",
        "brake": f"{max(-order.throttle, 0.0) + 0.0:.6f}",
    }


def _number(message: dict[str, Any], name: str) -> float:
    value = message.get(name)
    if isinstance(value, int | float) and not isinstance(value, bool):
        # JSON has whole numbers of any length, beyond what is one here.
        with contextlib.suppress(OverflowError):
            if math.isfinite(value):
                return float(value)
    raise SimulatorError(f"{name} is no number: {str(value)[:40]!r}")
