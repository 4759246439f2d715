"""Where the pictures of a drive come from: a recording, at its pace, or a camera."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from pathlib import Path

from steerstream.answers import ControlValues
from steerstream.errors import MediaError
from steerstream.extras import opencv
from steerstream.sources.folder import open_folder, open_labelled
from steerstream.sources.labels import Labels
from steerstream.sources.pictures import Picture
from steerstream.sources.recording import DEFAULT_RATE_HZ, Recording
from steerstream.sources.video import open_video, read_all


@dataclasses.dataclass(frozen=True, slots=True)
class SourceFrame:
    """One picture of a source.

    Attributes:
        image: a JPEG file, or pixels [height, width, 3] in RGB.
        due_ns: when it is due, in nanoseconds since the first one; 0 for a camera's.
        capture_time_ns: when it was taken, by the recording's clock; None for a camera's, which is
            taken as it is sent.
        starts_anew: whether frames before it are missing, so that the state begins anew.
        truth: its labels; None if there are none.
    """

    image: Picture
    due_ns: int
    capture_time_ns: int | None = None
    starts_anew: bool = False
    truth: ControlValues | None = None


@dataclasses.dataclass(frozen=True, slots=True)
class Source:
    """Pictures in order.

    Attributes:
        name: for people.
        rate_hz: pictures a second.
        count: how many there are; None where nobody knows.
        frames: the pictures; reading one may take a while.
        assumed: what is taken for granted because the source does not tell; empty for nothing.
        is_live: whether pictures are there only when they are taken.
    """

    name: str
    rate_hz: float
    count: int | None
    frames: Iterator[SourceFrame]
    assumed: tuple[str, ...] = ()
    is_live: bool = False


def open_source(
    source: str, *, labels: Labels | None = None, rate_hz: float | None = None
) -> Source:
    """Open a folder of pictures, a video file, or a camera by its number or device.

    Args:
        source: a folder, a file, `0`, `1`, ..., or `/dev/videoN`.
        labels: send only these pictures, in this order; only for a folder.
        rate_hz: pictures a second; by default the source's own.

    Raises:
        MediaError: there is nothing to read, or it cannot be read.
        MissingExtra: OpenCV is needed and not installed.
    """
    path = Path(source)
    is_camera = _is_number(source) or source.startswith("/dev/video")
    if path.is_dir() and not is_camera:
        return paced(
            open_folder(path, rate_hz) if labels is None else open_labelled(path, labels), rate_hz
        )
    if labels is not None:
        raise MediaError(f"labels go with a folder of pictures, and {source} is none")
    if is_camera:
        return _camera(source, rate_hz)
    if path.is_file():
        return paced(open_video(path, rate_hz), rate_hz)
    raise MediaError(f"there is no source {source}; give a folder, a video file or a camera number")


def paced(recording: Recording, rate_hz: float | None = None) -> Source:
    """Return a recording as a source.

    Args:
        recording: where the pictures are from.
        rate_hz: pictures a second that they are sent at; by default the recording's own.
    """
    used_hz = rate_hz or recording.rate_hz
    return Source(
        recording.name, used_hz, recording.count, _due(recording, used_hz), recording.assumed
    )


def _due(recording: Recording, rate_hz: float) -> Iterator[SourceFrame]:
    """Yield frames with the times that they are due at; missing stretches are not waited for."""
    speed_up = rate_hz / recording.rate_hz
    elapsed_ns, before_ns = 0.0, None
    for frame in recording.frames():
        if before_ns is not None:
            step_ns = frame.capture_time_ns - before_ns
            elapsed_ns += recording.period_ns if frame.starts_anew else step_ns
        before_ns = frame.capture_time_ns
        yield SourceFrame(
            frame.load(),
            round(elapsed_ns / speed_up),
            frame.capture_time_ns,
            frame.starts_anew,
            frame.truth,
        )


def _is_number(source: str) -> bool:
    return source.isascii() and source.isdecimal()


def _camera(source: str, rate_hz: float | None) -> Source:
    cv2 = opencv("reading a camera")
    capture = cv2.VideoCapture(int(source) if _is_number(source) else source)
    if not capture.isOpened():
        raise MediaError(f"cannot open the camera {source}")
    # One picture in the driver's buffer: an old one is worth nothing.
    capture.set(cv2.CAP_PROP_BUFFERSIZE, 1)
    if rate_hz:
        capture.set(cv2.CAP_PROP_FPS, rate_hz)
    used_rate_hz = rate_hz or capture.get(cv2.CAP_PROP_FPS) or DEFAULT_RATE_HZ
    frames = (SourceFrame(picture, due_ns=0) for picture in read_all(cv2, capture))
    return Source(f"camera {source}", used_rate_hz, None, frames, is_live=True)
