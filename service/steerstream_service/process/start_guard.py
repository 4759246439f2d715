"""Ends a server that starts too slowly, or that gets a signal while it starts.

Loading and warming up a network are long calls into ONNX Runtime, and never end for a network that
loops. Until such a call returns, Python runs no signal handler on its thread, and no other thread
can interrupt it. So a thread is woken by the signals, through the wake-up descriptor that Python
writes to at once, and ends the process: nothing is served yet that would have to be drained.
"""

from __future__ import annotations

import logging
import os
import select
import signal
import socket
import sys
import threading
import time
from types import FrameType, TracebackType
from typing import NoReturn, Self

from steerstream.command_line import CANNOT_START
from steerstream_service.process.stop_signals import stop_signals
from steerstream_service.telemetry import logs

_log = logging.getLogger(__name__)

_CHANGED = b"\0"
"""Written to the thread in place of a signal's number: look again."""
_CLEAN_UP_S = 5.0
"""After a start that failed. Its cause, such as a lack of memory, may block the cleaning up too."""


class StartGuard:
    """A context for the start of a server. After it, the signals' handlers are to be installed.

    Args:
        timeout_s: longest duration of the start.

    Attributes:
        got_signal: whether a signal came that ended nothing: set handlers first, then look.
    """

    def __init__(self, timeout_s: float) -> None:
        self.got_signal = False
        self._ends_s = time.monotonic() + timeout_s
        self._reason = f"not ready within start_timeout_s, {timeout_s:g} s; what takes so long?"
        self._started = False
        self._stops = stop_signals()
        self._failed = False
        self._reads, self._writes = socket.socketpair()
        self._writes.settimeout(0)
        self._former_descriptor = -1
        self._thread = threading.Thread(target=self._watch, name="start guard", daemon=True)

    def __enter__(self) -> Self:
        for number in self._stops:
            signal.signal(number, self._note)
        self._former_descriptor = signal.set_wakeup_fd(self._writes.fileno())
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if error is None:
            self._started = True
            self._writes.send(_CHANGED)
            self._thread.join()
            signal.set_wakeup_fd(self._former_descriptor)
            self._reads.close()
            self._writes.close()
        else:
            self._failed = True
            self._reason = str(error) or repr(error)
            self._ends_s = time.monotonic() + _CLEAN_UP_S
            self._writes.send(_CHANGED)

    def _note(self, _number: int, _frame: FrameType | None) -> None:
        self.got_signal = True

    def _watch(self) -> None:
        while not self._started:
            left_s = max(0.0, self._ends_s - time.monotonic())
            came, _, _ = select.select([self._reads], [], [], left_s)
            numbers = self._reads.recv(1024) if came else b""
            if not came or (self._failed and self._stops.intersection(numbers)):
                self._end(CANNOT_START)
            if self._stops.intersection(numbers):
                _log.info("stopped")
                self._end(0)

    def _end(self, exit_code: int) -> NoReturn:
        if exit_code:
            logs.say(f"steerstream serve: {self._reason}")
        logging.shutdown()
        sys.stderr.flush()
        os._exit(exit_code)
