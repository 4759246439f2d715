"""The real drive: Udacity Challenge 2's final test drive, real frames with steering angles."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from model_export.data.labels import LabelTable, read_labels
from model_export.data.recording import Sample
from model_export.errors import DataError
from service.contract import FrameInput
from service.errors import UndecodableError
from service.jpeg import decode
from service.preprocess import Picture

NAME = "Udacity Challenge 2, HMB_3 (real frames)"
LICENCE = "MIT, Udacity 2016"
FOLDER = "udacity_ch2_hmb3"


def read(data: Path, split: str, frame: FrameInput) -> Iterator[Sample]:
    """Yield the frames of one split, ``train`` or ``validation``; missing frames are breaks.

    Raises:
        DataError: the folder, its labels or one of its pictures is missing or broken.
    """
    return read_table(read_labels(data / FOLDER / "labels.csv").of_split(split), frame)


def read_table(table: LabelTable, frame: FrameInput) -> Iterator[Sample]:
    """Yield the frames that a labels file names.

    Raises:
        DataError: a picture is missing or broken.
    """
    for path, labels, starts in zip(table.images, table.labels, table.starts, strict=True):
        yield Sample(read_picture(path, frame), labels, bool(starts))


def read_picture(path: Path, frame: FrameInput) -> Picture:
    """Read a JPEG as the server would, at the scale that serves a network's input.

    Raises:
        DataError: it is missing, or no picture.
    """
    try:
        return decode(path.read_bytes(), frame)
    except OSError as error:
        raise DataError(f"{path}: {error.strerror}") from None
    except UndecodableError as error:
        raise DataError(f"{path}: {error}") from None
