"""Measures the CPU time of a frame, from the process's CPU clock over many frames.

What their pictures took is subtracted: each session answers for its own (`picture_cost`).
"""

from __future__ import annotations

import os
import statistics
import time
from collections import deque
from pathlib import Path
from typing import NamedTuple, Self

from steerstream_service.admission.picture_cost import NOTHING_SPENT, Spent

_CPU_MAX = Path("/sys/fs/cgroup/cpu.max")
_STAT = Path("/proc/stat")
_LEAST_FRAMES = 100
"""Frames in one sample. With fewer, a timer or a garbage collection would dominate."""
_LEAST_DEAR_FRAMES, _LEAST_NS = 20, 100_000_000
"""So many are enough where they took so much CPU time: on a slow machine a hundred take seconds."""
_ALONE_NS = 1_300_000
"""Extra CPU time of a frame on an idle server over one on a full server: caches are cold, and every
message wakes threads. It falls linearly with the share of the CPU in use. On one core, a JPEG frame
of 640x480 took 4.5 ms at 9 % in use, 3.6 at 86 % and 3.3 at 93 %; a raw one of 200x66 took 3.2 ms
at 6 %, 1.9 at 90 % and 1.6 at 99 %; with steps in the event loop a JPEG frame took 4.0 ms at 16 %
and 3.1 at 88 %. Without this correction, a server would refuse a third of the vehicles that it can
carry, and more with raw frames."""
_LOOP_PART, _WHOLE_LOOP_PART = 0.5, 0.9
"""The event loop's part of that extra time, with steps in another thread, and with steps in it."""
_OTHER_NS = 600_000
"""CPU time of opening a session, admitted or refused. It is subtracted from the frames' time for
every other event: probes and descriptions take about as long, resets and refused frames less."""
_MOST_OTHERS = 0.5
"""With more other events per frame than this no sample is taken: the subtraction is only a guess.
A flood of them must make frames look neither dear nor cheap. But frames take no more than all took:
a cost above that is lowered, or a crowd that is refused would keep the cost that it is refused by.
"""
_MOST_RECEIVING = 0.25
"""With a larger part of the CPU time in receiving pictures no sample is taken either: what a byte
takes is an estimate, and what it leaves out would make the frames of all look dear."""
_FURTHEST = 8.0
"""A sample is at most this factor away from the guess: what is further off is no frame's cost."""
_SAMPLES = 7
"""The median of this many samples counts: three outliers change nothing, and a lasting change
shows after four."""
_LOOP_GUESS_NS = 600_000
"""Event loop time of a frame on a full server, assumed before the first sample."""


class Reading(NamedTuple):
    """Counters at one moment; only differences of two readings mean anything.

    Attributes:
        at_ns: time of the monotonic clock.
        cpu_ns: CPU time of all threads of the process.
        loop_ns: CPU time of the event loop's thread.
        frames: frames that were stepped; those that were given up count for a part of one.
        others: other events that cost CPU time: calls of any method, including refused ones,
            resets, and frames that were refused, or superseded at once.
        stolen_ns: time of all cores that the host of a virtual machine gave to others.
        pictures: what the pictures of all sessions took.
    """

    at_ns: int
    cpu_ns: int
    loop_ns: int
    frames: float
    others: int
    stolen_ns: int
    pictures: Spent = NOTHING_SPENT

    @classmethod
    def now(cls, frames: float, others: int, pictures: Spent = NOTHING_SPENT) -> Self:
        """Read the clocks; must be called on the event loop's thread.

        Args:
            frames: see the attribute, as the others.
            others: events that were no frames.
            pictures: what pictures took.
        """
        return cls(
            time.monotonic_ns(),
            time.process_time_ns(),
            time.thread_time_ns(),
            frames,
            others,
            _stolen_ns(),
            pictures,
        )


class _Median:
    """A cost in nanoseconds: at first a guess, later the median of the last samples.

    Args:
        guess_ns: the guess.
        least_ns: smaller samples count as this.
    """

    def __init__(self, guess_ns: int, least_ns: float) -> None:
        self.value_ns = float(guess_ns)
        self._least_ns = least_ns
        self._most_ns = guess_ns * _FURTHEST
        self._samples_ns: deque[float] = deque(maxlen=_SAMPLES)

    def take(self, sample_ns: float) -> None:
        self._samples_ns.append(min(max(sample_ns, self._least_ns), self._most_ns))
        self.value_ns = statistics.median(self._samples_ns)

    def take_bound(self, bound_ns: float) -> None:
        """Take a cost that a frame has at most."""
        if bound_ns < self.value_ns:
            self.take(bound_ns)


