"""The pictures that every peer gets: a real drive's where the data is at hand, or rendered ones."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from benchmark.loadgen.picture_set import PictureSet
from benchmark.loadgen.synthetic_road import Picture, jpegs, road_pictures

COUNT = 64
"""Different pictures in turn."""
RAW_SIZE = (200, 66)
"""Raw pictures are the network's size, as the figures for other servers were taken."""
_REAL_FRAMES = Path("udacity_ch2_hmb3") / "raw640_block11"
_RENDERED_SIZE = (640, 480)


@dataclass(frozen=True, slots=True, kw_only=True)
class DrivePictures:
    """The same pictures in both encodings.

    Attributes:
        source: where the pictures come from, for the record.
        jpeg: 640x480, as a camera's encoder sends them.
        rgb8: raw, of the network's size.
    """

    source: str
    jpeg: PictureSet
    rgb8: PictureSet

    def about(self) -> dict[str, object]:
        """Return what a result says of its pictures."""
        sizes = {"jpeg": self.jpeg.pictures, "rgb8": self.rgb8.pictures}
        means = {
            name: round(float(np.mean([len(picture) for picture in each])))
            for name, each in sizes.items()
        }
        return {"source": self.source, "mean_bytes": means}


def load(data: Path | None) -> DrivePictures:
    """Return the pictures.

    Args:
        data: the folder with the driving data, where there is one.
    """
    files = sorted((data / _REAL_FRAMES).glob("*.jpg"))[:COUNT] if data else []
    if files:
        encoded = [file.read_bytes() for file in files]
        return _encoded("real drive, 640x480", encoded)
    width, height = _RENDERED_SIZE
    pictures = road_pictures(COUNT, width_px=width, height_px=height)
    return _encoded("rendered, 640x480", jpegs(pictures))


def default_data() -> Path:
    """Return where the driving data lies unless it is given."""
    beside = Path(__file__).resolve().parents[3] / "shared" / "data"
    return Path(os.environ.get("STEERSTREAM_DATA", beside))


def _encoded(source: str, encoded: list[bytes]) -> DrivePictures:
    width, height = RAW_SIZE
    raw = tuple(_raw(data).tobytes() for data in encoded)
    return DrivePictures(
        source=source,
        jpeg=PictureSet(pictures=tuple(encoded)),
        rgb8=PictureSet(width_px=width, height_px=height, pictures=raw),
    )


def _raw(data: bytes) -> Picture:
    picture = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR_RGB)
    assert picture is not None, "the pictures are JPEG files"  # noqa: S101
    return np.asarray(cv2.resize(picture, RAW_SIZE, interpolation=cv2.INTER_AREA), np.uint8)
