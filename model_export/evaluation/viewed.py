"""Shows a bundle its frames as views, as a vehicle's client sends and the server reads them."""

from __future__ import annotations

import dataclasses
import sys
from pathlib import Path

from model_export.errors import DataError
from steerstream.images import Choices, ViewUse, view_frame
from steerstream.v1 import frame_pb2
from steerstream.view import declared
from steerstream_bundle.contract import Crop, FrameInput
from steerstream_bundle.errors import UndecodableError
from steerstream_bundle.pictures import JpegImage, to_input
from steerstream_bundle.preprocess import Picture

_CHOICES = Choices(view=ViewUse.ALWAYS)


class Views:
    """Makes the views of one network, and counts their bytes.

    Args:
        frame: the network's input.

    Attributes:
        frames: views that were made.
        size_bytes: of all of them.
    """

    def __init__(self, frame: FrameInput) -> None:
        self._frame = frame
        self._uncropped = dataclasses.replace(frame, crop=Crop())
        self._view, self._whole_view = map(declared, (frame, self._uncropped))
        self.frames = 0
        self.size_bytes = 0

    def of_file(self, path: Path, place: str = "") -> Picture:
        """Return the network's input of a JPEG file; one that has no view is sent as it is.

        Args:
            path: the file.
            place: file and line of the label that names the picture, for the error's text.

        Raises:
            DataError: it is missing, or no picture.
        """
        name = f"{place}: {path}" if place else str(path)
        try:
            data = path.read_bytes()
            sent = view_frame(data, _CHOICES, self._view)
            if sent is None:
                return self._read(frame_pb2.Frame(jpeg=data), self._frame)
            return self._read(sent, self._uncropped)
        except OSError as error:
            raise DataError(f"{name}: {error.strerror}") from None
        except UndecodableError as error:
            raise DataError(f"{name}: {error}") from None

    def of_input(self, picture: Picture) -> Picture:
        """Return what is left of the network's input when it has travelled as a view."""
        sent = view_frame(picture, _CHOICES, self._whole_view)
        assert sent is not None, "pixels always have a view"  # noqa: S101
        return self._read(sent, self._uncropped)

    @property
    def mean_bytes(self) -> float:
        """Bytes of a view at the mean."""
        return self.size_bytes / self.frames

    def _read(self, sent: frame_pb2.Frame, frame: FrameInput) -> Picture:
        self.frames += 1
        self.size_bytes += sent.ByteSize()
        return to_input(JpegImage(sent.jpeg), frame, sys.maxsize)
