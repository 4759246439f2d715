"""Labels of a recorded drive, as a CSV file."""

from __future__ import annotations

import csv
import dataclasses
from collections.abc import Mapping
from pathlib import Path

from steerstream.answers import ControlValues
from steerstream.errors import MediaError

RESET_GAP_NS = 100_000_000
"""A jump in frame ids of over 100 ms: frames are missing, and the recurrent state begins anew."""

_COLUMNS = {
    "steering_wheel_angle_rad": "steering_angle_rad",
    "speed_mps": "speed_mps",
    "steering_torque_nm": "steering_torque_nm",
}
"""Column of each head; one that is absent or empty is not labelled."""


@dataclasses.dataclass(frozen=True, slots=True)
class Label:
    """One row.

    Attributes:
        frame_id: when the picture was taken, in nanoseconds of the recording's clock.
        filename: the picture, relative to the CSV file.
        truth: the true values; None where a head is not labelled.
    """

    frame_id: int
    filename: str
    truth: ControlValues


def read_labels(path: Path, *, split: str | None = None) -> list[Label]:
    """Read the rows of a labels file in order.

    Args:
        path: a CSV file with at least `frame_id` and `filename`.
        split: keep only rows whose `split` is this; None keeps all.

    Raises:
        MediaError: the file cannot be read, lacks a column, or no row is left.
    """
    try:
        with path.open(newline="", encoding="utf-8") as file:
            rows = list(csv.DictReader(file))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise MediaError(f"cannot read the labels file {path}: {error}") from error
    wanted = [row for row in rows if split is None or row.get("split") == split]
    if not wanted:
        what = "no rows" if split is None else f"no rows whose split is {split!r}"
        raise MediaError(f"the labels file {path} has {what}")
    return [_label(path, row) for row in wanted]


def _label(path: Path, row: Mapping[str, str | None]) -> Label:
    try:
        filename = row["filename"]
        truth = {head: _number(row.get(column)) for head, column in _COLUMNS.items()}
        return Label(int(row["frame_id"] or ""), filename or "", ControlValues(**truth))
    except KeyError as error:
        raise MediaError(f"the labels file {path} has no column {error}") from error
    except ValueError as error:
        raise MediaError(f"the labels file {path} has a row that is no number: {error}") from error


def _number(text: str | None) -> float | None:
    return float(text) if text else None
