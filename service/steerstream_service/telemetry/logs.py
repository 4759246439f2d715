"""Structured logs: one JSON object in a line on stderr, never with a picture.

In `_log.info("session_opened", extra=fields(session_id=...))` the message is the event's name, and
the fields are its data.
"""

from __future__ import annotations

import json
import logging
import math
import sys
from collections import Counter
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


class Repeats(logging.Filter):
    """Lets an event with a traceback pass a few times, so that a crowd cannot fill the log.

    What it held back is counted in the field `repeated` of the event's next line.

    Args:
        most: lines of one event within the time.
        within_s: the time.
    """

    def __init__(self, most: int = 5, within_s: float = 10.0) -> None:
        super().__init__()
        self._most = most
        self._within_s = within_s
        # Bounded by the places in the code that log a traceback.
        self._began_s: dict[object, float] = {}
        self._counts: Counter[object] = Counter()

    def filter(self, record: logging.LogRecord) -> bool:
        """Return whether a record is written; see `logging.Filter`."""
        if not record.exc_info:
            return True
        event = record.pathname, record.lineno
        if record.created - self._began_s.get(event, -math.inf) > self._within_s:
            self._began_s[event] = record.created
            if (held_back := self._counts.pop(event, 0) - self._most) > 0:
                values = getattr(record, _FIELDS, {})
                setattr(record, _FIELDS, {**values, "repeated": held_back})
        self._counts[event] += 1
        return self._counts[event] <= self._most


def configure(level: str, *, worker: int | None = None) -> None:
    """Send all logs of the process to stderr as JSON lines.

    Args:
        level: `debug`, `info`, `warning` or `error`.
        worker: number of this worker; None for a server alone.
    """
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonLines(worker))
    handler.addFilter(Repeats())
    logging.basicConfig(level=level.upper(), handlers=[handler], force=True)
