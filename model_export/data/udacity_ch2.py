"""The real drive: Udacity Challenge 2's final test drive, real frames with steering angles."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from pathlib import Path

from model_export.data.labels import LabelTable, read_labels
from model_export.data.recording import Sample
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


def read(
    data: Path, split: str, frame: FrameInput, holdout: Collection[str] = ()
) -> Iterator[Sample]:
    """Yield the frames of one split; missing frames are breaks.

    Args:
        data: folder of the driving data.
        split: `train`, `holdout` or `validation`.
        frame: the network's picture, which JPEGs are decoded for.
        holdout: blocks of the training rows that are not `train` but `holdout`.

    Raises:
        DataError: the folder, its labels or one of its pictures is missing or broken, or a block
            does not exist.
    """
    table = read_labels(data / LABELS)
    if split == "validation":
        return read_table(table.of_split(split), frame)
    training = table.of_split("train")
    chosen = training.of_blocks if split == "holdout" else training.without_blocks
    return read_table(chosen(holdout), frame)


def read_table(table: LabelTable, frame: FrameInput) -> Iterator[Sample]:
    """Yield the frames that a labels file names.

    Raises:
        DataError: a picture is missing or broken.
    """
    times_s = (table.frame_ids - table.frame_ids[0]) / 1e9
    rows = zip(table.images, table.labels, table.starts, times_s, table.places, strict=True)
    for path, labels, starts, time_s, place in rows:
        yield Sample(read_picture(path, frame, place), labels, bool(starts), float(time_s))


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
