"""Resident memory of processes over time."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Self

from benchmark.host.cpu_time import family


def resident_mb(pid: int) -> float:
    """Return the resident memory of a process and its descendants, in megabytes."""
    pages = sum(int(Path(f"/proc/{each}/statm").read_text().split()[1]) for each in family(pid))
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6


class MemorySampler:
    """Samples a process's resident memory while its context lasts.

    Args:
        pid: the process, whose descendants count too; None samples nothing.
        every_s: between two samples.
        limit_mb: above it `exceeded` is called, once.
        exceeded: called on the sampler's thread.

    Attributes:
        samples: seconds since the context began, and megabytes.
    """

    def __init__(
        self,
        pid: int | None,
        every_s: float,
        *,
        limit_mb: float = float("inf"),
        exceeded: Callable[[], None] = lambda: None,
    ) -> None:
        self._pid = pid
        self._every_s = every_s
        self._limit_mb = limit_mb
        self._exceeded = exceeded
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._sample, daemon=True)
        # One sample a second: a day is 86,400.
        self.samples: list[tuple[float, float]] = []

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._over.set()
        self._thread.join()

    @property
    def peak_mb(self) -> float | None:
        """The largest sample; None if there is none."""
        return max((megabytes for _, megabytes in self.samples), default=None)

    def _sample(self) -> None:
        began_s, may_call = time.monotonic(), True
        while self._pid is not None and not self._over.wait(self._every_s):
            try:
                megabytes = resident_mb(self._pid)
            except OSError:  # One of the processes has just ended.
                continue
            self.samples.append((time.monotonic() - began_s, megabytes))
            if may_call and megabytes > self._limit_mb:
                may_call = False
                self._exceeded()
