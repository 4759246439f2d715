"""Where the pictures of a drive come from: a recording, at its pace, or a camera."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from steerstream.answers import ControlValues
from steerstream.errors import MediaError
from steerstream.extras import opencv
from steerstream.sources.formats import open_recording
from steerstream.sources.options import ReadOptions
from steerstream.sources.pictures import Picture
from steerstream.sources.recording import DEFAULT_RATE_HZ, Recording
from steerstream.sources.video import read_all

_ADDRESSES = ("rtsp://", "rtsps://", "http://", "https://", "udp://", "tcp://")
_BETWEEN_ELEMENTS = " ! "
"""Of a pipeline of GStreamer."""

_AS_IT_SAYS = ReadOptions()


@dataclasses.dataclass(frozen=True, slots=True)
class SourceFrame:
    """One picture of a source.

    Attributes:
        image: a JPEG file, or pixels [height, width, 3] in RGB.
        due_ns: when it is due, in nanoseconds since the first one; 0 for a camera's.
        capture_time_ns: when it was taken, by the recording's clock less what is missing before
            it; None for a camera's, which is taken as it is sent.
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
    source: str,
    options: ReadOptions = _AS_IT_SAYS,
    *,
    labels: Path | None = None,
    split: str = "",
    name: str = "",
) -> Source:
    """Open a recording, or a camera by its number, device, address or pipeline.

    Args:
        source: a file or a folder; or `0`, `1`, ..., `/dev/videoN`, an address such as
            `rtsp://HOST/PATH`, or a pipeline of GStreamer with `!` between its elements.
        options: what a recording does not say by itself. The rate is that at which pictures are
            sent, too; by default the source's own.
        labels: a file of labels that names the pictures in the folder `source`; only those are
            sent, in its order.
        split: send only the frames of this split of a recording; all if it is empty.
        name: of the recording's format; by default the one that recognises it.

    Raises:
        MediaError: there is nothing to read, or it cannot be read.
        MissingExtra: a package is needed and not installed.
    """
    path = Path(source)
    if labels is not None:
        if not path.is_dir():
            raise MediaError(f"labels go with a folder of pictures, and {source} is none")
        path, options = labels, dataclasses.replace(options, images=path)
    elif _is_camera(source):
        if split:
            raise MediaError("--split chooses frames of a recording, and a camera is none")
        return _camera(source, options.rate_hz)
    recording = open_recording(path, options, name)
    return paced(recording.of_split(split) if split else recording, options.rate_hz)


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
    """Yield frames with their times, out of which missing stretches are taken."""
    speed_up = rate_hz / recording.rate_hz
    period_ns = round(recording.period_ns)
    first_ns = before_ns = None
    elapsed_ns = 0
    for frame in recording.frames():
        if first_ns is None or before_ns is None:
            first_ns = frame.capture_time_ns
        else:
            step_ns = frame.capture_time_ns - before_ns
            elapsed_ns += period_ns if frame.starts_anew else step_ns
        before_ns = frame.capture_time_ns
        yield SourceFrame(
            frame.load(),
            round(elapsed_ns / speed_up),
            first_ns + elapsed_ns,
            frame.starts_anew,
            frame.truth,
        )


def _is_camera(source: str) -> bool:
    return (
        _is_number(source)
        or source.startswith(("/dev/video", *_ADDRESSES))
        or _BETWEEN_ELEMENTS in source
    )


def _is_number(source: str) -> bool:
    return source.isascii() and source.isdecimal()


def _camera(source: str, rate_hz: float | None) -> Source:
    cv2 = opencv("reading a camera")
    is_pipeline = _BETWEEN_ELEMENTS in source
    capture = cv2.VideoCapture(
        int(source) if _is_number(source) else source,
        cv2.CAP_GSTREAMER if is_pipeline else cv2.CAP_ANY,
    )
    if not capture.isOpened():
        lacks = is_pipeline and "GStreamer" not in _backends(cv2)
        hint = "; this build of OpenCV has no GStreamer" if lacks else ""
        raise MediaError(f"cannot open the camera {source}{hint}")
    # One picture in the driver's buffer: an old one is worth nothing.
    capture.set(cv2.CAP_PROP_BUFFERSIZE, 1)
    if rate_hz:
        capture.set(cv2.CAP_PROP_FPS, rate_hz)
    used_rate_hz = rate_hz or capture.get(cv2.CAP_PROP_FPS) or DEFAULT_RATE_HZ
    frames = (SourceFrame(picture, due_ns=0) for picture in read_all(cv2, capture))
    return Source(f"camera {source}", used_rate_hz, None, frames, is_live=True)


def _backends(cv2: Any) -> list[str]:  # noqa: ANN401
    registry = cv2.videoio_registry
    return [registry.getBackendName(backend) for backend in registry.getBackends()]
