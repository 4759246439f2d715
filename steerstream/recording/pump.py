"""Hands work from an event loop to a thread, and never makes the event loop wait."""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Callable

_LOOK_S = 0.05
"""How long the thread rests where there is nothing to do. Nobody wakes it: that would cost the
event loop more than the hand-over does."""

_log = logging.getLogger(__name__)


class Pump:
    """A bounded queue with a thread at its end.

    One thread calls `put`. What does not fit is dropped and counted.

    Args:
        name: the thread's.
        between: is called by the thread from time to time, beside the work.
        max_items: pieces of work that may wait.
        max_bytes: what those may hold.

    Attributes:
        dropped: pieces that did not fit.
        failed: pieces whose work failed; the first failure is logged.
    """

    def __init__(
        self, name: str, between: Callable[[], None], *, max_items: int, max_bytes: int
    ) -> None:
        self.dropped = 0
        self.failed = 0
        self._has_told = False
        self._between = between
        self._max_items = max_items
        self._max_bytes = max_bytes
        self._items: deque[tuple[Callable[[], None], int]] = deque()
        # Each is written by one thread alone.
        self._put_bytes = 0
        self._taken_bytes = 0
        self._is_closing = threading.Event()
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._thread.start()

    def put(self, work: Callable[[], None], size_bytes: int, *, always: bool = False) -> bool:
        """Hand over a piece of work; returns whether there was room.

        Args:
            work: is called by the thread.
            size_bytes: what it holds.
            always: whether there is room for it in any case, as for the few that begin and end
                something.
        """
        waiting_bytes = self._put_bytes - self._taken_bytes
        is_full = len(self._items) >= self._max_items or waiting_bytes > self._max_bytes
        if (is_full and not always) or self._is_closing.is_set():
            self.dropped += 1
            return False
        self._put_bytes += size_bytes
        self._items.append((work, size_bytes))
        return True

    def close(self, limit_s: float | None = None) -> bool:
        """Do what waits, and end the thread; returns whether it has ended.

        Args:
            limit_s: how long that may take, such as on a disk that hangs; None for ever.
        """
        self._is_closing.set()
        self._thread.join(limit_s)
        return not self._thread.is_alive()

    def _run(self) -> None:
        while True:
            is_closing = self._is_closing.is_set()
            while self._items:
                work, size_bytes = self._items.popleft()
                self.failed += not self._done(work)
                self._taken_bytes += size_bytes
                # Python's lock goes to the event loop, if that wants it.
                time.sleep(0)
                self._done(self._between)
            self._done(self._between)
            if is_closing:
                return
            self._is_closing.wait(_LOOK_S)

    def _done(self, work: Callable[[], None]) -> bool:
        """Do a piece of work; return whether it was done."""
        try:
            work()
        except Exception:  # noqa: BLE001 - a fault in one message costs none that come after it
            if not self._has_told:
                _log.exception("recording_fault")
            self._has_told = True
            return False
        return True
