"""Rendered roads: drives by the simulation's expert, pushed about so that recovery is in them."""

from __future__ import annotations

import functools
from collections.abc import Iterable, Iterator

import numpy as np

from model_export.data.recording import Piece, Sample
from steerstream_simulation.labelled_drives import LabelledFrame, render_drive

NAME = "steerstream simulation, expert drives (rendered frames)"
LICENCE = "Apache-2.0"

TRAINING_SEED = 1_000
HOLDOUT_SEED = 800_000
VALIDATION_SEED = 900_000
"""First seeds of the roads. Below 1000 lie the roads of the closed-loop evaluation."""

_FIRST_SEED = {"train": TRAINING_SEED, "holdout": HOLDOUT_SEED, "validation": VALIDATION_SEED}


def drives(split: str, *, roads: int, seconds: float, rate_hz: float) -> list[Piece]:
    """Return a drive, to be rendered, on each of so many roads of a split.

    Args:
        split: `train`, `holdout` or `validation`.
        roads: how many.
        seconds: length of each drive.
        rate_hz: frames a second.
    """
    frames, first = round(seconds * rate_hz), _FIRST_SEED[split]
    return [
        functools.partial(_drive, seed, frames=frames, rate_hz=rate_hz)
        for seed in range(first, first + roads)
    ]


def _drive(seed: int, *, frames: int, rate_hz: float) -> Iterator[Sample]:
    return samples(render_drive(seed, frames=frames, rate_hz=rate_hz), rate_hz)


def samples(drive: Iterable[LabelledFrame], rate_hz: float) -> Iterator[Sample]:
    """Turn a drive's frames into samples; the state is reset where the vehicle was displaced."""
    segment: int | None = None
    for index, frame in enumerate(drive):
        labels = np.array(
            [frame.steering_wheel_angle_rad, frame.speed_mps, frame.steering_torque_nm], np.float32
        )
        yield Sample(frame.image, labels, frame.segment != segment, index / rate_hz)
        segment = frame.segment
