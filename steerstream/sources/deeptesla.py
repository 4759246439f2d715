"""DeepTesla: a video `epoch01_front.mkv` with a row of `epoch01_steering.csv` for each picture.

The wheel's angle is in degrees, right positive as the car's own signal is, and the times are
microseconds.
"""

from __future__ import annotations

import dataclasses
import math
import re
from collections.abc import Iterator
from pathlib import Path

from steerstream.answers import ControlValues
from steerstream.errors import MediaError
from steerstream.sources.labels import usual_period_ns
from steerstream.sources.options import ReadOptions
from steerstream.sources.recording import RecordedFrame, Recording
from steerstream.sources.tables import number, read_rows
from steerstream.sources.video import open_video

_NAME = re.compile(r"epoch(\d+)_(?:front\.mkv|steering\.csv)")
_COLUMNS = ("ts_micro", "frame_index", "wheel")


@dataclasses.dataclass(frozen=True, slots=True)
class _Row:
    time_ns: int
    wheel_rad: float
    place: str


def recognises(path: Path) -> bool:
    """Return whether a path is one of the two files, or a folder with both."""
    return bool(_epochs(path))


def open_recording(path: Path, options: ReadOptions) -> Recording:
    """Open an epoch by either file, or the only one in a folder.

    Args:
        path: of a file or the folder.
        options: the camera may name an epoch of several: `epoch01`.

    Raises:
        MediaError: it cannot be read, or a row is bad.
        MissingExtra: OpenCV is not installed.
    """
    epochs = _epochs(path)
    chosen = [epoch for epoch in epochs if options.camera in ("", epoch.name)]
    if len(chosen) != 1:
        names = ", ".join(epoch.name for epoch in epochs) or "none"
        raise MediaError(f"{path}: give one epoch as --camera; it has: {names}")
    (epoch,) = chosen
    rows = _rows(Path(f"{epoch}_steering.csv"), options)
    if not rows:
        raise MediaError(f"{epoch}_steering.csv: has no row")
    video = open_video(Path(f"{epoch}_front.mkv"))
    times = [row.time_ns for row in rows.values()]
    return Recording(
        name=video.name,
        read=lambda: _frames(video, rows),
        period_ns=usual_period_ns(times) or video.period_ns,
        count=len(rows),
    )


def _epochs(path: Path) -> list[Path]:
    """Return the epochs that a path means, without the ends of their names."""
    files = sorted(path.glob("epoch*_front.mkv")) if path.is_dir() else [path]
    named = [(file, _NAME.fullmatch(file.name)) for file in files]
    stems = [file.with_name(f"epoch{found[1]}") for file, found in named if found]
    ends = ("_front.mkv", "_steering.csv")
    return [stem for stem in stems if all(Path(f"{stem}{end}").is_file() for end in ends)]


def _rows(file: Path, options: ReadOptions) -> dict[int, _Row]:
    """Return the rows by the number of their picture, from 0."""
    rows: dict[int, _Row] = {}
    for line, row in read_rows(file, _COLUMNS):
        place = f"{file}:{line}"
        try:
            index = int(row["frame_index"])
            time_ns = int(row["ts_micro"]) * 1_000
            angle = options.wheel_rad(-math.radians(number(row["wheel"], "wheel")))
        except ValueError as error:
            options.bad_rows.found(place, "a value is wrong", str(error))
            continue
        rows[index] = _Row(time_ns, angle, place)
    if rows and 0 not in rows and 1 in rows:
        return {index - 1: row for index, row in rows.items()}
    return rows


def _frames(video: Recording, rows: dict[int, _Row]) -> Iterator[RecordedFrame]:
    """Yield the pictures that have a row, at its time."""
    for index, frame in enumerate(video.read()):
        if row := rows.get(index):
            truth = ControlValues(row.wheel_rad)
            yield RecordedFrame(frame.load, row.time_ns, truth, place=row.place)
