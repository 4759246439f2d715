"""The line that shows how a drive goes on."""

from __future__ import annotations

import math

from steerstream.answers import Command, ControlValues, FrameAnswer
from steerstream.drive.tally import Tally
from steerstream.progress import bar


def progress_line(
    tally: Tally,
    answer: FrameAnswer,
    truth: ControlValues | None,
    count: int | None,
    elapsed_s: float,
) -> str:
    """Return one line: how far, the newest answer, latency, skips.

    Args:
        tally: what the drive adds up to so far.
        answer: the newest answer.
        truth: the labels of its frame; None if there are none.
        count: how many frames there will be; None if that is not known.
        elapsed_s: seconds since the drive began.
    """
    done = tally.frames + tally.passed_over
    parts = [
        f"{bar(done, count)} {done}/{count}" if count else f"{done} frames",
        f"{elapsed_s:5.1f} s",
        _values(answer, truth),
        f"p50 {tally.latency.percentile_ms(50):.1f} p99 {tally.latency.percentile_ms(99):.1f} ms",
    ]
    skipped = tally.skips.total()
    if skipped:
        parts.append(f"skipped {skipped}")
    return "  ".join(parts)


def _values(answer: FrameAnswer, truth: ControlValues | None) -> str:
    if not isinstance(answer, Command):
        return f"skipped: {answer.reason.name}"
    values = answer.limited
    parts = [_angle(values.steering_wheel_angle_rad)]
    if truth is not None and truth.steering_wheel_angle_rad is not None:
        parts.append(f"(truth {_angle(truth.steering_wheel_angle_rad)})")
    if values.speed_mps is not None:
        parts.append(f"{values.speed_mps:.1f} m/s")
    if values.steering_torque_nm is not None:
        parts.append(f"{values.steering_torque_nm:+.2f} Nm")
    parts.append(answer.validity.name)
    return " ".join(parts)


def _angle(angle_rad: float | None) -> str:
    return "no angle" if angle_rad is None else f"{math.degrees(angle_rad):+6.1f}°"
