"""Tubs of donkeycar: version 2 (a manifest and catalogs) and version 1 (a file for each record).

The angle is -1 to 1, right positive. A tub knows neither speed nor torque.
"""

from __future__ import annotations

import functools
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from steerstream.answers import ControlValues
from steerstream.errors import MediaError
from steerstream.sources.file_names import is_file, natural
from steerstream.sources.labels import check_time_ns
from steerstream.sources.options import ReadOptions
from steerstream.sources.pictures import read_picture
from steerstream.sources.recording import (
    DEFAULT_RATE_HZ,
    FIRST_NS,
    RecordedFrame,
    Recording,
    of_frames,
)
from steerstream.sources.tables import number

_CAMERA = "cam/image_array"
_MANIFEST = "manifest.json"


def recognises(path: Path) -> bool:
    """Return whether a folder, or the manifest in it, is a tub."""
    folder = _folder(path)
    if (folder / _MANIFEST).is_file():
        return any(folder.glob("*.catalog"))
    return (folder / "meta.json").is_file() and any(folder.glob("record_*.json"))


def open_recording(path: Path, options: ReadOptions) -> Recording:
    """Open a tub.

    Args:
        path: of the tub or its manifest.
        options: the camera is a key of the records, `cam/image_array` by default, and the steering
            another, `user/angle` by default.

    Raises:
        MediaError: it cannot be read, or a record is bad.
    """
    folder = _folder(path)
    is_new = (folder / _MANIFEST).is_file()
    records = _records(folder, options) if is_new else _old_records(folder, options)
    camera = options.camera or _CAMERA
    pictures = folder / "images" if is_new else folder
    rate_hz = options.rate_hz or DEFAULT_RATE_HZ
    frames: list[RecordedFrame] = []
    untimed, session = False, None
    for index, (place, record) in enumerate(records):
        try:
            truth = _truth(record, options)
            picture, moment_ns = pictures / str(record[camera]), _time_ns(record)
        except (ValueError, TypeError, KeyError, OverflowError) as error:
            problem = f"no {error}" if isinstance(error, KeyError) else str(error)
            options.bad_rows.found(place, "a value is wrong", problem)
            continue
        if not is_file(picture):
            options.bad_rows.found(place, "no such picture", picture.name)
            continue
        if moment_ns is None:
            untimed, moment_ns = True, FIRST_NS + round(index * 1e9 / rate_hz)
        starts_anew = bool(frames) and record.get("_session_id") != session
        session = record.get("_session_id")
        load = functools.partial(read_picture, picture)
        frames.append(
            RecordedFrame(load, moment_ns, truth, starts_anew, place, block=str(session or ""))
        )
    assumed = list(options.unit_unknown)
    if untimed and options.rate_hz is None:
        assumed.append(f"the tub has no times: {rate_hz:g} pictures a second are assumed")
    return of_frames(str(folder), frames, assumed=tuple(assumed))


def _folder(path: Path) -> Path:
    return path.parent if path.name == _MANIFEST else path


def _truth(record: Mapping[str, Any], options: ReadOptions) -> ControlValues:
    key = options.steering or "user/angle"
    if key not in record:
        raise ValueError(f"has no {key}; has: {', '.join(record)}")
    return ControlValues(options.normalised(-number(str(record[key]), key)))


def _time_ns(record: Mapping[str, Any]) -> int | None:
    """Return the record's time; version 1 counts from the start of its recording."""
    if "_timestamp_ms" in record:
        return check_time_ns(int(record["_timestamp_ms"]) * 1_000_000)
    if "milliseconds" in record:
        return check_time_ns(FIRST_NS + int(record["milliseconds"]) * 1_000_000)
    return None


def _records(folder: Path, options: ReadOptions) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield the records of a tub of version 2 that are not deleted, with their places."""
    catalogs, deleted = _manifest(folder / _MANIFEST)
    for name in catalogs:
        for place, line in _lines(folder / name):
            record = _read(line, place, options)
            if record is None:
                continue
            index = record.get("_index")
            if isinstance(index, list | dict):
                options.bad_rows.found(
                    place, "a value is wrong", f"_index {str(index)[:40]} is no whole number"
                )
            elif index not in deleted:
                yield place, record


def _manifest(path: Path) -> tuple[list[str], set[int]]:
    """Return the catalogs of a tub, and the numbers of the deleted records."""
    last = [line for _, line in _lines(path)][-1:]
    try:
        found = json.loads(last[0])
        return [str(name) for name in found["paths"]], set(found.get("deleted_indexes", ()))
    except (ValueError, LookupError, TypeError, RecursionError):
        raise MediaError(f"{path}: its last line needs the paths of the catalogs") from None


def _old_records(folder: Path, options: ReadOptions) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield the records of a tub of version 1, which deletes files."""
    for path in sorted(folder.glob("record_*.json"), key=lambda path: natural(path.name)):
        text = "\n".join(line for _, line in _lines(path))
        record = _read(text, str(path), options)
        if record is not None:
            yield str(path), record


def _lines(path: Path) -> Iterator[tuple[str, str]]:
    try:
        text = path.read_text(encoding="utf-8", errors="replace")
    except OSError as error:
        raise MediaError(f"{path}: cannot be read: {error.strerror}") from None
    except ValueError as error:  # a name with a zero in it, or that is no text
        raise MediaError(f"{path!r}: cannot be read: {error}") from None
    for number_, line in enumerate(text.splitlines(), 1):
        # A catalog whose writer was cut off may end in zeros.
        if line.strip(" \0"):
            yield f"{path}:{number_}", line


def _read(text: str, place: str, options: ReadOptions) -> dict[str, Any] | None:
    try:
        record = json.loads(text)
    except ValueError as error:
        options.bad_rows.found(place, "no JSON", str(error))
        return None
    except RecursionError:
        options.bad_rows.found(place, "no JSON", "it is nested too deeply")
        return None
    if not isinstance(record, dict):
        options.bad_rows.found(place, "no record")
        return None
    return record
