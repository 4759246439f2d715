"""Windows of the log that end when a test says so, and the lines that were written."""

from __future__ import annotations

import logging
from types import SimpleNamespace

from steerstream_service.transport import line_window


def lines_of(caplog, event):
    """Return a function that returns the fields of an event's lines so far."""
    caplog.set_level(logging.INFO)

    def found():
        return [
            record.steerstream_fields for record in caplog.records if record.getMessage() == event
        ]

    return found


def ended_by_hand(monkeypatch, lasts_s):
    """Have windows of this length end when the returned function is called, and not by time."""
    timers = []

    class Timer:
        def __init__(self, after_s, call):
            assert after_s == lasts_s
            self.call = call
            timers.append(self)

        def cancel(self):
            pass

    def elapse():
        while timers:
            timers.pop().call()

    loop = SimpleNamespace(call_later=Timer)
    monkeypatch.setattr(line_window, "asyncio", SimpleNamespace(get_running_loop=lambda: loop))
    return elapse
