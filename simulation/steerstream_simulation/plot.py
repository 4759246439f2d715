"""One picture of a whole drive: what it looked like, lateral error, steering and latency."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

import cv2
import numpy as np

from steerstream import whole_file
from steerstream_simulation.scoring import INTERVENTION_OFFSET_M

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from steerstream_simulation.closed_loop import Moment
    from steerstream_simulation.drivers import Reply

_WIDTH, _PANEL_HEIGHT, _MARGIN = 1200, 200, 60
_PICTURES = 4
_BACKGROUND, _TEXT, _GRID = (250, 250, 250), (40, 40, 40), (215, 215, 215)
_BLUE, _ORANGE, _RED = (31, 119, 180), (230, 126, 34), (200, 40, 40)


class _Curve(NamedTuple):
    name: str
    values: Sequence[float]
    colour: tuple[int, int, int]


class DrivePlot:
    """Collects a drive and draws it; an `Observer` of the closed loop.

    Args:
        frames: Length of the drive, by which the pictures to keep are chosen.
        budget_ms: Drawn as a line among the latencies.
        rate_hz: Frames a second.
    """

    def __init__(self, frames: int, *, budget_ms: float, rate_hz: float) -> None:
        self._kept = set(np.linspace(0, frames - 1, _PICTURES).astype(int).tolist())
        self._budget_ms = budget_ms
        self._rate_hz = rate_hz
        self._pictures: list[NDArray[np.uint8]] = []
        self._rows: list[tuple[int, float, float, float, float]] = []

    def __call__(self, moment: Moment, reply: Reply | None) -> None:
        """Add a frame."""
        if moment.frame.sequence_number in self._kept:
            self._pictures.append(moment.frame.image)
        command = None if reply is None else reply.command
        self._rows.append(
            (
                moment.frame.sequence_number,
                moment.lateral_offset_m,
                math.nan if command is None else command.steering_wheel_angle_rad,
                moment.expert.steering_wheel_angle_rad,
                math.nan if reply is None else reply.round_trip_ms,
            )
        )

    def save(self, path: Path) -> None:
        """Draw into a PNG file.

        Raises:
            OSError: If the file cannot be written.
        """
        _, encoded = cv2.imencode(".png", cv2.cvtColor(self.draw(), cv2.COLOR_RGB2BGR))
        whole_file.write_bytes(path, encoded.tobytes())

    def draw(self) -> NDArray[np.uint8]:
        """Return the picture, uint8 RGB."""
        rows = np.array(sorted(self._rows), np.float64).reshape(-1, 5)
        seconds, offset, angle, expert, latency = rows.T / [[self._rate_hz], [1], [1], [1], [1]]
        panels = [
            _panel(
                "lateral offset, m",
                seconds,
                [_Curve("vehicle", offset, _BLUE)],
                limits=(-INTERVENTION_OFFSET_M, INTERVENTION_OFFSET_M),
            ),
            _panel(
                "steering wheel angle, rad",
                seconds,
                [_Curve("expert", expert, _ORANGE), _Curve("network", angle, _BLUE)],
            ),
            _panel(
                "latency, ms",
                seconds,
                [_Curve("round trip", latency, _BLUE)],
                limits=(0.0, self._budget_ms),
            ),
        ]
        return np.concatenate([self._picture_row(), *panels])

    def _picture_row(self) -> NDArray[np.uint8]:
        width = _WIDTH // _PICTURES
        small = [
            cv2.resize(picture, (width, width * 3 // 4), interpolation=cv2.INTER_AREA)
            for picture in self._pictures
        ]
        row = np.full((width * 3 // 4, _WIDTH, 3), _BACKGROUND, np.uint8)
        for index, picture in enumerate(small):
            row[:, index * width : (index + 1) * width] = picture
        return row


def _panel(
    title: str,
    seconds: NDArray[np.float64],
    curves: Sequence[_Curve],
    limits: tuple[float, float] = (0.0, 0.0),
) -> NDArray[np.uint8]:
    """Draw curves over time; limits that are not 0 are drawn as red lines."""
    panel = np.full((_PANEL_HEIGHT, _WIDTH, 3), _BACKGROUND, np.uint8)
    known = np.concatenate([np.asarray(curve.values) for curve in curves])
    known = np.concatenate([known[np.isfinite(known)], limits])
    low, high = float(known.min()), float(known.max())
    reach = max(high - low, 1e-3)
    end_s = max(float(seconds[-1]), 1e-3)

    def point(second: float, value: float) -> tuple[int, int]:
        x = _MARGIN + second / end_s * (_WIDTH - 2 * _MARGIN)
        y = _PANEL_HEIGHT - 30 - (value - low) / reach * (_PANEL_HEIGHT - 70)
        return round(x), round(y)

    for value in (low, 0.0, high):
        cv2.line(panel, point(0.0, value), point(end_s, value), _GRID, 1)
        _write(panel, f"{value:.2f}", (8, point(0.0, value)[1] + 4))
    for value in limits:
        if value:
            cv2.line(panel, point(0.0, value), point(end_s, value), _RED, 1)
    for curve in curves:
        _draw_curve(panel, [point(*pair) for pair in _finite(seconds, curve)], curve.colour)
    _write(panel, title, (_MARGIN, 18))
    for index, curve in enumerate(curves):
        _write(panel, curve.name, (_MARGIN + 260 + 120 * index, 18), curve.colour)
    _write(panel, f"{end_s:.0f} s", (_WIDTH - _MARGIN + 6, _PANEL_HEIGHT - 26))
    return panel


def _finite(seconds: NDArray[np.float64], curve: _Curve) -> list[tuple[float, float]]:
    pairs = zip(seconds, curve.values, strict=True)
    return [(float(second), float(value)) for second, value in pairs if math.isfinite(value)]


def _draw_curve(
    panel: NDArray[np.uint8], points: list[tuple[int, int]], colour: tuple[int, int, int]
) -> None:
    corners = np.array(points, np.int32).reshape(-1, 1, 2)
    cv2.polylines(panel, [corners], False, colour, 1, cv2.LINE_AA)  # noqa: FBT003


def _write(
    panel: NDArray[np.uint8],
    text: str,
    place: tuple[int, int],
    colour: tuple[int, int, int] = _TEXT,
) -> None:
    cv2.putText(panel, text, place, cv2.FONT_HERSHEY_SIMPLEX, 0.45, colour, 1, cv2.LINE_AA)
