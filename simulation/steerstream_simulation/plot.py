"""One picture of a whole drive: what it looked like, lateral error, steering and latency."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from steerstream import whole_file
from steerstream_simulation.closed_loop import Moment
from steerstream_simulation.drivers import Reply
from steerstream_simulation.scoring import INTERVENTION_OFFSET_M

_SIZE_IN, _DOTS_PER_IN = (12.0, 8.25), 100
_PICTURES = 4
_PICTURE_HEIGHT = 225 / 825
_LEFT, _WIDTH, _PANEL_HEIGHT = 0.06, 0.925, 0.172
"""Shares of the whole picture."""

EXPERT, NETWORK, VEHICLE, _LIMIT = "#e67e22", "#1f77b4", "#1f77b4", "#c82828"


class DrivePlot:
    """Collects a drive and draws it; an `Observer` of the closed loop.

    Args:
        frames: length of the drive, by which the pictures to keep are chosen.
        budget_ms: drawn as a line among the latencies.
        rate_hz: frames a second.
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
            OSError: the file cannot be written.
        """
        save(self.draw(), path)

    def draw(self) -> Figure:
        """Return the picture."""
        rows = np.array(sorted(self._rows), np.float64).reshape(-1, 5)
        seconds, offset, angle, expert, latency = rows.T / [[self._rate_hz], [1], [1], [1], [1]]
        drawing = figure()
        for index, image in enumerate(self._pictures):
            picture(drawing, index, image)
        lane, steering, latencies = panels(drawing, 0.0, seconds[-1])
        lane.plot(seconds, offset, color=VEHICLE, label="vehicle")
        limit(lane, (-INTERVENTION_OFFSET_M, INTERVENTION_OFFSET_M), "put back beyond")
        steering.plot(seconds, expert, color=EXPERT, label="expert")
        steering.plot(seconds, angle, color=NETWORK, label="network")
        latencies.plot(seconds, latency, color=NETWORK, label="round trip")
        latencies.set_ylim(bottom=0)
        limit(latencies, (self._budget_ms,), "budget")
        titles = ("lateral offset, m", "steering wheel angle, rad", "latency, ms")
        for axes, text in zip((lane, steering, latencies), titles, strict=True):
            title(axes, text)
        latencies.tick_params(labelbottom=True)
        latencies.set_xlabel("time, s", fontsize=10)
        return drawing


def save(drawing: Figure, path: Path) -> None:
    """Write a picture into a PNG file.

    Raises:
        OSError: the file cannot be written.
    """
    with whole_file.replacing(path) as part:
        drawing.savefig(part, format="png")


def figure() -> Figure:
    """Return an empty picture."""
    return Figure(figsize=_SIZE_IN, dpi=_DOTS_PER_IN)


def picture(drawing: Figure, index: int, image: NDArray[np.uint8]) -> Axes:
    """Draw one of the camera's pictures along the top, and return its axes.

    Args:
        drawing: what to draw into.
        index: its place, from the left.
        image: uint8 RGB `[height, width, 3]`.
    """
    place = (index / _PICTURES, 1 - _PICTURE_HEIGHT, 1 / _PICTURES, _PICTURE_HEIGHT)
    axes = drawing.add_axes(place)
    axes.imshow(image, aspect="auto", interpolation="bilinear")
    axes.set_axis_off()
    return axes


def panels(drawing: Figure, begin_s: float, end_s: float) -> list[Axes]:
    """Return three panels over the same time, from top to bottom.

    Args:
        drawing: what to draw into.
        begin_s: the time at the left.
        end_s: the time at the right.
    """
    bottoms = (0.52, 0.295, 0.07)
    rows = [drawing.add_axes((_LEFT, bottom, _WIDTH, _PANEL_HEIGHT)) for bottom in bottoms]
    for axes in rows:
        axes.set_xlim(begin_s, max(end_s, begin_s + 1e-3))
        axes.grid(alpha=0.3)
        axes.spines[["top", "right"]].set_visible(False)
    return rows


def title(axes: Axes, text: str) -> None:
    """Write what a panel shows above it, with the legend; only the lowest one shows the time."""
    axes.set_title(text, loc="left", fontsize=10)
    axes.legend(loc="lower right", bbox_to_anchor=(1, 0.98), ncols=3, frameon=False, fontsize=9)
    axes.tick_params(labelsize=9, labelbottom=False)


def limit(axes: Axes, values: Sequence[float], label: str) -> None:
    """Draw values that should not be crossed.

    Args:
        axes: the panel.
        values: in the panel's unit.
        label: of all of them, in the legend.
    """
    for index, value in enumerate(values):
        axes.axhline(value, color=_LIMIT, linewidth=1, label="" if index else label)
