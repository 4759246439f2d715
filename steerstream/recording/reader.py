"""Reads flight recordings: their files in order, and their messages as they were written."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from google.protobuf.message import DecodeError

from steerstream.errors import MediaError
from steerstream.recording import topics
from steerstream.recording.files import SUFFIX
from steerstream.sources.mcap_records import McapFile


class Recorded(NamedTuple):
    """A message of a recording: its topic, what it says, and when it was, in Unix nanoseconds."""

    topic: str
    message: Any
    time_ns: int


class Recording:
    """One vehicle's recording, in one file or several.

    Args:
        files: in order.

    Attributes:
        cut_off: the files that lost their writer, as far as they were read.
    """

    def __init__(self, files: Sequence[Path]) -> None:
        self.files = tuple(files)
        self.cut_off: list[Path] = []

    @property
    def name(self) -> str:
        """The recording's name, for people."""
        first, more = self.files[0], len(self.files) - 1
        return f"{first} and {more} more" if more else str(first)

    def messages(self) -> Iterator[Recorded]:
        """Yield the messages in the order in which they were written.

        Raises:
            MediaError: a file cannot be read.
        """
        self.cut_off.clear()
        for path in self.files:
            file = McapFile(path)
            for schema, channel, message in file.records():
                kind = topics.TYPES.get(channel.topic)
                if kind is None or schema is None or schema.name != kind.DESCRIPTOR.full_name:
                    continue
                try:
                    read = kind.FromString(message.data)
                except DecodeError as error:
                    raise MediaError(f"{path}: a message of {channel.topic} is damaged") from error
                yield Recorded(channel.topic, read, message.log_time)
            if file.is_cut_off:
                self.cut_off.append(path)


def recordings(paths: Sequence[Path]) -> list[Recording]:
    """Return the recordings in files and folders, each with its files in order.

    Raises:
        MediaError: a file cannot be read or is no flight recording, or there is none.
    """
    files = [path for given in paths for path in _files(given)]
    if not files:
        raise MediaError(f"no recording is in {', '.join(map(str, paths))}")
    parts: dict[str, list[tuple[int, Path]]] = {}
    for path in files:
        stream, part = _place(path)
        parts.setdefault(stream, []).append((part, path))
    return [Recording([path for _, path in sorted(each)]) for each in parts.values()]


def _files(path: Path) -> list[Path]:
    if not path.is_dir():
        return [path]
    return sorted(found for found in path.rglob(f"*{SUFFIX}") if found.is_file())


def _place(path: Path) -> tuple[str, int]:
    """Return which recording a file is a part of, and its place there."""
    file = McapFile(path)
    next(file.records(), None)
    ours = file.metadata.get("steerstream", {})
    part = ours.get("part", "")
    if not ours.get("stream") or not re.fullmatch(r"[0-9]{1,9}", part):
        raise MediaError(f"{path} is no flight recording of steerstream")
    return ours["stream"], int(part)
