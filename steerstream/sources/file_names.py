"""What the names of pictures tell: their order, and often when each was taken."""

from __future__ import annotations

import itertools
import re
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

_UNITS_NS = {19: 1, 16: 1_000, 13: 1_000_000}
"""Nanoseconds in the unit of a name that is a time of this century, by its digits."""

_SECONDS = re.compile(r"(\d{10})\.(\d{1,9})")
"""A name that is such a time in seconds."""

_SIMULATOR = re.compile(r"(\d{4}(?:_\d{2}){5})_(\d{3})$")
"""The end of a name that Udacity's simulator gives: a time to the millisecond."""


def natural(name: str) -> list[tuple[int, str]]:
    """Return a key by which `frame_9` comes before `frame_10`."""
    parts = re.split(r"(\d+)", name)
    return [(int(part), part) if part.isdecimal() else (-1, part) for part in parts]


def is_file(path: Path) -> bool:
    """Return whether there is such a file; no file has a name that is too long."""
    try:
        return path.is_file()
    except OSError:
        return False


def time_ns(name: str) -> int | None:
    """Return the time that a name without its suffix is, in nanoseconds, or None if it is none."""
    if name.isdecimal() and len(name) in _UNITS_NS:
        return int(name) * _UNITS_NS[len(name)]
    if seconds := _SECONDS.fullmatch(name):
        return int(seconds[1] + seconds[2].ljust(9, "0"))
    if simulated := _SIMULATOR.search(name):
        try:
            moment = datetime.strptime(simulated[1], "%Y_%m_%d_%H_%M_%S").replace(tzinfo=UTC)
        except ValueError:
            return None
        return (int(moment.timestamp()) * 1_000 + int(simulated[2])) * 1_000_000
    return None


def times_ns(paths: Sequence[Path]) -> list[int] | None:
    """Return the times that the names of files are, or None if one is none or not a later one."""
    found = [time_ns(path.stem) for path in paths]
    known = [moment for moment in found if moment is not None]
    later = all(before < after for before, after in itertools.pairwise(known))
    return known if later and len(known) == len(paths) else None