class FrameCost:
    """The CPU time of a frame without its picture, and the CPU cores that there are.

    Costs are converted to those on a full server, whatever the load when they were measured:
    admission asks what a frame will cost once the server is full.

    Args:
        cores: CPU cores that the process may use.
        step_ns: cost of a step with one frame, for the first guess.
        in_loop: whether steps and decoding run on the event loop's thread.

    Attributes:
        in_use: share of the CPU or of the event loop, the larger of the two, at the last reading.
        is_guess: whether there is no sample yet.
    """

    def __init__(self, cores: float, step_ns: int, *, in_loop: bool = False) -> None:
        self.in_use = 0.0
        self.is_guess = True
        self._cores = cores
        self._machine_cores = os.cpu_count() or 1
        self._begin: Reading | None = None
        self._last: Reading | None = None
        self._in_loop = in_loop
        whole_ns = _LOOP_GUESS_NS + step_ns
        # Without the step, which on an accelerator takes no CPU time.
        self._cpu = _Median(whole_ns, _LOOP_GUESS_NS / _FURTHEST)
        loop_ns = whole_ns if in_loop else _LOOP_GUESS_NS
        self._loop = _Median(loop_ns, _LOOP_GUESS_NS / _FURTHEST)
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
        """CPU cores that the process can use, less the time that the host gives to others."""
        return self._cores * (1.0 - min(0.9, statistics.median(self._stolen)))

    def update(self, reading: Reading) -> None:
        """Take a reading, a few times a second."""
        last, self._last = self._last or reading, reading
        begin = self._begin or reading
        self.in_use = self._share(last, reading)
        if reading.at_ns > last.at_ns:
            passed_ns = self._machine_cores * (reading.at_ns - last.at_ns)
            self._stolen.append((reading.stolen_ns - last.stolen_ns) / passed_ns)
        if reading.frames == last.frames:
            self._begin = reading
        elif _suffices(begin, reading):
            self._sample(begin, reading)
            self._begin = reading

    def _sample(self, begin: Reading, end: Reading) -> None:
        frames = end.frames - begin.frames
        # Less than none where frames were answered that came before.
        others_ns = _OTHER_NS * max(0, end.others - begin.others)
        receive, decode = end.pictures.since(begin.pictures).by_thread()
        cpu_ns = end.cpu_ns - begin.cpu_ns - decode.cpu_ns
        loop_ns = end.loop_ns - begin.loop_ns - decode.loop_ns
        alone_ns = _ALONE_NS * max(0.0, 1.0 - self._share(begin, end))
        loop_alone_ns = self._loop_part * alone_ns
        if _crowded(begin, end) or _receives(begin, end):
            # Nobody knows which part of this is of frames, but it is no more than all.
            self._cpu.take_bound(_less(cpu_ns / frames, alone_ns))
            self._loop.take_bound(_less(loop_ns / frames, loop_alone_ns))
            return
        cpu_ns = _less(cpu_ns, others_ns + receive.cpu_ns) / frames
        loop_ns = _less(loop_ns, others_ns + receive.loop_ns) / frames
        self._cpu.take(_less(cpu_ns, alone_ns))
        self._loop.take(_less(loop_ns, loop_alone_ns))
        self.is_guess = False

    def _share(self, begin: Reading, end: Reading) -> float:
        """Return the share of the CPU or of the event loop in use, the larger of the two."""
        passed_ns = max(1, end.at_ns - begin.at_ns)
        cpu = (end.cpu_ns - begin.cpu_ns) / self._cores
        return max(cpu, end.loop_ns - begin.loop_ns) / passed_ns


def available_cores() -> float:
    """Return the CPU cores that this process may use, by affinity and by its control group."""
    cores = float(len(os.sched_getaffinity(0)))
    try:
        quota, period = _CPU_MAX.read_text(encoding="ascii").split()
    except (OSError, ValueError):
        return cores
    return cores if quota == "max" else min(cores, int(quota) / int(period))


def _stolen_ns() -> int:
    """Return the time that the host of a virtual machine gave to others; 0 if unknown."""
    try:
        with _STAT.open(encoding="ascii") as stat:
            ticks = int(stat.readline().split()[8])
    except (OSError, ValueError, IndexError):
        return 0
    return ticks * 1_000_000_000 // os.sysconf("SC_CLK_TCK")


def _less(total_ns: float, other_ns: float) -> float:
    """Return the rest of a total; at least half of it, since the other part is an estimate."""
    return max(total_ns / 2, total_ns - other_ns)


def _suffices(begin: Reading, end: Reading) -> bool:
    frames, cpu_ns = end.frames - begin.frames, end.cpu_ns - begin.cpu_ns
    return frames >= _LEAST_FRAMES or (frames >= _LEAST_DEAR_FRAMES and cpu_ns >= _LEAST_NS)


def _crowded(begin: Reading, end: Reading) -> bool:
    return end.others - begin.others > _MOST_OTHERS * (end.frames - begin.frames)


def _receives(begin: Reading, end: Reading) -> bool:
    receive_ns = end.pictures.receive_ns - begin.pictures.receive_ns
    return receive_ns > _MOST_RECEIVING * (end.cpu_ns - begin.cpu_ns)
