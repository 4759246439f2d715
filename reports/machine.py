"""The machine that a result was measured on; without it a figure means nothing."""

from __future__ import annotations

import datetime as dt
import hashlib
import importlib.metadata
import os
import platform
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from reports.text import ABSENT

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
    "torch",
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


def digest(path: Path) -> str:
    """Return the SHA-256 of a file: a figure that was measured on it holds for those bytes."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def made_by(result: Mapping[str, Any]) -> str:
    """Return two lines of Markdown: the command of a result, and what it ran on.

    Args:
        result: `command`, and as `machine` what `describe` said.
    """
    machine = result["machine"]
    versions = ", ".join(f"{name} {version}" for name, version in machine["packages"].items())
    place = f"{machine['processor']}, {machine['cores']} cores"
    if machine.get("virtual"):
        place += " of a virtual machine"
    if flags := machine.get("flags"):
        place += f" ({', '.join(flags)})"
    return (
        f"`{result.get('command', ABSENT)}`  \n"
        f"{machine['date'][:10]}, revision {machine.get('revision', ABSENT)}, {place}, "
        f"Python {machine['python']}, {versions}"
    )


def _cpuinfo(name: str) -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith(name):
            return line.partition(":")[2].strip()
    return ""


def _revision() -> str | None:
    """Return the checkout's revision, with `+` where files differ from it; None outside one."""
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
