"""Datasets of LeRobot, version 3: tables in Parquet, pictures in them or in videos."""

from __future__ import annotations

import dataclasses
import functools
import json
import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from steerstream.answers import ControlValues
from steerstream.errors import MediaError
from steerstream.extras import package
from steerstream.sources.options import ReadOptions
from steerstream.sources.pictures import Picture, from_encoded
from steerstream.sources.recording import FIRST_NS, RecordedFrame, Recording

_INFO = Path("meta/info.json")
_PURPOSE = "reading datasets of LeRobot"
_BETWEEN_NS = 10_000_000_000
"""From the end of an episode to the next, of which only the order is known."""


@dataclasses.dataclass(frozen=True, slots=True)
class _Column:
    """One number of a feature, and how to make a steering wheel angle of it."""

    feature: str
    index: int
    name: str


@dataclasses.dataclass(frozen=True, slots=True)
class _Dataset:
    folder: Path
    info: Mapping[str, Any]
    camera: str
    steering: _Column | None
    options: ReadOptions

    @property
    def is_video(self) -> bool:
        return bool(self.info["features"][self.camera]["dtype"] == "video")


def recognises(path: Path) -> bool:
    """Return whether a folder is a dataset of LeRobot."""
    return (path / _INFO).is_file()


def open_recording(path: Path, options: ReadOptions) -> Recording:
    """Open a dataset, whose episodes are breaks.

    Args:
        path: its folder.
        options: the camera is a feature such as `observation.images.front`, and the steering
            `feature:name`; by default the only name with `steer` in it.

    Raises:
        MediaError: it is of another version, or has no camera, or several.
        MissingExtra: PyArrow or PyAV is not installed.
    """
    info = _info(path / _INFO)
    camera = _camera(path, info, options)
    steering = _steering(path, info, options)
    data = _Dataset(path, info, camera, steering, options)
    assumed = []
    if steering is None:
        assumed.append("no feature is a steering; see --steering")
    elif _scale(steering.name) is None:
        assumed += options.unit_unknown
    return Recording(
        name=str(path),
        read=lambda: _frames(data),
        period_ns=1e9 / float(info["fps"]),
        count=int(info["total_frames"]),
        assumed=tuple(assumed),
    )


