"""Real traces, rendered camera: angle, speed and torque of real drives, over roads drawn from them.

The recordings have no pictures. The simulation lays the road that angle and speed describe and
renders it, so that a network gets all three real labels. Results on it never count as results on
real frames.
"""

from __future__ import annotations

import functools
import itertools
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt

from model_export.data.labels import LabelTable, read_labels
from model_export.data.recording import Piece, Sample
from model_export.data.rendered import samples
from steerstream_simulation.labelled_drives import render_trace

NAME = "Udacity Challenge 2, HMB_2, HMB_4, HMB_6 (real traces, rendered frames)"
LICENCE = "MIT, Udacity 2016"
FOLDER = "udacity_ch2_traces"

_TRAINING_DRIVES = ("HMB_2", "HMB_4", "HMB_6")
DRIVES = {"train": _TRAINING_DRIVES, "holdout": _TRAINING_DRIVES, "validation": ("HMB_1",)}
_LOOKS_SEED = {"train": 500_000, "holdout": 850_000, "validation": 950_000}


def drives(
    data: Path,
    split: str,
    *,
    chunk_s: float,
    rate_hz: float,
    every: int = 1,
    holdout_every: int = 0,
) -> list[Piece]:
    """Return the drives of one split, piece by piece, to be rendered.

    Args:
        data: folder of the driving data.
        split: `train`; `holdout`: pieces of the same drives; or `validation`: one drive
            that no training sees.
        chunk_s: a drive is cut into pieces of this length, each with looks of its own.
        rate_hz: of the recordings.
        every: keep one of so many pieces; every held out piece is kept.
        holdout_every: the last of so many pieces of a training drive is held out; 0 for none.

    Raises:
        DataError: a drive's file is missing or malformed.
    """
    frames = round(chunk_s * rate_hz)
    looks = itertools.count(_LOOKS_SEED[split])
    found: list[Piece] = []
    for drive in DRIVES[split]:
        table = read_labels(data / FOLDER / f"{drive}.csv")
        for index, rows in enumerate(_pieces(table, frames)):
            held = split != "validation" and _is_held_out(index, holdout_every)
            if held if split == "holdout" else not held and index % every == 0:
                found.append(functools.partial(_drive, table.labels[rows], next(looks), rate_hz))
    return found


def _drive(labels: npt.NDArray[np.float32], seed: int, rate_hz: float) -> Iterator[Sample]:
    angle, speed, torque = labels.T
    return samples(render_trace(angle, speed, torque, seed=seed, rate_hz=rate_hz), rate_hz)


def _is_held_out(index: int, every: int) -> bool:
    return every > 0 and index % every == every - 1


def _pieces(table: LabelTable, frames: int) -> list[slice]:
    """Cut a drive at its breaks and into pieces of at most so many frames."""
    bounds = [*np.flatnonzero(table.starts).tolist(), len(table.starts)]
    return [
        slice(first, min(first + frames, end))
        for start, end in itertools.pairwise(bounds)
        for first in range(start, end, frames)
    ]
