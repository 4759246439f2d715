"""Logs are lines of JSON that programs can read."""

from __future__ import annotations

import json
import logging
import sys

from steerstream_service.telemetry.logs import JsonLines, fields


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


def test_what_json_lacks_is_written_as_text():
    assert line("event", extra=fields(where={1}))["where"] == "{1}"
