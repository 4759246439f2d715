"""Checks that a server's memory suffices before it starts; the kernel would only find out later."""

from __future__ import annotations

import math
from collections.abc import Collection
from pathlib import Path

from steerstream_bundle.contract import Contract
from steerstream_service.config import Config
from steerstream_service.errors import ConfigError

_MEMINFO = Path("/proc/meminfo")
_GROUP = Path("/sys/fs/cgroup")
_FLOAT_BYTES = 4
_MB = 1e6


def check(contracts: Collection[Contract], config: Config) -> None:
    """Check that state pools and batches fit into the memory that is free.

    Args:
        contracts: of the bundles whose state lies in the host's memory.
        config: the settings.

    Raises:
        ConfigError: they do not.
    """
    needed = sum(needed_bytes(contract, config) for contract in contracts)
    free = free_bytes()
    if needed > free:
        raise ConfigError(
            f"{config.max_sessions} sessions and batches of {config.max_batch} take "
            f"{needed / _MB:,.0f} MB, and {free / _MB:,.0f} MB of memory are free; lower "
            "max_sessions or max_batch"
        )


def needed_bytes(contract: Contract, config: Config) -> int:
    """Return the memory of one model's state pool and batches; its weights are there already."""
    state_bytes = _FLOAT_BYTES * sum(math.prod(pair.shape) for pair in contract.state)
    # A slot for each session and the sentinel; a batch in, and the new state out.
    rows = config.max_sessions + 1 + 2 * config.max_batch
    return rows * state_bytes + config.max_batch * math.prod(contract.frame.shape)


def free_bytes() -> float:
    """Return the memory that this process can still have; infinity if the system does not say."""
    free = math.inf
    for line in _lines(_MEMINFO):
        if line.startswith("MemAvailable:"):
            free = 1024.0 * int(line.split()[1])
    most, used = _lines(_GROUP / "memory.max"), _lines(_GROUP / "memory.current")
    if most and used and most[0].isdecimal():  # or else "max"
        # Files in the cache count as used, and are given up when memory is asked for.
        cached = dict(line.split() for line in _lines(_GROUP / "memory.stat")).get("inactive_file")
        free = min(free, float(most[0]) - float(used[0]) + float(cached or 0))
    return free


def _lines(path: Path) -> list[str]:
    try:
        return path.read_text(encoding="ascii").splitlines()
    except OSError:
        return []
