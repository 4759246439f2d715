"""Labels of a recorded drive, as a CSV file, and where a recording is broken; see docs/data.md."""

from __future__ import annotations

import dataclasses
import itertools
import math
import statistics
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import NoReturn

from steerstream.answers import ControlValues
from steerstream.errors import MediaError
from steerstream.sources.tables import read_rows

COLUMNS: Mapping[str, str] = {
    "steering_wheel_angle_rad": "steering_angle_rad",
    "speed_mps": "speed_mps",
    "steering_torque_nm": "steering_torque_nm",
}
"""Column of each value; one that is absent or empty is not labelled."""

_BREAK_NS = 100_000_000
_BREAK_PERIODS = 2
_LEAST_PERIOD_NS = 1_000_000
"""No camera takes a thousand pictures a second: such times are in another unit."""

_GREATEST_TIME_NS = 2**63 - 1


@dataclasses.dataclass(frozen=True, slots=True)
class Label:
    """One row.

    Attributes:
        frame_id: when the picture was taken, in nanoseconds of the recording's clock.
        filename: the picture, relative to the CSV file; empty if the file has no such column.
        truth: the true values; None where a value is not labelled.
        block: name of a stretch of the recording; empty if the file has no such column.
        split: what the row is for, such as `train`; empty if the file has no such column.
        place: the row's file and line, `labels.csv:7`, for errors.
    """

    frame_id: int
    filename: str
    truth: ControlValues
    block: str = ""
    split: str = ""
    place: str = dataclasses.field(default="", compare=False)


@dataclasses.dataclass(frozen=True, slots=True)
class Labels:
    """Rows of a labels file, in order.

    Attributes:
        rows: all rows, or those of a split or of some blocks.
        period_ns: time that usually lies between two rows of the whole file, by which breaks are
            found; 0 where no row follows another.
    """

    rows: Sequence[Label]
    period_ns: float

    def of_split(self, split: str) -> Labels:
        """Return the rows of one split.

        Raises:
            MediaError: no row belongs to it.
        """
        chosen = [row for row in self.rows if row.split == split]
        if not chosen:
            known = ", ".join(sorted({row.split for row in self.rows} - {""})) or "none"
            raise MediaError(f"no row of split {split!r}; the labels file has: {known}")
        return dataclasses.replace(self, rows=chosen)

    def of_blocks(self, names: Collection[str]) -> Labels:
        """Return the rows of some blocks.

        Raises:
            MediaError: a block has no row.
        """
        known = dict.fromkeys(row.block for row in self.rows)
        if unknown := sorted(set(names) - set(known)):
            listed = ", ".join(filter(None, known)) or "none"
            raise MediaError(f"no row of block {unknown[0]!r}; there are: {listed}")
        return dataclasses.replace(self, rows=[row for row in self.rows if row.block in names])


def read_labels(path: Path) -> Labels:
    """Read a labels file.

    Args:
        path: the CSV file; only the column `frame_id` must be there.

    Raises:
        MediaError: the file cannot be read, has no rows, or a row is malformed. The message names
            the row's line.
    """
    labels: list[Label] = []
    for line, row in read_rows(path, ("frame_id",)):
        try:
            label = _label(row, f"{path}:{line}")
        except ValueError as error:
            raise MediaError(f"{path}:{line}: {error}") from None
        if labels and labels[-1].frame_id == label.frame_id:
            raise MediaError(f"{path}:{line}: frame_id {label.frame_id} stands in the row before")
        labels.append(label)
    period = usual_period_ns([label.frame_id for label in labels])
    if 0 < period < _LEAST_PERIOD_NS:
        _refuse_unit(labels)
    return Labels(labels, period)


def check_time_ns(time_ns: int) -> int:
    """Return a time that a frame can carry.

    Raises:
        ValueError: it is none.
    """
    if not 0 <= time_ns <= _GREATEST_TIME_NS:
        raise ValueError(f"{str(time_ns)[:40]} is no time in nanoseconds, from 0 to 2^63 - 1")
    return time_ns


def usual_period_ns(times_ns: Sequence[int]) -> float:
    """Return the median time between pictures, or 0 where no picture follows another.

    Args:
        times_ns: when the pictures were taken, in their order.
    """
    steps = [after - before for before, after in itertools.pairwise(times_ns)]
    forward = [step for step in steps if step > 0]
    return statistics.median_low(forward) if forward else 0.0


def is_break(step_ns: int, period_ns: float) -> bool:
    """Return whether pictures are missing between two, so that the recurrent state begins again.

    That is where time goes back or stands, or jumps by over 100 ms and over two periods.

    Args:
        step_ns: from one picture to the next.
        period_ns: time that usually lies between two pictures.
    """
    return not 0 < step_ns <= max(_BREAK_NS, _BREAK_PERIODS * period_ns)


def _refuse_unit(labels: Sequence[Label]) -> NoReturn:
    """Name the first row that is so close to the one before that its time is in another unit."""
    for before, label in itertools.pairwise(labels):
        step_ns = label.frame_id - before.frame_id
        if 0 < step_ns < _LEAST_PERIOD_NS:
            break
    raise MediaError(
        f"{label.place}: frame_id is {step_ns} ns after the row before, as most rows are;"
        " it must be in nanoseconds"
    )


def _label(row: Mapping[str, str], place: str) -> Label:
    if row.get("filename") == "":
        raise ValueError("filename is empty")
    return Label(
        frame_id=_time_ns(row["frame_id"]),
        filename=row.get("filename", ""),
        truth=ControlValues(**{name: _value(row, column) for name, column in COLUMNS.items()}),
        block=row.get("block", ""),
        split=row.get("split", ""),
        place=place,
    )


def _time_ns(text: str) -> int:
    try:
        time_ns = int(text)
    except ValueError:
        raise ValueError(f"frame_id {text!r} is no integer") from None
    if not 0 <= time_ns <= _GREATEST_TIME_NS:
        raise ValueError(f"frame_id {text} is no time in nanoseconds, which is from 0 to 2^63 - 1")
    return time_ns


def _value(row: Mapping[str, str], column: str) -> float | None:
    text = row.get(column, "")
    if not text.strip():
        return None
    try:
        value = float(text)
    except ValueError:
        raise ValueError(f"{column} {text!r} is no number") from None
    if not math.isfinite(value):
        raise ValueError(f"{column} is {text}; leave the field empty where there is no label")
    return value
