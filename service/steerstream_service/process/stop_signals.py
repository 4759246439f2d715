"""The signals that stop a server. Imports nothing heavy, so that they are handled before that."""

from __future__ import annotations

import os
import signal


def stop_signals() -> set[signal.Signals]:
    """Return SIGTERM, SIGINT, and SIGHUP, which a terminal sends when it closes.

    SIGHUP is left out where it is ignored: `nohup` asks for that.
    """
    signals = {signal.SIGTERM, signal.SIGINT, signal.SIGHUP}
    if signal.getsignal(signal.SIGHUP) is signal.SIG_IGN:
        signals.remove(signal.SIGHUP)
    return signals


def end_at_once() -> None:
    """Let these signals end the process with exit code 0, until the server handles them."""
    for number in stop_signals():
        signal.signal(number, lambda _number, _frame: os._exit(0))
