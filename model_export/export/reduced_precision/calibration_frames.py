"""Calibration data: training frames, each with the recurrent state that led up to it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy.typing as npt
from onnxruntime.quantization import CalibrationDataReader

from model_export.data.labels import LabelTable
from model_export.data.udacity_ch2 import read_picture
from model_export.evaluation.bundle_runner import BundleRunner
from steerstream.progress import tracked
from steerstream_bundle.preprocess import prepare
from steerstream_bundle.times import feed_times

SAMPLES = 300
"""Frames that ranges are taken from, spread evenly over the training rows."""

Feed = Mapping[str, npt.NDArray[Any]]


class CalibrationFrames(CalibrationDataReader):  # type: ignore[misc]
    """Hands ONNX Runtime's calibration one frame after the other.

    Args:
        feeds: the graph's inputs, frame by frame.
    """

    def __init__(self, feeds: list[Feed]) -> None:
        self._feeds = feeds
        self.rewind()

    def get_next(self) -> Feed | None:
        """Return the next frame's inputs, or None after the last."""
        return next(self._rest, None)

    def rewind(self) -> None:
        """Return to the first frame."""
        self._rest = iter(self._feeds)


def record(runner: BundleRunner, table: LabelTable, samples: int = SAMPLES) -> CalibrationFrames:
    """Drive along labelled frames with carried state, and keep some of the inputs.

    Args:
        runner: the bundle to drive.
        table: the training rows; state is reset where frames are missing.
        samples: frames to keep.

    Raises:
        DataError: a picture is missing or broken.
    """
    every = max(1, len(table.images) // samples)
    feeds = tracked(_feeds(runner, table), "calibrating", len(table.images), "frames")
    return CalibrationFrames([feed for at, feed in enumerate(feeds) if at % every == 0])


def _feeds(runner: BundleRunner, table: LabelTable) -> Iterator[Feed]:
    contract = runner.contract
    state = runner.initial_state(1)
    rows = zip(table.images, table.starts, table.places, strict=True)
    for path, starts, place in rows:
        if starts:
            state = runner.initial_state(1)
        frame = prepare(read_picture(path, contract.frame, place), contract.frame)[None]
        feed: dict[str, npt.NDArray[Any]] = {contract.frame.tensor: frame}
        feed |= {pair.input: value for pair, value in zip(contract.state, state, strict=True)}
        feed |= feed_times(contract, 1)
        yield feed
        _, state = runner.step(frame, state)
