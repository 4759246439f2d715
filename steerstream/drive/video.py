"""Writing a video, picture by picture."""

from __future__ import annotations

from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from steerstream.errors import MediaError
from steerstream.extras import opencv

CODEC = "mp4v"
"""MPEG-4 part 2: every build of OpenCV has it, where H.264 depends on the machine."""


class VideoFile:
    """An MP4 file that takes pictures; a context manager.

    Args:
        path: where to write it; its folder is made where it is missing.
        rate_hz: pictures a second.

    Raises:
        MediaError: the folder cannot be made.
        MissingExtra: OpenCV is not installed.
    """

    def __init__(self, path: Path | str, *, rate_hz: float) -> None:
        self.path = Path(path)
        self._rate_hz = rate_hz
        self._cv2 = opencv("writing a video")
        self._writer: Any = None
        self._shape: tuple[int, ...] = ()
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise MediaError(f"cannot make the folder of {self.path}: {error.strerror}") from error

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
            MediaError: the file cannot be written, or the picture has another size.
        """
        if self._writer is None:
            self._open(image_rgb.shape)
        if image_rgb.shape != self._shape:
            raise MediaError(
                f"all pictures of {self.path} must have shape {list(self._shape)}, "
                f"not {list(image_rgb.shape)}"
            )
        self._writer.write(self._cv2.cvtColor(image_rgb, self._cv2.COLOR_RGB2BGR))

    def close(self) -> None:
        """Finish the file. Calling it again does nothing."""
        if self._writer is not None:
            self._writer.release()
            self._writer = None

    def _open(self, shape: tuple[int, ...]) -> None:
        cv2 = self._cv2
        height_px, width_px = shape[:2]
        codec = cv2.VideoWriter.fourcc(*CODEC)
        writer = cv2.VideoWriter(str(self.path), codec, self._rate_hz, (width_px, height_px))
        if not writer.isOpened():
            raise MediaError(f"cannot write a video to {self.path}; its name must end in .mp4")
        self._writer, self._shape = writer, shape
