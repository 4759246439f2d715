"""The real drive: Udacity Challenge 2's final test drive, real frames with steering angles."""

from __future__ import annotations

import functools
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from model_export.data.labels import LabelTable, read_labels
from model_export.data.recording import Piece, Sample
from model_export.errors import DataError
from steerstream_bundle.contract import FrameInput
from steerstream_bundle.errors import UndecodableError
from steerstream_bundle.jpeg import decode
from steerstream_bundle.preprocess import Picture

NAME = "Udacity Challenge 2, HMB_3 (real frames)"
LICENCE = "MIT, Udacity 2016"
FOLDER = "udacity_ch2_hmb3"
LABELS = Path(FOLDER) / "labels.csv"
"""In the folder of the driving data."""

_PIECE_FRAMES = 256


class _Row(NamedTuple):
    """A row of a labels file."""

    path: Path
    labels: npt.NDArray[np.float32]
    starts: bool
    time_s: float
    place: str


def pieces(data: Path, split: str, frame: FrameInput, holdout: Collection[str] = ()) -> list[Piece]:
    """Return the frames of one split, to be decoded; missing frames are breaks.

    Args:
        data: folder of the driving data.
        split: `train`, `holdout` or `validation`.
        frame: the network's picture, which JPEGs are decoded for.
        holdout: blocks of the training rows that are not `train` but `holdout`.

    Raises:
        DataError: the folder or its labels are missing or broken, or a block does not exist; and
            from a piece, that one of its pictures is missing or broken.
    """
    table = read_labels(data / LABELS)
    if split == "validation":
        return _cut(table.of_split(split), frame)
    training = table.of_split("train")
    chosen = training.of_blocks if split == "holdout" else training.without_blocks
    return _cut(chosen(holdout), frame)


def _cut(table: LabelTable, frame: FrameInput) -> list[Piece]:
    times_s = (table.frame_ids - table.frame_ids[0]) / 1e9
    columns = (table.images, table.labels, table.starts, times_s, table.places)
    rows = [_Row(*row) for row in zip(*columns, strict=True)]
    return [
        functools.partial(_read, rows[first : first + _PIECE_FRAMES], frame)
        for first in range(0, len(rows), _PIECE_FRAMES)
    ]


def _read(rows: Sequence[_Row], frame: FrameInput) -> Iterator[Sample]:
    for row in rows:
        picture = read_picture(row.path, frame, row.place)
        yield Sample(picture, row.labels, bool(row.starts), float(row.time_s))


def read_picture(path: Path, frame: FrameInput, place: str = "") -> Picture:
    """Read a JPEG as the server would, at the scale that serves a network's input.

    Args:
        path: the file.
        frame: the network's input.
        place: file and line of the label that names the picture, for the error's text.

    Raises:
        DataError: it is missing, or no picture.
    """
    name = f"{place}: {path}" if place else str(path)
    try:
        return decode(path.read_bytes(), frame)
    except OSError as error:
        raise DataError(f"{name}: {error.strerror}") from None
    except UndecodableError as error:
        raise DataError(f"{name}: {error}") from None
