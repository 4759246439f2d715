"""How far a long piece of work is: one refreshed line on a terminal, a line a minute elsewhere."""

from __future__ import annotations

import shutil
import sys
import time
from collections.abc import Iterable, Iterator
from types import TracebackType
from typing import Self, TextIO, TypeVar

_T = TypeVar("_T")

_WIDTH = 28
_TERMINAL_PERIOD_S = 0.1
_LOG_PERIOD_S = 60.0
_ESTIMATE_AFTER_S = 1.0


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


class Progress(ProgressLine):
    """Counts steps; shows how many are done, how fast, and how long the rest takes.

    Args:
        task: what is done, such as `encoding`.
        total: steps in all.
        unit: what the steps are called, such as `frames`.
        done: steps that are done already.
        stream: where to write; standard error if none is given.
    """

    def __init__(
        self, task: str, total: int, unit: str, *, done: int = 0, stream: TextIO | None = None
    ) -> None:
        super().__init__(stream)
        self._task, self._total, self._unit = task, total, unit
        self._first = self._done = done
        self._began_s = time.monotonic()

    def step(self, note: str = "") -> None:
        """Count one step, with a note to show behind it."""
        self.reach(self._done + 1, note)

    def reach(self, done: int, note: str = "") -> None:
        """Say how many steps are done in all, with a note to show behind it."""
        self._done = done
        if self.is_due:
            self.show(f"{self._text()}  {note}".rstrip())

    def _text(self) -> str:
        elapsed_s = max(time.monotonic() - self._began_s, 1e-6)
        rate = (self._done - self._first) / elapsed_s
        said = (
            f"{self._task} {bar(self._done, self._total)} {self._done}/{self._total} {self._unit}"
        )
        if elapsed_s < _ESTIMATE_AFTER_S:
            # The first steps say little of those that follow.
            return said
        left_min = (self._total - self._done) / max(rate, 1e-6) / 60
        return f"{said}, {rate:.3g}/s, {left_min:.1f} min left"


def tracked(items: Iterable[_T], task: str, total: int, unit: str) -> Iterator[_T]:
    """Yield items, and show how far the loop over them is.

    Args:
        items: of the loop.
        task: what the loop does, such as `encoding`.
        total: how many items there are.
        unit: what the items are called, such as `frames`.
    """
    with Progress(task, total, unit) as progress:
        for item in items:
            yield item
            progress.step()
