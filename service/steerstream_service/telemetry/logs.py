"""Structured logs: one JSON object in a line on stderr, never with a picture.

In `_log.info("session_opened", extra=fields(session_id=...))` the message is the event's name, and
the fields are its data.
"""

from __future__ import annotations

import json
import logging
import sys
from datetime import UTC, datetime

_FIELDS = "steerstream_fields"


def fields(**values: object) -> dict[str, object]:
    """Return the `extra` argument of a log call that adds these fields to its line."""
    return {_FIELDS: values}


class JsonLines(logging.Formatter):
    """Formats a record as one line of JSON: time (UTC), level, logger, event, fields, error.

    Args:
        worker: number of this worker; None for a server alone.
    """

    def __init__(self, worker: int | None = None) -> None:
        super().__init__()
        self._process = {} if worker is None else {"worker": worker}

    def format(self, record: logging.LogRecord) -> str:
        """Return the line; values that JSON lacks are written as text."""
        line: dict[str, object] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "event": record.getMessage(),
            **self._process,
            **getattr(record, _FIELDS, {}),
        }
        if record.exc_info:
            line["error"] = self.formatException(record.exc_info)
        return json.dumps(line, default=str)


def configure(level: str, *, worker: int | None = None) -> None:
    """Send all logs of the process to stderr as JSON lines.

    Args:
        level: `debug`, `info`, `warning` or `error`.
        worker: number of this worker; None for a server alone.
    """
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonLines(worker))
    logging.basicConfig(level=level.upper(), handlers=[handler], force=True)
