"""Where pictures come from: a folder, a video, a camera."""

from __future__ import annotations

import dataclasses
import itertools
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from steerstream.answers import ControlValues
from steerstream.drive.labels import Label, Labels, is_break, usual_period_ns
from steerstream.drive.video import library_path
from steerstream.errors import MediaError
from steerstream.extras import opencv

DEFAULT_RATE_HZ = 20.0
"""Where a source does not say its own: that of the recordings the networks are trained on."""

Picture = bytes | NDArray[np.uint8]
"""A JPEG file, or pixels [height, width, 3] in RGB."""

_JPEG_SUFFIXES = frozenset({".jpg", ".jpeg"})
_OTHER_SUFFIXES = frozenset({".png", ".bmp", ".ppm"})
_UNITS_NS = {19: 1, 16: 1_000, 13: 1_000_000}
"""Nanoseconds in the unit of a file name that is a time of this century, by its digits."""

_SECONDS = re.compile(r"(\d{10})\.(\d{1,9})")
"""A file name that is such a time in seconds."""

_FIRST_NS = 1_000_000_000
"""Capture time of the first picture where a source counts from 0, which on the wire means none."""


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
    assumed: str = ""
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
        return _folder(path, labels, rate_hz)
    if labels is not None:
        raise MediaError(f"labels go with a folder of pictures, and {source} is none")
    if is_camera:
        return _camera(source, rate_hz)
    if path.is_file():
        return _video(path, rate_hz)
    raise MediaError(f"there is no source {source}; give a folder, a video file or a camera number")


def decode(image: Picture, name: str = "a picture of the source") -> NDArray[np.uint8]:
    """Return the pixels [height, width, 3] in RGB of a picture; its name is for the error.

    Raises:
        MediaError: it is damaged.
    """
    if not isinstance(image, bytes):
        return image
    cv2 = opencv("decoding a picture")
    encoded = np.frombuffer(image, np.uint8)
    pixels: NDArray[np.uint8] | None = None
    if encoded.size:
        pixels = cv2.imdecode(encoded, cv2.IMREAD_COLOR_RGB)
    if pixels is None:
        raise MediaError(f"{name} is damaged")
    return pixels


def _folder(folder: Path, labels: Labels | None, rate_hz: float | None) -> Source:
    if labels is None:
        paths = _pictures(folder)
        times_ns = _times_ns(paths)
        truths: list[ControlValues | None] = [None] * len(paths)
    else:
        paths = [_labelled_picture(folder, label) for label in labels.rows]
        times_ns = [label.frame_id for label in labels.rows]
        truths = [label.truth for label in labels.rows]
    assumed = ""
    if times_ns is None:
        used_hz = rate_hz or DEFAULT_RATE_HZ
        times_ns = [_FIRST_NS + round(index * 1e9 / used_hz) for index in range(len(paths))]
        if rate_hz is None:
            assumed = f"the file names are no times: {used_hz:g} pictures a second are assumed"
    own_ns = labels.period_ns if labels else usual_period_ns(times_ns)
    own_ns = own_ns or 1e9 / DEFAULT_RATE_HZ
    used_rate_hz = rate_hz or 1e9 / own_ns
    taken = ((_read(path), time_ns) for path, time_ns in zip(paths, times_ns, strict=True))
    frames = (
        dataclasses.replace(frame, truth=truth)
        for frame, truth in zip(_recorded(taken, own_ns, used_rate_hz), truths, strict=True)
    )
    return Source(str(folder), used_rate_hz, len(paths), frames, assumed)


def _pictures(folder: Path) -> list[Path]:
    suffixes = _JPEG_SUFFIXES | _OTHER_SUFFIXES
    paths = [path for path in folder.iterdir() if path.suffix.lower() in suffixes]
    if not paths:
        raise MediaError(f"the folder {folder} has no pictures ({', '.join(sorted(suffixes))})")
    return sorted(paths, key=_natural)


def _natural(path: Path) -> list[tuple[int, str]]:
    """Return a key by which `frame_9` comes before `frame_10`."""
    parts = re.split(r"(\d+)", path.name)
    return [(int(part), part) if part.isdecimal() else (-1, part) for part in parts]


