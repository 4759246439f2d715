"""Who runs on which core, and who used how much of it."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

_TICKS_PER_S = os.sysconf("SC_CLK_TCK")
_IDLE_FIELDS = (3, 4)
"""Of the line "cpu" of /proc/stat: idle and iowait (proc(5))."""
_FIELDS = 8
"""Fields of that line up to steal; guest time after it is part of user time."""

DISTURBED_CORES = 0.1
"""Others' use above this share of one core makes a run count as disturbed."""


def pair() -> tuple[int, int]:
    """Return the server's core and the client's; they are one where there is only one."""
    cores = sorted(os.sched_getaffinity(0))
    return cores[0], cores[-1]


@contextlib.contextmanager
def pinned(core: int) -> Iterator[None]:
    """Give one core to this thread, and so to every process that it starts meanwhile."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {core})
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


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


def used_s(pids: set[int]) -> float:
    """Return the seconds of CPU that processes have used, children that they waited for too."""
    ticks = 0
    for pid, fields in _processes():
        if pid in pids:
            ticks += sum(int(field) for field in fields[11:15])
    return ticks / _TICKS_PER_S


def busy_s() -> float:
    """Return the seconds that all cores together were not idle, time stolen by a host included."""
    line = Path("/proc/stat").read_text().partition("\n")[0]
    fields = [int(field) for field in line.split()[1 : 1 + _FIELDS]]
    busy = sum(ticks for index, ticks in enumerate(fields) if index not in _IDLE_FIELDS)
    return busy / _TICKS_PER_S


def _processes() -> Iterator[tuple[int, list[str]]]:
    """Yield each process with the fields of its stat file from its state on (proc(5))."""
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            text = path.read_text()
        except (FileNotFoundError, ProcessLookupError):
            continue
        yield int(path.parent.name), text.rpartition(")")[2].split()


@dataclass(frozen=True, slots=True)
class Disturbance:
    """What others took while something was measured, in cores."""

    others_cores: float

    @property
    def disturbed(self) -> bool:
        """Whether that is too much to trust the measurement."""
        return self.others_cores > DISTURBED_CORES

    def as_json(self) -> dict[str, object]:
        """Return it as values for JSON."""
        return {"others_cpu": round(self.others_cores, 3), "disturbed": self.disturbed}


class Watch:
    """Measures the use of the CPU by others than some processes, between entering and leaving.

    Args:
        pids: what is measured, with all descendants. This process counts as ours too, but not the
            servers that it keeps idle: what they use disturbs.
    """

    def __init__(self, *pids: int) -> None:
        self._pids = pids
        self.found = Disturbance(0.0)

    def __enter__(self) -> Self:
        """Begin."""
        self._began, self._others = time.monotonic(), self._others_s()
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """End."""
        elapsed = time.monotonic() - self._began
        self.found = Disturbance(max(0.0, (self._others_s() - self._others) / elapsed))

    def _others_s(self) -> float:
        ours = {os.getpid()}
        for pid in self._pids:
            ours |= family(pid)
        return busy_s() - used_s(ours)
