"""A drive in one picture: what the camera saw, where the vehicle was, what it cost in time."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from matplotlib.figure import Figure

from simulation.scoring import INTERVENTION_OFFSET_M

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from numpy.typing import NDArray

    from simulation.closed_loop import Moment
    from simulation.drivers import Reply

_PICTURES = 5
_NETWORK, _EXPERT, _BOUND = "#1f77b4", "#9a9a9a", "#d62728"


@dataclass
class DrivePlot:
    """Observes a drive and draws it.

    Attributes:
        frames: How many frames the drive will have; it decides which pictures are kept.
        rate_hz: Frames a second.
        budget_ms: What a frame may take.
        title: Above the picture.
    """

    frames: int
    rate_hz: float
    budget_ms: float
    title: str
    _rows: list[tuple[float, float, float, float, float]] = field(default_factory=list)
    _pictures: list[tuple[float, NDArray[np.uint8]]] = field(default_factory=list)

    def __call__(self, moment: Moment, reply: Reply | None) -> None:
        """Note one frame; only a few pictures are kept."""
        time_s = moment.frame.sequence_number / self.rate_hz
        angle, latency_ms = math.nan, math.nan
        if reply is not None:
            latency_ms = reply.round_trip_ms
            if reply.command is not None:
                angle = reply.command.steering_wheel_angle_rad
        expert = moment.expert.steering_wheel_angle_rad
        self._rows.append((time_s, moment.lateral_offset_m, angle, expert, latency_ms))
        spacing = max(1, self.frames // _PICTURES)
        if moment.frame.sequence_number % spacing == spacing // 2:
            self._pictures.append((time_s, moment.frame.image))

    def save(self, path: Path) -> None:
        """Draw what was noted into a PNG file.

        Raises:
            OSError: The file cannot be written.
        """
        figure = Figure(figsize=(13, 9), layout="constrained")
        figure.suptitle(self.title, fontsize=14)
        self._draw(figure)
        figure.savefig(path, dpi=100)

    def _draw(self, figure: Figure) -> None:
        grid = figure.add_gridspec(4, _PICTURES, height_ratios=[1.1, 1, 1, 1])
        for column, (time_s, picture) in enumerate(self._pictures[:_PICTURES]):
            axes = figure.add_subplot(grid[0, column])
            axes.imshow(picture)
            axes.set_title(f"{time_s:.0f} s", fontsize=10)
            axes.axis("off")
        time_s, offset_m, angle_rad, expert_rad, latency_ms = np.array(sorted(self._rows)).T
        self._draw_offset(figure.add_subplot(grid[1, :]), time_s, offset_m)
        self._draw_steering(figure.add_subplot(grid[2, :]), time_s, angle_rad, expert_rad)
        self._draw_latency(figure.add_subplot(grid[3, :]), time_s, latency_ms)

    def _draw_offset(
        self, axes: Axes, time_s: NDArray[np.float64], offset_m: NDArray[np.float64]
    ) -> None:
        axes.plot(time_s, offset_m, color=_NETWORK)
        for bound in (-INTERVENTION_OFFSET_M, INTERVENTION_OFFSET_M):
            axes.axhline(bound, color=_BOUND, linestyle="--", linewidth=1)
        axes.set_ylabel("left of the lane's\ncentre [m]")
        _finish(axes, time_s)

    def _draw_steering(
        self,
        axes: Axes,
        time_s: NDArray[np.float64],
        angle_rad: NDArray[np.float64],
        expert_rad: NDArray[np.float64],
    ) -> None:
        axes.plot(time_s, expert_rad, color=_EXPERT, label="expert, from the same place")
        axes.plot(time_s, angle_rad, color=_NETWORK, label="network", linewidth=1)
        axes.set_ylabel("steering wheel\nangle [rad]")
        axes.legend(loc="upper right", fontsize=9)
        _finish(axes, time_s)

    def _draw_latency(
        self, axes: Axes, time_s: NDArray[np.float64], latency_ms: NDArray[np.float64]
    ) -> None:
        axes.plot(time_s, latency_ms, ".", color=_NETWORK, markersize=3)
        axes.axhline(self.budget_ms, color=_BOUND, linestyle="--", linewidth=1)
        axes.set_ylim(0, None)
        axes.set_ylabel("round trip [ms]")
        axes.set_xlabel("time [s]")
        _finish(axes, time_s)


def _finish(axes: Axes, time_s: NDArray[np.float64]) -> None:
    axes.set_xlim(time_s[0], time_s[-1])
    axes.grid(alpha=0.3)
