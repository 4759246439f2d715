"""CPU time of processes and cores so far, as Linux counts it (proc(5))."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import NamedTuple

_TICKS_PER_S = os.sysconf("SC_CLK_TCK")


class CoreTime(NamedTuple):
    """Time of all cores together since the machine has started, in seconds.

    `busy_s` is the time that they worked, `stolen_s` what the host gave to its other guests.
    """

    busy_s: float
    stolen_s: float


def core_time() -> CoreTime:
    """Read the time of all cores."""
    line = Path("/proc/stat").read_text().partition("\n")[0]
    ticks = [int(field) for field in line.split()[1:]]
    # Guest time, after these, is part of user time.
    user, nice, system, _idle, _iowait, irq, softirq, stolen, *_ = ticks
    return CoreTime((user + nice + system + irq + softirq) / _TICKS_PER_S, stolen / _TICKS_PER_S)


def family(pid: int) -> set[int]:
    """Return a process and all its descendants."""
    children: dict[int, list[int]] = {}
    for found, fields in _processes():
        children.setdefault(int(fields[1]), []).append(found)
    members, queue = set(), [pid]
    while queue:
        member = queue.pop()
        members.add(member)
        queue += children.get(member, [])
    return members


def used_s(pids: Collection[int]) -> float:
    """Return the seconds of CPU that processes have used, children that they waited for too."""
    ticks = 0
    for pid, fields in _processes():
        if pid in pids:
            ticks += sum(int(field) for field in fields[11:15])
    return ticks / _TICKS_PER_S


def thread_time_s(pid: int) -> float:
    """Return the seconds of CPU that a process's present threads have used, to the nanosecond."""
    used_ns = 0
    for path in Path(f"/proc/{pid}/task").glob("*/schedstat"):
        # A thread may have ended since it was listed.
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):
            used_ns += int(path.read_text().split()[0])
    return used_ns / 1e9


def _processes() -> Iterator[tuple[int, list[str]]]:
    """Yield each process with the fields of its stat file from its state on."""
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            text = path.read_text()
        except (FileNotFoundError, ProcessLookupError):
            continue
        yield int(path.parent.name), text.rpartition(")")[2].split()
