"""How far a long piece of work is: one refreshed line on a terminal, a line a minute elsewhere."""

from __future__ import annotations

import shutil
import sys
import time
from types import TracebackType
from typing import Self, TextIO

_WIDTH = 28
_TERMINAL_PERIOD_S = 0.1
_LOG_PERIOD_S = 60.0


class ProgressLine:
    """A context manager that shows the latest state of some work on standard error.

    On a terminal the line is redrawn up to ten times a second and removed at the end. Where the
    output is redirected, the first state and then one a minute is printed.

    Args:
        stream: where to write; standard error if none is given.
    """

    def __init__(self, stream: TextIO | None = None) -> None:
        self._stream = stream or sys.stderr
        self._is_terminal = self._stream.isatty()
        self._next_s = 0.0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._is_terminal:
            self._stream.write("\r\x1b[K")
            self._stream.flush()

    @property
    def is_due(self) -> bool:
        """Whether the next text would be shown; a text that takes work need not be made before."""
        return time.monotonic() >= self._next_s

    def show(self, text: str) -> None:
        """Show a state, unless the last one was shown a moment ago."""
        if not self.is_due:
            return
        period_s = _TERMINAL_PERIOD_S if self._is_terminal else _LOG_PERIOD_S
        self._next_s = time.monotonic() + period_s
        if self._is_terminal:
            columns = shutil.get_terminal_size().columns - 1
            self._stream.write(f"\r{text[:columns]}\x1b[K")
        else:
            self._stream.write(f"{text}\n")
        self._stream.flush()


def bar(done: float, total: float) -> str:
    """Return a bar of text that is filled by the share of the total that is done."""
    filled = round(_WIDTH * min(1.0, done / total)) if total > 0 else _WIDTH
    return "#" * filled + "." * (_WIDTH - filled)
