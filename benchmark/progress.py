"""What a benchmark is doing: a bar on a terminal, a line elsewhere."""

from __future__ import annotations

import contextlib
import sys
import threading
import time
from collections.abc import Iterator

_WIDTH = 28
_REDRAW_S = 0.2


@contextlib.contextmanager
def step(what: str, seconds: float) -> Iterator[None]:
    """Show on standard error that a step of a known length runs.

    Args:
        what: what runs.
        seconds: how long it will take.
    """
    if not sys.stderr.isatty():
        print(f"{what} ...", file=sys.stderr, flush=True)
        yield
        return
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
    while not over.wait(_REDRAW_S):
        elapsed_s = time.monotonic() - began_s
        filled = min(_WIDTH, int(_WIDTH * elapsed_s / max(seconds, 0.1)))
        bar = "#" * filled + "." * (_WIDTH - filled)
        sys.stderr.write(f"\r{bar} {elapsed_s:4.0f} s  {what}\x1b[K")
        sys.stderr.flush()
    sys.stderr.write("\r\x1b[K")
    sys.stderr.flush()
