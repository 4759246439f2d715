"""Where pictures come from: a folder, a video, a camera."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from steerstream.answers import ControlValues
from steerstream.drive.labels import RESET_GAP_NS, Label
from steerstream.errors import MediaError
from steerstream.extras import opencv

DEFAULT_RATE_HZ = 20.0
"""Where a source does not say its own: that of the recordings the networks are trained on."""

Picture = bytes | NDArray[np.uint8]
"""A JPEG file, or pixels [height, width, 3] in RGB."""

_JPEG_SUFFIXES = frozenset({".jpg", ".jpeg"})
_OTHER_SUFFIXES = frozenset({".png", ".bmp", ".ppm"})
_FRAME_ID_DIGITS = 19
"""Digits of a file name that is a time in nanoseconds."""


@dataclasses.dataclass(frozen=True, slots=True)
class SourceFrame:
    """One picture of a source.

    Attributes:
        image: a JPEG file, or pixels [height, width, 3] in RGB.
        due_ns: when it is due, in nanoseconds since the first one.
        capture_time_ns: when it was taken, by the recording's clock; None for now.
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
        is_live: whether pictures are there only when they are taken.
    """

    name: str
    rate_hz: float
    count: int | None
    frames: Iterator[SourceFrame]
    is_live: bool = False


def open_source(
    source: str, *, labels: Sequence[Label] | None = None, rate_hz: float | None = None
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
    is_camera = source.isdecimal() or source.startswith("/dev/video")
    if path.is_dir() and not is_camera:
        return _folder(path, labels, rate_hz)
    if labels is not None:
        raise MediaError(f"labels go with a folder of pictures, and {source} is none")
    if is_camera:
        return _camera(source, rate_hz)
    if path.is_file():
        return _video(path, rate_hz)
    raise MediaError(f"there is no source {source}; give a folder, a video file or a camera number")


def decode(image: Picture) -> NDArray[np.uint8]:
    """Return the pixels [height, width, 3] in RGB of a picture.

    Raises:
        MediaError: it is damaged.
    """
    if not isinstance(image, bytes):
        return image
    cv2 = opencv("decoding a picture")
    pixels: NDArray[np.uint8] | None = cv2.imdecode(
        np.frombuffer(image, np.uint8), cv2.IMREAD_COLOR_RGB
    )
    if pixels is None:
        raise MediaError("a picture of the source is damaged")
    return pixels


def _folder(folder: Path, labels: Sequence[Label] | None, rate_hz: float | None) -> Source:
    if labels is None:
        paths = _pictures(folder)
        frame_ids = _frame_ids(paths)
        truths: list[ControlValues | None] = [None] * len(paths)
    else:
        paths = [_labelled_picture(folder, label) for label in labels]
        frame_ids = [label.frame_id for label in labels]
        truths = [label.truth for label in labels]
    own_rate_hz = _rate(frame_ids) if frame_ids else DEFAULT_RATE_HZ
    used_rate_hz = rate_hz or own_rate_hz
    if frame_ids is None:
        frames = _evenly(paths, used_rate_hz)
    else:
        speed_up = used_rate_hz / own_rate_hz
        frames = _recorded(paths, frame_ids, truths, round(1e9 / own_rate_hz), speed_up)
    return Source(str(folder), used_rate_hz, len(paths), frames)


def _pictures(folder: Path) -> list[Path]:
    suffixes = _JPEG_SUFFIXES | _OTHER_SUFFIXES
    paths = sorted(path for path in folder.iterdir() if path.suffix.lower() in suffixes)
    if not paths:
        raise MediaError(f"the folder {folder} has no pictures ({', '.join(sorted(suffixes))})")
    return paths


def _labelled_picture(folder: Path, label: Label) -> Path:
    for path in (folder / label.filename, folder / Path(label.filename).name):
        if path.is_file():
            return path
    raise MediaError(f"the folder {folder} has no picture {label.filename}, which is labelled")


def _frame_ids(paths: Sequence[Path]) -> list[int] | None:
    """Return the times that the file names are, or None if they are no times."""
    stems = [path.stem for path in paths]
    if all(stem.isdecimal() and len(stem) == _FRAME_ID_DIGITS for stem in stems):
        return [int(stem) for stem in stems]
    return None


def _rate(frame_ids: Sequence[int]) -> float:
    """Return the pictures a second between missing ones."""
    steps = [after - before for before, after in itertools.pairwise(frame_ids)]
    usual = sorted(step for step in steps if 0 < step <= RESET_GAP_NS)
    return 1e9 / usual[len(usual) // 2] if usual else DEFAULT_RATE_HZ


def _recorded(
    paths: Sequence[Path],
    frame_ids: Sequence[int],
    truths: Sequence[ControlValues | None],
    period_ns: int,
    speed_up: float,
) -> Iterator[SourceFrame]:
    """Yield pictures at the times that they were taken at; missing stretches are not waited for."""
    elapsed_ns = 0
    previous_id = frame_ids[0]
    for path, frame_id, truth in zip(paths, frame_ids, truths, strict=True):
        step_ns = frame_id - previous_id
        starts_anew = step_ns > RESET_GAP_NS or step_ns < 0
        elapsed_ns += period_ns if starts_anew else step_ns
        previous_id = frame_id
        yield SourceFrame(_read(path), round(elapsed_ns / speed_up), frame_id, starts_anew, truth)


def _evenly(paths: Sequence[Path], rate_hz: float) -> Iterator[SourceFrame]:
    for index, path in enumerate(paths):
        yield SourceFrame(_read(path), round(index * 1e9 / rate_hz))


def _read(path: Path) -> Picture:
    if path.suffix.lower() not in _JPEG_SUFFIXES:
        cv2 = opencv(f"reading {path}")
        pixels: Picture | None = cv2.imread(str(path), cv2.IMREAD_COLOR_RGB)
        if pixels is None:
            raise MediaError(f"cannot read the picture {path}")
        return pixels
    try:
        return path.read_bytes()
    except OSError as error:
        raise MediaError(f"cannot read the picture {path}: {error.strerror}") from error


def _video(path: Path, rate_hz: float | None) -> Source:
    cv2 = opencv("reading a video")
    capture = cv2.VideoCapture(str(path))
    if not capture.isOpened():
        raise MediaError(f"cannot read the video {path}")
    used_rate_hz = rate_hz or capture.get(cv2.CAP_PROP_FPS) or DEFAULT_RATE_HZ
    count = int(capture.get(cv2.CAP_PROP_FRAME_COUNT))
    frames = _captured(cv2, capture, used_rate_hz)
    return Source(str(path), used_rate_hz, count if count > 0 else None, frames)


def _camera(source: str, rate_hz: float | None) -> Source:
    cv2 = opencv("reading a camera")
    capture = cv2.VideoCapture(int(source) if source.isdecimal() else source)
    if not capture.isOpened():
        raise MediaError(f"cannot open the camera {source}")
    # One picture in the driver's buffer: an old one is worth nothing.
    capture.set(cv2.CAP_PROP_BUFFERSIZE, 1)
    if rate_hz:
        capture.set(cv2.CAP_PROP_FPS, rate_hz)
    used_rate_hz = rate_hz or capture.get(cv2.CAP_PROP_FPS) or DEFAULT_RATE_HZ
    frames = _captured(cv2, capture, used_rate_hz)
    return Source(f"camera {source}", used_rate_hz, None, frames, is_live=True)


def _captured(cv2: Any, capture: Any, rate_hz: float) -> Iterator[SourceFrame]:  # noqa: ANN401
    try:
        for index in itertools.count():
            ok, bgr = capture.read()
            if not ok:
                return
            yield SourceFrame(cv2.cvtColor(bgr, cv2.COLOR_BGR2RGB), round(index * 1e9 / rate_hz))
    finally:
        capture.release()
