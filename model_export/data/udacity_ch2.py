"""The real drive: Udacity Challenge 2's final test drive, real frames with steering angles."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from model_export.data.labels import LabelTable, read_labels
from model_export.data.recording import Sample
from model_export.errors import DataError
from service.preprocess import Picture, decode_jpeg

NAME = "Udacity Challenge 2, HMB_3 (real frames)"
LICENCE = "MIT, Udacity 2016"
FOLDER = "udacity_ch2_hmb3"


def read(data: Path, split: str) -> Iterator[Sample]:
    """Yield the frames of one split, ``train`` or ``validation``; missing frames are breaks.

    Raises:
        DataError: the folder, its labels or one of its pictures is missing or broken.
    """
    return read_table(read_labels(data / FOLDER / "labels.csv").of_split(split))


def read_table(table: LabelTable) -> Iterator[Sample]:
    """Yield the frames that a labels file names.

    Raises:
        DataError: a picture is missing or broken.
    """
    for path, labels, starts in zip(table.images, table.labels, table.starts, strict=True):
        yield Sample(read_picture(path), labels, bool(starts))


def read_picture(path: Path) -> Picture:
    """Read a JPEG as the server would.

    Raises:
        DataError: it is missing, or no picture.
    """
    try:
        picture = decode_jpeg(path.read_bytes())
    except OSError as error:
        raise DataError(f"{path}: {error.strerror}") from None
    if picture is None:
        raise DataError(f"{path}: not a picture that can be decoded")
    return picture