def _info(path: Path) -> Mapping[str, Any]:
    try:
        info: Mapping[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        version = str(info["codebase_version"])
        missing = {"fps", "total_frames", "features", "data_path"} - info.keys()
    except (
        OSError, ValueError, KeyError, AttributeError, TypeError, RecursionError,
    ) as error:  # fmt: skip
        raise MediaError(f"{path}: is no description of a dataset: {error}") from None
    if not version.startswith("v3"):
        raise MediaError(
            f"{path}: is of version {version}; version 3 is read, to which LeRobot converts others"
        )
    if missing:
        raise MediaError(f"{path}: lacks {', '.join(sorted(missing))}")
    if not isinstance(info["features"], dict):
        raise MediaError(f"{path}: its features are no table")
    return info


def _camera(path: Path, info: Mapping[str, Any], options: ReadOptions) -> str:
    found = [
        name
        for name, feature in info["features"].items()
        if feature.get("dtype") in ("video", "image")
    ]
    chosen = [name for name in found if options.camera in ("", name)]
    if len(chosen) != 1:
        raise MediaError(f"{path}: give one of these as --camera: {', '.join(found) or 'none'}")
    return str(chosen[0])


def _steering(path: Path, info: Mapping[str, Any], options: ReadOptions) -> _Column | None:
    columns = [
        _Column(feature, index, name)
        for feature, told in info["features"].items()
        for index, name in enumerate(_names(told.get("names")))
    ]
    if options.steering:
        chosen = [one for one in columns if options.steering == f"{one.feature}:{one.name}"]
        if not chosen:
            has = ", ".join(f"{one.feature}:{one.name}" for one in columns) or "none"
            raise MediaError(f"{path}: has no {options.steering!r}; has: {has}")
        return chosen[0]
    steers = [one for one in columns if "steer" in one.name.lower()]
    if len(steers) > 1:
        has = ", ".join(f"{one.feature}:{one.name}" for one in steers)
        raise MediaError(f"{path}: give one of these as --steering: {has}")
    return steers[0] if steers else None


def _names(told: object) -> Sequence[str]:
    """Return the names of a feature's numbers, which may stand below a name of their kind."""
    if isinstance(told, dict):
        told = next(iter(told.values()), None)
    return [str(name) for name in told] if isinstance(told, list) else []


def _scale(name: str) -> float | None:
    """Return the radians of a unit that a name states; None for a steering of -1 to 1."""
    parts = name.lower().replace(".", "_").split("_")
    if "rad" in parts:
        return 1.0
    return math.radians(1.0) if "deg" in parts else None


def _truth(data: _Dataset, row: Mapping[str, Any]) -> ControlValues | None:
    if data.steering is None:
        return None
    numbers = np.atleast_1d(row[data.steering.feature])
    value, scale = float(numbers[data.steering.index]), _scale(data.steering.name)
    if not math.isfinite(value):
        return None
    if scale is None:
        return ControlValues(data.options.normalised(value))
    return ControlValues(data.options.wheel_rad(value * scale))


def _frames(data: _Dataset) -> Iterator[RecordedFrame]:
    try:
        yield from _read(data)
    except LookupError as error:
        raise MediaError(f"{data.folder}: a table or its description lacks {error}") from None
    except (ValueError, TypeError) as error:
        raise MediaError(f"{data.folder}: a table or its description is damaged: {error}") from None


def _read(data: _Dataset) -> Iterator[RecordedFrame]:
    first_ns, file, rows = FIRST_NS, Path(), []
    for episode in _episodes(data):
        path = data.folder / data.info["data_path"].format(
            chunk_index=episode["data/chunk_index"], file_index=episode["data/file_index"]
        )
        if path != file:
            file, rows = path, _rows(path)
        own = [row for row in rows if row["episode_index"] == episode["episode_index"]]
        last_ns = first_ns
        for index, (row, picture) in enumerate(_with_pictures(data, episode, own)):
            last_ns = first_ns + round(float(row["timestamp"]) * 1e9)
            place = f"{path}, episode {episode['episode_index']}, frame {row['frame_index']}"
            load = functools.partial(_same, picture)
            block = str(episode["episode_index"])
            yield RecordedFrame(load, last_ns, _truth(data, row), index == 0, place, block)
        first_ns = last_ns + _BETWEEN_NS


def _same(picture: Picture) -> Picture:
    return picture


def _episodes(data: _Dataset) -> list[dict[str, Any]]:
    files = sorted((data.folder / "meta" / "episodes").glob("*/*.parquet"))
    if not files:
        raise MediaError(f"{data.folder}: has no table below meta/episodes")
    found = [row for file in files for row in _rows(file)]
    return sorted(found, key=lambda row: int(row["episode_index"]))


def _rows(path: Path) -> list[dict[str, Any]]:
    parquet = package("pyarrow.parquet", extra="lerobot", purpose=_PURPOSE)
    arrow = package("pyarrow", extra="lerobot", purpose=_PURPOSE)
    try:
        found: list[dict[str, Any]] = parquet.read_table(path).to_pylist()
    except (OSError, ValueError, arrow.ArrowException) as error:
        raise MediaError(f"{path}: cannot be read: {error}") from None
    return found


def _with_pictures(
    data: _Dataset, episode: Mapping[str, Any], rows: Sequence[dict[str, Any]]
) -> Iterator[tuple[dict[str, Any], Picture]]:
    """Yield the rows of an episode that have a picture, with it."""
    if not data.is_video:
        for row in rows:
            yield row, from_encoded(row[data.camera]["bytes"], f"{data.folder}, {data.camera}")
        return
    key = data.camera
    path = data.folder / data.info["video_path"].format(
        video_key=key,
        chunk_index=episode[f"videos/{key}/chunk_index"],
        file_index=episode[f"videos/{key}/file_index"],
    )
    first_s = float(episode[f"videos/{key}/from_timestamp"])
    wanted = [first_s + float(row["timestamp"]) for row in rows]
    pictures = _pictures(path, first_s, half_s=0.5 / float(data.info["fps"]))
    shown: tuple[float, Any] | None = next(pictures, None)
    for row, time_s in zip(rows, wanted, strict=True):
        while shown is not None and shown[0] < time_s - 0.5 / float(data.info["fps"]):
            shown = next(pictures, None)
        if shown is None or shown[0] > time_s + 0.5 / float(data.info["fps"]):
            place = f"{path}, frame {row['frame_index']}"
            data.options.bad_rows.found(place, "no such picture", f"at {time_s:.3f} s")
            continue
        yield row, np.asarray(shown[1].to_ndarray(format="rgb24"), np.uint8)


def _pictures(path: Path, first_s: float, half_s: float) -> Iterator[tuple[float, Any]]:
    """Yield the frames of a video from a time on, each with its time in seconds."""
    av = package("av", extra="lerobot", purpose=_PURPOSE)
    try:
        with av.open(str(path)) as container:
            stream = container.streams.video[0]
            container.seek(int(max(0.0, first_s) / stream.time_base), stream=stream)
            for frame in container.decode(stream):
                if frame.time is not None and frame.time >= first_s - half_s:
                    yield float(frame.time), frame
    except (av.error.FFmpegError, OSError) as error:
        raise MediaError(f"cannot read the video {path}: {error}") from None
