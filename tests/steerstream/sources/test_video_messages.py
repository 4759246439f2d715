from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest

from steerstream import MediaError
from steerstream.sources.video_messages import VideoDecoder
from tests.steerstream.sources.encoded import encoded


def message(data):
    return SimpleNamespace(format="h264", data=data)


def test_a_picture_comes_with_its_own_message():
    decoder = VideoDecoder()
    shades = [
        np.asarray(decoder.picture(message(data), "here")).mean() for data in encoded("libx264", 4)
    ]
    assert shades == pytest.approx([20, 50, 80, 110], abs=6)


def test_a_damaged_message_is_named_once_the_video_has_begun():
    first, second, *_ = encoded("libx264", 3)
    decoder = VideoDecoder()
    assert decoder.picture(message(second), "here") is None
    assert decoder.picture(message(b"\x00\x00\x00\x01\x00"), "here") is None
    assert decoder.picture(message(first), "here") is not None
    with pytest.raises(MediaError, match="here: is damaged"):
        decoder.picture(message(b"\x00\x00\x00\x01\x00"), "here")
