"""Steering, speed, torque and latency, drawn over a camera picture.

The steering wheel turns as the driver would see it: left is positive, anticlockwise. The solid
wheel is what the vehicle follows (the limited angle), the ghost is the label, the truth.
"""

from __future__ import annotations

import dataclasses
import functools
import math
from collections.abc import Sequence
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from steerstream.answers import Command, ControlValues, Skipped, Validity
from steerstream.extras import opencv

Pixels = NDArray[np.uint8]
_Colour = tuple[int, int, int]

MIN_WIDTH_PX: Final = 640
"""Smaller pictures are scaled up by a whole factor, for text must be legible."""

_WHITE: Final = (245, 245, 245)
_GREY: Final = (184, 190, 198)
_TRACK: Final = (62, 68, 76)
_PANEL: Final = (14, 17, 22)
_GREEN: Final = (74, 222, 128)
_AMBER: Final = (251, 191, 36)
_ORANGE: Final = (251, 146, 60)
_RED: Final = (248, 86, 86)
_CYAN: Final = (56, 202, 240)

_VALIDITY_COLOURS: Final[dict[Validity, _Colour]] = {
    Validity.UNSPECIFIED: _RED,
    Validity.VALID: _GREEN,
    Validity.WARMING_UP: _AMBER,
    Validity.HELD: _ORANGE,
    Validity.FALLBACK: _RED,
}


def draw_overlay(
    image_rgb: Pixels,
    *,
    command: Command | Skipped | None,
    latency_ms: float | None,
    budget_ms: float,
    label_rad: float | None = None,
    lines: Sequence[str] = (),
    latencies_ms: Sequence[float] = (),
    is_released: bool = False,
) -> Pixels:
    """Return a copy of a picture with the answer to it drawn over.

    Args:
        image_rgb: the picture, [height, width, 3], RGB.
        command: the answer to the picture; None before the first.
        latency_ms: how long the answer took; None where there is none.
        budget_ms: the length of the latency bar.
        label_rad: the true steering wheel angle, for the ghost; None for no ghost.
        lines: texts for the upper right corner.
        latencies_ms: latencies of the frames before, oldest first, for the sparkline.
        is_released: whether the guard had let go, so that the vehicle followed nothing.

    Returns:
        The picture, scaled up by a whole factor to at least `MIN_WIDTH_PX` columns.

    Raises:
        MissingExtra: OpenCV is not installed.
    """
    canvas = _Canvas(_enlarged(image_rgb))
    values, colour, status = _reading(command)
    if is_released:
        colour, status = _RED, f"RELEASED  {status}"
    canvas.shade_bottom(104)
    _draw_wheel(canvas, values.steering_wheel_angle_rad, label_rad, colour)
    _draw_values(canvas, values, label_rad)
    _draw_stddevs(canvas, _raw(command))
    _draw_latency(canvas, latency_ms, budget_ms, latencies_ms)
    _draw_status(canvas, status, colour)
    _draw_lines(canvas, lines)
    return canvas.pixels


def _reading(answer: Command | Skipped | None) -> tuple[ControlValues, _Colour, str]:
    """Return the values to show, the colour of their validity, and a word for it."""
    match answer:
        case None:
            return ControlValues(), _GREY, "NO ANSWER"
        case Skipped(held=held, reason=reason):
            values = held.limited if held is not None else ControlValues()
            return values, _ORANGE, f"SKIPPED {reason.name.replace('_', ' ')}"
        case Command(checksum_ok=False):
            return answer.limited, _RED, "DAMAGED"
    word = answer.validity.name.replace("_", " ")
    limits = " ".join(limit.name.replace("_", " ") for limit in answer.active_limits)
    return (
        answer.limited,
        _VALIDITY_COLOURS[answer.validity],
        f"{word}  LIMIT {limits}" if limits else word,
    )


def _raw(answer: Command | Skipped | None) -> ControlValues:
    """Return what the network said, which alone has standard deviations."""
    command = answer.held if isinstance(answer, Skipped) else answer
    return ControlValues() if command is None else command.raw


