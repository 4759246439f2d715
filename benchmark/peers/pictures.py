"""The frames that every peer gets: a real drive's where the data is at hand, else rendered ones."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from benchmark.loadgen.synthetic_road import Picture, jpegs, road_pictures
from benchmark.peers.frameset import FrameSet

COUNT = 64
"""Different pictures in turn."""
RAW_SIZE = (200, 66)
"""Raw frames are the network's size, as the figures for other servers were taken."""
_REAL_FRAMES = Path("udacity_ch2_hmb3") / "raw640_block11"
_RENDERED_SIZE = (640, 480)


@dataclass(frozen=True, slots=True, kw_only=True)
class Frames:
    """The same pictures in both encodings.

    Attributes:
        source: where the pictures come from, for the record.
        jpeg: 640x480, as a camera's encoder sends them.
        rgb8: raw, of the network's size.
    """

    source: str
    jpeg: FrameSet
    rgb8: FrameSet

    def about(self) -> dict[str, object]:
        """Return what a result says of its frames."""
        sizes = {"jpeg": self.jpeg.frames, "rgb8": self.rgb8.frames}
        means = {
            name: round(float(np.mean([len(f) for f in each]))) for name, each in sizes.items()
        }
        return {"source": self.source, "mean_bytes": means}


def load(data: Path | None) -> Frames:
    """Return the frames.

    Args:
        data: the folder with the driving data, where there is one.
    """
    files = sorted((data / _REAL_FRAMES).glob("*.jpg"))[:COUNT] if data else []
    if files:
        encoded = [file.read_bytes() for file in files]
        return _frames("real drive, 640x480", encoded)
    width, height = _RENDERED_SIZE
    pictures = road_pictures(COUNT, width_px=width, height_px=height)
    return _frames("rendered, 640x480", jpegs(pictures))


def default_data() -> Path:
    """Return where the driving data lies unless it is given."""
    beside = Path(__file__).resolve().parents[3] / "shared" / "data"
    return Path(os.environ.get("STEERSTREAM_DATA", beside))


def _frames(source: str, encoded: list[bytes]) -> Frames:
    width, height = RAW_SIZE
    raw = tuple(_raw(data).tobytes() for data in encoded)
    return Frames(
        source=source,
        jpeg=FrameSet(width_px=0, height_px=0, frames=tuple(encoded)),
        rgb8=FrameSet(width_px=width, height_px=height, frames=raw),
    )


def _raw(data: bytes) -> Picture:
    picture = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR_RGB)
    assert picture is not None, "frames are JPEG files"  # noqa: S101
    return np.asarray(cv2.resize(picture, RAW_SIZE, interpolation=cv2.INTER_AREA), np.uint8)
