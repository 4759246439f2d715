"""Counts what a run of the fuzzer has sent and found."""

from __future__ import annotations

import collections
import sys
import time
import traceback

_EVERY_S = 10.0
_MOST_SHOWN = 20
_FRAMES = 6


class Tally:
    """What was sent, what came of it, and every fault by its kind.

    Args:
        name: what is fuzzed.
        goal: messages to be sent.
        shows_progress: whether to print a line now and then.
    """

    def __init__(self, name: str, goal: int, *, shows_progress: bool = False) -> None:
        self.name = name
        self.messages = 0
        self.control_frames = 0
        self.faults: collections.Counter[str] = collections.Counter()
        self.counts: collections.Counter[str] = collections.Counter()
        self._goal = goal
        self._shows_progress = shows_progress
        # CPU time, because the other clocks may be virtual.
        self._began_s = self._shown_s = time.process_time()

    def count(self, what: str) -> None:
        """Count something that may happen."""
        self.counts[what] += 1

    def fault(self, what: str, error: BaseException | None = None) -> None:
        """Count something that must not happen, and print it the first time."""
        self.faults[what] += 1
        if self.faults[what] == 1 and len(self.faults) <= _MOST_SHOWN:
            print(f"{self.name}, message {self.messages}: {what}", file=sys.stderr)
            if error is not None:
                traceback.print_exception(error, limit=-_FRAMES)

    def progress(self) -> None:
        """Print how far it is, now and then."""
        now_s = time.process_time()
        if self._shows_progress and now_s - self._shown_s > _EVERY_S:
            self._shown_s = now_s
            print(self.summary(), flush=True)

    def summary(self) -> str:
        """Return one line."""
        taken_s = time.process_time() - self._began_s
        return (
            f"{self.name}: {self.messages:,} of {self._goal:,} messages, "
            f"{self.messages / max(taken_s, 1e-9):,.0f} a second of CPU time, "
            f"{self.faults.total()} faults"
        )
