"""Recordings of Udacity's simulator: a third look of the road, with steering and speed.

The simulator's steering is -1..1 of a 25 degree road wheel, right positive; times the reference
vehicle's steering ratio it becomes a steering wheel angle, left positive.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import numpy.typing as npt

from model_export.data.recording import Sample
from model_export.data.udacity_ch2 import read_picture
from model_export.errors import DataError
from steerstream.errors import MediaError
from steerstream.sources.tables import read_rows
from steerstream_bundle.contract import FrameInput
from steerstream_simulation.vehicle import VehicleParameters

NAME = "Udacity simulator, andyshar (rendered frames)"
LICENCE = "MIT"
FOLDER = "udacity_sim_recordings/andyshar"

MAX_ROAD_WHEEL_RAD = math.radians(25.0)
MPS_PER_MPH = 0.44704
BREAK_S = 0.5
"""The simulator records at 8 to 14 Hz; a longer gap is a pause or a new drive."""

_TIME = re.compile(r"(\d{4}(?:_\d{2}){5}_\d{3})\.jpg$")
_HELD_OUT = 10
"""One of so many equal stretches of the recording is for validation: the last."""


def read(data: Path, split: str, frame: FrameInput) -> Iterator[Sample]:
    """Yield the frames of one split; the last tenth of the recording is for validation.

    Args:
        data: folder of the driving data.
        split: `train` or `validation`.
        frame: the network's picture, which JPEGs are decoded for.

    Raises:
        DataError: the folder or one of its pictures is missing or broken.
    """
    folder = data / FOLDER
    rows = _rows(folder / "driving_log.csv")
    cut = len(rows) * (_HELD_OUT - 1) // _HELD_OUT
    before: float | None = None
    for filename, values in rows[:cut] if split == "train" else rows[cut:]:
        time_s = capture_time_s(filename)
        starts = before is None or not 0 < time_s - before <= BREAK_S
        before = time_s
        picture = read_picture(folder / "frames" / filename, frame)
        yield Sample(picture, values, starts, time_s)


def labels(row: Mapping[str, str]) -> npt.NDArray[np.float32]:
    """Return the labels [3] of one row of the log; the simulator knows no torque.

    Raises:
        ValueError: a field is no finite number.
    """
    ratio = VehicleParameters().steering_ratio
    steering, speed_mph = float(row["steering_normalised"]), float(row["speed_mph"])
    if not math.isfinite(steering + speed_mph):
        raise ValueError("steering_normalised and speed_mph must be finite numbers")
    angle_rad = -steering * MAX_ROAD_WHEEL_RAD * ratio
    return np.array([angle_rad, speed_mph * MPS_PER_MPH, np.nan], np.float32)


def capture_time_s(filename: str) -> float:
    """Return the time that stands in a picture's file name, in seconds.

    Raises:
        DataError: there is none.
    """
    match = _TIME.search(filename)
    if match is None:
        raise DataError(f"{filename}: no time in the name of a simulator's picture")
    moment = datetime.strptime(match[1] + "000", "%Y_%m_%d_%H_%M_%S_%f").replace(tzinfo=UTC)
    return moment.timestamp()


def _rows(path: Path) -> list[tuple[str, npt.NDArray[np.float32]]]:
    """Return the name of each row's picture, and its labels."""
    rows = []
    try:
        for line, row in read_rows(path, ("filename", "steering_normalised", "speed_mph")):
            try:
                rows.append((row["filename"], labels(row)))
            except ValueError as error:
                raise DataError(f"{path}:{line}: {error}") from None
    except MediaError as error:
        raise DataError(str(error)) from None
    return rows
