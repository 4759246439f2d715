"""Answers with what a test does not care about filled in."""

from __future__ import annotations

import dataclasses
from typing import Any

from steerstream import Command, ControlValues, Skipped, SkipReason, StageTimings, Validity

STRAIGHT = ControlValues(steering_wheel_angle_rad=0.0, speed_mps=10.0, steering_torque_nm=0.0)

COMMAND = Command(
    sequence_number=0,
    capture_time_ns=0,
    raw=STRAIGHT,
    limited=STRAIGHT,
    active_limits=(),
    validity=Validity.VALID,
    age_ms=5.0,
    alive_counter=1,
    checksum_ok=True,
    state_epoch=0,
    step_count=1,
    timings=StageTimings(queue_us=500, decode_us=1000, infer_us=3000, total_us=5000, batch_size=1),
    sent_ns=0,
    received_ns=8_000_000,
)

SKIPPED = Skipped(
    sequence_number=0,
    capture_time_ns=0,
    reason=SkipReason.LATE,
    detail="",
    held=None,
    sent_ns=0,
    received_ns=8_000_000,
)


def command(
    number: int, sent_ms: float, *, received_ms: float | None = None, **changes: Any
) -> Command:
    """A command for frame `number` that was captured when it was sent."""
    received = sent_ms + 8.0 if received_ms is None else received_ms
    defaults: dict[str, Any] = {
        "sequence_number": number,
        "capture_time_ns": round(sent_ms * 1e6),
        "alive_counter": number + 1,
        "sent_ns": round(sent_ms * 1e6),
        "received_ns": round(received * 1e6),
    }
    return dataclasses.replace(COMMAND, **{**defaults, **changes})


def skipped(number: int, sent_ms: float, reason: SkipReason = SkipReason.LATE) -> Skipped:
    """A skip of frame `number`."""
    return dataclasses.replace(
        SKIPPED,
        sequence_number=number,
        capture_time_ns=round(sent_ms * 1e6),
        reason=reason,
        sent_ns=round(sent_ms * 1e6),
        received_ns=round((sent_ms + 8.0) * 1e6),
    )
