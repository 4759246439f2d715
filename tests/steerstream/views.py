"""Views for tests, as a server declares them."""

from __future__ import annotations

from steerstream.view import declared as declared_for
from steerstream_bundle.contract import Crop, FrameInput

FRAME = FrameInput(tensor="frames", height_px=66, width_px=200, crop=Crop(top=0.4, bottom=0.9))
"""The input of the networks that ship, but for one."""
VIEW = declared_for(FRAME)
