"""One picture of a whole drive: what it looked like, lateral error, steering and latency."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from steerstream import Command, whole_file
from steerstream_simulation.closed_loop import Moment
from steerstream_simulation.drivers import Reply
from steerstream_simulation.scoring import INTERVENTION_OFFSET_M

_SIZE_IN, _DOTS_PER_IN = (12.0, 8.25), 100
_PICTURES = 4
_PICTURE_HEIGHT = 225 / 825
_LEFT, _WIDTH, _PANEL_HEIGHT = 0.06, 0.925, 0.172
"""Shares of the whole picture."""

EXPERT, NETWORK, VEHICLE, _LIMIT = "#e67e22", "#1f77b4", "#1f77b4", "#c82828"
_ROUND_TRIP = "#2a9d3f"
_AHEAD, AHEAD_LABEL = "#8e44ad", "said to come next"
"""What a command says comes next."""
RELEASED_LABEL = "the guard had let go"
_INSET = (0.44, 0.05, 0.53, 0.4)
"""Place of what comes next in a picture, as shares of it."""
_SHOWN_BUDGET = 2.0
"""A budget is shown as a line up to so many times the longest latency; a higher one would press the
curves flat."""
_BEFORE_S, _LEAST_RAD = 0.25, 0.02
"""Shown before the moment, and to either side at least."""


@dataclass(slots=True)
class _Kept:
    """A picture of a quarter of the drive, and what its command said comes next."""

    moment: Moment
    reply: Reply | None
    turns_rad: float


class DrivePlot:
    """Collects a drive and draws it; an `Observer` of the closed loop.

    Of each quarter of the drive it keeps the picture whose command said that the steering will
    change most, and shows what it said.

    Args:
        frames: length of the drive, by which the pictures to keep are chosen.
        budget_ms: drawn as a line among the latencies.
        rate_hz: frames a second.
    """

    def __init__(self, frames: int, *, budget_ms: float, rate_hz: float) -> None:
        self._part = max(frames / _PICTURES, 1.0)
        self._budget_ms = budget_ms
        self._rate_hz = rate_hz
        self._kept: dict[int, _Kept] = {}
        self._rows: list[tuple[int, float, float, float, float, float]] = []
        self._released: list[int] = []

    def __call__(self, moment: Moment, reply: Reply | None) -> None:
        """Add a frame."""
        self._keep(moment, reply)
        if moment.is_released:
            self._released.append(moment.frame.sequence_number)
        command = None if reply is None else reply.command
        self._rows.append(
            (
                moment.frame.sequence_number,
                moment.lateral_offset_m,
                math.nan if command is None else command.steering_wheel_angle_rad,
                moment.expert.steering_wheel_angle_rad,
                math.nan if reply is None else reply.delay_ms,
                math.nan if reply is None else reply.round_trip_ms,
            )
        )

    def _keep(self, moment: Moment, reply: Reply | None) -> None:
        ahead = angles_ahead(reply)
        turns_rad = abs(ahead[-1][1] - ahead[0][1]) if ahead else 0.0
        part = int(moment.frame.sequence_number / self._part)
        if part not in self._kept or turns_rad > self._kept[part].turns_rad:
            self._kept[part] = _Kept(moment, reply, turns_rad)

    def save(self, path: Path) -> None:
        """Draw into a PNG file.

        Raises:
            OSError: the file cannot be written.
        """
        save(self.draw(), path)

    def draw(self) -> Figure:
        """Return the picture."""
        rows = np.array(sorted(self._rows), np.float64).reshape(-1, 6)
        numbers, offset, angle, expert, delays_ms, round_trips_ms = rows.T
        seconds = numbers / self._rate_hz
        drawing = figure()
        lane, steering, latencies = panels(drawing, 0.0, seconds[-1])
        label = AHEAD_LABEL
        for index, (_, kept) in enumerate(sorted(self._kept.items())):
            axes = picture(drawing, index, kept.moment.frame.image)
            now_s = kept.moment.frame.sequence_number / self._rate_hz
            caption(axes, f"{now_s:.1f} s")
            if ahead := angles_ahead(kept.reply):
                _inset(axes, seconds - now_s, angle, ahead)
                draw_ahead(steering, now_s, ahead, label=label, width=2.5)
                label = ""
        self._shade_released(lane, steering, latencies)
        lane.plot(seconds, offset, color=VEHICLE, label="vehicle")
        limit(lane, (-INTERVENTION_OFFSET_M, INTERVENTION_OFFSET_M), "put back beyond")
        steering.plot(seconds, expert, color=EXPERT, label="expert")
        steering.plot(seconds, angle, color=NETWORK, label="network")
        self._draw_latencies(latencies, seconds, delays_ms, round_trips_ms)
        titles = ("lateral offset, m", "steering wheel angle, rad", "latency, ms")
        for axes, text in zip((lane, steering, latencies), titles, strict=True):
            title(axes, text)
        latencies.tick_params(labelbottom=True)
        latencies.set_xlabel("time, s", fontsize=10)
        return drawing

    def _draw_latencies(
        self,
        axes: Axes,
        seconds: NDArray[np.float64],
        delays_ms: NDArray[np.float64],
        round_trips_ms: NDArray[np.float64],
    ) -> None:
        """Draw the vehicle's delay, and what answers really took where that is something else."""
        is_measured = np.array_equal(delays_ms, round_trips_ms, equal_nan=True)
        axes.plot(seconds, delays_ms, color=NETWORK, label="round trip" if is_measured else "delay")
        if not is_measured:
            axes.plot(seconds, round_trips_ms, color=_ROUND_TRIP, label="round trip")
        axes.set_ylim(bottom=0)
        longest_ms = axes.get_ylim()[1]
        budget = f"budget {self._budget_ms:g} ms"
        if self._budget_ms > _SHOWN_BUDGET * longest_ms:
            axes.plot([], [], color=_LIMIT, linewidth=1, label=f"{budget}, above")
            return
        axes.set_ylim(top=max(longest_ms, 1.05 * self._budget_ms))
        limit(axes, (self._budget_ms,), budget)

    def _shade_released(self, *panels: Axes) -> None:
        """Shade the time when the guard had let go; the uppermost panel's legend says so."""
        label = RELEASED_LABEL
        for number in sorted(self._released):
            begin_s, end_s = number / self._rate_hz, (number + 1) / self._rate_hz
            for axes in panels:
                axes.axvspan(begin_s, end_s, color=_LIMIT, alpha=0.2, linewidth=0, label=label)
                label = ""


