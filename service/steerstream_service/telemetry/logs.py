"""Structured logs: one JSON object in a line on stderr, never with a picture.

In `_log.info("session_opened", extra=fields(session_id=...))` the message is the event's name, and
the fields are its data.
"""

from __future__ import annotations

import contextlib
import json
import logging
import math
import os
import select
import sys
import threading
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime
from queue import SimpleQueue

_FIELDS = "steerstream_fields"
_STDERR_FD = 2
_MOST_WAITING = 4096
"""Lines that wait for a slow reader of stderr, about 1 MB; more are dropped and counted."""
_FLUSH_S = 1.0
"""For the lines that still wait when the process ends; a reader that stands still loses them."""


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


class QueuedLines(logging.Handler):
    """Writes lines from a thread, so that a pipe that nobody reads stops only that thread.

    Lines that do not fit into the queue are counted in the event `log_lines_lost`.

    Args:
        fd: descriptor to write to.
        formatter: makes a record into a line.
    """

    def __init__(self, fd: int, formatter: logging.Formatter) -> None:
        super().__init__()
        self.setFormatter(formatter)
        self._fd = fd
        self._lost = 0
        # Bounded in `put`.
        self._waiting: SimpleQueue[str | threading.Event] = SimpleQueue()
        threading.Thread(target=self._write_all, name="log", daemon=True).start()

    def emit(self, record: logging.LogRecord) -> None:
        """Queue a record's line; see `logging.Handler`."""
        self.put(self.format(record))

    def put(self, line: str) -> None:
        """Queue a line, or count it as lost; never waits."""
        with self._locked():
            if self._waiting.qsize() >= _MOST_WAITING:
                self._lost += 1
                return
            self._tell_lost()
            self._waiting.put(line)

    def flush(self) -> None:
        """Wait until the queued lines are written, for at most a second."""
        with self._locked():
            self._tell_lost()
        written = threading.Event()
        self._waiting.put(written)
        written.wait(_FLUSH_S)

    def _tell_lost(self) -> None:
        if self._lost:
            values = {"name": __name__, "levelname": "WARNING", "msg": "log_lines_lost"}
            record = logging.makeLogRecord({**values, **fields(lost=self._lost)})
            self._waiting.put(self.format(record))
            self._lost = 0

    @contextlib.contextmanager
    def _locked(self) -> Iterator[None]:
        self.acquire()
        try:
            yield
        finally:
            self.release()

    def _write_all(self) -> None:
        while True:
            item = self._waiting.get()
            if isinstance(item, threading.Event):
                item.set()
            else:
                # Without a reader there is nobody to tell.
                with contextlib.suppress(OSError):
                    self._write(f"{item}\n".encode(errors="backslashreplace"))

    def _write(self, line: bytes) -> None:
        # Not through sys.stderr: at exit, Python aborts if a thread is blocked in its buffer.
        while line:
            try:
                line = line[os.write(self._fd, line) :]
            except BlockingIOError:  # another owner of the pipe has set O_NONBLOCK
                select.select([], [self._fd], [])


def say(text: str) -> None:
    """Write one plain line to stderr, after the log's lines."""
    for handler in logging.getLogger().handlers:
        if isinstance(handler, QueuedLines):
            handler.put(text)
            return
    sys.stderr.write(f"{text}\n")


def configure(level: str, *, worker: int | None = None) -> None:
    """Send all logs of the process to stderr as JSON lines; `logging.shutdown` flushes them.

    Args:
        level: `debug`, `info`, `warning` or `error`.
        worker: number of this worker; None for a server alone.
    """
    handler = QueuedLines(_STDERR_FD, JsonLines(worker))
    handler.addFilter(Repeats())
    logging.basicConfig(level=level.upper(), handlers=[handler], force=True)
