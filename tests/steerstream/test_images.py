from __future__ import annotations

import builtins
import dataclasses
import importlib.util

import cv2
import numpy as np
import pytest

import steerstream
from steerstream import (
    BadRequest,
    Encoding,
    MissingExtra,
    Nv12,
    ServerLimits,
    ViewEncoding,
    ViewUse,
    extras,
    images,
)
from steerstream.images import Choices, encode_frame
from steerstream.sources.pictures import decode
from steerstream.testing import FakeServer, Reply
from steerstream_bundle import jpeg_header
from tests.steerstream import views

LIMITS = ServerLimits(
    max_message_bytes=200_000,
    max_pixels=100_000,
    max_waiting_frames=8,
    idle_timeout_ms=1000,
    max_sessions=4,
    min_budget_ms=1.0,
    max_budget_ms=100.0,
)


SMALL_MESSAGES = dataclasses.replace(LIMITS, max_message_bytes=100_000)


async def encode(
    image, encoding=Encoding.AUTO, limits=LIMITS, view=None, use=ViewUse.PIXELS, **choices
):
    return await encode_frame(image, Choices(encoding, view=use, **choices), limits, view)


def picture(height=120, width=160):
    rows = np.linspace(0, 255, height, dtype=np.uint8)[:, None, None]
    return np.broadcast_to(rows, (height, width, 3)).copy()


async def test_a_jpeg_file_is_sent_as_it_is():
    assert (await encode(b"\xff\xd8anything")).jpeg == b"\xff\xd8anything"


async def test_raw_pixels_are_sent_exactly():
    image = np.random.default_rng(0).integers(0, 256, (12, 34, 3), np.uint8)
    raw = (await encode(image, Encoding.RGB8)).rgb8
    assert (raw.width_px, raw.height_px) == (34, 12)
    assert raw.pixels == image.tobytes()


async def test_a_view_with_gaps_is_sent_as_the_pixels_it_shows():
    image = np.random.default_rng(0).integers(0, 256, (24, 34, 3), np.uint8)[::2, ::-1]
    assert (await encode(image, Encoding.RGB8)).rgb8.pixels == image.tobytes()


PLANES = np.random.default_rng(0).integers(0, 256, (18, 16), np.uint8)


@pytest.mark.parametrize("planes", [PLANES, PLANES.tobytes(), np.repeat(PLANES, 2, 0)[::2]])
@pytest.mark.parametrize("full_range", [False, True])
async def test_raw_video_is_sent_exactly(planes, full_range):
    frame = await encode(Nv12(16, 12, planes, full_range=full_range), Encoding.JPEG)
    assert frame.WhichOneof("image") == "nv12"
    assert (frame.nv12.width_px, frame.nv12.height_px) == (16, 12)
    assert frame.nv12.planes == PLANES.tobytes()
    assert frame.nv12.full_range == full_range


@pytest.mark.parametrize("size", [(15, 12), (16, 11), (0, 12), (16, -2)])
def test_raw_video_of_odd_or_no_size_is_refused(size):
    with pytest.raises(BadRequest, match="even width and height"):
        Nv12(size[0], size[1], PLANES)


@pytest.mark.parametrize("surplus", [-1, 1])
def test_raw_video_whose_planes_have_another_size_is_refused(surplus):
    with pytest.raises(BadRequest, match=f"16x12 is 288 bytes, not {288 + surplus}"):
        Nv12(16, 12, bytes(288 + surplus))


@pytest.mark.parametrize(
    ("width_px", "planes", "message"),
    [
        (16.0, PLANES, "width_px must be a whole number"),
        ("16", PLANES, "width_px must be a whole number"),
        (16, PLANES.view(np.uint16), "the planes of NV12 must be uint8, not uint16"),
        (16, list(PLANES), "planes must be bytes"),
    ],
)
def test_raw_video_of_a_wrong_type_is_refused(width_px, planes, message):
    with pytest.raises(BadRequest, match=message):
        Nv12(width_px, 12, planes)


async def test_raw_video_is_bound_by_the_server_s_limits():
    with pytest.raises(BadRequest, match="scale it"):
        await encode(Nv12(400, 300, bytes(180_000)))
    with pytest.raises(BadRequest, match="bytes"):
        await encode(Nv12(400, 250, bytes(150_000)), limits=SMALL_MESSAGES)


async def test_a_fake_server_gets_raw_video():
    frames = []

    def script(frame):
        frames.append(frame)
        return Reply()

    server = FakeServer(script)
    async with (
        steerstream.connect("fake", transport=server.transport()) as client,
        client.open_session(vehicle_id="car") as session,
    ):
        await session.request(Nv12(16, 12, PLANES))
    assert frames[0].nv12.planes == PLANES.tobytes()


