"""Where a recording's files lie: one file, or a folder in which the oldest make room."""

from __future__ import annotations

import abc
import contextlib
import errno
import fcntl
import os
import re
from pathlib import Path

from steerstream.errors import MediaError
from steerstream.recording.segment import Segment

SUFFIX = ".mcap"

_NAME = re.compile(r"(\d{8})-.+\.mcap")
"""Of a file in a folder. Others are left alone."""
_LOCK = "recorder.lock"
_LEAST_SEGMENT_BYTES = 1 << 18
"""A file holds its schemas twice, 60 kB in all."""


class Files(abc.ABC):
    """Where the files of recordings lie."""

    segment_bytes: int | None
    """The largest size of one file; None for no bound."""
    can_go_on: bool
    """Whether a recording goes on in another file where one could not be written."""

    @abc.abstractmethod
    def begin(self, name: str, *, stream: str, part: int) -> Segment:
        """Begin a file.

        Args:
            name: whose recording it is.
            stream: the recording that the file is a part of.
            part: its place in that.

        Raises:
            OSError: it cannot be written.
        """

    @abc.abstractmethod
    def ended(self, segment: Segment) -> None:
        """A file was closed, whole or not."""

    @abc.abstractmethod
    def close(self) -> None:
        """Let others write here."""


class OneFile(Files):
    """A recording in one file, which an older one makes room for.

    Args:
        path: the file; its folder is made where it is missing.

    Raises:
        MediaError: it cannot be written, or another recorder writes it.
    """

    segment_bytes = None
    can_go_on = False

    def __init__(self, path: Path) -> None:
        self._path = path
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._lock = _taken(path)
        except OSError as error:
            raise MediaError(f"cannot record to {path}: {error.strerror}") from error

    def begin(self, name: str, *, stream: str, part: int) -> Segment:
        """Begin the file."""
        del name
        return Segment(self._path, stream=stream, part=part)

    def ended(self, segment: Segment) -> None:
        """The file was closed."""

    def close(self) -> None:
        """Let others write it."""
        os.close(self._lock)


def least_bytes(most_open: int) -> int:
    """Return the smallest bound in which so many files can be written at once."""
    return _segments(most_open) * _LEAST_SEGMENT_BYTES


def _segments(most_open: int) -> int:
    # As many again, and a few more where one is open: what is deleted is a part of the whole.
    return 2 * most_open + 6


class Ring(Files):
    """A folder of recordings with a bound in bytes: where it is full, the oldest file is deleted.

    The files are numbered, and go on from those that lie there: clocks of vehicles may go back. A
    file is never larger than its share, and there is always room for as many as may be open, so the
    bound holds at every moment.

    Args:
        folder: where; it is made where it is missing.
        max_bytes: of all files together.
        most_open: files that are written at once, at most.

    Raises:
        MediaError: the folder cannot be written, another recorder writes there, or the bound is too
            small.
    """

    can_go_on = True

    def __init__(self, folder: Path, max_bytes: int, *, most_open: int = 1) -> None:
        if max_bytes < least_bytes(most_open):
            raise MediaError(
                f"a recording in {folder} needs at least {least_bytes(most_open):,} bytes "
                f"(--record-bytes), and has {max_bytes:,}"
            )
        self.segment_bytes: int = max_bytes // _segments(most_open)
        self._folder = folder
        self._max_bytes = max_bytes
        self._most_open = most_open
        self._open: set[Path] = set()
        self._closed: dict[Path, int] = {}
        self._next = 1
        try:
            self._lock = self._take()
        except OSError as error:
            raise MediaError(f"cannot record to {folder}: {error.strerror}") from error

    def begin(self, name: str, *, stream: str, part: int) -> Segment:
        """Begin a file, for which the oldest are deleted where there is no room.

        A folder that somebody has removed is made again.
        """
        if not self._is_ours():
            self._make_again()
        if len(self._open) >= self._most_open:
            raise OSError(0, f"{self._most_open} files are open already")
        room_bytes = self._max_bytes - (len(self._open) + 1) * self.segment_bytes
        while self._closed and sum(self._closed.values()) > room_bytes:
            oldest = next(iter(self._closed))
            oldest.unlink(missing_ok=True)
            del self._closed[oldest]
        safe = re.sub(r"[^A-Za-z0-9._-]", "_", name)[:64]
        path = self._folder / f"{self._next:08d}-{safe}{SUFFIX}"
        try:
            segment = Segment(path, stream=stream, part=part)
        except OSError:
            _remove(path)
            raise
        self._next += 1
        self._open.add(path)
        return segment

    def ended(self, segment: Segment) -> None:
        """A file was closed, and may be deleted."""
        self._open.discard(segment.path)
        if not segment.holds_messages:
            # A full disk would be left with as many of them as attempts.
            _remove(segment.path)
        with contextlib.suppress(OSError):  # somebody deleted or moved it
            self._closed[segment.path] = segment.path.stat().st_size

    def close(self) -> None:
        """Let others write here."""
        os.close(self._lock)

    def _take(self) -> int:
        """Make the folder where it is missing, keep others out, and find what lies there."""
        self._folder.mkdir(parents=True, exist_ok=True)
        lock = _taken(self._folder / _LOCK)
        try:
            self._closed = {
                path: path.stat().st_size
                for path in sorted(self._folder.iterdir())
                if _number(path) and path.is_file() and path not in self._open
            }
        except OSError:
            os.close(lock)
            raise
        self._next = max([self._next - 1, *map(_number, self._closed)]) + 1
        return lock

    def _is_ours(self) -> bool:
        """Whether the lock that keeps others out is still the one in the folder."""
        try:
            return os.path.samestat(os.fstat(self._lock), (self._folder / _LOCK).stat())
        except OSError:
            return False

    def _make_again(self) -> None:
        try:
            lock = self._take()
        except MediaError as error:
            raise OSError(errno.EWOULDBLOCK, str(error)) from None
        os.close(self._lock)
        self._lock = lock


def _remove(path: Path) -> None:
    with contextlib.suppress(OSError):
        path.unlink(missing_ok=True)


def _number(path: Path) -> int:
    """Return the number of a recording's file; 0 for what is none."""
    found = _NAME.fullmatch(path.name)
    return int(found[1]) if found else 0


def _taken(path: Path) -> int:
    """Open a file that no other recorder has, and keep others out as long as it is open.

    Raises:
        OSError: it cannot be opened.
        MediaError: another recorder has it.
    """
    lock = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        os.close(lock)
        if error.errno != errno.EWOULDBLOCK:
            raise
        where = path.parent if path.name == _LOCK else path
        raise MediaError(f"another recorder writes to {where}; give each its own") from None
    return lock
