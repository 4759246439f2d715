"""Tables of text: their rows by line, their numbers, and the pictures that they name."""

from __future__ import annotations

import csv
import math
import re
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from steerstream.errors import MediaError
from steerstream.sources.file_names import is_file


def read_rows(path: Path, needed: Sequence[str]) -> Iterator[tuple[int, dict[str, str]]]:
    """Yield the rows of a CSV file, each with its line number.

    Args:
        path: the file, in UTF-8, with or without a byte-order mark.
        needed: columns that must be there.

    Raises:
        MediaError: the file cannot be read, lacks a column or all rows, has two columns of one
            name, or a row has more or fewer fields than the header.
    """
    columns: list[str] | None = None
    row = None
    for line, fields in read_fields(path):
        if columns is None:
            columns = fields
            _check_columns(path, columns, needed)
            continue
        if len(fields) != len(columns):
            raise MediaError(f"{path}:{line}: needs {len(columns)} fields, as the header has")
        row = dict(zip(columns, fields, strict=True))
        yield line, row
    if columns is None:
        _check_columns(path, (), needed)
    if row is None:
        raise MediaError(f"{path}:1: needs at least one row below its header")


def read_fields(path: Path) -> Iterator[tuple[int, list[str]]]:
    """Yield the fields of each line of a CSV file that is not empty, with the line's number.

    Raises:
        MediaError: the file cannot be read.
    """
    line = 0
    try:
        # What is no UTF-8 is let through here, and refused by _checked, which knows the line.
        with path.open(newline="", encoding="utf-8-sig", errors="surrogateescape") as file:
            reader = csv.reader(_checked(file, path), strict=True)
            for fields in reader:
                line = reader.line_num
                if fields:
                    yield line, fields
    except OSError as error:
        raise MediaError(f"{path}: cannot be read: {error.strerror}") from None
    except csv.Error as error:
        raise MediaError(f"{path}:{line + 1}: cannot be read as a CSV file: {error}") from None


def header(path: Path) -> list[str]:
    """Return the fields of the first line, or nothing where it is no text of one line."""
    try:
        _, fields = next(read_fields(path))
    except (MediaError, StopIteration):
        return []
    return [field.strip() for field in fields]


def number(text: str, name: str) -> float:
    """Return a finite number.

    Args:
        text: of the number.
        name: what it is, for the error's text.

    Raises:
        ValueError: it is none.
    """
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise ValueError(f"{name} {text.strip()!r} is no number")
    return value


def find_picture(folders: Sequence[Path], name: str) -> Path | None:
    """Return the picture that a recording names, or None if it is in none of the folders.

    The name may be a path of the computer that recorded it, with either kind of slash: then its
    last part counts.

    Args:
        folders: where to look, in this order.
        name: of the picture.
    """
    plain = name.strip()
    last = re.split(r"[\\/]", plain)[-1]
    for folder in folders:
        for candidate in (folder / plain, folder / last):
            if is_file(candidate):
                return candidate
    return None


def _check_columns(path: Path, columns: Sequence[str], needed: Sequence[str]) -> None:
    if missing := [name for name in needed if name not in columns]:
        has = ", ".join(columns) or "none"
        raise MediaError(f"{path}:1: needs a column {missing[0]}; its columns are: {has}")
    if twice := [name for name in columns if name and columns.count(name) > 1]:
        raise MediaError(f"{path}:1: has two columns {twice[0]}")


def _checked(file: Iterable[str], path: Path) -> Iterator[str]:
    """Yield the lines of a file; one that holds bytes that are no UTF-8 is refused."""
    for number_, line in enumerate(file, 1):
        try:
            line.encode()
        except UnicodeEncodeError:
            raise MediaError(f"{path}:{number_}: is not UTF-8") from None
        yield line
