"""The saved video of a drive: the picture with steering, latency and lane keeping drawn over it."""

from __future__ import annotations

from pathlib import Path
from types import TracebackType
from typing import Self

from steerstream.drive.overlay import draw_overlay
from steerstream.drive.video import VideoFile
from steerstream_simulation.closed_loop import RATE_HZ, Moment
from steerstream_simulation.drivers import Reply

_SPARKLINE = 102


class Recorder:
    """Writes a video; a context manager and an `Observer` of the closed loop.

    Args:
        path: the MP4 file.
        budget_ms: length of the latency bar.
        title: the first line in the picture's corner.
        writes_later: whether to draw when the drive is over, because drawing would take time from
            a drive in real time. The pictures wait in memory: 0.23 MB each at 320x240.
    """

    def __init__(
        self,
        path: Path,
        *,
        budget_ms: float,
        title: str,
        writes_later: bool,
    ) -> None:
        self._video = VideoFile(path, rate_hz=RATE_HZ)
        self._budget_ms = budget_ms
        self._title = title
        self._writes_later = writes_later
        self._waiting: list[tuple[Moment, Reply | None]] = []
        self._latencies_ms: list[float] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._waiting.sort(key=lambda seen: seen[0].frame.sequence_number)
        for moment, reply in self._waiting:
            self._write(moment, reply)
        self._video.close()

    def __call__(self, moment: Moment, reply: Reply | None) -> None:
        """Add a frame."""
        if self._writes_later:
            self._waiting.append((moment, reply))
        else:
            self._write(moment, reply)

    def _write(self, moment: Moment, reply: Reply | None) -> None:
        if reply is not None:
            self._latencies_ms.append(reply.delay_ms)
            del self._latencies_ms[:-_SPARKLINE]
        picture = draw_overlay(
            moment.frame.image,
            command=None if reply is None else reply.answer,
            latency_ms=None if reply is None else reply.delay_ms,
            budget_ms=self._budget_ms,
            label_rad=moment.expert.steering_wheel_angle_rad,
            lines=(
                self._title,
                f"lateral error {moment.lateral_offset_m:+.2f} m",
                f"vehicle {moment.frame.vehicle_speed_mps:.1f} m/s",
                f"interventions {moment.interventions}",
            ),
            latencies_ms=self._latencies_ms,
            is_released=moment.is_released,
        )
        self._video.write(picture)
