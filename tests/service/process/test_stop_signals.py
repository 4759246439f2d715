"""The signals that stop a server; `tests/service/test_main.py` sends them to real ones."""

from __future__ import annotations

import signal

from steerstream_service.process.stop_signals import stop_signals


def test_nohup_keeps_the_server_when_its_terminal_closes():
    former = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        assert stop_signals() == {signal.SIGTERM, signal.SIGINT}
    finally:
        signal.signal(signal.SIGHUP, former)
    assert stop_signals() == {signal.SIGTERM, signal.SIGINT, signal.SIGHUP}
