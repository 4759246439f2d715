"""A session's state between two frames, for tests that seal it and open it again."""

from __future__ import annotations

from typing import Any

from steerstream_service.session.ticket import SessionState


def state(**changes: Any) -> SessionState:
    """Return the state of a session that has answered its eighth frame.

    Args:
        changes: fields of the state that are otherwise.
    """
    fields: dict[str, Any] = {
        "sequence_number": 7,
        "capture_time_ns": 350,
        "epoch": 0,
        "step_count": 8,
        "alive_counter": 8,
        "time_left_s": 0.4,
        "held": None,
        "tensors": bytes(12),
    }
    return SessionState(**{**fields, **changes})