@dataclasses.dataclass(frozen=True, slots=True)
class _Canvas:
    """A picture that is drawn on in units of 1/640 of its width, from its lower left corner up."""

    pixels: Pixels

    @property
    def scale(self) -> float:
        """Pixels in a unit."""
        return float(self.pixels.shape[1] / MIN_WIDTH_PX)

    @property
    def top(self) -> float:
        """Height of the picture in units."""
        return float(self.pixels.shape[0] / self.scale)

    def point(self, x: float, y: float) -> tuple[int, int]:
        """Return the pixel at x from the left and y from the lower edge."""
        return round(x * self.scale), round(self.pixels.shape[0] - y * self.scale)

    def length(self, units: float) -> int:
        return max(1, round(units * self.scale))

    def shade_bottom(self, height: float) -> None:
        first = max(0, self.point(0, height)[1])
        self._shade(self.pixels[first:], 0.30)

    def shade(self, x: float, y: float, width: float, height: float) -> None:
        left, upper = self.point(x, y + height)
        right, lower = self.point(x + width, y)
        self._shade(self.pixels[max(0, upper) : lower, max(0, left) : right], 0.35)

    def box(self, x: float, y: float, width: float, height: float, colour: _Colour) -> None:
        _cv2().rectangle(
            self.pixels, self.point(x, y), self.point(x + width, y + height), colour, -1
        )

    def line(self, points: Sequence[tuple[float, float]], colour: _Colour, width: float) -> None:
        corners = np.array([self.point(x, y) for x, y in points], np.int32)
        cv2 = _cv2()
        cv2.polylines(self.pixels, [corners], False, colour, self.length(width), cv2.LINE_AA)  # noqa: FBT003

    def ring(self, x: float, y: float, radius: float, colour: _Colour, width: float) -> None:
        cv2 = _cv2()
        thickness = self.length(width) if width > 0 else cv2.FILLED
        cv2.circle(
            self.pixels, self.point(x, y), self.length(radius), colour, thickness, cv2.LINE_AA
        )

    def text(
        self, text: str, x: float, y: float, colour: _Colour, *, size: float = 15, weight: int = 400
    ) -> None:
        _cv2().putText(
            self.pixels, text, self.point(x, y), colour, _font(), self.length(size), weight
        )

    def text_width(self, text: str, *, size: float = 15, weight: int = 400) -> float:
        """Return the width of a text in units."""
        _, _, width, _ = _cv2().getTextSize(
            (0, 0), text, (0, 0), _font(), self.length(size), weight
        )
        return float(width) / self.scale

    @staticmethod
    def _shade(part: Pixels, keep: float) -> None:
        panel = np.array(_PANEL, np.float32) * (1 - keep)
        part[:] = (part.astype(np.float32) * keep + panel).astype(np.uint8)


def _draw_wheel(
    canvas: _Canvas, angle_rad: float | None, label_rad: float | None, colour: _Colour
) -> None:
    x, y, radius = 60.0, 52.0, 36.0
    if label_rad is not None:
        _draw_spokes(canvas, (x, y), radius + 7, label_rad, _CYAN, width=2)
        canvas.ring(x, y, radius + 7, _CYAN, 1.5)
        _draw_mark(canvas, (x, y), radius + 7, label_rad, _CYAN)
    canvas.ring(x, y, radius, colour if angle_rad is not None else _TRACK, 6)
    if angle_rad is not None:
        _draw_spokes(canvas, (x, y), radius, angle_rad, colour, width=6)
        canvas.ring(x, y, 9, colour, 0)
        _draw_mark(canvas, (x, y), radius, angle_rad, _WHITE)


def _draw_spokes(
    canvas: _Canvas,
    centre: tuple[float, float],
    radius: float,
    angle_rad: float,
    colour: _Colour,
    *,
    width: float,
) -> None:
    x, y = centre
    for spoke_rad in (0.0, math.pi, -math.pi / 2):
        dx, dy = _direction(angle_rad + spoke_rad)
        canvas.line([(x, y), (x + radius * dx, y + radius * dy)], colour, width)


def _draw_mark(
    canvas: _Canvas, centre: tuple[float, float], radius: float, angle_rad: float, colour: _Colour
) -> None:
    """Mark the top of the rim, as on a racing wheel: small angles show there first."""
    x, y = centre
    dx, dy = _direction(angle_rad + math.pi / 2)
    canvas.line([(x + r * dx, y + r * dy) for r in (radius - 3, radius + 3)], colour, 5)


def _direction(angle_rad: float) -> tuple[float, float]:
    return math.cos(angle_rad), math.sin(angle_rad)


