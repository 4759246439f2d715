"""What a frame costs beside its step, from the CPU time that the process took for many of them."""

from __future__ import annotations

import os
import statistics
import time
from collections import deque
from pathlib import Path
from typing import NamedTuple, Self

_CPU_MAX = Path("/sys/fs/cgroup/cpu.max")
_LEAST_FRAMES = 100
"""Frames of one sample: fewer say more of a timer or a collection of garbage than of frames."""
_LEAST_IN_USE = 0.2
"""Share of the CPU below which no sample is taken: a frame costs up to twice as much where the
caches are cold and every message wakes a thread, and says little of a server that is busy."""
_OPENING_NS = 600_000
"""What an opening, refused or not, takes of a core; it is no frame's cost."""
_MOST_OPENINGS = 0.5
"""Openings a frame above which no sample is taken: too much of it would be that guess."""
_SAMPLES = 7
"""Samples of which the median counts: three spoilt ones change nothing, and a lasting change is
known after four."""
_GUESS_NS = 800_000
"""What a frame costs the event loop, before the first sample: twice what was measured."""


class Reading(NamedTuple):
    """Counters at one moment; differences of two readings count.

    Attributes:
        at_ns: the monotonic clock.
        cpu_ns: CPU time of all threads.
        loop_ns: CPU time of the event loop's thread.
        frames: frames received.
        openings: sessions that were asked for, refused ones as well.
    """

    at_ns: int
    cpu_ns: int
    loop_ns: int
    frames: int
    openings: int

    @classmethod
    def now(cls, frames: int, openings: int) -> Self:
        """Read the clocks; to be called on the event loop's thread."""
        return cls(
            time.monotonic_ns(), time.process_time_ns(), time.thread_time_ns(), frames, openings
        )


class FrameCost:
    """What a frame costs the CPU and the event loop: the median of the last samples.

    Args:
        cores: what the process may use.

    Attributes:
        in_use: the share of the CPU, or of the event loop if that is larger, in use at the last
            reading.
        loop_ns: CPU time of the event loop's thread for one frame.
    """

    def __init__(self, cores: float) -> None:
        self.cores = cores
        self.in_use = 0.0
        self._begin: Reading | None = None
        self._last: Reading | None = None
        self.loop_ns = float(_GUESS_NS)
        self._cpu_ns = 0.0
        self._cpu_samples_ns: deque[float] = deque(maxlen=_SAMPLES)
        self._loop_samples_ns: deque[float] = deque(maxlen=_SAMPLES)

    def cpu_ns(self, step_ns: int) -> float:
        """CPU time of all threads for one frame; ``step_ns`` is its step's, for the first guess."""
        return self._cpu_ns or self.loop_ns + step_ns

    def update(self, reading: Reading) -> None:
        """Take a reading; they come a few times a second."""
        self.in_use = self._share(self._last or reading, reading)
        self._last = reading
        begin = self._begin or reading
        frames = reading.frames - begin.frames
        if self._share(begin, reading) < _LEAST_IN_USE or _crowded(begin, reading):
            self._begin = reading
        elif frames >= _LEAST_FRAMES:
            openings_ns = _OPENING_NS * (reading.openings - begin.openings)
            cpu_ns = _less(reading.cpu_ns - begin.cpu_ns, openings_ns)
            loop_ns = _less(reading.loop_ns - begin.loop_ns, openings_ns)
            self._cpu_samples_ns.append(cpu_ns / frames)
            self._loop_samples_ns.append(loop_ns / frames)
            self._cpu_ns = statistics.median(self._cpu_samples_ns)
            self.loop_ns = statistics.median(self._loop_samples_ns)
            self._begin = reading

    def _share(self, begin: Reading, end: Reading) -> float:
        """The share of the CPU, or of the event loop if that is larger, that was in use."""
        passed_ns = max(1, end.at_ns - begin.at_ns)
        cpu = (end.cpu_ns - begin.cpu_ns) / self.cores
        return max(cpu, end.loop_ns - begin.loop_ns) / passed_ns


def available_cores() -> float:
    """Return what this process may use of the CPU: its cores, or its share of them if less."""
    cores = float(len(os.sched_getaffinity(0)))
    try:
        quota, period = _CPU_MAX.read_text(encoding="ascii").split()
    except (OSError, ValueError):
        return cores
    return cores if quota == "max" else min(cores, int(quota) / int(period))


def _less(total_ns: int, openings_ns: int) -> float:
    """What is left for frames; at least half, since what openings take is a guess."""
    return max(total_ns / 2, float(total_ns - openings_ns))


def _crowded(begin: Reading, end: Reading) -> bool:
    return end.openings - begin.openings > _MOST_OPENINGS * (end.frames - begin.frames)
