"""A video file, by the times that its container tells, and raw H.264 or H.265 that tells none."""

from __future__ import annotations

import functools
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from steerstream.errors import MediaError
from steerstream.extras import opencv
from steerstream.sources.pictures import Picture
from steerstream.sources.recording import DEFAULT_RATE_HZ, FIRST_NS, RecordedFrame, Recording

_START_CODES = (b"\x00\x00\x00\x01", b"\x00\x00\x01")
"""What a stream of H.264 or H.265 without a container begins with."""

_CONTAINERS = (b"\x1aE\xdf\xa3", b"RIFF", b"OggS", b"FLV", b"\x47", b"\x00\x00\x01\xba")
"""What containers begin with: Matroska, AVI, Ogg, Flash, and MPEG's streams. MP4 has `ftyp`."""


def library_path(path: Path) -> str:
    """Return a path as the video library may be given it: absolute, and text.

    It takes what stands before a colon for a protocol, and ends the process where a name is not
    UTF-8.

    Raises:
        MediaError: the path is not UTF-8.
    """
    text = str(path.absolute())
    try:
        text.encode()
    except UnicodeEncodeError:
        raise MediaError(f"{text!r} is not UTF-8, which videos need; rename it") from None
    return text


def recognises(path: Path) -> bool:
    """Return whether a file is a video, by its first bytes."""
    if not path.is_file():
        return False
    with path.open("rb") as file:
        begins = file.read(16)
    return begins.startswith((*_START_CODES, *_CONTAINERS)) or begins[4:8] == b"ftyp"


def is_raw_stream(path: Path) -> bool:
    """Return whether a file is a stream of H.264 or H.265 without a container."""
    with path.open("rb") as file:
        begins = file.read(4)
    # The last one is a container: a program stream of MPEG.
    return begins.startswith(_START_CODES) and begins != _CONTAINERS[-1]


def open_video(path: Path, rate_hz: float | None = None) -> Recording:
    """Open a video.

    Args:
        path: the file.
        rate_hz: pictures a second where the file does not tell. For a raw stream the video library
            says 25 whatever it states, so that this counts alone.

    Raises:
        MediaError: it cannot be read.
        MissingExtra: OpenCV is not installed.
    """
    cv2 = opencv("reading a video")
    capture = _opened(cv2, path)
    told_hz, count = capture.get(cv2.CAP_PROP_FPS), int(capture.get(cv2.CAP_PROP_FRAME_COUNT))
    capture.release()
    is_raw = is_raw_stream(path)
    if is_raw:
        told_hz, count = 0.0, 0
    assumed = () if told_hz or rate_hz else (f"the video tells no rate: {DEFAULT_RATE_HZ:g} Hz",)
    period_ns = 1e9 / (told_hz or rate_hz or DEFAULT_RATE_HZ)
    read = functools.partial(_frames, cv2, path, period_ns, has_times=not is_raw)
    return Recording(str(path), read, period_ns, count if count > 0 else None, assumed)


def read_all(cv2: Any, capture: Any) -> Iterator[Picture]:  # noqa: ANN401
    """Yield the pictures of a video or a camera of OpenCV's to its end, and release it."""
    try:
        while True:
            ok, bgr = capture.read()
            if not ok:
                return
            yield cv2.cvtColor(bgr, cv2.COLOR_BGR2RGB)
    finally:
        capture.release()


def _opened(cv2: Any, path: Path) -> Any:  # noqa: ANN401
    capture = cv2.VideoCapture(library_path(path))
    if not capture.isOpened():
        raise MediaError(f"cannot read the video {path}")
    return capture


def _frames(
    cv2: Any,  # noqa: ANN401
    path: Path,
    period_ns: float,
    *,
    has_times: bool,
) -> Iterator[RecordedFrame]:
    """Yield each picture with the time that its container tells.

    Where that does not go forward, as in a stream without times, one period is added.
    """
    capture = _opened(cv2, path)
    before_ns: int | None = None
    for index, picture in enumerate(read_all(cv2, capture)):
        if has_times:
            time_ns = FIRST_NS + round(capture.get(cv2.CAP_PROP_POS_MSEC) * 1e6)
            if before_ns is not None and time_ns <= before_ns:
                time_ns = before_ns + round(period_ns)
        else:
            time_ns = FIRST_NS + round(index * period_ns)
        before_ns = time_ns
        yield RecordedFrame(_given(picture), time_ns, place=f"{path}, picture {index + 1}")


def _given(picture: Picture) -> functools.partial[Picture]:
    return functools.partial(_same, picture)


def _same(picture: Picture) -> Picture:
    return picture
