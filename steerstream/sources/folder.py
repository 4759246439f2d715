"""A folder of pictures, with a labels file or without."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from pathlib import Path

from steerstream.errors import MediaError
from steerstream.sources.file_names import is_file, natural, times_ns
from steerstream.sources.labels import Label, Labels
from steerstream.sources.pictures import SUFFIXES, read_picture
from steerstream.sources.recording import (
    DEFAULT_RATE_HZ,
    FIRST_NS,
    RecordedFrame,
    Recording,
    of_frames,
)


def pictures_in(folder: Path) -> list[Path]:
    """Return the pictures in a folder, by number within their names; hidden files are none."""
    found = (path for path in folder.iterdir() if not path.name.startswith("."))
    pictures = [path for path in found if path.suffix.lower() in SUFFIXES]
    return sorted(pictures, key=lambda path: natural(path.name))


def open_folder(folder: Path, rate_hz: float | None = None) -> Recording:
    """Open a folder of pictures without labels.

    Args:
        folder: the folder.
        rate_hz: pictures a second where the names of the files are no times.

    Raises:
        MediaError: it has no pictures.
    """
    paths = pictures_in(folder)
    if not paths:
        raise MediaError(f"the folder {folder} has no pictures ({', '.join(sorted(SUFFIXES))})")
    assumed: tuple[str, ...] = ()
    times = times_ns(paths)
    if times is None:
        times, assumed = _even(paths, rate_hz)
    frames = [
        RecordedFrame(functools.partial(read_picture, path), time_ns, place=str(path))
        for path, time_ns in zip(paths, times, strict=True)
    ]
    return of_frames(str(folder), frames, assumed=assumed)


def open_labelled(folder: Path, labels: Labels) -> Recording:
    """Open the pictures that the rows of a labels file name, in their order.

    Args:
        folder: what the names are relative to; the pictures may also lie in it directly.
        labels: the rows.

    Raises:
        MediaError: a picture is missing.
    """
    frames = [
        RecordedFrame(
            functools.partial(read_picture, _picture(folder, label)),
            label.frame_id,
            label.truth,
            place=label.place,
            block=label.block,
            split=label.split,
        )
        for label in labels.rows
    ]
    return of_frames(str(folder), frames, period_ns=labels.period_ns)


def _even(paths: Sequence[Path], rate_hz: float | None) -> tuple[list[int], tuple[str, ...]]:
    used_hz = rate_hz or DEFAULT_RATE_HZ
    times = [FIRST_NS + round(index * 1e9 / used_hz) for index in range(len(paths))]
    if rate_hz:
        return times, ()
    return times, (f"the file names are no times: {used_hz:g} pictures a second are assumed",)


def _picture(folder: Path, label: Label) -> Path:
    if not label.filename:
        raise MediaError(f"{label.place}: needs a column filename, which names the pictures")
    for path in (folder / label.filename, folder / Path(label.filename).name):
        if is_file(path):
            return path
    raise MediaError(f"{label.place}: the folder {folder} has no picture {label.filename}")
