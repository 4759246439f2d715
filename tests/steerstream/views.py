"""Views for tests, as a server declares them."""

from __future__ import annotations

import dataclasses

from steerstream import CropFractions, View, ViewEncoding
from steerstream_bundle.contract import Crop, FrameInput
from steerstream_bundle.view import view_of

FRAME = FrameInput(tensor="frames", height_px=66, width_px=200, crop=Crop(top=0.4, bottom=0.9))
"""The input of the networks that ship, but for one."""


def declared(frame: FrameInput = FRAME) -> View:
    """The view that a server with that network declares, as its client reads it."""
    wanted = view_of(frame)
    return View(
        crop=CropFractions(**dataclasses.asdict(wanted.crop)),
        width_px=wanted.width_px,
        height_px=wanted.height_px,
        encodings=tuple(map(ViewEncoding, wanted.encodings)),
        jpeg_quality=wanted.jpeg_quality,
    )