Ahead = list[tuple[float, float]]
"""Seconds after a command, and the angle that it said for then, in radians; first its own."""


def angles_ahead(reply: Reply | None) -> Ahead:
    """Return what a command said of its angle and the next ones; empty where it said nothing."""
    answer = None if reply is None else reply.answer
    if not isinstance(answer, Command) or answer.horizon is None:
        return []
    said = [(0.0, answer.limited.steering_wheel_angle_rad)]
    said += [
        (step.after_ms / 1e3, step.limited.steering_wheel_angle_rad)
        for step in answer.horizon.steps
    ]
    return [(after_s, angle_rad) for after_s, angle_rad in said if angle_rad is not None]


def draw_ahead(axes: Axes, now_s: float, ahead: Ahead, *, label: str, width: float = 1.0) -> None:
    """Draw what a command said comes next into a panel of steering.

    Args:
        axes: the panel.
        now_s: when its picture was taken.
        ahead: what it said.
        label: in the legend; empty for none.
        width: of the line, in points.
    """
    seconds, angles = zip(*ahead, strict=True)
    axes.plot(
        np.array(seconds) + now_s,
        angles,
        color=_AHEAD,
        linewidth=width,
        alpha=0.7,
        label=label,
        zorder=3,
    )


def _inset(
    axes: Axes, seconds: NDArray[np.float64], angles: NDArray[np.float64], ahead: Ahead
) -> None:
    """Draw into a picture what its command said comes next, and what then came.

    Args:
        axes: the picture's.
        seconds: of the drive's frames, from this one.
        angles: of the commands for them.
        ahead: what it said.
    """
    ends_s = ahead[-1][0]
    came = (seconds >= -_BEFORE_S) & (seconds <= ends_s + 1e-6)
    inner = axes.inset_axes(_INSET, facecolor=(0, 0, 0, 0.6))
    inner.plot(seconds[came], angles[came], color="white", linewidth=1.5, label="came")
    after_s, said = zip(*ahead, strict=True)
    inner.plot(after_s, said, ".", color="#ffb454", markersize=5, label="said")
    inner.axvline(0.0, color="white", linewidth=0.5)
    inner.set(xlim=(-_BEFORE_S, ends_s + 0.03), xticks=[], yticks=[])
    middle = 0.5 * (max(said) + min(said))
    reach = max(0.75 * (max(said) - min(said)), _LEAST_RAD)
    inner.set_ylim(middle - reach, middle + reach)
    axes.legend(
        *inner.get_legend_handles_labels(), title=f"next {ends_s:g} s", title_fontsize=8,
        loc="lower right", bbox_to_anchor=(_INSET[0] + _INSET[2], _INSET[1] + _INSET[3]), ncols=2,
        fontsize=8, labelcolor="white", facecolor="black", framealpha=0.6, edgecolor="none",
        handlelength=1.0, borderaxespad=0.3,
    ).get_title().set_color("white")  # fmt: skip


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


def caption(axes: Axes, text: str) -> None:
    """Write into the upper left corner of a picture."""
    axes.text(
        0.03, 0.95, text, transform=axes.transAxes, color="white", fontsize=10, va="top",
        bbox={"facecolor": "black", "alpha": 0.55, "linewidth": 0, "pad": 4},
    )  # fmt: skip


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
    axes.legend(loc="lower right", bbox_to_anchor=(1, 0.98), ncols=5, frameon=False, fontsize=9)
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
