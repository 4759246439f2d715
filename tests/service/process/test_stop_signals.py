"""The signals that stop a server; `tests/service/test_main.py` sends them to real ones."""

from __future__ import annotations

import signal
import time

import pytest

from steerstream_service.process.stop_signals import StopSignals, stop_signals


def test_nohup_keeps_the_server_when_its_terminal_closes():
    former = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        assert stop_signals() == {signal.SIGTERM, signal.SIGINT}
    finally:
        signal.signal(signal.SIGHUP, former)
    assert stop_signals() == {signal.SIGTERM, signal.SIGINT, signal.SIGHUP}


@pytest.mark.parametrize(
    ("numbers", "after_s", "done"),
    [
        ([signal.SIGTERM], 60, ["stop"]),
        ([signal.SIGTERM, signal.SIGTERM], 60, ["stop", "hurry"]),
        ([signal.SIGINT, signal.SIGTERM], 60, ["stop", "hurry"]),
        ([signal.SIGHUP, signal.SIGINT, signal.SIGINT], 60, ["stop", "hurry", "hurry"]),
        # A terminal that closes sends two, of the shell and of the system.
        ([signal.SIGHUP, signal.SIGHUP], 60, ["stop"]),
        # `timeout` sends two, to the process and to its group.
        ([signal.SIGTERM, signal.SIGTERM], 0.1, ["stop"]),
    ],
)
def test_a_second_signal_is_a_hurry_if_a_person_sent_it(monkeypatch, numbers, after_s, done):
    times = iter(range(len(numbers)))
    monkeypatch.setattr(time, "monotonic", lambda: after_s * next(times))
    acted = []
    signals = StopSignals(lambda: acted.append("stop"), lambda: acted.append("hurry"))
    for number in numbers:
        signals.got(number)
    assert acted == done
