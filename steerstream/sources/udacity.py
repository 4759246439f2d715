"""Label files of Udacity's car (`interpolated.csv`, the final evaluation) and its simulator.

The car's angles are those of the steering wheel in radians, left positive. The simulator's steering
is -1 to 1, right positive, and its speed in miles an hour.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator, Mapping
from pathlib import Path

from steerstream.answers import ControlValues
from steerstream.errors import MediaError
from steerstream.sources.file_names import time_ns
from steerstream.sources.options import ReadOptions
from steerstream.sources.pictures import SUFFIXES, read_picture
from steerstream.sources.recording import (
    DEFAULT_RATE_HZ,
    FIRST_NS,
    RecordedFrame,
    Recording,
    of_frames,
)
from steerstream.sources.tables import find_picture, header, number, read_fields, read_rows

MPS_PER_MPH = 0.44704

_INTERPOLATED = ("timestamp", "frame_id", "filename", "angle", "torque", "speed")
_EVALUATION = ("frame_id", "steering_angle")
_LOG = ("center", "left", "right", "steering", "throttle", "brake", "speed")
"""What the simulator's columns are; it writes no header itself."""

LOG_COLUMNS = _LOG[:4]
"""Without these columns a log is none."""
LOG_NAME = "driving_log.csv"

_NAMES = ("interpolated.csv", LOG_NAME, "CH2_final_evaluation.csv")


def recognises(path: Path) -> bool:
    """Return whether a path is such a file, or a folder with one."""
    file = _file(path)
    return file is not None and _kind(file) is not None


def open_recording(path: Path, options: ReadOptions) -> Recording:
    """Open such a file, or the one in a folder.

    Args:
        path: the file or the folder.
        options: the camera is `center`, `left` or `right`.

    Raises:
        MediaError: it is none, or a row or its picture is bad.
    """
    file = _file(path)
    kind = None if file is None else _kind(file)
    if file is None or kind is None:
        raise MediaError(f"{path}: is no file of labels of Udacity's")
    return _READERS[kind](file, options)


def _file(path: Path) -> Path | None:
    if path.is_file():
        return path if path.suffix.lower() == ".csv" else None
    return next((path / name for name in _NAMES if (path / name).is_file()), None)


def _kind(file: Path) -> str | None:
    columns = header(file)
    if {"timestamp", "filename", "angle"} <= set(columns):
        return "interpolated"
    if set(_EVALUATION) <= set(columns):
        return "evaluation"
    if set(LOG_COLUMNS) <= set(columns):
        return "log"
    # Without a header: three pictures, then numbers.
    is_log = len(columns) == len(_LOG) and all(_is_picture(name) for name in columns[:3])
    return "log" if is_log else None


def _is_picture(name: str) -> bool:
    return Path(name).suffix.lower() in SUFFIXES


def _interpolated(file: Path, options: ReadOptions) -> Recording:
    camera = options.camera or "center"
    seen: set[str] = set()

    def frames() -> Iterator[RecordedFrame]:
        for line, row in read_rows(file, _INTERPOLATED):
            seen.add(row["frame_id"])
            if row["frame_id"] not in (camera, f"{camera}_camera"):
                continue
            place = f"{file}:{line}"
            try:
                moment = _time(row["timestamp"])
                truth = ControlValues(
                    options.wheel_rad(number(row["angle"], "angle")),
                    number(row["speed"], "speed"),
                    number(row["torque"], "torque"),
                )
            except ValueError as error:
                options.bad_rows.found(place, "a value is wrong", str(error))
                continue
            yield from _frame(file, row["filename"], moment, truth, place=place, options=options)

    found = list(frames())
    if not found:
        raise MediaError(f"{file}: has no picture of camera {camera!r}; has: {_listed(seen)}")
    return of_frames(str(file), found)


