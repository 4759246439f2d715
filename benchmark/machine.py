"""What a result was measured on: without it a figure means nothing."""

from __future__ import annotations

import dataclasses
import datetime as dt
import importlib.metadata
import os
import platform
import subprocess
from pathlib import Path

from benchmark.processes import core_time, family, used_s

_PACKAGES = (
    "steerstream",
    "grpcio",
    "protobuf",
    "numpy",
    "onnxruntime",
    "onnxruntime-gpu",
    "onnxruntime-openvino",
    "opencv-python-headless",
    "simplejpeg",
)
_FLAGS = ("avx2", "f16c", "avx_vnni", "avx512f", "avx512_vnni", "avx512_bf16", "amx_int8")
"""Instructions that a network's speed depends on."""


def describe() -> dict[str, object]:
    """Return date, processor, cores, load, versions and revision, ready for JSON."""
    return {
        "date": dt.datetime.now(dt.UTC).isoformat(timespec="seconds"),
        "processor": _cpuinfo("model name") or platform.machine(),
        "flags": [flag for flag in _FLAGS if flag in _cpuinfo("flags").split()],
        "cores": len(os.sched_getaffinity(0)),
        "virtual": "hypervisor" in _cpuinfo("flags").split(),
        "load_average_1min": round(os.getloadavg()[0], 2),
        "python": platform.python_version(),
        "packages": dict(_versions()),
        "revision": _revision(),
    }


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
        cpu_s: time that a process and its children have run.
        at_s: when.
    """

    stolen_s: float
    busy_s: float
    cpu_s: float
    at_s: float

    @classmethod
    def now(cls, pid: int | None = None) -> Moment:
        """Read the counters, with those of a process and its children where one is given."""
        uptime_s = float(Path("/proc/uptime").read_text().split()[0])
        cores = core_time()
        cpu_s = 0.0 if pid is None else used_s(family(pid))
        return cls(cores.stolen_s, cores.busy_s, cpu_s, uptime_s)

    def cpu_since(self, before: Moment) -> float:
        """Return the seconds that the process has run since an earlier reading."""
        return self.cpu_s - before.cpu_s

    def since(self, before: Moment, *, clients: float = 0.0) -> dict[str, float]:
        """Return what was taken since an earlier reading, in cores.

        Args:
            before: the earlier reading.
            clients: what the load generators took.

        Returns:
            ``stolen``, ``server_cpu``, and ``others_cpu``: what was busy with neither the server
            nor the clients.
        """
        elapsed_s = max(self.at_s - before.at_s, 0.01)
        server = self.cpu_since(before) / elapsed_s
        busy = (self.busy_s - before.busy_s) / elapsed_s
        return {
            "stolen": round((self.stolen_s - before.stolen_s) / elapsed_s, 4),
            "server_cpu": round(server, 3),
            "others_cpu": round(max(0.0, busy - server - clients), 3),
        }


def resident_mb(pid: int) -> float:
    """Return the resident memory of a process and its descendants, in megabytes."""
    pages = sum(int(Path(f"/proc/{each}/statm").read_text().split()[1]) for each in family(pid))
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6


def _cpuinfo(name: str) -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith(name):
            return line.partition(":")[2].strip()
    return ""


def _revision() -> str | None:
    """Return the checkout's revision, with ``+`` where files differ from it; None outside one."""
    command = ["git", "describe", "--always", "--dirty=+", "--exclude=*"]
    try:
        result = subprocess.run(  # noqa: S603 - a fixed command
            command,
            cwd=Path(__file__).parent,
            capture_output=True,
            text=True,
            check=True,
        )
    except (OSError, subprocess.CalledProcessError):
        return None
    return result.stdout.strip()


def _versions() -> list[tuple[str, str]]:
    installed = []
    for package in _PACKAGES:
        try:
            installed.append((package, importlib.metadata.version(package)))
        except importlib.metadata.PackageNotFoundError:
            continue
    return installed
