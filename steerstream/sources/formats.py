"""The formats of recordings, and which one a path is of."""

from __future__ import annotations

import collections
import dataclasses
from collections.abc import Callable, Mapping
from pathlib import Path

from steerstream.errors import MediaError
from steerstream.sources import (
    deeptesla,
    donkeycar,
    folder,
    labels,
    lerobot,
    mcap_file,
    ros_bag,
    sullychen,
    tables,
    udacity,
    video,
)
from steerstream.sources.options import ReadOptions
from steerstream.sources.pictures import SUFFIXES
from steerstream.sources.recording import Recording

_LABELS = "labels.csv"
_SHOWN = 3
"""So many names of each kind stand in an error."""


@dataclasses.dataclass(frozen=True, slots=True)
class Format:
    """A format of recordings.

    Attributes:
        recognises: tells by its content whether a path that exists is of the format.
        open: opens a path.
    """

    recognises: Callable[[Path], bool]
    open: Callable[[Path, ReadOptions], Recording]


def open_recording(path: Path, options: ReadOptions, name: str = "") -> Recording:
    """Open a recording.

    Args:
        path: a file or a folder.
        options: what the recording does not say by itself.
        name: of its format; by default the first one that recognises its content.

    Raises:
        MediaError: there is nothing, no format recognises it, or it cannot be read.
        MissingExtra: its format needs a package that is not installed.
    """
    if not path.exists():
        raise MediaError(f"there is no {path}")
    if name:
        return FORMATS[name].open(path, options)
    for found in FORMATS.values():
        if found.recognises(path):
            return found.open(path, options)
    raise MediaError(f"{path}: {_why_none(path)}")


def _labels_file(path: Path) -> Path | None:
    file = path / _LABELS if path.is_dir() else path
    is_csv = file.suffix.lower() == ".csv" and file.is_file()
    return file if is_csv and "frame_id" in tables.header(file) else None


def _open_labels(path: Path, options: ReadOptions) -> Recording:
    file = path / _LABELS if path.is_dir() else path
    return folder.open_labelled(options.images or file.parent, labels.read_labels(file))


def _is_folder(path: Path) -> bool:
    return path.is_dir() and bool(folder.pictures_in(path))


def _open_folder(path: Path, options: ReadOptions) -> Recording:
    return folder.open_folder(path, options.rate_hz)


def _open_video(path: Path, options: ReadOptions) -> Recording:
    return video.open_video(path, options.rate_hz)


def _why_none(path: Path) -> str:
    """Return why no format recognises a path, with what to give in its place."""
    if path.is_file() and path.suffix.lower() in SUFFIXES:
        return f"is one picture; give the folder of the pictures, {path.parent}"
    if path.is_dir() and not any(path.iterdir()):
        return "the folder holds no pictures; it is empty"
    log = path / udacity.LOG_NAME if path.is_dir() else path
    if log.name == udacity.LOG_NAME and log.is_file():
        lacking = ", ".join(name for name in udacity.LOG_COLUMNS if name not in tables.header(log))
        return f"{udacity.LOG_NAME} is without the columns {lacking}, which the simulator's has"
    return f"no format recognises it; it {_content(path)}; see --format"


def _content(path: Path) -> str:
    """Return what there is to see: the beginning of a file, or the kinds of files in a folder."""
    if path.is_file():
        with path.open("rb") as file:
            return f"begins with {file.read(24)!r}"
    kinds: dict[str, list[str]] = collections.defaultdict(list)
    for inside in sorted(path.iterdir()):
        kinds["folders" if inside.is_dir() else inside.suffix or "no suffix"].append(inside.name)
    parts = (
        f"{len(names)} {kind} ({', '.join(names[:_SHOWN])}{', ...' if names[_SHOWN:] else ''})"
        for kind, names in sorted(kinds.items())
    )
    return f"holds {'; '.join(parts) or 'nothing'}"


FORMATS: Mapping[str, Format] = {
    "udacity": Format(udacity.recognises, udacity.open_recording),
    "labels": Format(lambda path: _labels_file(path) is not None, _open_labels),
    "deeptesla": Format(deeptesla.recognises, deeptesla.open_recording),
    "sullychen": Format(sullychen.recognises, sullychen.open_recording),
    "donkeycar": Format(donkeycar.recognises, donkeycar.open_recording),
    "lerobot": Format(lerobot.recognises, lerobot.open_recording),
    "mcap": Format(mcap_file.recognises, mcap_file.open_recording),
    "ros": Format(ros_bag.recognises, ros_bag.open_recording),
    "pictures": Format(_is_folder, _open_folder),
    "video": Format(video.recognises, _open_video),
}
"""In the order in which they are tried: a format that asks for more comes before one that asks for
less, such as a folder of pictures."""