async def test_pixels_become_a_jpeg_of_the_right_colours():
    image = picture()
    image[:, :, 0] //= 2
    frame = await encode(image)
    assert frame.WhichOneof("image") == "jpeg"
    assert np.abs(decode(frame.jpeg).astype(int) - image).mean() < 3


async def test_without_opencv_pixels_are_sent_raw(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    extras.has_opencv.cache_clear()
    try:
        assert (await encode(picture())).WhichOneof("image") == "rgb8"
    finally:
        extras.has_opencv.cache_clear()


async def test_asking_for_jpeg_without_opencv_names_the_command_to_install_it(monkeypatch):
    real_import = builtins.__import__

    def no_opencv(name, *args, **kwargs):
        if name == "cv2":
            raise ImportError(name)
        return real_import(name, *args, **kwargs)

    monkeypatch.setattr(importlib, "import_module", no_opencv)
    with pytest.raises(MissingExtra, match=r"JPEG encoding needs OpenCV.*pip install '?opencv"):
        await encode(picture(), Encoding.JPEG)


@pytest.mark.parametrize(
    "image",
    [
        np.zeros((4, 4), np.uint8),
        np.zeros((4, 4, 4), np.uint8),
        np.zeros((4, 4, 3), np.float32),
        np.zeros((0, 4, 3), np.uint8),
    ],
)
async def test_an_array_that_is_no_picture_is_refused(image):
    with pytest.raises(BadRequest, match="uint8 of shape"):
        await encode(image)


async def test_a_picture_with_too_many_pixels_is_refused():
    with pytest.raises(BadRequest, match="scale it"):
        await encode(picture(1000, 1000))


async def test_a_message_that_is_too_large_is_refused():
    with pytest.raises(BadRequest, match="bytes"):
        await encode(picture(300, 300), Encoding.RGB8)
    with pytest.raises(BadRequest, match="bytes"):
        await encode(b"\xff" * 200_000)


# Views.

VIEW = views.VIEW
SMALL_LIMITS = dataclasses.replace(LIMITS, max_pixels=1000, max_message_bytes=40_000)


def road(height=480, width=640):
    small = np.random.default_rng(0).integers(0, 256, (height // 40, width // 40, 3), np.uint8)
    return cv2.resize(small, (width, height), interpolation=cv2.INTER_CUBIC)


def as_jpeg(image):
    return images.encode_jpeg(image, quality=90)


def seen(frame):
    if frame.WhichOneof("image") == "rgb8":
        raw = frame.rgb8
        return np.frombuffer(raw.pixels, np.uint8).reshape(raw.height_px, raw.width_px, 3)
    return decode(frame.jpeg)


async def test_only_the_view_of_pixels_is_sent_as_the_server_likes_it_best():
    frame = await encode(road(), view=VIEW)
    assert seen(frame).shape == (66, 200, 3)
    assert jpeg_header.read(frame.jpeg).sampling == b"\x11\x11\x11", "colour at full resolution"
    told = frame.view_applied
    assert (told.source_width_px, told.source_height_px) == (640, 480)
    assert (told.top_px, told.bottom_px, told.left_px, told.right_px) == (192, 432, 0, 640)
    exact = seen(await encode(road(), Encoding.RGB8, view=VIEW))
    assert np.abs(seen(frame).astype(int) - exact).mean() < 2


async def test_the_view_is_compressed_as_the_server_asks_unless_the_caller_chooses():
    sizes = [
        len((await encode(road(), view=VIEW, jpeg_quality=quality)).jpeg)
        for quality in (None, VIEW.jpeg_quality, 30)
    ]
    assert sizes[0] == sizes[1] > sizes[2]


async def test_a_server_that_takes_only_raw_views_gets_them_raw():
    view = dataclasses.replace(VIEW, encodings=(ViewEncoding.RGB8,))
    assert (await encode(road(), view=view)).WhichOneof("image") == "rgb8"
    assert (await encode(road(), Encoding.JPEG, view=view)).WhichOneof("image") == "jpeg"


async def test_a_server_whose_encodings_are_unknown_gets_raw_views():
    view = dataclasses.replace(VIEW, encodings=())
    assert (await encode(road(), view=view)).WhichOneof("image") == "rgb8"


@pytest.mark.parametrize("kind", [bytes, np.asarray])
async def test_raw_video_is_sent_as_the_view_of_its_pixels(kind):
    grey = np.full((720, 640), 128, np.uint8)
    frame = await encode(Nv12(640, 480, kind(grey), full_range=True), Encoding.RGB8, view=VIEW)
    assert (seen(frame) == 128).all()
    assert frame.view_applied.source_height_px == 480


async def test_raw_video_that_is_not_limited_as_it_says_is_left_to_the_server_to_refuse():
    limits = dataclasses.replace(LIMITS, max_pixels=400_000, max_message_bytes=1_000_000)
    white = Nv12(640, 480, bytes([255]) * (640 * 720))
    frame = await encode(white, limits=limits, view=VIEW)
    assert frame.WhichOneof("image") == "nv12"
    assert not frame.HasField("view_applied")


@pytest.mark.parametrize(
    ("jpeg", "view", "use", "advice"),
    [
        (False, None, ViewUse.PIXELS, "or send it as JPEG"),
        (True, VIEW, ViewUse.PIXELS, "with view=ViewUse.ALWAYS"),
        (True, VIEW, ViewUse.NEVER, "with view=ViewUse.ALWAYS"),
        (True, None, ViewUse.PIXELS, "or lower the quality of its JPEG"),
        (True, None, ViewUse.ALWAYS, "or lower the quality of its JPEG"),
    ],
)
async def test_a_picture_of_too_many_bytes_is_refused_with_what_helps(jpeg, view, use, advice):
    limits = dataclasses.replace(LIMITS, max_pixels=400_000, max_message_bytes=10_000)
    image = as_jpeg(road()) if jpeg else road()
    with pytest.raises(
        BadRequest, match=rf"the server takes 10,000; scale the picture, .*{advice}"
    ):
        await encode(image, Encoding.RGB8, limits=limits, view=view, use=use)


async def test_a_camera_may_have_more_pixels_than_the_server_takes():
    assert (await encode(road(), limits=SMALL_LIMITS, view=VIEW)).HasField("view_applied")
    black = Nv12(640, 480, bytes([16]) * (640 * 720))
    assert (await encode(black, limits=SMALL_LIMITS, view=VIEW)).HasField("view_applied")


async def test_a_jpeg_file_is_sent_as_it_is_unless_its_view_is_asked_for():
    data = as_jpeg(road())
    frame = await encode(data, view=VIEW)
    assert frame.jpeg == data
    assert not frame.HasField("view_applied")
    frame = await encode(data, view=VIEW, use=ViewUse.ALWAYS)
    assert frame.view_applied.source_width_px == 640
    assert len(frame.jpeg) < len(data) / 2


@pytest.mark.parametrize("image", [b"\xff\xd8 damaged", as_jpeg(road(66, 200))])
async def test_a_jpeg_file_without_a_view_is_sent_as_it_is(image):
    frame = await encode(image, view=VIEW, use=ViewUse.ALWAYS)
    assert frame.jpeg == image
    assert not frame.HasField("view_applied")


@pytest.mark.parametrize("image", [road(), Nv12(640, 480, bytes(640 * 720)), as_jpeg(road())])
@pytest.mark.parametrize(("view", "use"), [(VIEW, ViewUse.NEVER), (None, ViewUse.ALWAYS)])
async def test_whole_pictures_are_the_same_bytes_as_without_a_view(image, view, use):
    limits = dataclasses.replace(LIMITS, max_pixels=400_000, max_message_bytes=1_000_000)
    frame = await encode(image, limits=limits, view=view, use=use)
    assert frame == await encode(image, limits=limits)
    assert not frame.HasField("view_applied")


async def test_a_picture_no_larger_than_the_view_is_sent_whole():
    assert not (await encode(road(66, 200), view=VIEW)).HasField("view_applied")
    assert (await encode(road(80, 200), view=VIEW)).HasField("view_applied")


async def test_without_opencv_the_view_is_sent_raw(monkeypatch):
    exact = await encode(road(), Encoding.RGB8, view=VIEW)
    for module in (extras, images):
        monkeypatch.setattr(module, "has_opencv", lambda: False)
    frame = await encode(road(), view=VIEW)
    assert frame.WhichOneof("image") == "rgb8"
    assert np.abs(seen(frame).astype(int) - seen(exact)).max() <= 1
    assert frame.ByteSize() < 40_000


async def test_a_session_sends_the_view_that_its_server_declares():
    server = FakeServer(view=VIEW)
    async with (
        steerstream.connect("fake", transport=server.transport()) as client,
        client.open_session(vehicle_id="car") as session,
    ):
        await session.request(road())
        await session.request(road(), view=ViewUse.NEVER)
        assert session.info.view == VIEW
        assert session.sent_bytes == sum(
            request.ByteSize() for request in server.received if request.HasField("frame")
        )
    frames = [request.frame for request in server.received if request.HasField("frame")]
    assert [frame.HasField("view_applied") for frame in frames] == [True, False]
