"""What tells the files of a source from others, without reading them."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

from model_export.errors import DataError


def state_of_files(path: Path, cache: Path) -> str:
    """Return a digest of the names, sizes and times of change of a source's files.

    It costs a look at each file, and differs where a file was changed, added or replaced. A copy
    that keeps the times has the same.

    Args:
        path: the source's folder; of a file, all of its folder counts, for pictures and labels lie
            beside each other.
        cache: what is in it, and in the folders that it is in, belongs to no source.

    Raises:
        DataError: there is nothing, or it cannot be looked at.
    """
    digest = hashlib.sha256()
    try:
        path.stat()
        top, cache = (path if path.is_dir() else path.parent).resolve(), cache.resolve()
        for folder, inner, names in os.walk(top, followlinks=True):
            inner[:] = sorted(name for name in _shown(inner) if not _holds(folder, name, cache))
            for name in sorted(_shown(names)):
                file = os.path.join(folder, name)  # noqa: PTH118 - quicker, for very many files
                state = os.stat(file)  # noqa: PTH116 - likewise
                digest.update(os.fsencode(os.path.relpath(file, top)))
                digest.update(f"\0{state.st_size}\0{state.st_mtime_ns}\n".encode())
    except OSError as error:
        raise DataError(f"{error.filename or path}: {error.strerror}") from None
    return digest.hexdigest()


def _shown(names: list[str]) -> list[str]:
    return [name for name in names if not name.startswith(".")]


def _holds(folder: str, name: str, cache: Path) -> bool:
    return cache.is_relative_to(Path(folder, name))
