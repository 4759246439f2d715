"""One picture of the seconds around a server's death: road, lane, steering and answers."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from steerstream import SafeCommand
from steerstream_simulation import plot
from steerstream_simulation.closed_loop import Moment
from steerstream_simulation.drivers import Reply
from steerstream_simulation.server_kill import ServerKill

_BEFORE_S, _AFTER_S = 1.0, 2.0
_PICTURES_S = (-0.5, 0.0, None, 1.0)
"""When the pictures were taken, from the kill; None for the first frame after the gap."""

_FIRST, _SECOND, _GAP = plot.NETWORK, "#2a9d3f", "#c82828"
_AHEAD_EVERY = 4
"""Frames from one horizon that is drawn to the next, so that they can be told apart."""


@dataclass(slots=True)
class _Row:
    moment: Moment
    reply: Reply | None
    is_after: bool


class KillPlot:
    """Collects a drive whose server is killed and draws the moment; an `Observer` of the loop.

    Args:
        kill: kills the server.
        departure_offset_m: lateral offset at which the vehicle leaves its lane.
    """

    def __init__(self, kill: ServerKill, departure_offset_m: float) -> None:
        self._kill = kill
        self._departure_offset_m = departure_offset_m
        self._rows: list[_Row] = []
        self._told: list[tuple[int, SafeCommand]] = []

    def told(self, safe: SafeCommand) -> None:
        """Add what the guard had the vehicle do at this moment."""
        if self._kill.killed_ns is not None and self._kill.gap is None:
            self._told.append((time.monotonic_ns(), safe))

    def __call__(self, moment: Moment, reply: Reply | None) -> None:
        """Add a frame."""
        self._rows.append(_Row(moment, reply, self._kill.gap is not None))

    def save(self, path: Path) -> None:
        """Draw into a PNG file.

        Raises:
            OSError: the file cannot be written.
        """
        plot.save(self.draw(), path)

    def draw(self) -> Figure:
        """Return the picture."""
        rows = sorted(self._rows, key=lambda row: row.moment.frame.sequence_number)
        killed_ns = self._kill.killed_ns or rows[-1].moment.frame.capture_time_ns
        begin_ns, end_ns = killed_ns - _BEFORE_S * 1e9, killed_ns + _AFTER_S * 1e9
        rows = [row for row in rows if begin_ns <= row.moment.frame.capture_time_ns <= end_ns]
        seconds = np.array([(row.moment.frame.capture_time_ns - killed_ns) / 1e9 for row in rows])
        gap = self._kill.gap
        gap_s = 0.0 if gap is None else gap.gap_ms / 1e3
        figure = plot.figure()
        self._pictures(figure, rows, seconds, gap_s)
        lane, steering, latencies = plot.panels(figure, -_BEFORE_S, _AFTER_S)
        self._lane(lane, rows, seconds)
        _steering(steering, rows, seconds)
        _guard(steering, self._told, killed_ns)
        _latencies(latencies, rows, seconds)
        for axes in (lane, steering, latencies):
            axes.axvspan(0.0, gap_s, color=_GAP, alpha=0.25, linewidth=0)
            axes.axvline(0.0, color=_GAP, linewidth=1)
        top = lane.get_ylim()[1]
        text = "killed" if gap is None else f"killed; next command {gap.gap_ms:.0f} ms later"
        lane.text(gap_s + 0.03, top, text, color=_GAP, fontsize=9, va="top")
        plot.title(lane, "lateral offset, m")
        plot.title(steering, "steering wheel angle, rad")
        plot.title(latencies, "answers: round trip, ms")
        latencies.tick_params(labelbottom=True)
        latencies.set_xlabel("time from the kill, s", fontsize=10)
        return figure

    def _pictures(
        self, figure: Figure, rows: list[_Row], seconds: NDArray[np.float64], gap_s: float
    ) -> None:
        for index, wanted in enumerate(_PICTURES_S):
            after_s = gap_s if wanted is None else wanted
            at = min(int(np.searchsorted(seconds, after_s)), len(rows) - 1)
            axes = plot.picture(figure, index, rows[at].moment.frame.image)
            text = f"{after_s:+.1f} s"
            if after_s == 0.0:
                text = "the server is killed"
            elif wanted is None and self._kill.gap is not None:
                text = "the other one answers"
            plot.caption(axes, text)

    def _lane(self, axes: Axes, rows: list[_Row], seconds: NDArray[np.float64]) -> None:
        offsets = np.array([row.moment.lateral_offset_m for row in rows])
        axes.plot(seconds, offsets, color=plot.VEHICLE, label="vehicle")
        edge = self._departure_offset_m
        plot.limit(axes, (-edge, edge), "a wheel on the line")
        axes.set_ylim(-1.5 * edge, 1.5 * edge)


def _steering(axes: Axes, rows: list[_Row], seconds: NDArray[np.float64]) -> None:
    expert = [row.moment.expert.steering_wheel_angle_rad for row in rows]
    axes.plot(seconds, expert, color=plot.EXPERT, label="expert")
    for is_after, color, label in ((False, _FIRST, "first server"), (True, _SECOND, "second")):
        angles = [
            row.reply.command.steering_wheel_angle_rad
            if row.is_after is is_after and row.reply is not None and row.reply.command is not None
            else math.nan
            for row in rows
        ]
        axes.plot(seconds, angles, color=color, label=label, marker=".", markersize=4)
    name = plot.AHEAD_LABEL
    for row, now_s in zip(rows[::_AHEAD_EVERY], seconds[::_AHEAD_EVERY], strict=True):
        if ahead := plot.angles_ahead(row.reply):
            plot.draw_ahead(axes, float(now_s), ahead, label=name)
            name = ""


def _guard(axes: Axes, told: list[tuple[int, SafeCommand]], killed_ns: int) -> None:
    """Draw what the guard had the vehicle follow while there was no server."""
    followed = [
        ((now_ns - killed_ns) / 1e9, safe.steering_wheel_angle_rad)
        for now_ns, safe in told
        if safe.steering_wheel_angle_rad is not None
    ]
    if followed:
        seconds, angles = zip(*followed, strict=True)
        axes.plot(seconds, angles, ".", color=_GAP, markersize=5, label="the guard")


def _latencies(axes: Axes, rows: list[_Row], seconds: NDArray[np.float64]) -> None:
    for is_after, color, label in ((False, _FIRST, "first server"), (True, _SECOND, "second")):
        trips = [
            row.reply.round_trip_ms
            if row.is_after is is_after and row.reply is not None
            else math.nan
            for row in rows
        ]
        axes.plot(seconds, trips, ".", color=color, label=label, markersize=5)
    axes.set_ylim(bottom=0)
