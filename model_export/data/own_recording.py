"""A recording of one's own, in any of the formats that `steerstream drive` reads."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from model_export.data.recording import Sample
from model_export.errors import DataError
from steerstream.answers import ControlValues
from steerstream.errors import MediaError
from steerstream.sources.formats import open_recording
from steerstream.sources.labels import COLUMNS
from steerstream.sources.options import ReadOptions
from steerstream.sources.recording import RecordedFrame, Recording
from steerstream_bundle.contract import FrameInput
from steerstream_bundle.errors import UndecodableError
from steerstream_bundle.jpeg import decode
from steerstream_bundle.preprocess import Picture

NAME = "a recording of one's own"
LICENCE = "its owner's"
OPTIONS: Mapping[str, Any] = {"path": "", "camera": "", "steering": "", "max_angle_deg": 0.0}

_HELD_OUT = 10
"""One of so many equal stretches of a recording without splits is for validation: the last."""


def read(data: Path, split: str, frame: FrameInput, options: Mapping[str, Any]) -> Iterator[Sample]:
    """Yield the frames of one split: those that the recording names, or the last tenth.

    Args:
        data: folder that the path is relative to.
        split: `train` or `validation`.
        frame: the network's picture, which JPEGs are decoded for.
        options: `path` of the recording, and `camera`, `steering` and `max_angle_deg` as
            `steerstream drive` takes them.

    Raises:
        DataError: the recording cannot be read, or has no labels.
    """
    if not options["path"]:
        raise DataError("needs an option path, which names the recording")
    degrees = options["max_angle_deg"]
    reading = ReadOptions(
        camera=options["camera"],
        steering=options["steering"],
        max_angle_rad=math.radians(degrees) if degrees else None,
    )
    try:
        recording = open_recording(data / options["path"], reading)
        for recorded in _of_split(recording, split):
            yield Sample(
                _picture(recorded, frame),
                _labels(recorded.truth),
                recorded.starts_anew,
                recorded.capture_time_ns / 1e9,
            )
    except MediaError as error:
        raise DataError(str(error)) from None


def _of_split(recording: Recording, split: str) -> Iterator[RecordedFrame]:
    if recording.splits >= {"train", "validation"}:
        yield from recording.of_split(split).frames()
        return
    count = recording.count
    if count is None:
        count = sum(1 for _ in recording.read())
    cut = count * (_HELD_OUT - 1) // _HELD_OUT
    for index, frame in enumerate(recording.frames()):
        if (index < cut) == (split == "train"):
            yield frame


def _picture(recorded: RecordedFrame, frame: FrameInput) -> Picture:
    picture = recorded.load()
    try:
        return decode(picture, frame) if isinstance(picture, bytes) else picture
    except UndecodableError as error:
        raise DataError(f"{recorded.place}: {error}") from None


def _labels(truth: ControlValues | None) -> npt.NDArray[np.float32]:
    values = [None if truth is None else getattr(truth, name) for name in COLUMNS]
    return np.array([np.nan if value is None else value for value in values], np.float32)
