"""A thread's priority is lowered, and a system that refuses that stops no work."""

from __future__ import annotations

import os
import threading

from steerstream_service.process import priority


def test_only_the_calling_thread_has_a_lower_priority():
    found: list[int] = []

    def work() -> None:
        priority.lower(5)
        found.append(os.getpriority(os.PRIO_PROCESS, threading.get_native_id()))

    before = os.getpriority(os.PRIO_PROCESS, threading.get_native_id())
    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert found == [5]
    assert os.getpriority(os.PRIO_PROCESS, threading.get_native_id()) == before


def test_a_system_that_refuses_it_stops_no_work(monkeypatch):
    def refuse(*_: int) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(os, "setpriority", refuse)
    priority.lower(5)
