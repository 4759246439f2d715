"""Folders that runs share: each is made by one of them, whole or not at all."""

from __future__ import annotations

import fcntl
import shutil
from collections.abc import Callable
from pathlib import Path


def prepared(folder: Path, make: Callable[[Path], None]) -> Path:
    """Have a folder made, unless it is there; where another run makes it already, wait for that.

    Args:
        folder: what is wanted.
        make: fills an empty folder, which then takes its place.

    Returns:
        The folder.
    """
    if folder.is_dir():
        return folder
    folder.parent.mkdir(parents=True, exist_ok=True)
    with folder.with_name(f"{folder.name}.lock").open("w") as lock:
        # The kernel takes it back from a run that is killed.
        fcntl.flock(lock, fcntl.LOCK_EX)
        # Another run may have made it while this one waited.
        if not folder.is_dir():
            work = folder.with_name(f"{folder.name}.part")
            shutil.rmtree(work, ignore_errors=True)
            work.mkdir()
            make(work)
            work.rename(folder)
    return folder
