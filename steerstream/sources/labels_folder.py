"""Writing a recording as a folder of pictures with its labels file; docs/data.md describes it."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Self, TextIO

from steerstream.sources.labels import COLUMNS
from steerstream.sources.pictures import to_jpeg
from steerstream.sources.recording import RecordedFrame

LABELS = "labels.csv"
PICTURES = "frames"

_HEADER = ("frame_id", "filename", *COLUMNS.values(), "block", "split")


class LabelsFolder:
    """A folder that takes frames; a context manager.

    Args:
        folder: it is made, and must not be there.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._names: set[str] = set()
        (folder / PICTURES).mkdir(parents=True)
        self._file: TextIO = (folder / LABELS).open("w", newline="", encoding="utf-8")
        self._rows = csv.writer(self._file, lineterminator="\n")
        self._rows.writerow(_HEADER)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._file.close()

    def add(self, frame: RecordedFrame) -> None:
        """Write a frame.

        Raises:
            MediaError: its picture cannot be read.
            OSError: the folder cannot be written.
        """
        picture = to_jpeg(frame.load())
        name = f"{PICTURES}/{self._free(str(frame.capture_time_ns))}.jpg"
        (self._folder / name).write_bytes(picture)
        self._rows.writerow(
            (frame.capture_time_ns, name, *_values(frame), frame.block, frame.split)
        )

    def _free(self, name: str) -> str:
        """Return the name, or one like it where another drive had a picture at this time too."""
        free, number = name, 1
        while free in self._names:
            number += 1
            free = f"{name}-{number}"
        self._names.add(free)
        return free


def _values(frame: RecordedFrame) -> Iterator[str]:
    for name in COLUMNS:
        value = None if frame.truth is None else getattr(frame.truth, name)
        yield "" if value is None else repr(float(value))
