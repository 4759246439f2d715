"""Turns what a server says into figures for the page: plain values that JSON can hold."""

from __future__ import annotations

import base64
import math
from collections import deque
from typing import Any, NamedTuple, TypeAlias

from steerstream.v1 import command_pb2, drive_service_pb2, watch_pb2

Figures: TypeAlias = dict[str, Any]
"""An object of JSON."""

_RATE_WINDOW_MS = 2_000
_MISS_WINDOW_MS = 60_000
HISTORY_POINTS = 300
"""Points of the latency's course: a minute."""
_STAGES = {"queue", "decode", "infer", "total"}
_HEADS = ("steering_wheel_angle_rad", "speed_mps", "steering_torque_nm")
_STDDEVS = ("steering_wheel_angle_stddev_rad", "speed_stddev_mps", "steering_torque_stddev_nm")


class _Counts(NamedTuple):
    """Counts of a server, or of one session, at a time of the server's."""

    up_ms: int
    answers: int
    misses: int
    held: int = 0


class ServerFigures:
    """Figures of one server, out of the messages that it sends, and their course.

    Attributes:
        history: points of the last minute, oldest first; each is milliseconds of the server, load,
            answers a second, misses since the point before, and the latency of queue, decode,
            infer and total (p50) and of total (p99), in milliseconds.
    """

    def __init__(self) -> None:
        self.history: deque[list[float | None]] = deque(maxlen=HISTORY_POINTS)
        # Both bounded by their windows, at five messages a second.
        self._minute: deque[_Counts] = deque()
        self._recent: deque[tuple[int, dict[str, _Counts]]] = deque()

    def take(self, message: watch_pb2.WatchServerResponse) -> tuple[Figures, list[Figures]]:
        """Return the figures of the server, and those of its sessions."""
        if self._minute and message.up_ms < self._minute[-1].up_ms:
            # Another process has taken the server's place.
            self._minute.clear()
            self._recent.clear()
            self.history.clear()
        last = self._minute[-1] if self._minute else None
        now = _Counts(message.up_ms, message.answers, message.misses)
        self._minute.append(now)
        while self._minute[0].up_ms < now.up_ms - _MISS_WINDOW_MS:
            self._minute.popleft()
        first = self._minute[0]
        start_ms = now.up_ms - _RATE_WINDOW_MS
        then = next(counts for counts in self._minute if counts.up_ms >= start_ms)
        answers, misses = now.answers - first.answers, now.misses - first.misses
        rate_hz = _rate_hz(then, now)
        stages = {
            stage.stage: [stage.p50_us / 1e3, stage.p99_us / 1e3, stage.max_us / 1e3]
            for stage in message.stages
        }
        # All or none, as the page draws them over each other.
        stages = stages if stages.keys() >= _STAGES else {}
        self.history.append(
            [
                now.up_ms,
                _finite(message.load),
                rate_hz,
                now.misses - last.misses if last else 0,
                *(stages[name][0] if stages else None for name in ("queue", "decode", "infer")),
                *(stages["total"][:2] if stages else (None, None)),
            ]
        )
        server: Figures = {
            "status": _name(watch_pb2.ServerStatus, message.status, "SERVER_STATUS_"),
            "version": message.version,
            "up_ms": now.up_ms,
            "load": _finite(message.load),
            "sessions": message.session_count,
            "max_sessions": message.max_sessions,
            "rate_hz": rate_hz,
            "misses": misses,
            "miss_share": misses / answers if answers else 0.0,
            "refusals": message.refusals,
            "models": [
                {
                    "name": model.name,
                    "precision": model.precision,
                    "provider": model.provider,
                    "step_ms": model.step_us / 1e3,
                    "sessions": model.sessions,
                }
                for model in message.models
            ],
            "endings": [
                {
                    "session": ending.session_id,
                    "vehicle": ending.vehicle_id,
                    "by": ending.ended_by,
                    "ago_ms": now.up_ms - ending.ended_ms,
                }
                for ending in message.endings
            ],
            "pictures": message.shows_pictures,
            "point": self.history[-1],
        }
        return server, self._sessions(message)

    def _sessions(self, message: watch_pb2.WatchServerResponse) -> list[Figures]:
        precisions = {model.name: model.precision for model in message.models}
        counts = {
            session.session_id: _Counts(
                message.up_ms, session.answers, session.misses, session.held
            )
            for session in message.sessions
        }
        self._recent.append((message.up_ms, counts))
        while self._recent[0][0] < message.up_ms - _RATE_WINDOW_MS:
            self._recent.popleft()
        _, before = self._recent[0]
        sessions = []
        for session in message.sessions:
            now = counts[session.session_id]
            # A session that opened since then began with nothing.
            opened_ms = message.up_ms - session.open_ms
            then = before.get(session.session_id, _Counts(opened_ms, 0, 0))
            sessions.append(
                {
                    "session": session.session_id,
                    "vehicle": session.vehicle_id,
                    "model": session.model,
                    "precision": precisions.get(session.model, ""),
                    "stated_hz": _finite(session.rate_hz),
                    "rate_hz": _rate_hz(then, now),
                    "budget_ms": _finite(session.budget_ms),
                    "open_ms": session.open_ms,
                    "resumed": session.resumed,
                    "answers": now.answers,
                    "misses": now.misses,
                    "held": now.held,
                    "trouble": now.misses - then.misses + now.held - then.held,
                    "validity": _name(command_pb2.Validity, session.validity, "VALIDITY_"),
                    "total_ms": session.total_us / 1e3,
                    "silent_ms": session.silent_ms,
                }
            )
        return sessions


