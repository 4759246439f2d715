"""One interface for all recordings: frames with their times, their labels, and their breaks."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Sequence

from steerstream.answers import ControlValues
from steerstream.errors import MediaError
from steerstream.sources.labels import check_time_ns, is_break, usual_period_ns
from steerstream.sources.pictures import Picture

DEFAULT_RATE_HZ = 20.0
"""Where a recording does not say its own: that of the ones the networks are trained on."""

FIRST_NS = 1_000_000_000
"""Capture time of the first frame where a recording counts from 0, which on the wire means none."""


@dataclasses.dataclass(frozen=True, slots=True)
class RecordedFrame:
    """One frame of a recording.

    Attributes:
        load: reads or decodes the picture; to be called before the next frame is asked for.
        capture_time_ns: when it was taken, by a clock that the whole recording shares.
        truth: its labels; None where there are none.
        starts_anew: whether frames before it are missing, so that the recurrent state begins again.
        place: where it stands, such as `labels.csv:7`, for errors.
        block: name of a stretch of the recording; empty if it has none.
        split: what the frame is for, such as `train`; empty if the recording does not say.
    """

    load: Callable[[], Picture]
    capture_time_ns: int
    truth: ControlValues | None = None
    starts_anew: bool = False
    place: str = ""
    block: str = ""
    split: str = ""


@dataclasses.dataclass(frozen=True, slots=True)
class Recording:
    """Frames in the order in which they were taken.

    Attributes:
        name: for people.
        read: yields all frames, from the first one whenever it is called; it marks no break but
            those that times do not show, such as the begin of another drive.
        period_ns: time that usually lies between two frames, by which breaks are found.
        count: how many frames there are; None where nobody knows before they are read.
        assumed: what is taken for granted because the recording does not tell.
        splits: the splits of its frames.
    """

    name: str
    read: Callable[[], Iterator[RecordedFrame]]
    period_ns: float
    count: int | None = None
    assumed: tuple[str, ...] = ()
    splits: frozenset[str] = frozenset()

    @property
    def rate_hz(self) -> float:
        """Frames a second."""
        return 1e9 / self.period_ns

    def of_split(self, split: str) -> Recording:
        """Return the frames of one split; missing frames in between are breaks.

        Raises:
            MediaError: no frame belongs to it.
        """
        if split not in self.splits:
            known = ", ".join(sorted(self.splits)) or "none"
            raise MediaError(f"{self.name}: no row of split {split!r}; it has: {known}")
        chosen = tuple(_of_split(self.read(), split))
        return dataclasses.replace(
            self, read=lambda: iter(chosen), count=len(chosen), splits=frozenset({split})
        )

    def frames(self) -> Iterator[RecordedFrame]:
        """Yield all frames, with their breaks.

        Raises:
            MediaError: the recording or a part of it cannot be read, or it has no frame.
        """
        before_ns: int | None = None
        for frame in self.read():
            try:
                check_time_ns(frame.capture_time_ns)
            except ValueError as error:
                raise MediaError(f"{frame.place or self.name}: {error}") from None
            starts_anew = before_ns is not None and (
                frame.starts_anew or is_break(frame.capture_time_ns - before_ns, self.period_ns)
            )
            before_ns = frame.capture_time_ns
            yield dataclasses.replace(frame, starts_anew=starts_anew)
        if before_ns is None:
            raise MediaError(f"{self.name}: has no frame")


def _of_split(frames: Iterator[RecordedFrame], split: str) -> Iterator[RecordedFrame]:
    """Yield the frames of a split; a break among others counts for the next one."""
    pending = False
    for frame in frames:
        pending |= frame.starts_anew
        if frame.split == split:
            yield dataclasses.replace(frame, starts_anew=pending)
            pending = False


def of_frames(
    name: str,
    frames: Sequence[RecordedFrame],
    *,
    period_ns: float = 0.0,
    assumed: tuple[str, ...] = (),
) -> Recording:
    """Return a recording of frames that are all known.

    Args:
        name: for people, and for errors.
        frames: in the order in which they were taken.
        period_ns: time that usually lies between two; by default that of these.
        assumed: what is taken for granted.

    Raises:
        MediaError: there is no frame.
    """
    if not frames:
        raise MediaError(f"{name}: has no frame")
    usual_ns = period_ns or usual_period_ns([frame.capture_time_ns for frame in frames])
    return Recording(
        name=name,
        read=lambda: iter(frames),
        period_ns=usual_ns or 1e9 / DEFAULT_RATE_HZ,
        count=len(frames),
        assumed=assumed,
        splits=frozenset(frame.split for frame in frames) - {""},
    )
