"""Progress on one refreshing line, or on a line now and then where there is no terminal."""

from __future__ import annotations

import math
import shutil
import sys
import time
from typing import TextIO

from steerstream.answers import Command, ControlValues, FrameAnswer
from steerstream.drive.tally import Tally

_TERMINAL_PERIOD_S = 0.1
_LOG_PERIOD_S = 5.0
_BAR_WIDTH = 16


class Progress:
    """Shows how a drive goes on.

    Args:
        count: how many frames there will be; None where nobody knows.
        stream: where to write.
    """

    def __init__(self, count: int | None, stream: TextIO = sys.stderr) -> None:
        self._count = count
        self._stream = stream
        self._is_terminal = stream.isatty()
        self._period_s = _TERMINAL_PERIOD_S if self._is_terminal else _LOG_PERIOD_S
        self._began_s = time.monotonic()
        self._shown_s = self._began_s

    def update(self, tally: Tally, answer: FrameAnswer, truth: ControlValues | None) -> None:
        """Show the state of things, if it was long ago that it was shown."""
        now_s = time.monotonic()
        if now_s - self._shown_s < self._period_s:
            return
        self._shown_s = now_s
        line = progress_line(tally, answer, truth, self._count, now_s - self._began_s)
        if self._is_terminal:
            columns = shutil.get_terminal_size().columns - 1
            self._stream.write(f"\r{line[:columns]:<{columns}}")
        else:
            self._stream.write(f"{line}\n")
        self._stream.flush()

    def close(self) -> None:
        """Leave the line."""
        if self._is_terminal:
            columns = shutil.get_terminal_size().columns - 1
            self._stream.write(f"\r{'':<{columns}}\r")
            self._stream.flush()


def progress_line(
    tally: Tally,
    answer: FrameAnswer,
    truth: ControlValues | None,
    count: int | None,
    elapsed_s: float,
) -> str:
    """Return one line: how far, the live command, latency, skips."""
    parts = [
        _bar(tally.frames, count),
        f"{elapsed_s:5.1f} s",
        _values(answer, truth),
        f"p50 {tally.latency.percentile_ms(50):.1f} p99 {tally.latency.percentile_ms(99):.1f} ms",
    ]
    skipped = tally.skips.total()
    if skipped:
        parts.append(f"skipped {skipped}")
    return "  ".join(parts)


def _bar(done: int, count: int | None) -> str:
    if not count:
        return f"{done} frames"
    filled = round(_BAR_WIDTH * min(1.0, done / count))
    return f"[{'#' * filled:<{_BAR_WIDTH}}] {done}/{count}"


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
