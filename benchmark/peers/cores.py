"""Who runs on which core, and who used how much of it."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Iterator
from dataclasses import dataclass
from types import TracebackType
from typing import Self

from benchmark.host.cpu_time import core_time, family, used_s

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

    Time stolen by a host counts as used by others.

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
        return sum(core_time()) - used_s(ours)
