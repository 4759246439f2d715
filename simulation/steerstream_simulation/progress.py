"""A progress line for people; silent where nobody watches."""

from __future__ import annotations

import sys
import time
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from types import TracebackType

_WIDTH = 28
_REDRAW_S = 0.1


class Progress:
    """Counts steps on standard error where that is a terminal; a context manager.

    Args:
        total: Steps in all.
        unit: What a step is called.
    """

    def __init__(self, total: int, unit: str) -> None:
        self._total = total
        self._unit = unit
        self._done = 0
        self._start_s = time.monotonic()
        self._drawn_s = 0.0
        self._is_watched = sys.stderr.isatty()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._is_watched:
            self._draw("")
            sys.stderr.write("\n")

    def step(self, note: str = "") -> None:
        """Count one step, with a note to show beside the bar."""
        self._done += 1
        if self._is_watched and time.monotonic() - self._drawn_s >= _REDRAW_S:
            self._draw(note)

    def _draw(self, note: str) -> None:
        self._drawn_s = time.monotonic()
        filled = _WIDTH * self._done // max(self._total, 1)
        bar = "#" * filled + "." * (_WIDTH - filled)
        rate = self._done / max(self._drawn_s - self._start_s, 1e-6)
        sys.stderr.write(
            f"\r{bar} {self._done}/{self._total} {self._unit}, {rate:.0f}/s  {note}\x1b[K"
        )
        sys.stderr.flush()
