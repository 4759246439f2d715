"""Writing a video, picture by picture."""

from __future__ import annotations

import argparse
import contextlib
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from steerstream import whole_file
from steerstream.command_line import output_file
from steerstream.errors import MediaError, OutputLost
from steerstream.extras import opencv
from steerstream.sources.video import library_path

CODEC = "mp4v"
"""MPEG-4 part 2: every build of OpenCV has it, where H.264 depends on the machine."""

SUFFIX = ".mp4"


def video_file(text: str) -> Path:
    """Read the path of a video to write, and find out before the work that it can be written."""
    try:
        _check_name(Path(text))
    except MediaError as error:
        raise argparse.ArgumentTypeError(str(error)) from None
    return output_file(text)


def _check_name(path: Path) -> None:
    library_path(path)
    if path.suffix.lower() != SUFFIX:
        raise MediaError(f"cannot write a video to {path}; its name must end in {SUFFIX}")


class VideoFile:
    """An MP4 file that takes pictures; a context manager.

    The file is there once it is whole and can be read back, also when the block ends with an error.

    Args:
        path: where to write it; its folder is made where it is missing.
        rate_hz: pictures a second.

    Raises:
        MediaError: it cannot be written there.
        MissingExtra: OpenCV is not installed.
    """

    def __init__(self, path: Path | str, *, rate_hz: float) -> None:
        self.path = Path(path)
        self._rate_hz = rate_hz
        self._cv2 = opencv("writing a video")
        self._writer: Any = None
        self._part = self.path
        self._shape: tuple[int, ...] = ()
        self._count = 0
        self._replacing = contextlib.ExitStack()
        _check_name(self.path)
        try:
            whole_file.check_writable(self.path)
        except OSError as error:
            raise MediaError(f"cannot write {self.path}: {error.strerror}") from error

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def write(self, image_rgb: NDArray[np.uint8]) -> None:
        """Append a picture [height, width, 3] in RGB; the first one sets the size.

        Raises:
            MediaError: the picture has another size.
            OutputLost: the file cannot be written.
        """
        if self._writer is None:
            self._open(image_rgb.shape)
        if image_rgb.shape != self._shape:
            raise MediaError(
                f"all pictures of {self.path} must have shape {list(self._shape)}, "
                f"not {list(image_rgb.shape)}"
            )
        self._writer.write(self._cv2.cvtColor(image_rgb, self._cv2.COLOR_RGB2BGR))
        self._count += 1

    def close(self) -> None:
        """Finish the file. Calling it again does nothing.

        Raises:
            OutputLost: it cannot be read back, as when the disk is full; it is removed.
        """
        if self._writer is None:
            return
        self._writer.release()
        self._writer = None
        try:
            with self._replacing:
                if not self._is_whole():
                    raise OutputLost(f"the video {self.path} is lost: is the disk full?")
        except OSError as error:
            raise OutputLost(f"the video {self.path} is lost: {error.strerror}") from error

    def _open(self, shape: tuple[int, ...]) -> None:
        cv2 = self._cv2
        height_px, width_px = shape[:2]
        try:
            self._part = self._replacing.enter_context(whole_file.replacing(self.path))
        except OSError as error:
            raise OutputLost(f"cannot write {self.path}: {error.strerror}") from error
        codec = cv2.VideoWriter.fourcc(*CODEC)
        part = library_path(self._part)
        writer = cv2.VideoWriter(part, codec, self._rate_hz, (width_px, height_px))
        if not writer.isOpened():
            with self._replacing:
                raise OutputLost(f"cannot write a video to {self.path}")
        self._writer, self._shape = writer, shape

    def _is_whole(self) -> bool:
        """Whether all pictures can be read back, by the index and by the last one.

        The library reports no error while it writes.
        """
        cv2 = self._cv2
        video = cv2.VideoCapture(library_path(self._part))
        try:
            counted = video.get(cv2.CAP_PROP_FRAME_COUNT) == self._count
            video.set(cv2.CAP_PROP_POS_FRAMES, self._count - 1)
            return bool(counted and video.read()[0])
        finally:
            video.release()
