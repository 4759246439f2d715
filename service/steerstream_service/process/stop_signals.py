"""The signals that stop a server. Imports nothing heavy, so that they are handled before that."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections.abc import Callable

_SAME_S = 1.0
"""Signals within this time count as one: `timeout` sends its signal to the process and to its
group, and a wrapper passes on what a terminal has sent to both."""


def stop_signals() -> set[signal.Signals]:
    """Return SIGTERM, SIGINT, and SIGHUP, which a terminal sends when it closes.

    SIGHUP is left out where it is ignored: `nohup` asks for that.
    """
    signals = {signal.SIGTERM, signal.SIGINT, signal.SIGHUP}
    if signal.getsignal(signal.SIGHUP) is signal.SIG_IGN:
        signals.remove(signal.SIGHUP)
    return signals


class StopSignals:
    """Acts on the signals that stop a server.

    Args:
        stop: called for the first one.
        hurry: called for each SIGTERM and SIGINT that comes a while after it. Not for SIGHUP: a
            shell and the system both send that when a terminal closes.
    """

    def __init__(self, stop: Callable[[], None], hurry: Callable[[], None]) -> None:
        self._stop = stop
        self._hurry = hurry
        self._stopped_s: float | None = None

    def install(self, loop: asyncio.AbstractEventLoop) -> None:
        """Have the event loop call `got` for them."""
        for number in stop_signals():
            loop.add_signal_handler(number, self.got, number)

    def got(self, number: signal.Signals) -> None:
        """Act on a signal."""
        now_s = time.monotonic()
        if self._stopped_s is None:
            self._stopped_s = now_s
            self._stop()
        elif number is not signal.SIGHUP and now_s - self._stopped_s > _SAME_S:
            self._hurry()


def end_at_once() -> None:
    """Let these signals end the process with exit code 0, until the server handles them."""
    for number in stop_signals():
        signal.signal(number, lambda _number, _frame: os._exit(0))