def answer_figures(response: drive_service_pb2.DriveResponse) -> Figures:
    """Return the figures of one answer to a vehicle; of a skip, with the command that it holds."""
    skipped = response.skipped if response.HasField("skipped") else None
    command = response.command if skipped is None else skipped.held
    timings = command.timings
    validity = _name(command_pb2.Validity, command.validity, "VALIDITY_")
    return {
        "sequence_number": (skipped or command).sequence_number,
        "capture_ms": (skipped or command).capture_time_ns / 1e6,
        "skip": skipped and _name(command_pb2.SkipReason, skipped.reason, "SKIP_REASON_"),
        "detail": skipped.detail if skipped else "",
        "validity": "HELD" if skipped else validity,
        "age_ms": _finite(command.age_ms),
        "raw": _values(command.raw, _HEADS),
        "limited": _values(command.limited, _HEADS),
        "stddev": _values(command.raw, _STDDEVS),
        "limits": [_name(command_pb2.Limit, limit, "LIMIT_") for limit in command.active_limits],
        "horizon": [
            [step.after_ms, *_values(step.limited, _HEADS[:2])] for step in command.horizon.steps
        ],
        "stages_ms": [
            stage / 1e3
            for stage in (
                timings.queue_us, timings.decode_us, timings.infer_us, timings.total_us
            )
        ],
        "batch_size": timings.batch_size,
        "epoch": command.state_epoch,
        "step": command.step_count,
    }  # fmt: skip


def description_figures(description: watch_pb2.SessionDescription) -> Figures:
    """Return what the page must know to draw a vehicle's way over its picture."""
    camera = description.camera
    return {
        "budget_ms": _finite(description.budget_ms),
        "wheelbase_m": _finite(description.wheelbase_m),
        "steering_ratio": _finite(description.steering_ratio),
        "camera": {
            "width_px": camera.width_px,
            "height_px": camera.height_px,
            "horizontal_fov_deg": _finite(camera.horizontal_fov_deg),
            "mount_height_m": _finite(camera.mount_height_m),
            "horizon_fraction": _finite(camera.horizon_fraction),
        },
    }


def picture_figures(picture: watch_pb2.SampledPicture) -> Figures:
    """Return a picture as text, and the part of the vehicle's own picture that it shows."""
    applied = picture.view_applied
    return {
        "jpeg": base64.b64encode(picture.jpeg).decode(),
        "is_mapped": applied.mapped,
        "view": {
            "source_width_px": applied.source_width_px,
            "source_height_px": applied.source_height_px,
            "top_px": applied.top_px,
            "bottom_px": applied.bottom_px,
            "left_px": applied.left_px,
            "right_px": applied.right_px,
        }
        if picture.HasField("view_applied") and not applied.mapped
        else None,
    }


def _rate_hz(then: _Counts, now: _Counts) -> float:
    passed_ms = now.up_ms - then.up_ms
    return 1e3 * (now.answers - then.answers) / passed_ms if passed_ms > 0 else 0.0


def _values(values: command_pb2.ControlValues, names: tuple[str, ...]) -> list[float | None]:
    return [
        _finite(getattr(values, name)) if values.HasField(name) else None  # type: ignore[arg-type]
        for name in names
    ]


def _finite(value: float) -> float | None:
    """Return a number that JSON can hold; None for one that it cannot."""
    return value if math.isfinite(value) else None


def _name(kind: Any, number: int, prefix: str) -> str:  # noqa: ANN401 - any enumeration
    """Return a name without its prefix; a number that a newer server says stays one."""
    names = dict(zip(kind.values(), kind.keys(), strict=True))
    name: str = names.get(number, str(number))
    return name.removeprefix(prefix)