def _labelled_picture(folder: Path, label: Label) -> Path:
    if not label.filename:
        raise MediaError(f"{label.place}: needs a column filename, which names the pictures")
    for path in (folder / label.filename, folder / Path(label.filename).name):
        if path.is_file():
            return path
    raise MediaError(f"{label.place}: the folder {folder} has no picture {label.filename}")


def _times_ns(paths: Sequence[Path]) -> list[int] | None:
    """Return the times that the file names are, or None if one is no time or no later one."""
    times_ns = [_time_ns(path.stem) for path in paths]
    known = [time_ns for time_ns in times_ns if time_ns is not None]
    later = all(before < after for before, after in itertools.pairwise(known))
    return known if later and len(known) == len(paths) else None


def _time_ns(name: str) -> int | None:
    if name.isdecimal() and len(name) in _UNITS_NS:
        return int(name) * _UNITS_NS[len(name)]
    seconds = _SECONDS.fullmatch(name)
    return int(seconds[1] + seconds[2].ljust(9, "0")) if seconds else None


def _recorded(
    taken: Iterator[tuple[Picture, int]], period: float, rate_hz: float
) -> Iterator[SourceFrame]:
    """Yield pictures at the times that they were taken at; missing stretches are not waited for.

    Args:
        taken: the pictures, each with its time in nanoseconds.
        period: nanoseconds that usually lie between two of them.
        rate_hz: pictures a second that they are sent at.
    """
    speed_up = rate_hz * period / 1e9
    elapsed_ns, before_ns = 0.0, None
    for picture, time_ns in taken:
        step_ns = 0 if before_ns is None else time_ns - before_ns
        starts_anew = before_ns is not None and is_break(step_ns, period)
        elapsed_ns += period if starts_anew else step_ns
        before_ns = time_ns
        yield SourceFrame(picture, round(elapsed_ns / speed_up), time_ns, starts_anew)


def _read(path: Path) -> Picture:
    try:
        encoded = path.read_bytes()
    except OSError as error:
        raise MediaError(f"cannot read the picture {path}: {error.strerror}") from error
    return encoded if path.suffix.lower() in _JPEG_SUFFIXES else decode(encoded, str(path))


def _video(path: Path, rate_hz: float | None) -> Source:
    cv2 = opencv("reading a video")
    capture = cv2.VideoCapture(library_path(path))
    if not capture.isOpened():
        raise MediaError(f"cannot read the video {path}")
    own_hz = capture.get(cv2.CAP_PROP_FPS)
    assumed = "" if own_hz or rate_hz else f"the video tells no rate: {DEFAULT_RATE_HZ:g} Hz"
    own_hz = own_hz or rate_hz or DEFAULT_RATE_HZ
    used_rate_hz = rate_hz or own_hz
    count = int(capture.get(cv2.CAP_PROP_FRAME_COUNT))
    frames = _recorded(_timed(cv2, capture, 1e9 / own_hz), 1e9 / own_hz, used_rate_hz)
    return Source(str(path), used_rate_hz, count if count > 0 else None, frames, assumed)


def _timed(
    cv2: Any,  # noqa: ANN401
    capture: Any,  # noqa: ANN401
    period: float,
) -> Iterator[tuple[Picture, int]]:
    """Yield each picture of a video with the time that its container tells.

    Where that does not go forward, as in a stream without times, one period is added.
    """
    before_ns: int | None = None
    for picture in _read_all(cv2, capture):
        time_ns = _FIRST_NS + round(capture.get(cv2.CAP_PROP_POS_MSEC) * 1e6)
        if before_ns is not None and time_ns <= before_ns:
            time_ns = before_ns + round(period)
        before_ns = time_ns
        yield picture, time_ns


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
    frames = (SourceFrame(picture, due_ns=0) for picture in _read_all(cv2, capture))
    return Source(f"camera {source}", used_rate_hz, None, frames, is_live=True)


def _read_all(cv2: Any, capture: Any) -> Iterator[Picture]:  # noqa: ANN401
    try:
        while True:
            ok, bgr = capture.read()
            if not ok:
                return
            yield cv2.cvtColor(bgr, cv2.COLOR_BGR2RGB)
    finally:
        capture.release()
