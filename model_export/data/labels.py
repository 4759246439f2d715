"""Labels files: CSV with one row a frame, in the format of the driving data's README.

Columns: `frame_id` (nanoseconds), `filename` (relative to the file), `steering_angle_rad`,
`speed_mps`, `steering_torque_nm`, `block` and `split`. Only `frame_id` must be there.
"""

from __future__ import annotations

import csv
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from model_export.config import HEADS
from model_export.errors import DataError

BREAK_NS = 100_000_000
"""A larger jump between frame ids means missing frames: the recurrent state is reset."""

COLUMNS = dict(zip(HEADS, ("steering_angle_rad", "speed_mps", "steering_torque_nm"), strict=True))


@dataclass(frozen=True, slots=True, kw_only=True)
class LabelTable:
    """A labels file.

    Attributes:
        frame_ids: int64 [N], nanoseconds.
        labels: float32 [N, 3] in the order of `HEADS`, NaN where a column is absent.
        starts: bool [N], whether the recurrent state is reset before a frame.
        images: N paths, empty if the file names none.
        blocks: N names of blocks, empty strings if the file has none.
        splits: N names of splits, empty strings if the file has none.
    """

    frame_ids: npt.NDArray[np.int64]
    labels: npt.NDArray[np.float32]
    starts: npt.NDArray[np.bool_]
    images: tuple[Path, ...]
    blocks: tuple[str, ...]
    splits: tuple[str, ...]

    @property
    def heads(self) -> tuple[str, ...]:
        """The heads that the file labels."""
        known = np.isfinite(self.labels)
        return tuple(head for column, head in enumerate(HEADS) if known[:, column].any())

    def of_split(self, split: str) -> LabelTable:
        """Return the rows of one split; missing rows in between are breaks.

        Raises:
            DataError: no row belongs to it.
        """
        rows = np.flatnonzero([name == split for name in self.splits])
        if not rows.size:
            known = ", ".join(sorted(filter(None, set(self.splits)))) or "none"
            raise DataError(f"no row of split {split!r}; the labels file has: {known}")
        return self._of_rows(rows)

    def of_blocks(self, names: Collection[str]) -> LabelTable:
        """Return the rows of some blocks; missing rows in between are breaks.

        Raises:
            DataError: a block has no row.
        """
        if unknown := sorted(set(names) - set(self.blocks)):
            known = ", ".join(dict.fromkeys(self.blocks))
            raise DataError(f"no block {unknown[0]!r} among these rows; there are: {known}")
        return self._of_rows(np.flatnonzero([block in names for block in self.blocks]))

    def without_blocks(self, names: Collection[str]) -> LabelTable:
        """Return the rows of all other blocks; missing rows in between are breaks."""
        return self._of_rows(np.flatnonzero([block not in names for block in self.blocks]))

    def _of_rows(self, rows: npt.NDArray[np.int64]) -> LabelTable:
        frame_ids = self.frame_ids[rows]
        return LabelTable(
            frame_ids=frame_ids,
            labels=self.labels[rows],
            starts=_starts(frame_ids),
            images=tuple(self.images[row] for row in rows) if self.images else (),
            blocks=tuple(self.blocks[row] for row in rows),
            splits=tuple(self.splits[row] for row in rows),
        )


def read_labels(path: Path, images: Path | None = None) -> LabelTable:
    """Read a labels file.

    Args:
        path: the CSV file.
        images: folder that its file names are relative to; the CSV's own by default.

    Raises:
        DataError: the file is missing or malformed. The message names file and row.
    """
    try:
        with path.open(newline="", encoding="utf-8") as file:
            rows = list(csv.DictReader(file))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"{path}: cannot be read as a labels file: {error}") from None
    if not rows or "frame_id" not in rows[0]:
        raise DataError(f"{path}: a labels file needs a column frame_id and at least one row")
    frame_ids = np.array([_frame_id(row, path, at) for at, row in enumerate(rows, 2)], np.int64)
    folder = images or path.parent
    named = "filename" in rows[0]
    return LabelTable(
        frame_ids=frame_ids,
        labels=np.array([_labels(row, path, at) for at, row in enumerate(rows, 2)], np.float32),
        starts=_starts(frame_ids),
        images=tuple(folder / row["filename"] for row in rows) if named else (),
        blocks=tuple(row.get("block") or "" for row in rows),
        splits=tuple(row.get("split") or "" for row in rows),
    )


def _frame_id(row: dict[str, str], path: Path, line: int) -> int:
    try:
        return int(row["frame_id"])
    except ValueError:
        raise DataError(f"{path}:{line}: frame_id {row['frame_id']!r} is no integer") from None


def _labels(row: dict[str, str], path: Path, line: int) -> list[float]:
    try:
        return [float(row.get(column) or "nan") for column in COLUMNS.values()]
    except ValueError as error:
        raise DataError(f"{path}:{line}: {error}") from None


def _starts(frame_ids: npt.NDArray[np.int64]) -> npt.NDArray[np.bool_]:
    jumps = np.diff(frame_ids)
    return np.concatenate(([True], (jumps > BREAK_NS) | (jumps <= 0)))
