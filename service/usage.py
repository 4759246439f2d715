"""What a frame costs beside its step, from the CPU time that the process took for many of them."""

from __future__ import annotations

import os
import statistics
import time
from collections import deque
from pathlib import Path
from typing import NamedTuple, Self

_CPU_MAX = Path("/sys/fs/cgroup/cpu.max")
_STAT = Path("/proc/stat")
_LEAST_FRAMES = 100
"""Frames of one sample: fewer say more of a timer or a collection of garbage than of frames."""
_LEAST_IN_USE = 0.2
"""Share of the CPU below which a sample is taken only if it is lower than what is known: a frame
costs up to twice as much where the caches are cold and every message wakes a thread."""
_OPENING_NS = 600_000
"""What an opening, refused or not, takes of a core; it is no frame's cost."""
_MOST_OPENINGS = 0.5
"""Openings a frame above which no sample is taken: too much of it would be that guess."""
_SAMPLES = 7
"""Samples of which the median counts: three spoilt ones change nothing, and a lasting change is
known after four."""
_LOOP_GUESS_NS = 800_000
"""What a frame costs the event loop, before the first sample: twice what was measured."""
_DECODE_GUESS_NS = 1_500_000
"""What its picture costs, before the first sample: a JPEG of 640x480 on a slow core. Too high a
guess lets the last of a crowd wait for a second; too low a one lets sessions in that have to go."""


class Reading(NamedTuple):
    """Counters at one moment; differences of two readings count.

    Attributes:
        at_ns: the monotonic clock.
        cpu_ns: CPU time of all threads.
        loop_ns: CPU time of the event loop's thread.
        frames: frames received.
        openings: sessions that were asked for, refused ones as well.
        stolen_ns: time of all cores that the machine's host gave to others.
    """

    at_ns: int
    cpu_ns: int
    loop_ns: int
    frames: int
    openings: int
    stolen_ns: int

    @classmethod
    def now(cls, frames: int, openings: int) -> Self:
        """Read the clocks; to be called on the event loop's thread."""
        return cls(
            time.monotonic_ns(),
            time.process_time_ns(),
            time.thread_time_ns(),
            frames,
            openings,
            _stolen_ns(),
        )


class _Median:
    """A cost in nanoseconds: a guess at first, then the median of the last samples."""

    def __init__(self, guess_ns: int) -> None:
        self.value_ns = float(guess_ns)
        self._samples_ns: deque[float] = deque(maxlen=_SAMPLES)

    def take(self, sample_ns: float, *, only_lower: bool = False) -> None:
        if only_lower and sample_ns >= self.value_ns:
            return
        self._samples_ns.append(sample_ns)
        self.value_ns = statistics.median(self._samples_ns)


class FrameCost:
    """What a frame costs the CPU and the event loop, and how much of the CPU there is.

    Args:
        cores: what the process was given of the CPU.
        step_ns: what a step of one frame costs, for the first guess.

    Attributes:
        in_use: the share of the CPU, or of the event loop if that is larger, in use at the last
            reading.
    """

    def __init__(self, cores: float, step_ns: int) -> None:
        self.in_use = 0.0
        self._cores = cores
        self._machine_cores = os.cpu_count() or 1
        self._begin: Reading | None = None
        self._last: Reading | None = None
        self._cpu = _Median(_LOOP_GUESS_NS + _DECODE_GUESS_NS + step_ns)
        self._loop = _Median(_LOOP_GUESS_NS)
        self._stolen: deque[float] = deque([0.0], maxlen=_SAMPLES)

    @property
    def cpu_ns(self) -> float:
        """CPU time of all threads for one frame."""
        return self._cpu.value_ns

    @property
    def loop_ns(self) -> float:
        """CPU time of the event loop's thread for one frame."""
        return self._loop.value_ns

    @property
    def cores(self) -> float:
        """What the process has of the CPU, less what the host gives to other machines."""
        return self._cores * (1.0 - min(0.9, statistics.median(self._stolen)))

    def update(self, reading: Reading) -> None:
        """Take a reading; they come a few times a second."""
        last, self._last = self._last or reading, reading
        begin = self._begin or reading
        self.in_use = self._share(last, reading)
        if reading.at_ns > last.at_ns:
            passed_ns = self._machine_cores * (reading.at_ns - last.at_ns)
            self._stolen.append((reading.stolen_ns - last.stolen_ns) / passed_ns)
        if reading.frames == last.frames or _crowded(begin, reading):
            self._begin = reading
        elif reading.frames - begin.frames >= _LEAST_FRAMES:
            self._sample(begin, reading)
            self._begin = reading

    def _sample(self, begin: Reading, end: Reading) -> None:
        frames = end.frames - begin.frames
        openings_ns = _OPENING_NS * (end.openings - begin.openings)
        is_at_rest = self._share(begin, end) < _LEAST_IN_USE
        cpu_ns = _less(end.cpu_ns - begin.cpu_ns, openings_ns)
        loop_ns = _less(end.loop_ns - begin.loop_ns, openings_ns)
        self._cpu.take(cpu_ns / frames, only_lower=is_at_rest)
        self._loop.take(loop_ns / frames, only_lower=is_at_rest)

    def _share(self, begin: Reading, end: Reading) -> float:
        """The share of the CPU, or of the event loop if that is larger, that was in use."""
        passed_ns = max(1, end.at_ns - begin.at_ns)
        cpu = (end.cpu_ns - begin.cpu_ns) / self._cores
        return max(cpu, end.loop_ns - begin.loop_ns) / passed_ns


def available_cores() -> float:
    """Return what this process may use of the CPU: its cores, or its share of them if less."""
    cores = float(len(os.sched_getaffinity(0)))
    try:
        quota, period = _CPU_MAX.read_text(encoding="ascii").split()
    except (OSError, ValueError):
        return cores
    return cores if quota == "max" else min(cores, int(quota) / int(period))


def _stolen_ns() -> int:
    """Return the time that a virtual machine's host gave to others; 0 where it does not say."""
    try:
        with _STAT.open(encoding="ascii") as stat:
            ticks = int(stat.readline().split()[8])
    except (OSError, ValueError, IndexError):
        return 0
    return ticks * 1_000_000_000 // os.sysconf("SC_CLK_TCK")


def _less(total_ns: int, openings_ns: int) -> float:
    """What is left for frames; at least half, since what openings take is a guess."""
    return max(total_ns / 2, float(total_ns - openings_ns))


def _crowded(begin: Reading, end: Reading) -> bool:
    return end.openings - begin.openings > _MOST_OPENINGS * (end.frames - begin.frames)