def _draw_values(canvas: _Canvas, values: ControlValues, label_rad: float | None) -> None:
    rows = (
        ("ANGLE", _degrees(values.steering_wheel_angle_rad)),
        ("SPEED", _number(values.speed_mps, "{:.1f} m/s")),
        ("TORQUE", _number(values.steering_torque_nm, "{:+.2f} Nm")),
    )
    for row, (name, text) in enumerate(rows):
        y = _row_y(row)
        canvas.text(name, 122, y, _GREY, size=13)
        canvas.text(text, 186, y, _WHITE, size=18, weight=600)
    if label_rad is not None:
        canvas.text(f"truth {_degrees(label_rad)}", 320, _row_y(0), _CYAN, size=14, weight=500)


def _draw_stddevs(canvas: _Canvas, raw: ControlValues) -> None:
    """Draw one predicted standard deviation to either side, for the heads that have one."""
    angle_rad = raw.steering_wheel_angle_stddev_rad
    texts = (
        "" if angle_rad is None else f"±{math.degrees(angle_rad):.1f}°",
        "" if raw.speed_stddev_mps is None else f"±{raw.speed_stddev_mps:.1f}",
        "" if raw.steering_torque_stddev_nm is None else f"±{raw.steering_torque_stddev_nm:.2f}",
    )
    for row, text in enumerate(texts):
        canvas.text(text, 276, _row_y(row), _GREY, size=13)


def _row_y(row: int) -> float:
    return 74.0 - 26 * row


def _degrees(angle_rad: float | None) -> str:
    return "-" if angle_rad is None else f"{math.degrees(angle_rad):+.1f}°"


def _number(value: float | None, form: str) -> str:
    return "-" if value is None else form.format(value)


def _draw_latency(
    canvas: _Canvas, latency_ms: float | None, budget_ms: float, latencies_ms: Sequence[float]
) -> None:
    x, width = 420.0, 204.0
    is_over = latency_ms is not None and latency_ms > budget_ms
    colour = _RED if is_over else _GREEN
    canvas.text("LATENCY", x, 74, _GREY, size=13)
    text = "-" if latency_ms is None else f"{latency_ms:.1f} ms"
    canvas.text(text, x + 72, 74, _RED if is_over else _WHITE, size=18, weight=600)
    budget = f"of {budget_ms:g} ms"
    canvas.text(budget, x + width - canvas.text_width(budget, size=13), 74, _GREY, size=13)
    canvas.box(x, 56, width, 8, _TRACK)
    if latency_ms is not None:
        canvas.box(x, 56, width * min(1.0, latency_ms / budget_ms), 8, colour)
    _draw_sparkline(canvas, latencies_ms, budget_ms)


def _draw_sparkline(canvas: _Canvas, latencies_ms: Sequence[float], budget_ms: float) -> None:
    """Draw the last latencies; full height is the budget, or the greatest where that is more."""
    x, y, width, height, most = 420.0, 12.0, 204.0, 34.0, 102
    recent = list(latencies_ms[-most:])
    canvas.line([(x, y), (x + width, y)], _TRACK, 1)
    if len(recent) < 2:
        return
    full_ms = max(budget_ms, *recent)
    step = width / (most - 1)
    points = [
        (x + width - step * (len(recent) - 1 - i), y + height * value / full_ms)
        for i, value in enumerate(recent)
    ]
    budget_y = y + height * budget_ms / full_ms
    canvas.line([(x, budget_y), (x + width, budget_y)], _TRACK, 1)
    canvas.line(points, _CYAN, 1.5)


def _draw_status(canvas: _Canvas, status: str, colour: _Colour) -> None:
    y = canvas.top - 30
    canvas.shade(10, y - 6, canvas.text_width(status, weight=600) + 34, 26)
    canvas.ring(22, y + 7, 5, colour, 0)
    canvas.text(status, 34, y + 2, colour, weight=600)


def _draw_lines(canvas: _Canvas, lines: Sequence[str]) -> None:
    for row, line in enumerate(lines):
        y = canvas.top - 30 - 24 * row
        width = canvas.text_width(line)
        canvas.shade(630 - width - 16, y - 6, width + 16, 24)
        canvas.text(line, 630 - width - 8, y + 1, _WHITE)


def _enlarged(image_rgb: Pixels) -> Pixels:
    factor = math.ceil(MIN_WIDTH_PX / image_rgb.shape[1])
    if factor == 1:
        return image_rgb.copy()
    cv2 = _cv2()
    enlarged: Pixels = cv2.resize(
        image_rgb, None, fx=factor, fy=factor, interpolation=cv2.INTER_LINEAR
    )
    return enlarged


def _cv2() -> Any:  # noqa: ANN401
    return opencv("drawing over pictures")


@functools.cache
def _font() -> Any:  # noqa: ANN401
    return _cv2().FontFace("sans")
