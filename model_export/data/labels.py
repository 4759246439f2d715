"""Labels files as arrays; docs/data.md describes their format."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from model_export.config import HEADS
from model_export.errors import DataError
from steerstream.errors import MediaError
from steerstream.sources import labels as recorded


@dataclass(frozen=True, slots=True, kw_only=True)
class LabelTable:
    """A labels file.

    Attributes:
        frame_ids: int64 [N], nanoseconds.
        labels: float32 [N, 3] in the order of `HEADS`, NaN where a column is absent.
        starts: bool [N], whether the recurrent state is reset before a frame.
        period_ns: time that usually lies between two rows of the whole file; 0 if unknown.
        images: N paths, empty if the file names none.
        blocks: N names of blocks, empty strings if the file has none.
        splits: N names of splits, empty strings if the file has none.
        places: N rows by file and line, `labels.csv:7`, for errors; empty strings without a file.
    """

    frame_ids: npt.NDArray[np.int64]
    labels: npt.NDArray[np.float32]
    starts: npt.NDArray[np.bool_]
    period_ns: float
    images: tuple[Path, ...]
    blocks: tuple[str, ...]
    splits: tuple[str, ...]
    places: tuple[str, ...]

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
            starts=_starts(frame_ids, self.period_ns),
            period_ns=self.period_ns,
            images=tuple(self.images[row] for row in rows) if self.images else (),
            blocks=tuple(self.blocks[row] for row in rows),
            splits=tuple(self.splits[row] for row in rows),
            places=tuple(self.places[row] for row in rows),
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
        found = recorded.read_labels(path)
    except MediaError as error:
        raise DataError(str(error)) from None
    rows = found.rows
    frame_ids = np.array([row.frame_id for row in rows], np.int64)
    folder = images or path.parent
    named = all(row.filename for row in rows)
    return LabelTable(
        frame_ids=frame_ids,
        labels=np.array([_values(row) for row in rows], np.float32),
        starts=_starts(frame_ids, found.period_ns),
        period_ns=found.period_ns,
        images=tuple(folder / row.filename for row in rows) if named else (),
        blocks=tuple(row.block for row in rows),
        splits=tuple(row.split for row in rows),
        places=tuple(row.place for row in rows),
    )


def _values(row: recorded.Label) -> list[float]:
    values = [getattr(row.truth, name) for name in recorded.COLUMNS]
    return [np.nan if value is None else value for value in values]


def _starts(frame_ids: npt.NDArray[np.int64], period_ns: float) -> npt.NDArray[np.bool_]:
    steps = np.diff(frame_ids).tolist()
    return np.array([True, *(recorded.is_break(step, period_ns) for step in steps)])
