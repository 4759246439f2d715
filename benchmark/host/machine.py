"""How a machine's cores are shared, and what took their time during a measurement."""

from __future__ import annotations

import dataclasses
import os
from pathlib import Path

from benchmark.host.cpu_time import core_time, family, used_s


def split_cores() -> tuple[list[int], list[int]]:
    """Return the cores for the server and those for the clients.

    Clients get the last quarter, at least one core; where there is one core they share it.
    """
    cores = sorted(os.sched_getaffinity(0))
    clients = max(1, len(cores) // 4)
    return cores[:-clients] or cores, cores[-clients:]


@dataclasses.dataclass(frozen=True, slots=True)
class Moment:
    """Readings of the machine's counters, to be compared with later ones.

    Attributes:
        stolen_s: time that other guests of the host took from this one's cores.
        busy_s: time that its cores were busy, whoever with.
        cpu_s: time that the measured processes have run, with all their descendants.
        at_s: when.
    """

    stolen_s: float
    busy_s: float
    cpu_s: float
    at_s: float

    @classmethod
    def now(cls, *pids: int | None) -> Moment:
        """Read the counters, with those of the processes that are measured."""
        uptime_s = float(Path("/proc/uptime").read_text().split()[0])
        cores = core_time()
        members = set[int]().union(*(family(pid) for pid in pids if pid is not None))
        return cls(cores.stolen_s, cores.busy_s, used_s(members) if members else 0.0, uptime_s)

    def cpu_since(self, before: Moment) -> float:
        """Return the seconds that the measured processes have run since an earlier reading."""
        return self.cpu_s - before.cpu_s

    def since(self, before: Moment, *, clients: float = 0.0) -> dict[str, float]:
        """Return what was taken since an earlier reading, in cores.

        Args:
            before: the earlier reading.
            clients: what the load generators took, if they are not among the measured processes.

        Returns:
            `stolen`, `server_cpu`: what the measured processes took, and `others_cpu`: what was
            busy with neither them nor the clients.
        """
        elapsed_s = max(self.at_s - before.at_s, 0.01)
        server = self.cpu_since(before) / elapsed_s
        busy = (self.busy_s - before.busy_s) / elapsed_s
        return {
            "stolen": round((self.stolen_s - before.stolen_s) / elapsed_s, 4),
            "server_cpu": round(server, 3),
            "others_cpu": round(max(0.0, busy - server - clients), 3),
        }
