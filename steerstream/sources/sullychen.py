"""SullyChen's driving datasets: `data.txt`, a line for each picture, angles in degrees.

`12.jpg 3.45`, since 2018 also `12.jpg 3.45,2018-07-01 17:09:44:912`. The angle is that of the
steering wheel, right positive: so the programs that come with it turn their picture of a wheel.
"""

from __future__ import annotations

import functools
import math
import re
from datetime import UTC, datetime
from pathlib import Path

from steerstream.answers import ControlValues
from steerstream.errors import MediaError
from steerstream.sources.options import ReadOptions
from steerstream.sources.pictures import read_picture
from steerstream.sources.recording import FIRST_NS, RecordedFrame, Recording, of_frames
from steerstream.sources.tables import find_picture, number

NAME = "data.txt"
RATE_HZ = 30.0
"""Of the dataset without times: its camera's."""

_LINE = re.compile(r"(\S+\.(?:jpe?g|png)) ([^,\s]+)(?:,(.+))?", re.IGNORECASE)


def recognises(path: Path) -> bool:
    """Return whether a path is such a file, or a folder with one."""
    file = path / NAME if path.is_dir() else path
    if file.suffix.lower() != ".txt" or not file.is_file():
        return False
    with file.open(encoding="utf-8", errors="replace") as lines:
        return _LINE.fullmatch(lines.readline().strip()) is not None


def open_recording(path: Path, options: ReadOptions) -> Recording:
    """Open such a file, or the one in a folder.

    Args:
        path: the file or the folder.
        options: the rate is that of a file without times.

    Raises:
        MediaError: it cannot be read, or a line or its picture is bad.
    """
    file = path / NAME if path.is_dir() else path
    try:
        lines = file.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError as error:
        raise MediaError(f"{file}: cannot be read: {error.strerror}") from None
    folder, rate_hz = options.images or file.parent, options.rate_hz or RATE_HZ
    frames, untimed = [], False
    for index, line in enumerate(lines):
        if not line.strip():
            continue
        place = f"{file}:{index + 1}"
        try:
            name, degrees, moment_ns = _read(line.strip())
        except ValueError as error:
            options.bad_rows.found(place, "a value is wrong", str(error))
            continue
        picture = find_picture((folder, folder / "data"), name)
        if picture is None:
            options.bad_rows.found(place, "no such picture", name)
            continue
        if moment_ns is None:
            untimed, moment_ns = True, FIRST_NS + round(index * 1e9 / rate_hz)
        truth = ControlValues(options.wheel_rad(-math.radians(degrees)))
        load = functools.partial(read_picture, picture)
        frames.append(RecordedFrame(load, moment_ns, truth, place=place))
    assumed = (f"{NAME} has no times: {rate_hz:g} pictures a second are assumed",)
    says = untimed and options.rate_hz is None
    return of_frames(str(file), frames, assumed=assumed if says else ())


def _read(line: str) -> tuple[str, float, int | None]:
    """Return the picture, the angle in degrees, and the time if there is one."""
    found = _LINE.fullmatch(line)
    if found is None:
        raise ValueError(f"{line!r} is not: picture angle[,time]")
    name, angle, moment = found.groups()
    return name, number(angle, "the angle"), None if moment is None else _time_ns(moment.strip())


def _time_ns(text: str) -> int:
    day, _, milliseconds = text.rpartition(":")
    try:
        moment = datetime.strptime(day, "%Y-%m-%d %H:%M:%S").replace(tzinfo=UTC)
        return (int(moment.timestamp()) * 1_000 + int(milliseconds)) * 1_000_000
    except ValueError:
        raise ValueError(f"{text!r} is no time such as 2018-07-01 17:09:44:912") from None
