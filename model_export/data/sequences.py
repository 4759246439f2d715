"""Stateful batches: each row of a batch goes on where the same row of the batch before ended.

Each row belongs to one source. It draws a sequence, a place in it and an augmentation, then hands
out consecutive windows, so that the recurrent state carries over from one batch to the next. Where
the sequence ends, or the pass is long enough, the row draws again and its state is reset.

Drawing is cheap and goes from row to row: every process draws all rows, so that all draw the same.
Filling is the work: it depends on one draw alone, so any loader of any process may do it.
"""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

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


class Window(NamedTuple):
    """What a row's next frames are: those from `position` of a recording, changed as `seed` says.

    Attributes:
        row: its number in the whole batch.
        recording: number among the row's recordings.
        position: of its first frame.
        seed: decides its augmentation.
        reset: whether a pass begins with it.
    """

    row: int
    recording: int
    position: int
    seed: int
    reset: bool


class BatchSampler:
    """Draws batches without end.

    Args:
        rows: the source of each row of the whole batch.
        frame: the network's picture.
        window: frames of one batch in each row.
        pass_frames: frames after which a row draws again.
        period_s: nominal time between frames.
        seed: decides all draws.
        after_s: the K times after a frame that labels are for.
        share: the rows that batches are filled with.
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
        share: slice = slice(None),
    ) -> None:
        self._after_s, self._period_s = np.array(after_s), period_s
        self._frame, self._window, self._pass_frames = frame, window, pass_frames
        self._rng = np.random.default_rng(seed)
        self._rows = tuple(rows)
        self._share = share
        self._usable = {id(row): self._usable_of(row) for row in self._rows}
        self._passes: list[_Pass | None] = [None] * len(rows)
        self._augmentations: dict[int, tuple[int, Augmentation]] = {}

    def next_batch(self) -> Batch:
        """Return the next window of every row of the share."""
        return self.filled(self.next_windows())

    def next_windows(self) -> tuple[Window, ...]:
        """Draw for all rows, and return what those of the share were given."""
        return tuple(self._next_window(index) for index in range(len(self._rows)))[self._share]

    def windows_ahead(self) -> Iterator[tuple[Window, ...]]:
        """Yield what `next_windows` will return, without end, and draw nothing."""
        ahead = copy.copy(self)
        ahead._rng = np.random.default_rng()  # noqa: SLF001 - it is a sampler as well
        ahead.load_state_dict(self.state_dict())
        while True:
            yield ahead.next_windows()

    def filled(self, windows: Sequence[Window]) -> Batch:
        """Return the frames and labels of drawn windows."""
        size, length = len(windows), self._window
        like = self._rows[0].recordings[0].frames
        frames = np.empty((size, length, *like.shape[1:]), like.dtype)
        labels = np.empty((size, length, len(self._after_s), len(HEADS)), np.float32)
        intervals = np.empty((size, length), np.float32)
        for place, window in enumerate(windows):
            self._fill(window, frames[place], labels[place], intervals[place])
        weights = np.array([self._rows[one.row].loss_weight for one in windows], np.float32)
        resets = np.array([one.reset for one in windows], np.bool_)
        return Batch(frames, labels, weights, resets, intervals)

    def state_dict(self) -> dict[str, Any]:
        """Return what `load_state_dict` needs to go on with the very same batches."""
        passes = [now and dataclasses.astuple(now) for now in self._passes]
        return {"rng": self._rng.bit_generator.state, "passes": passes}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on where another sampler over the same rows stood."""
        self._rng.bit_generator.state = state["rng"]
        self._passes = [_Pass(*numbers) if numbers else None for numbers in state["passes"]]

    def _usable_of(self, row: RowSource) -> tuple[list[tuple[int, Span]], npt.NDArray[np.float64]]:
        """Return the sequences of at least one window, and their cumulative durations in seconds.

        A sequence is drawn by its duration: by its frames, one at 10 Hz would count for half.
        """
        choices, durations_s = [], []
        for index, recording in enumerate(row.recordings):
            intervals_s = recording.intervals_s(self._period_s)
            for span in recording.spans:
                if span.last - span.first >= self._window:
                    choices.append((index, span))
                    durations_s.append(intervals_s[span.first : span.last].sum())
        if not choices:
            raise DataError(f"a source has no sequence of {self._window} frames or more")
        return choices, np.cumsum(durations_s)

    def _next_window(self, index: int) -> Window:
        """Return a row's next window; it draws again if its pass is over."""
        now = self._passes[index]
        reset = now is None or now.position + self._window > now.last
        if now is None or reset:
            now = self._passes[index] = self._draw(self._rows[index])
        window = Window(index, now.recording, now.position, now.seed, reset)
        now.position += self._window
        return window

    def _draw(self, row: RowSource) -> _Pass:
        choices, cumulative = self._usable[id(row)]
        which = np.searchsorted(cumulative, self._rng.random() * cumulative[-1], side="right")
        recording, span = choices[int(which)]
        first = int(self._rng.integers(span.first, span.last - self._window + 1))
        last = min(span.last, first + self._pass_frames)
        return _Pass(recording, first, last, int(self._rng.integers(2**62)))

    def _fill(
        self,
        window: Window,
        frames: Picture | npt.NDArray[np.float16],
        labels: Labels,
        intervals_s: npt.NDArray[np.float32],
    ) -> None:
        row = self._rows[window.row]
        recording = row.recordings[window.recording]
        places = range(window.position, window.position + self._window)
        self._fill_intervals(recording, places, intervals_s)
        if recording.ahead is None:
            labels[:] = ahead(recording, self._after_s, places)
        else:
            labels[:] = recording.ahead[places.start : places.stop]
        if row.augment is None:
            frames[:] = recording.frames[places.start : places.stop]
        else:
            change = self._augmentation(window, row.augment)
            for slot, place in enumerate(places):
                frames[slot] = change.picture(recording.frames[place], place)
            labels[:] = change.labels(labels, places)
        for column, head in enumerate(HEADS):
            if head not in row.heads:
                labels[..., column] = np.nan
        recording.let_go()

    def _fill_intervals(
        self, recording: Recording, places: range, intervals_s: npt.NDArray[np.float32]
    ) -> None:
        if places.start == recording.span_of(places.start).first:
            intervals_s[0] = self._period_s
            intervals_s[1:] = np.diff(recording.times_s[places.start : places.stop])
        else:
            intervals_s[:] = np.diff(recording.times_s[places.start - 1 : places.stop])

    def _augmentation(self, window: Window, bounds: AugmentConfig) -> Augmentation:
        """Return a pass's augmentation; a row's last one is kept, for the windows that follow."""
        seed, change = self._augmentations.get(window.row, (None, None))
        if change is None or seed != window.seed:
            change = Augmentation(bounds, self._frame, window.seed, self._period_s)
            self._augmentations[window.row] = (window.seed, change)
        return change
