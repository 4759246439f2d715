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
_ALONE_NS = 1_300_000
"""What a frame costs the CPU beyond its cost on a server that is full, where it is the only one:
caches are cold, and every message wakes threads. It falls with the share in use, by a line. On one
core with JPEG of 640x480 a frame took 4.5 ms at 9 % in use, 3.6 at 86 % and 3.3 at 93 %; with raw
200x66 3.2 ms at 6 %, 1.9 at 90 % and 1.6 at 99 %; with steps in the event loop 4.0 at 16 % and 3.1
at 88 %. A server that took the first for the last would turn away a third of the vehicles that it
can carry, and more than that with raw frames."""
_LOOP_PART, _WHOLE_LOOP_PART = 0.5, 0.9
"""The event loop's part of that, with steps in a thread of their own, and with steps in it."""
_OPENING_NS = 600_000
"""What an opening, refused or not, takes of a core; it is no frame's cost."""
_MOST_OPENINGS = 0.5
"""Openings a frame above which no sample is taken: too much of it would be that guess."""
_SAMPLES = 7
"""Samples of which the median counts: three spoilt ones change nothing, and a lasting change is
known after four."""
_LOOP_GUESS_NS = 600_000
"""What a frame costs the event loop of a full server, before the first sample."""
_DECODE_GUESS_NS = 1_300_000
"""What its picture costs, before the first sample: a JPEG of 640x480. Too high a guess lets the
last of a crowd wait for a second; too low a one lets sessions in that have to go."""


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

    def take(self, sample_ns: float) -> None:
        self._samples_ns.append(sample_ns)
        self.value_ns = statistics.median(self._samples_ns)


class FrameCost:
    """What a frame costs the CPU and the event loop, and how much of the CPU there is.

    Costs are those on a server that is full, whatever its load when they were measured: who may
    still come in is decided by what a frame will cost then.

    Args:
        cores: what the process was given of the CPU.
        step_ns: what a step of one frame costs, for the first guess.
        in_loop: whether the event loop's thread makes the steps and decodes as well.

    Attributes:
        in_use: the share of the CPU, or of the event loop if that is larger, in use at the last
            reading.
        is_guess: whether no sample was taken yet.
    """

    def __init__(self, cores: float, step_ns: int, *, in_loop: bool = False) -> None:
        self.in_use = 0.0
        self.is_guess = True
        self._cores = cores
        self._machine_cores = os.cpu_count() or 1
        self._begin: Reading | None = None
        self._last: Reading | None = None
        whole_ns = _LOOP_GUESS_NS + _DECODE_GUESS_NS + step_ns
        self._cpu = _Median(whole_ns)
        self._loop = _Median(whole_ns if in_loop else _LOOP_GUESS_NS)
        self._loop_part = _WHOLE_LOOP_PART if in_loop else _LOOP_PART
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
        cpu_ns = _less(end.cpu_ns - begin.cpu_ns, openings_ns) / frames
        loop_ns = _less(end.loop_ns - begin.loop_ns, openings_ns) / frames
        alone_ns = _ALONE_NS * max(0.0, 1.0 - self._share(begin, end))
        self._cpu.take(_less(cpu_ns, alone_ns))
        self._loop.take(_less(loop_ns, self._loop_part * alone_ns))
        self.is_guess = False

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


def _less(total_ns: float, other_ns: float) -> float:
    """What is left for frames; at least half, since what the rest takes is an estimate."""
    return max(total_ns / 2, total_ns - other_ns)


def _crowded(begin: Reading, end: Reading) -> bool:
    return end.openings - begin.openings > _MOST_OPENINGS * (end.frames - begin.frames)
