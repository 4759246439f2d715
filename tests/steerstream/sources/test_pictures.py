from __future__ import annotations

import numpy as np
import pytest

from steerstream import MediaError
from steerstream.images import encode_jpeg
from steerstream.sources.pictures import decode, from_encoded, read_picture


def test_a_damaged_picture_cannot_be_drawn_on():
    with pytest.raises(MediaError, match="damaged"):
        decode(b"no picture")


def test_a_jpeg_is_passed_on_and_any_other_picture_is_decoded():
    cv2 = pytest.importorskip("cv2")
    red = np.zeros((4, 6, 3), np.uint8)
    red[..., 0] = 255
    jpeg = encode_jpeg(red, quality=90)
    assert from_encoded(jpeg, "here") == jpeg
    png = cv2.imencode(".png", red[..., ::-1])[1].tobytes()
    assert np.array_equal(from_encoded(png, "here"), red)
    with pytest.raises(MediaError, match="here is damaged"):
        from_encoded(b"no picture", "here")


def test_a_picture_that_is_gone_is_named(tmp_path):
    with pytest.raises(MediaError, match=r"gone\.jpg: No such file"):
        read_picture(tmp_path / "gone.jpg")
