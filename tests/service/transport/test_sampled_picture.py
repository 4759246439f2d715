"""Pictures for people: small JPEG files of whatever a vehicle sends."""

from __future__ import annotations

import struct

import cv2
import numpy as np
import pytest
import simplejpeg

from steerstream_bundle.pictures import JpegImage, Nv12Image, RawImage
from steerstream_service.transport.sampled_picture import small_jpeg

MAX_PIXELS = 2_100_000


def jpeg(pixels, quality=90):
    return simplejpeg.encode_jpeg(np.ascontiguousarray(pixels), quality=quality)


def half_red(width, height):
    """Red on the left, blue on the right."""
    pixels = np.zeros((height, width, 3), np.uint8)
    pixels[:, : width // 2, 0] = 200
    pixels[:, width // 2 :, 2] = 200
    return pixels


def noise(width, height):
    return np.random.default_rng(0).integers(0, 255, (height, width, 3), np.uint8)


def shows_half_red(data):
    pixels = simplejpeg.decode_jpeg(data)
    height, width, _ = pixels.shape
    left, right = pixels[height // 2, width // 4], pixels[height // 2, 3 * width // 4]
    return left[0] > 150 and left[2] < 60 and right[2] > 150 and right[0] < 60


def test_a_small_jpeg_goes_as_it_came():
    data = jpeg(half_red(640, 480))
    assert small_jpeg(JpegImage(data), MAX_PIXELS) is data


def test_a_large_jpeg_becomes_a_small_one():
    large = np.concatenate([half_red(1280, 700), noise(1280, 20)])
    data = jpeg(large, quality=100) + bytes(200_000)
    small = small_jpeg(JpegImage(data), MAX_PIXELS)
    assert simplejpeg.decode_jpeg_header(small)[:2] == (270, 480)
    assert small is not None
    assert len(small) < 128 * 1024
    assert shows_half_red(small)


def test_raw_pixels_become_a_jpeg():
    small = small_jpeg(RawImage(640, 360, half_red(640, 360).tobytes()), MAX_PIXELS)
    assert simplejpeg.decode_jpeg_header(small)[:2] == (270, 480)
    assert shows_half_red(small)


def test_video_frames_become_a_jpeg():
    planes = cv2.cvtColor(half_red(640, 360), cv2.COLOR_RGB2YUV_I420)
    luma, chroma = planes[:360], planes[360:].reshape(2, -1)
    image = Nv12Image(640, 360, luma.tobytes() + chroma.T.tobytes(), full_range=False)
    assert shows_half_red(small_jpeg(image, MAX_PIXELS))


def test_a_file_on_its_side_keeps_its_shape_when_it_is_made_smaller():
    upright = noise(400, 800)
    stored = cv2.cvtColor(np.rot90(upright), cv2.COLOR_RGB2BGR)
    exif = b"Exif\0\0II*\0" + struct.pack("<IHHHIII", 8, 1, 0x0112, 3, 1, 6, 0)
    segment = b"\xff\xe1" + struct.pack(">H", 2 + len(exif)) + exif
    data = cv2.imencode(".jpg", stored, [cv2.IMWRITE_JPEG_QUALITY, 100])[1].tobytes()
    turned = data[:2] + segment + data[2:] + bytes(200_000)
    small = small_jpeg(JpegImage(turned), MAX_PIXELS)
    assert simplejpeg.decode_jpeg_header(small)[:2] == (960, 480)


@pytest.mark.parametrize(
    "image",
    [
        JpegImage(b""),
        JpegImage(b"<script>alert(1)</script>"),
        JpegImage(b"\xff\xd8 no headers"),
        RawImage(640, 480, b"too short"),
        RawImage(0, 480, b""),
        RawImage(1_000_000, 1, bytes(3_000_000)),
        RawImage(1, 1_000_000, bytes(3_000_000)),
        RawImage(4000, 4000, b""),
    ],
)
def test_what_cannot_be_read_is_no_picture(image):
    found = small_jpeg(image, MAX_PIXELS)
    assert found is None or len(found) < 128 * 1024
    if not isinstance(image, RawImage) or image.pixels in {b"", b"too short"}:
        assert found is None
