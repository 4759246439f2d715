"""Stateful batches: each row of a batch goes on where the same row of the batch before ended.

Each row belongs to one source. It draws a sequence, a place in it and an augmentation, then hands
out consecutive windows, so that the recurrent state carries over from one batch to the next. Where
the sequence ends, or the pass is long enough, the row draws again and its state is reset.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from model_export.config import HEADS, AugmentConfig
from model_export.data.augment import Augmentation, Labels
from model_export.data.delay import ahead
from model_export.data.recording import Recording, Span
from model_export.errors import DataError
from steerstream_bundle.contract import FrameInput
from steerstream_bundle.preprocess import Picture


@dataclass(frozen=True, slots=True, kw_only=True)
class RowSource:
    """The data that a batch row draws from: recordings, the heads they teach, and augmentations.

    Recordings of features cannot be changed: there `augment` is None.
    """

    recordings: tuple[Recording, ...]
    heads: tuple[str, ...]
    augment: AugmentConfig | None
    loss_weight: float


@dataclass(frozen=True, slots=True)
class Batch:
    """One window for each row.

    Attributes:
        frames: uint8 [B, T, height, width, 3], or features float16 [B, T, ...].
        labels: float32 [B, T, K, 3], of K times after each frame, NaN where a head is not labelled.
        weights: float32 [B], factor on the loss of each row.
        resets: bool [B], whether the state is reset before the window.
        intervals_s: float32 [B, T], time since the frame before, the nominal period where a
            sequence begins.
    """

    frames: Picture | npt.NDArray[np.float16]
    labels: Labels
    weights: npt.NDArray[np.float32]
    resets: npt.NDArray[np.bool_]
    intervals_s: npt.NDArray[np.float32]


@dataclass(slots=True)
class _Pass:
    """A row's pass over a part of a sequence; plain numbers, so that a checkpoint can hold it."""

    recording: int
    position: int
    last: int
    seed: int


class BatchSampler:
    """Draws batches without end.

    Args:
        rows: the source of each row.
        frame: the network's picture.
        window: frames of one batch in each row.
        pass_frames: frames after which a row draws again.
        period_s: nominal time between frames.
        seed: decides all draws.
        after_s: the K times after a frame that labels are for.
    """

    def __init__(
        self,
        rows: Sequence[RowSource],
        frame: FrameInput,
        *,
        window: int,
        pass_frames: int,
        period_s: float,
        seed: int,
        after_s: Sequence[float] = (0.0,),
    ) -> None:
        self._after_s, self._period_s = np.array(after_s), period_s
        self._frame, self._window, self._pass_frames = frame, window, pass_frames
        self._rng = np.random.default_rng(seed)
        self._rows = tuple(rows)
        self._intervals = {
            id(recording): recording.intervals_s(period_s)
            for row in self._rows
            for recording in row.recordings
        }
        self._ahead = {
            id(recording): ahead(recording, after_s) if recording.ahead is None else recording.ahead
            for row in self._rows
            for recording in row.recordings
        }
        self._usable = {id(row): self._usable_of(row) for row in self._rows}
        self._passes: list[_Pass | None] = [None] * len(rows)
        self._augmentations: dict[int, Augmentation] = {}

    def next_batch(self) -> Batch:
        """Return the next window of every row."""
        size, window = len(self._rows), self._window
        like = self._rows[0].recordings[0].frames
        frames = np.empty((size, window, *like.shape[1:]), like.dtype)
        labels = np.empty((size, window, len(self._after_s), len(HEADS)), np.float32)
        intervals = np.empty((size, window), np.float32)
        resets = np.zeros(size, np.bool_)
        for index, row in enumerate(self._rows):
            resets[index] = self._renew(index, row)
            intervals[index] = self._intervals_of(index, row)
            self._fill(index, row, frames[index], labels[index])
        weights = np.array([row.loss_weight for row in self._rows], np.float32)
        return Batch(frames, labels, weights, resets, intervals)

    def state_dict(self) -> dict[str, Any]:
        """Return what `load_state_dict` needs to go on with the very same batches."""
        passes = [now and dataclasses.astuple(now) for now in self._passes]
        return {"rng": self._rng.bit_generator.state, "passes": passes}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on where another sampler over the same rows stood."""
        self._rng.bit_generator.state = state["rng"]
        self._passes = [_Pass(*numbers) if numbers else None for numbers in state["passes"]]
        self._augmentations = {}

    def _usable_of(self, row: RowSource) -> tuple[list[tuple[int, Span]], npt.NDArray[np.float64]]:
        """Return the sequences of at least one window, and their cumulative durations in seconds.

        A sequence is drawn by its duration: by its frames, one at 10 Hz would count for half.
        """
        choices, durations_s = [], []
        for index, recording in enumerate(row.recordings):
            intervals_s = self._intervals[id(recording)]
            for span in recording.spans:
                if span.last - span.first >= self._window:
                    choices.append((index, span))
                    durations_s.append(intervals_s[span.first : span.last].sum())
        if not choices:
            raise DataError(f"a source has no sequence of {self._window} frames or more")
        return choices, np.cumsum(durations_s)

    def _renew(self, index: int, row: RowSource) -> bool:
        """Draw again if the row's pass is over; return whether it did."""
        now = self._passes[index]
        if now is not None and now.position + self._window <= now.last:
            return False
        self._passes[index] = self._draw(row)
        self._augmentations.pop(index, None)
        return True

    def _draw(self, row: RowSource) -> _Pass:
        choices, cumulative = self._usable[id(row)]
        which = np.searchsorted(cumulative, self._rng.random() * cumulative[-1], side="right")
        recording, span = choices[int(which)]
        first = int(self._rng.integers(span.first, span.last - self._window + 1))
        last = min(span.last, first + self._pass_frames)
        return _Pass(recording, first, last, int(self._rng.integers(2**62)))

    def _intervals_of(self, index: int, row: RowSource) -> npt.NDArray[np.float32]:
        now = self._passes[index]
        assert now is not None, "_renew has drawn it"  # noqa: S101
        recording = row.recordings[now.recording]
        return self._intervals[id(recording)][now.position : now.position + self._window]

    def _fill(
        self,
        index: int,
        row: RowSource,
        frames: Picture | npt.NDArray[np.float16],
        labels: Labels,
    ) -> None:
        now = self._passes[index]
        assert now is not None, "_renew has drawn it"  # noqa: S101
        recording = row.recordings[now.recording]
        window = slice(now.position, now.position + self._window)
        labels[:] = self._ahead[id(recording)][window]
        if row.augment is None:
            frames[:] = recording.frames[window]
        else:
            change = self._augmentation(index, row.augment, now.seed)
            places = range(window.start, window.stop)
            for slot, place in enumerate(places):
                frames[slot] = change.picture(recording.frames[place], place)
            labels[:] = change.labels(labels, places, self._after_s)
        for column, head in enumerate(HEADS):
            if head not in row.heads:
                labels[..., column] = np.nan
        now.position += self._window

    def _augmentation(self, index: int, bounds: AugmentConfig, seed: int) -> Augmentation:
        if index not in self._augmentations:
            self._augmentations[index] = Augmentation(bounds, self._frame, seed, self._period_s)
        return self._augmentations[index]
