"""Packets of a video, as messages hold them."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest

_OPTIONS = {
    "libx264": {"bf": "0", "tune": "zerolatency"},
    "libx265": {"tune": "zerolatency", "x265-params": "bframes=0:log-level=none"},
    "libvpx-vp9": {"deadline": "realtime", "cpu-used": "8", "lag-in-frames": "0"},
    "libsvtav1": {"preset": "12", "svtav1-params": "pred-struct=1:lookahead=0"},
}


def encoded(codec, count):
    """One packet for each picture, without B pictures; each is brighter than the one before."""
    av = pytest.importorskip("av")
    encoder = av.CodecContext.create(codec, "w")
    encoder.width, encoder.height, encoder.pix_fmt = 64, 64, "yuv420p"
    encoder.framerate, encoder.time_base = Fraction(20), Fraction(1, 20)
    encoder.options = _OPTIONS[codec]
    packets = []
    for index in range(count):
        shade = np.full((64, 64, 3), 20 + 30 * index, np.uint8)
        packets += encoder.encode(av.VideoFrame.from_ndarray(shade, format="rgb24"))
    return [bytes(packet) for packet in [*packets, *encoder.encode(None)]]
