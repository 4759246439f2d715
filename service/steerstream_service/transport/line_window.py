"""The time for which what happens is counted, to be one line of the log."""

from __future__ import annotations

import asyncio
from collections.abc import Callable


class LineWindow:
    """Ends a while after the first thing that was counted in it.

    It belongs to the event loop's thread.

    Args:
        lasts_s: how long, in seconds.
        write: writes the line, and counts from nothing again.
    """

    def __init__(self, lasts_s: float, write: Callable[[], None]) -> None:
        self._lasts_s = lasts_s
        self._write = write
        self._timer: asyncio.TimerHandle | None = None

    def count(self) -> None:
        """Something was counted; the first since the last line sets the time of the next."""
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(self._lasts_s, self.flush)

    def flush(self) -> None:
        """End it now, if anything was counted."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
            self._write()
