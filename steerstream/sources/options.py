"""How a recording is read: what it does not say by itself, and what becomes of bad rows."""

from __future__ import annotations

import collections
import dataclasses
from pathlib import Path

from steerstream.errors import MediaError


class BadRows:
    """Refuses the first row that cannot be read, or skips such rows and counts them.

    Args:
        skip: whether they are skipped.
    """

    def __init__(self, *, skip: bool = False) -> None:
        self._skip = skip
        self._counts: collections.Counter[str] = collections.Counter()
        self._first: dict[str, str] = {}

    def found(self, place: str, kind: str, detail: str = "") -> None:
        """Take in a bad row.

        Args:
            place: where it stands, such as `data.txt:7`.
            kind: what is wrong, in words that are the same for all rows of a kind.
            detail: what is wrong with this one.

        Raises:
            MediaError: bad rows are refused.
        """
        if not self._skip:
            raise MediaError(f"{place}: {kind}{f': {detail}' if detail else ''}")
        self._counts[kind] += 1
        self._first.setdefault(kind, place)

    def summary(self) -> tuple[str, ...]:
        """Return a line for each kind: how many rows were skipped, and where the first one was."""
        return tuple(
            f"skipped {count} rows: {kind} (first {self._first[kind]})"
            for kind, count in self._counts.most_common()
        )


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class ReadOptions:
    """What a recording does not say by itself.

    Attributes:
        images: folder of the pictures that a file of labels names; the file's own by default.
        rate_hz: pictures a second where the recording tells no times.
        max_angle_rad: steering wheel angle at a steering of 1, where the recording's is -1 to 1.
        flip_steering: whether the recording's steering has the other sign than its format says.
        camera: which of several cameras: a topic, a key or a name.
        steering: where the steering is: a column, or `topic:field`.
        bad_rows: what becomes of them.
    """

    images: Path | None = None
    rate_hz: float | None = None
    max_angle_rad: float | None = None
    flip_steering: bool = False
    camera: str = ""
    steering: str = ""
    bad_rows: BadRows = dataclasses.field(default_factory=BadRows)

    def wheel_rad(self, angle_rad: float) -> float:
        """Return a steering wheel angle, left positive, as the format says it is."""
        return -angle_rad if self.flip_steering else angle_rad

    def normalised(self, steering: float) -> float | None:
        """Return the steering wheel angle of a steering of -1 to 1, left positive.

        None where nobody said how far the wheel is turned at 1.
        """
        if self.max_angle_rad is None:
            return None
        return self.wheel_rad(steering * self.max_angle_rad)

    @property
    def unit_unknown(self) -> tuple[str, ...]:
        """What is to be said of a recording whose steering is -1 to 1."""
        if self.max_angle_rad is not None:
            return ()
        return ("the steering is -1 to 1 and left out; give --max-angle-deg to have it in radians",)
