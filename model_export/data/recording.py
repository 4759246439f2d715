"""Prepared frames with labels, kept on disk so that an epoch costs no decoding or rendering."""

from __future__ import annotations

import bisect
import contextlib
import functools
import hashlib
import itertools
import json
import mmap
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from model_export.config import HEADS
from model_export.data.loaders import in_order
from model_export.data.prepared import prepared
from model_export.errors import DataError
from steerstream.progress import ProgressLine
from steerstream_bundle.contract import SPEED, FrameInput
from steerstream_bundle.preprocess import Picture, prepare

_BUFFER_BYTES = 8 * 2**20
_VERSION = 3
"""Raise it when a reader or the preparation changes what a cache would hold."""


class Sample(NamedTuple):
    """One frame of a source.

    Attributes:
        picture: in the source's own size.
        labels: float32 [3].
        starts: whether a sequence begins.
        time_s: of its capture, on a clock that a sequence has to itself.
    """

    picture: Picture
    labels: npt.NDArray[np.float32]
    starts: bool
    time_s: float


Piece = Callable[[], Iterable[Sample]]
"""A part of a source that is read or rendered without the others."""


class Span(NamedTuple):
    """An unbroken sequence of a recording: frames from `first` up to `last`, not included."""

    first: int
    last: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Recording:
    """Frames of a source, in order.

    Attributes:
        frames: prepared, uint8 [N, height, width, 3]; or a frozen encoder's features of them,
            float16 [N, ...].
        labels: float32 [N, 3].
        times_s: float64 [N], of the captures; compare them within a sequence only.
        spans: its sequences.
        folder: where it lies.
        ahead: float32 [N, K, 3], the labels of some times after each frame, where augmentation
            that is done already decided about them.
    """

    frames: Picture | npt.NDArray[np.float16]
    labels: npt.NDArray[np.float32]
    times_s: npt.NDArray[np.float64]
    spans: tuple[Span, ...]
    folder: Path
    ahead: npt.NDArray[np.float32] | None = None

    def intervals_s(self, first_s: float) -> npt.NDArray[np.float32]:
        """Return the time since the frame before, [N]; `first_s` where a sequence begins."""
        intervals = np.diff(self.times_s, prepend=0.0).astype(np.float32)
        intervals[[span.first for span in self.spans]] = first_s
        return intervals

    def span_of(self, place: int) -> Span:
        """Return the sequence that a frame is in."""
        return self.spans[bisect.bisect(self.spans, place, key=lambda span: span.first) - 1]

    def let_go(self) -> None:
        """Give back the memory of the frames that were read; what is on disk is read again.

        What is mapped counts as this process's memory until the kernel has no other. So it would
        look as if training needed as much as there are frames.
        """
        if isinstance(self.frames, np.memmap):
            self.frames._mmap.madvise(mmap.MADV_DONTNEED)  # type: ignore[attr-defined]  # noqa: SLF001


def record(samples: Iterable[Sample], frame: FrameInput, folder: Path) -> Recording:
    """Prepare the frames of a source in a folder, unless it is there.

    Args:
        samples: the source's frames, in order.
        frame: the network's picture.
        folder: where they are kept.

    Raises:
        DataError: the source has no frames.
    """

    def write(work: Path) -> None:
        _write(_in_turn([lambda: samples], frame), work)

    return open_recording(prepared(folder, write), frame)


def open_recording(folder: Path, frame: FrameInput) -> Recording:
    """Open what `record` wrote; the frames stay on disk."""
    with np.load(folder / "labels.npz") as stored:
        labels, starts, times_s = stored["labels"], stored["starts"], stored["times_s"]
    shape = (len(labels), *frame.shape)
    frames = np.memmap(folder / "frames.u8", dtype=np.uint8, mode="r", shape=shape)
    return Recording(
        frames=frames, labels=labels, times_s=times_s, spans=spans(starts), folder=folder
    )


def cached(
    make: Callable[[], Sequence[Piece]],
    key: Mapping[str, Any],
    frame: FrameInput,
    cache: Path,
    *,
    loaders: int = 0,
) -> Recording:
    """Open the recording of a source from the cache, or make it first.

    Args:
        make: returns the source's pieces, in order.
        key: everything that decides what `make` returns.
        frame: size and crop to prepare.
        cache: folder of all recordings.
        loaders: processes that read or render pieces side by side.
    """
    text = json.dumps({**key, "frame": repr(frame), "version": _VERSION}, sort_keys=True)
    digest = hashlib.sha256(text.encode()).hexdigest()[:16]
    folder = cache / f"{key['kind']}-{digest}"

    def write(work: Path) -> None:
        pieces = make()
        if not loaders or len(pieces) == 1:
            _write(_in_turn(pieces, frame), work)
            return
        with contextlib.closing(
            in_order(functools.partial(_whole, frame), pieces, loaders)
        ) as found:
            _write(itertools.chain.from_iterable(found), work)

    return open_recording(prepared(folder, write), frame)


def both_ways(recording: Recording, frame: FrameInput) -> Recording:
    """Return a prepared recording followed by its mirror image, kept beside it."""
    folder = recording.folder.with_name(f"{recording.folder.name}-both-ways")
    return open_recording(prepared(folder, lambda work: _write_both(recording, work)), frame)


def spans(starts: npt.NDArray[np.bool_]) -> tuple[Span, ...]:
    """Return the sequences that begin where `starts` is true."""
    firsts = np.flatnonzero(starts).tolist()
    return tuple(Span(*pair) for pair in zip(firsts, [*firsts[1:], len(starts)], strict=True))


def _in_turn(pieces: Iterable[Piece], frame: FrameInput) -> Iterator[Sample]:
    """Yield the prepared samples of pieces; none is held."""
    for piece in pieces:
        for sample in piece():
            yield sample._replace(picture=prepare(sample.picture, frame))


def _whole(frame: FrameInput, piece: Piece) -> list[Sample]:
    return list(_in_turn([piece], frame))


def _write(samples: Iterable[Sample], folder: Path) -> None:
    labels, starts, times_s = _write_frames(samples, folder / "frames.u8")
    if not labels:
        raise DataError("the source has no frames")
    np.savez(
        folder / "labels.npz",
        labels=np.stack(labels),
        starts=np.array(starts, np.bool_),
        times_s=np.array(times_s),
    )


def _write_both(recording: Recording, folder: Path) -> None:
    with (folder / "frames.u8").open("wb") as file:
        for columns in (slice(None), slice(None, None, -1)):
            for picture in recording.frames:
                file.write(picture[:, columns].tobytes())
    signs = np.array([1 if head == SPEED else -1 for head in HEADS], np.float32)
    starts = np.zeros(len(recording.labels), np.bool_)
    starts[[span.first for span in recording.spans]] = True
    np.savez(
        folder / "labels.npz",
        labels=np.concatenate([recording.labels, recording.labels * signs]),
        starts=np.tile(starts, 2),
        times_s=np.tile(recording.times_s, 2),
    )


def _write_frames(
    samples: Iterable[Sample], path: Path
) -> tuple[list[npt.NDArray[np.float32]], list[bool], list[float]]:
    labels, starts, times_s = [], [], []
    with path.open("wb", buffering=_BUFFER_BYTES) as file, ProgressLine() as line:
        for sample in samples:
            file.write(sample.picture.tobytes())
            labels.append(sample.labels)
            starts.append(sample.starts or len(labels) == 1)
            times_s.append(sample.time_s)
            line.show(f"preparing frames of {path.parent.stem}: {len(labels)}")
    return labels, starts, times_s
