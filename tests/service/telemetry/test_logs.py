"""Logs are lines of JSON that programs can read."""

from __future__ import annotations

import json
import logging
import os
import sys

import pytest

from steerstream_service.telemetry import logs
from steerstream_service.telemetry.logs import JsonLines, QueuedLines, Repeats, fields
from tests.service.processes import full_pipe


def line(message, **options):
    record = logging.getLogger("service.test").makeRecord(
        "service.test",
        logging.INFO,
        "file",
        1,
        message,
        (),
        options.pop("exc_info", None),
        **options,
    )
    text = JsonLines().format(record)
    assert "\n" not in text
    return json.loads(text)


def test_a_line_holds_event_and_fields():
    found = line("session_opened", extra=fields(session_id="ab", sessions=3))
    assert found["event"] == "session_opened"
    assert (found["session_id"], found["sessions"], found["level"]) == ("ab", 3, "info")
    assert found["time"].endswith("+00:00")


def test_a_fault_is_one_line_too():
    try:
        json.loads("{")
    except ValueError:
        found = line("step_failed", exc_info=sys.exc_info())
    assert "JSONDecodeError" in found["error"]


def test_a_value_that_json_lacks_is_written_as_text():
    assert line("event", extra=fields(where={1}))["where"] == "{1}"


class Log:
    """The lines that pass, with a clock that is set by hand."""

    def __init__(self):
        self._repeats = Repeats(most=2, within_s=10.0)

    def fault(self, at_s, line=1, **values):
        """The `repeated` of a fault's line; None where it was held back."""
        fault = (ValueError, ValueError(), None)
        record = logging.makeLogRecord(
            {"pathname": "file", "lineno": line, "exc_info": fault, **fields(**values)}
        )
        record.created = at_s
        if not self._repeats.filter(record):
            return None
        return json.loads(JsonLines().format(record)).get("repeated", 0)


def test_a_fault_that_repeats_is_written_a_few_times_and_counted():
    log = Log()
    assert [log.fault(at_s) for at_s in (0, 1, 2, 3, 9)] == [0, 0, None, None, None]
    assert [log.fault(at_s) for at_s in (10.5, 11, 12)] == [3, 0, None]
    assert log.fault(30) == 1
    assert log.fault(100) == 0


def test_each_fault_is_counted_by_itself_and_keeps_its_fields():
    log = Log()
    for _ in range(3):
        log.fault(0)
    assert log.fault(0, line=2) == 0
    assert log.fault(11, session_id="a") == 1


def test_lines_without_a_traceback_always_pass():
    repeats = Repeats(most=0)
    assert all(repeats.filter(logging.makeLogRecord({})) for _ in range(100))


def test_lines_that_a_full_pipe_does_not_take_are_counted_and_the_rest_keep_their_order(
    monkeypatch,
):
    monkeypatch.setattr(logs, "_MOST_WAITING", 3)
    monkeypatch.setattr(logs, "_FLUSH_S", 60)
    with full_pipe() as (reads, writes, filling):
        handler = QueuedLines(writes, JsonLines())

        def log(event):
            handler.handle(logging.makeLogRecord({"msg": event, "levelname": "INFO"}))

        log("in the thread's hand")
        while handler._waiting.qsize():
            pass
        for number in range(5):
            log(f"event {number}")
        read = b""
        while len(read) < filling or read.count(b"\n") < 4:
            read += os.read(reads, 65536)
        log("room again")
        handler.flush()
        log("the last")
        handler.flush()
        read += os.read(reads, 65536)
    lines = [json.loads(text) for text in read[filling:].splitlines()]
    assert [(line["event"], line.get("lost")) for line in lines] == [
        ("in the thread's hand", None),
        ("event 0", None),
        ("event 1", None),
        ("event 2", None),
        ("log_lines_lost", 2),
        ("room again", None),
        ("the last", None),
    ]


@pytest.mark.parametrize("blocking", [True, False])
def test_a_long_line_is_written_whole_to_a_slow_reader(monkeypatch, blocking):
    monkeypatch.setattr(logs, "_FLUSH_S", 60)
    reads, writes = os.pipe()
    try:
        os.set_blocking(writes, blocking)
        handler = QueuedLines(writes, JsonLines())
        handler.put("x" * 200_000)
        read = b""
        while not read.endswith(b"\n"):
            read += os.read(reads, 1000)
        assert read == b"x" * 200_000 + b"\n"
        handler.flush()
    finally:
        os.close(reads)
        os.close(writes)


def test_a_flush_gives_up_where_nobody_reads(monkeypatch):
    monkeypatch.setattr(logs, "_FLUSH_S", 0.05)
    with full_pipe() as (reads, writes, filling):
        handler = QueuedLines(writes, JsonLines())
        handler.put("lost")
        handler.flush()
        read = b""
        while len(read) < filling + len("lost\n"):
            read += os.read(reads, 65536)
