"""Progress of a measurement whose length is known beforehand."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Iterator

from steerstream.progress import ProgressLine, bar

_REDRAW_S = 0.2


@contextlib.contextmanager
def step(what: str, seconds: float) -> Iterator[None]:
    """Show on standard error that a measurement is running.

    Args:
        what: what is measured.
        seconds: how long it will take.
    """
    over = threading.Event()
    drawing = threading.Thread(target=_draw, args=(what, seconds, over), daemon=True)
    drawing.start()
    try:
        yield
    finally:
        over.set()
        drawing.join()


def _draw(what: str, seconds: float, over: threading.Event) -> None:
    began_s = time.monotonic()
    with ProgressLine() as line:
        while True:
            elapsed_s = time.monotonic() - began_s
            line.show(f"{bar(elapsed_s, seconds)} {elapsed_s:4.0f} s  {what}")
            if over.wait(_REDRAW_S):
                return