def _evaluation(file: Path, options: ReadOptions) -> Recording:
    def frames() -> Iterator[RecordedFrame]:
        for line, row in read_rows(file, _EVALUATION):
            place = f"{file}:{line}"
            try:
                moment = _time(row["frame_id"])
                angle = options.wheel_rad(number(row["steering_angle"], "steering_angle"))
            except ValueError as error:
                options.bad_rows.found(place, "a value is wrong", str(error))
                continue
            split = {"1": "public", "0": "private"}.get(row.get("public", ""), "")
            name = _evaluated(file, row["frame_id"], options)
            yield from _frame(
                file, name, moment, ControlValues(angle), place=place, options=options, split=split
            )

    return of_frames(str(file), list(frames()))


def _evaluated(file: Path, frame_id: str, options: ReadOptions) -> str:
    """Return the name of the picture of a row of the evaluation, which names none."""
    names = (f"{frame_id}{suffix}" for suffix in sorted(SUFFIXES))
    return next((name for name in names if find_picture(_folders(file, options), name)), frame_id)


def _log(file: Path, options: ReadOptions) -> Recording:
    camera = options.camera or "center"
    if camera not in _LOG[:3]:
        raise MediaError(f"{file}: has no camera {camera!r}; has: center, left, right")
    rows = list(_log_rows(file))
    timed = all(time_ns(_stem(row.get(camera, ""))) is not None for _, row in rows)
    rate_hz = options.rate_hz or DEFAULT_RATE_HZ
    frames: list[RecordedFrame] = []
    for index, (line, row) in enumerate(rows):
        place, name = f"{file}:{line}", row.get(camera, "")
        try:
            truth = _simulated(row, options)
        except ValueError as error:
            options.bad_rows.found(place, "a value is wrong", str(error))
            continue
        moment = time_ns(_stem(name)) if timed else None
        if moment is None:
            moment = FIRST_NS + round(index * 1e9 / rate_hz)
        frames.extend(_frame(file, name, moment, truth, place=place, options=options))
    assumed = list(options.unit_unknown)
    if not timed and options.rate_hz is None:
        assumed.append(f"the pictures' names are no times: {rate_hz:g} pictures a second")
    return of_frames(str(file), frames, assumed=tuple(assumed))


def _log_rows(file: Path) -> Iterator[tuple[int, Mapping[str, str]]]:
    columns: list[str] | None = None
    for line, fields in read_fields(file):
        plain = [field.strip() for field in fields]
        if columns is None:
            columns = list(_LOG) if _is_picture(plain[0]) else plain
            if columns is plain:
                continue
        if len(plain) != len(columns):
            raise MediaError(f"{file}:{line}: needs {len(columns)} fields: {', '.join(columns)}")
        yield line, dict(zip(columns, plain, strict=True))


def _simulated(row: Mapping[str, str], options: ReadOptions) -> ControlValues:
    steering = number(row["steering"], "steering")
    speed = number(row["speed"], "speed") * MPS_PER_MPH if "speed" in row else None
    return ControlValues(options.normalised(-steering), speed)


def _frame(
    file: Path,
    name: str,
    moment_ns: int,
    truth: ControlValues,
    *,
    place: str,
    options: ReadOptions,
    split: str = "",
) -> Iterator[RecordedFrame]:
    """Yield the frame of a row, unless its picture is missing."""
    picture = find_picture(_folders(file, options), name)
    if picture is None:
        options.bad_rows.found(place, "no such picture", name)
        return
    load = functools.partial(read_picture, picture)
    yield RecordedFrame(load, moment_ns, truth, place=place, split=split)


def _folders(file: Path, options: ReadOptions) -> tuple[Path, ...]:
    folder = options.images or file.parent
    return (folder, folder / "IMG", folder / "center")


def _stem(name: str) -> str:
    return Path(name.strip().replace("\\", "/")).stem


def _time(text: str) -> int:
    moment = time_ns(text.strip())
    if moment is None:
        raise ValueError(f"{text.strip()!r} is no time in nanoseconds since 1970")
    return moment


def _listed(names: set[str]) -> str:
    return ", ".join(sorted(names)) or "none"


_READERS = {"interpolated": _interpolated, "evaluation": _evaluation, "log": _log}
