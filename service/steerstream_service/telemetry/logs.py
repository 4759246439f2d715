"""Structured logs: one JSON object a line on stderr, with the session's ids, never a picture.

`_log.info("session_opened", extra=fields(session_id=...))`: the message is the event's
name, the fields are its data.
"""

from __future__ import annotations

import json
import logging
import sys
from datetime import UTC, datetime

_FIELDS = "steerstream_fields"


def fields(**values: object) -> dict[str, object]:
    """Return the `extra` of a log call that adds the given fields to its line."""
    return {_FIELDS: values}


class JsonLines(logging.Formatter):
    """Formats a record as one line of JSON: time (UTC), level, logger, event, fields, error.

    Args:
        worker: which of several workers this process is; None where there is one server.
    """

    def __init__(self, worker: int | None = None) -> None:
        super().__init__()
        self._process = {} if worker is None else {"worker": worker}

    def format(self, record: logging.LogRecord) -> str:
        """Return the line; values that JSON lacks are written as their text."""
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
        worker: which of several workers this process is.
    """
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonLines(worker))
    logging.basicConfig(level=level.upper(), handlers=[handler], force=True)
