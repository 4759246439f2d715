"""Files that are written whole or not at all: a reader never finds half of one."""

from __future__ import annotations

import contextlib
import errno
import json
import math
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

_PART = ".part-"


@contextlib.contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Let a file be written beside another one, whose place it takes when the block has ended.

    After an error the old file, if any, is as it was. Missing folders are made.

    Args:
        path: the file. A link stays a link, and a device such as `/dev/stdout` is written directly.

    Yields:
        Where to write: a file of the same name in a folder beside, so on the same file system.

    Raises:
        OSError: the file cannot be written; the error names `path`.
    """
    if _is_device(path):
        yield path
        return
    whole = path.resolve()
    if not whole.parent.exists():
        whole.parent.mkdir(parents=True, exist_ok=True)
    try:
        with tempfile.TemporaryDirectory(prefix=_PART, dir=whole.parent) as folder:
            part = Path(folder, whole.name)
            yield part
            part.replace(whole)
    except OSError as error:
        if error.filename is None or _PART in str(error.filename):
            raise OSError(error.errno, error.strerror, str(path)) from error
        raise


def _is_device(path: Path) -> bool:
    # Not by the resolved path: where a pipe stands behind /dev/stdout, that does not exist.
    return path.exists() and not path.is_file()


def check_writable(path: Path) -> None:
    """Find out before long work whether a file can be written after it, and leave no trace.

    Raises:
        OSError: it cannot be written; the error names `path`.
    """
    try:
        whole = path.resolve()
        if whole.is_dir():
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
        if not _is_device(path):
            folder = next(parent for parent in whole.parents if parent.exists())
            with tempfile.TemporaryFile(dir=folder):
                pass
    except OSError as error:
        raise OSError(error.errno, error.strerror, str(path)) from error


def write_text(path: Path, text: str) -> None:
    """Write a text file, as UTF-8.

    Raises:
        OSError: it cannot be written.
    """
    with replacing(path) as part:
        part.write_text(text, encoding="utf-8")


def write_bytes(path: Path, content: bytes) -> None:
    """Write a file.

    Raises:
        OSError: it cannot be written.
    """
    with replacing(path) as part:
        part.write_bytes(content)


def write_json(path: Path, content: object) -> None:
    """Write a JSON file; numbers that are not finite, which JSON lacks, become null.

    Args:
        path: the file.
        content: dictionaries, lists, strings, numbers, truth values and None.

    Raises:
        OSError: it cannot be written.
    """
    write_text(path, json.dumps(_finite(content), indent=1, allow_nan=False) + "\n")


def _finite(content: object) -> object:
    if isinstance(content, dict):
        return {key: _finite(value) for key, value in content.items()}
    if isinstance(content, list | tuple):
        return [_finite(value) for value in content]
    if isinstance(content, float) and not math.isfinite(content):
        return None
    return content
