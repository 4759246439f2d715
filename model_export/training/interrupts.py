"""Ctrl-C and SIGTERM while a network trains: the step at work is finished and kept."""

from __future__ import annotations

import contextlib
import signal
from collections.abc import Iterator
from dataclasses import dataclass
from types import FrameType

from model_export import parallel
from model_export.errors import ProcessError


@dataclass(slots=True)
class Interrupts:
    """Whether one came."""

    came: bool = False


@contextlib.contextmanager
def taking_note() -> Iterator[Interrupts]:
    """Take note of interrupts while the block runs, instead of raising `KeyboardInterrupt`.

    However many: `torchrun` passes on a Ctrl-C that the terminal has sent already. It also sends
    SIGTERM to those that are left where a process is gone, so from then on that is only noted:
    what ended the run is said, not that.
    """
    interrupts = Interrupts()

    def note(_number: int, _frame: FrameType | None) -> None:
        interrupts.came = True

    before = {number: signal.signal(number, note) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield interrupts
    except ProcessError:
        if parallel.size() > 1:
            del before[signal.SIGTERM]
        raise
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
