"""The report of a drive: lane keeping, latencies, frames over the budget."""

from __future__ import annotations

import math
from typing import Any

from steerstream import Command
from steerstream.drive.histogram import Histogram
from steerstream_simulation import server_kill
from steerstream_simulation.closed_loop import Moment
from steerstream_simulation.drivers import Reply
from steerstream_simulation.guard_count import GuardTimes
from steerstream_simulation.scoring import Score

LATENCIES = ("delay", "round_trip", "queue", "decode", "infer", "server_total")


class DriveLog:
    """Collects latencies and outcomes of a drive; an `Observer` of the closed loop.

    Args:
        budget_ms: frames without a command that acts within it are counted, whether the delay is
            stated, drawn or measured.

    Attributes:
        guard_times: told what the guard has the vehicle do, where it is asked between frames.
    """

    def __init__(self, budget_ms: float) -> None:
        self.budget_ms = budget_ms
        self.frames = 0
        self.commands = 0
        self.over_budget = 0
        self.guard_times = GuardTimes()
        self._latencies = {name: Histogram() for name in LATENCIES}
        self._angle_error_square_sum = 0.0

    def __call__(self, moment: Moment, reply: Reply | None) -> None:
        """Count a frame."""
        self.frames += 1
        if reply is None or not isinstance(reply.answer, Command):
            self.over_budget += 1
            return
        self.commands += 1
        self.over_budget += reply.delay_ms > self.budget_ms
        self._latencies["delay"].add(reply.delay_ms)
        self._latencies["round_trip"].add(reply.round_trip_ms)
        timings = reply.answer.timings
        for name in ("queue", "decode", "infer"):
            self._latencies[name].add(getattr(timings, f"{name}_us") / 1e3)
        self._latencies["server_total"].add(timings.total_us / 1e3)
        said = reply.answer.raw.steering_wheel_angle_rad
        if said is not None:
            self._angle_error_square_sum += (said - moment.expert.steering_wheel_angle_rad) ** 2

    def summary(self) -> dict[str, Any]:
        """Return the log's figures by name and unit."""
        rmse = math.sqrt(self._angle_error_square_sum / max(self.commands, 1))
        return {
            "frames": self.frames,
            "commands": self.commands,
            "skipped_or_lost": self.frames - self.commands,
            "budget_ms": self.budget_ms,
            "frames_over_budget": self.over_budget,
            "angle_rmse_to_expert_rad": round(rmse, 5),
            "latency_ms": {name: self._latencies[name].summary() for name in LATENCIES},
            "guard": self.guard_times.summary(),
        }


def summarise(settings: dict[str, Any], score: Score, log: DriveLog) -> dict[str, Any]:
    """Return one report of a drive: its settings, its score, its log.

    Args:
        settings: what the drive was asked for, by name.
        score: how well the lane was kept.
        log: latencies and outcomes.
    """
    return {**settings, **score.summary(), **log.summary()}


def table(report: dict[str, Any]) -> str:
    """Return the report as lines for people.

    The delay is the vehicle's, from sending a picture until its command acts; the round trip is
    what the answer really took.
    """
    latency = report["latency_ms"]
    lines = [
        "lateral error   mean {lateral_error_mean_m:.3f}  rms {lateral_error_rms_m:.3f}  "
        "max {lateral_error_max_m:.3f} m".format(**report),
        "lane departures {lane_departures} ({outside_lane_s:.1f} s)".format(**report),
        _interventions_line(report),
        "autonomy        {autonomy_percent:.2f} % of {simulated_s:.0f} s".format(**report),
        "over budget     {frames_over_budget} of {frames} frames had no command that acts within "
        "{budget_ms:g} ms".format(**report),
        _sent_line(report),
    ]
    if any(report["guard"].values()):
        lines.append(
            "guard           followed {followed_s:.1f}  predicted {predicted_s:.1f}  "
            "held {held_s:.1f}  let go {released_s:.1f} s".format(**report["guard"])
        )
    lines += [_latency_line(name, figures) for name, figures in latency.items()]
    if "server_killed" in report:
        lines += ["", server_kill.table(report["server_killed"])]
    return "\n".join(lines)


def _interventions_line(report: dict[str, Any]) -> str:
    line = "interventions   {interventions}".format(**report)
    return (
        f"{line}, of them {report['releases']} as the guard let go" if report["releases"] else line
    )


def _sent_line(report: dict[str, Any]) -> str:
    frame_kb = report["sent_bytes"] / 1e3 / max(report["frames"], 1)
    return f"sent            {frame_kb:.1f} kB a frame, {frame_kb * report['rate_hz']:.0f} kB/s"


def _latency_line(name: str, figures: dict[str, float | None]) -> str:
    parts = (
        f"{key.replace('_', '.')} {'-' if value is None else f'{value:.2f}'}"
        for key, value in figures.items()
    )
    return f"{name.replace('_', ' '):<16}{'  '.join(parts)} ms"
