"""Recorded pictures with their driver's steering, for the closed loop on real pictures."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from steerstream.errors import MediaError
from steerstream.sources.labels import Label, is_break, read_labels
from steerstream_simulation.reprojection import Picture

DEFAULT_SPEED_MPS = 15.0
"""Of a recording that does not know its own."""

_LEAST_FRAMES = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class PictureSequence:
    """Unbroken frames of a recording.

    Attributes:
        images: N files.
        angles_rad: recorded steering wheel angles, float64 [N].
        speeds_mps: recorded or given, float64 [N].
        torques_nm: recorded, float64 [N]; NaN where there is none.
        period_s: from frame to frame.
    """

    images: tuple[Path, ...]
    angles_rad: NDArray[np.float64]
    speeds_mps: NDArray[np.float64]
    torques_nm: NDArray[np.float64]
    period_s: float

    @property
    def frames(self) -> int:
        """How many frames it has."""
        return len(self.angles_rad)

    def picture(self, index: int) -> Picture:
        """Read a frame, uint8 RGB [height, width, 3].

        Raises:
            MediaError: it is missing, or no picture.
        """
        picture = cv2.imread(str(self.images[index]), cv2.IMREAD_COLOR_RGB)
        if picture is None:
            raise MediaError(f"{self.images[index]}: cannot be read as a picture")
        return np.asarray(picture, np.uint8)


def read_sequences(
    labels: Path,
    *,
    split: str | None = None,
    blocks: Collection[str] = (),
    speed_mps: float = DEFAULT_SPEED_MPS,
) -> list[PictureSequence]:
    """Read the unbroken sequences of a labels file; those shorter than a second are left out.

    Args:
        labels: the CSV file.
        split: the rows to use; all by default.
        blocks: of these, the blocks to use; all by default. A sequence goes over the edges of
            blocks that follow one another.
        speed_mps: of rows that have no speed.

    Raises:
        MediaError: the file is missing or malformed, has no such rows, or one of them has no
            picture or no angle.
    """
    table = read_labels(labels)
    if split is not None:
        table = table.of_split(split)
    if blocks:
        table = table.of_blocks(blocks)
    groups: list[list[Label]] = []
    for row in table.rows:
        if not groups or is_break(row.frame_id - groups[-1][-1].frame_id, table.period_ns):
            groups.append([])
        groups[-1].append(row)
    found = [
        _sequence(group, labels.parent, speed_mps, table.period_ns / 1e9)
        for group in groups
        if len(group) >= _LEAST_FRAMES
    ]
    if not found:
        raise MediaError(f"{labels}: has no {_LEAST_FRAMES} frames without a break between them")
    return found


def _sequence(
    rows: Sequence[Label], folder: Path, speed_mps: float, period_s: float
) -> PictureSequence:
    for row in rows:
        if not row.filename or row.truth.steering_wheel_angle_rad is None:
            raise MediaError(f"{row.place}: needs a filename and a steering_angle_rad to drive on")
    truths = [row.truth for row in rows]
    return PictureSequence(
        images=tuple(folder / row.filename for row in rows),
        angles_rad=np.array([truth.steering_wheel_angle_rad for truth in truths], np.float64),
        speeds_mps=_filled([truth.speed_mps for truth in truths], speed_mps),
        torques_nm=_filled([truth.steering_torque_nm for truth in truths], np.nan),
        period_s=period_s,
    )


def _filled(values: Sequence[float | None], default: float) -> NDArray[np.float64]:
    return np.array([default if value is None else value for value in values], np.float64)
