"""Messages that are parts of a video: one picture each, decoded one after the other."""

from __future__ import annotations

from typing import Any

import numpy as np

from steerstream.errors import MediaError
from steerstream.extras import package
from steerstream.sources.messages import data_of
from steerstream.sources.pictures import Picture

_CODECS = {"h264": "h264", "h265": "hevc", "hevc": "hevc", "vp9": "vp9", "av1": "libdav1d"}


class VideoDecoder:
    """Decodes the messages of one topic in their order.

    Raises:
        MissingExtra: PyAV is not installed.
    """

    def __init__(self) -> None:
        self._av = package("av", extra="mcap", purpose="reading video messages")
        self._decoder: Any = None
        self._has_begun = False

    def picture(self, message: Any, place: str) -> Picture | None:  # noqa: ANN401
        """Return the picture of a message; None before the first one that stands for itself.

        Args:
            message: a `CompressedVideo`; by its definition it holds exactly one picture.
            place: of the message, for errors.

        Raises:
            MediaError: its codec is not known, or it is damaged.
        """
        if self._decoder is None:
            self._decoder = self._of_format(str(message.format), place)
        try:
            frames = self._decoder.decode(self._av.Packet(data_of(message, place)))
        except self._av.error.InvalidDataError:
            if self._has_begun:
                raise MediaError(f"{place}: is damaged") from None
            return None
        if not frames:
            return None
        self._has_begun = True
        return np.asarray(frames[-1].to_ndarray(format="rgb24"), np.uint8)

    def _of_format(self, name: str, place: str) -> Any:  # noqa: ANN401
        if name.lower() not in _CODECS:
            raise MediaError(f"{place}: no codec {name!r}; known are: {', '.join(_CODECS)}")
        decoder = self._av.CodecContext.create(_CODECS[name.lower()], "r")
        # Decoding in several threads would hand each picture out some messages late.
        decoder.thread_count = 1
        decoder.flags |= self._av.codec.context.Flags.low_delay
        return decoder
