"""Vehicles with other cameras than the network's, over real gRPC, with the client and without."""

from __future__ import annotations

import asyncio
import dataclasses

import cv2
import grpc
import numpy as np
import pytest

import steerstream
from steerstream import (
    BadRequest,
    Camera,
    Encoding,
    FramePolicy,
    HandOver,
    Nv12,
    SkipReason,
    ViewUse,
)
from steerstream.lens import mapping
from steerstream.v1 import command_pb2, frame_pb2, session_pb2
from steerstream.warp import Warp
from steerstream_bundle.contract import TrainedCamera
from tests.service import bundles
from tests.service.vehicle import LONG_BUDGET_MS, Vehicle, jpeg, running, values

NETWORK = TrainedCamera(
    horizontal_fov_deg=30.0, aspect_ratio=2.0, mount_height_m=1.3, horizon_fraction=0.45
)
WIDE = Camera(160, 120, horizontal_fov_deg=60.0, mount_height_m=1.5, horizon_fraction=0.45)
SAME = Camera(160, 80, horizontal_fov_deg=30.0, mount_height_m=1.3, horizon_fraction=0.45)


@pytest.fixture(params=["thread", "loop"])
async def server(tmp_path, request):
    path = bundles.recurrent(tmp_path / "tiny.onnx", camera=NETWORK)
    async with running(path, steps_on=request.param) as run:
        yield run


def picture(height=120, width=160):
    """A picture that is dark at its edges, so that another part of it has other outputs."""
    rows, columns = np.mgrid[:height, :width]
    down, across = rows / height - 0.6, columns / width - 0.4
    light = 200 * np.exp(-25 * (down**2 + across**2))
    return np.stack([light, light / 2, 255 - light], axis=2).astype(np.uint8)


def warp(camera=WIDE):
    frame = bundles.contract().frame
    found = mapping(camera, NETWORK, frame.crop, width_px=frame.width_px, height_px=frame.height_px)
    assert found is not None
    return Warp(found)


def described(camera=WIDE):
    message = session_pb2.CameraDescription()
    steerstream.wire.write_camera(message, camera)
    return message


async def answers(run, camera, pictures, **options):
    """What a vehicle with this camera gets for pictures, through the client."""
    found = []
    async with (
        steerstream.connect(run.address) as client,
        client.open_session(
            vehicle_id=f"car {camera}"[:100],
            frame_policy=FramePolicy.EVERY,
            budget_ms=LONG_BUDGET_MS,
            camera=camera,
        ) as session,
    ):
        for at, image in enumerate(pictures):
            found.append(
                await session.request(image, capture_time_ns=1 + at * 50_000_000, **options)
            )
    return found


def raw_values(found):
    return [
        (answer.raw.steering_wheel_angle_rad, answer.raw.speed_mps, answer.raw.steering_torque_nm)
        for answer in found
    ]


async def test_the_network_sees_what_its_own_camera_would_have_shown(server):
    image = picture()
    (found,) = await answers(server, WIDE, [image], encoding=Encoding.RGB8)
    expected = bundles.expected(warp().of_plane(image)[None])
    np.testing.assert_allclose(raw_values([found]), expected, atol=1e-5)
    (cropped,) = await answers(server, None, [image], encoding=Encoding.RGB8)
    assert abs(cropped.raw.speed_mps - found.raw.speed_mps) > 0.5, "it matters"


async def test_a_view_gives_the_outputs_of_the_whole_picture_bit_for_bit(server):
    film = [picture(), picture()[:, ::-1].copy()]
    options = {"encoding": Encoding.RGB8}
    views, wholes = [
        await answers(server, WIDE, film, view=use, **options)
        for use in (ViewUse.PIXELS, ViewUse.NEVER)
    ]
    assert raw_values(views) == raw_values(wholes)


@pytest.mark.parametrize("use", list(ViewUse))
async def test_jpeg_files_and_video_are_mapped_wherever_that_is_done(server, use):
    image = picture(480, 640)
    expected = bundles.expected(warp().of_plane(image)[None])
    yuv = cv2.cvtColor(image, cv2.COLOR_RGB2YUV_I420)
    chroma = yuv[480:].reshape(2, -1).T.reshape(240, 640)
    video = Nv12(640, 480, np.vstack([yuv[:480], chroma]), full_range=False)
    for sent in (jpeg(image, cv2.IMWRITE_JPEG_QUALITY, 98), video):
        (found,) = await answers(server, WIDE, [sent], view=use, encoding=Encoding.RGB8)
        np.testing.assert_allclose(raw_values([found]), expected, atol=0.1)


async def test_the_network_s_own_camera_changes_nothing(server):
    film = [picture(80, 160)]
    for use in (ViewUse.PIXELS, ViewUse.NEVER):
        found = [
            raw_values(await answers(server, camera, film, view=use, encoding=Encoding.RGB8))
            for camera in (SAME, None, Camera(160, 80))
        ]
        assert found[0] == found[1] == found[2]


async def test_a_session_says_whether_and_to_what_pictures_are_mapped(server):
    mapped = (await server.vehicle(camera=described())).opened
    assert not mapped.HasField("view"), "an older client then sends whole pictures"
    assert mapped.camera_mapping.camera.horizontal_fov_deg == 30.0
    assert mapped.camera_mapping.view.width_px == 16
    assert mapped.model.camera == mapped.camera_mapping.camera
    plain = (await server.vehicle(camera=described(SAME))).opened
    assert plain.HasField("view")
    assert not plain.HasField("camera_mapping")


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"horizontal_fov_deg": 20.0}, "does not show 39% of what the network needs (left 17%"),
        ({"mount_height_m": 0.0}, "mount_height_m must be stated"),
        ({"lens_model": 9}, "open.camera.lens_model must be one that the server knows, is 9"),
        ({"focal_x_px": -1.0}, "open.camera.focal_x_px must be a number from 0 to 1e+06, is -1"),
        ({"distortion": [0.1] * 6}, "open.camera.distortion has at most 5 numbers"),
        ({"distortion": [float("nan")]}, "open.camera.distortion must be a number from -1000"),
        ({"distortion": [0.1]}, "PINHOLE has 0 coefficients of distortion, not 1"),
    ],
)
async def test_a_camera_that_cannot_be_mapped_is_refused_and_takes_no_place(server, changes, text):
    vehicle = Vehicle(server.stub())
    message = described()
    for name, value in changes.items():
        if name == "distortion":
            message.distortion.extend(value)
        else:
            setattr(message, name, value)
    await vehicle.send(open=session_pb2.OpenSession(vehicle_id="car", camera=message))
    code, reason, details = await vehicle.failure()
    assert (code, reason) == (grpc.StatusCode.INVALID_ARGUMENT, "ERROR_REASON_INVALID_FIELD")
    assert text in details
    assert server.server.admission.sessions == 0


async def test_the_client_is_told_what_its_camera_lacks(server):
    narrow = Camera(160, 120, 20.0, 1.3, 0.45)
    async with steerstream.connect(server.address) as client:
        with pytest.raises(BadRequest, match=r"open\.camera cannot be used with tiny: it does not"):
            await client.open_session(vehicle_id="car", camera=narrow)


@pytest.mark.parametrize(
    ("told", "text"),
    [
        ({}, "the view is cropped, and the server asked for SessionOpened.camera_mapping"),
        ({"mapped": True, "source_height_px": 90}, "described with 160x120"),
    ],
)
async def test_a_view_that_was_made_otherwise_is_skipped(server, told, text):
    vehicle = await server.vehicle(camera=described())
    applied = {"source_width_px": 160, "source_height_px": 120, **told}
    small = np.full((8, 16, 3), 100, np.uint8)
    await vehicle.frame(small, view_applied=frame_pb2.ViewApplied(**applied))
    skip = await vehicle.answer()
    assert skip.reason == command_pb2.SKIP_REASON_UNDECODABLE
    assert text in skip.detail
    applied |= {"mapped": True, "source_height_px": 120}
    good = await vehicle.drive(small, view_applied=frame_pb2.ViewApplied(**applied))
    np.testing.assert_allclose(values(good.raw), bundles.expected(small[None])[0], atol=1e-5)


async def test_a_mapped_view_that_nobody_asked_for_is_skipped(server):
    vehicle = await server.vehicle()
    told = frame_pb2.ViewApplied(source_width_px=160, source_height_px=120, mapped=True)
    await vehicle.frame(np.full((8, 16, 3), 100, np.uint8), view_applied=told)
    assert "the server asked for no mapping" in (await vehicle.answer()).detail


async def test_a_picture_of_another_shape_than_the_described_camera_s_is_not_guessed_at(server):
    with pytest.raises(BadRequest, match="has 160x80 pixels, and the session's camera is"):
        await answers(server, WIDE, [picture(80, 160)])
    (skipped,) = await answers(server, WIDE, [picture(80, 160)], view=ViewUse.NEVER)
    assert skipped.reason is SkipReason.UNDECODABLE
    assert "described with 160x120" in skipped.detail


# From one network to another.


@pytest.mark.parametrize("notice_s", [5.0, 0.0], ids=["beforehand", "at once"])
@pytest.mark.parametrize("other", [dataclasses.replace(NETWORK, horizontal_fov_deg=40.0), None])
async def test_a_camera_is_mapped_anew_where_the_next_server_has_another_network(
    tmp_path, other, notice_s
):
    """Its state is not the first one's, and no picture that was made for the first reaches it."""
    paths = [
        bundles.recurrent(tmp_path / "a.onnx", camera=NETWORK),
        bundles.recurrent(tmp_path / "b.onnx", **({} if other is None else {"camera": other})),
    ]
    film = [picture() * (1 - at / 40) for at in range(12)]
    film = [image.astype(np.uint8) for image in film]
    async with running(paths[0]) as first, running(paths[1]) as second:
        async with (
            steerstream.connect([first.address, second.address]) as client,
            client.drive_session(
                vehicle_id="car",
                frame_policy=FramePolicy.EVERY,
                budget_ms=LONG_BUDGET_MS,
                camera=WIDE,
                hand_over=HandOver(attempt_timeout_s=30.0, missing_answers=1000),
            ) as car,
        ):
            before, after = [], []
            for at, image in enumerate(film):
                if at == 6:
                    draining = asyncio.create_task(first.server._service.drain(notice_s))
                    async with asyncio.timeout(60):
                        while car.change.target != second.address:  # noqa: ASYNC110
                            await asyncio.sleep(0.005)
                    assert not car.change.with_state
                answer = await car.request(
                    image, capture_time_ns=1 + at * 50_000_000, encoding=Encoding.RGB8
                )
                (before if at < 6 else after).append(answer)
            await draining
        assert before[-1].step_count == 6
        assert after[0].step_count == 1
        afresh = await answers(second, WIDE, film[6:], encoding=Encoding.RGB8)
        assert raw_values(after) == raw_values(afresh)
        assert raw_values(after) != raw_values(before)


async def test_a_vehicle_that_finds_too_many_cameras_before_its_own_is_told_when_to_come_back(
    tmp_path, monkeypatch
):
    monkeypatch.setattr("steerstream_service.admission.admission._MOST_MAPPINGS", 1)
    monkeypatch.setattr("steerstream_service.transport.stream._FIRST_FRAME_NS", 0)
    async with running(bundles.recurrent(tmp_path / "tiny.onnx", camera=NETWORK)) as run:
        silent = await run.vehicle(vehicle_id="silent")
        turns = run.server.admission._mapping
        await turns.take("another")
        waiting = asyncio.create_task(turns.take("another"))
        late = Vehicle(run.stub())
        await late.send(open=session_pb2.OpenSession(vehicle_id="late", camera=described()))
        code, reason, text = await late.failure()
        assert code is grpc.StatusCode.RESOURCE_EXHAUSTED
        assert reason == "ERROR_REASON_TOO_MANY_SESSIONS"
        assert text.startswith("too many vehicles with cameras that are not known here")
        hint = dict(await late.call.trailing_metadata())["steerstream-retry-after-ms"]
        assert 1000 <= int(hint) <= 2000
        assert (await silent.drive(picture())).step_count == 1, "it was for want of no place"
        waiting.cancel()


@pytest.mark.parametrize("use", [ViewUse.PIXELS, ViewUse.NEVER])
@pytest.mark.parametrize(
    ("camera", "text"),
    [
        (Camera(160, 80), "the session's camera is described with 160x80; send"),
        (SAME, "the session's camera is described with 160x80; send"),
        (None, "the session's first has 160x80; send"),
    ],
)
async def test_a_picture_of_another_shape_is_refused_and_the_state_does_not_see_it(
    server, camera, text, use
):
    """Views and whole pictures: a view says of what picture it is."""
    film = [picture(80, 160), picture(160, 80), picture(2, 2), picture(40, 80), picture(160, 320)]
    found = await answers(server, camera, film, view=use, encoding=Encoding.RGB8)
    assert [getattr(answer, "reason", None) for answer in found] == [
        None,
        SkipReason.UNDECODABLE,
        SkipReason.UNDECODABLE,
        None,
        None,
    ]
    assert found[1].detail.startswith(f"the picture has 80x160 pixels, and {text}")
    assert found[2].detail.startswith(f"the picture has 2x2 pixels, and {text}")
    assert [found[at].step_count for at in (0, 3, 4)] == [1, 2, 3]


async def test_a_picture_that_is_none_does_not_set_the_shape(server):
    film = [jpeg(picture(100, 100))[:-60], picture(80, 160), picture(100, 100)]
    found = await answers(server, None, film, view=ViewUse.NEVER, encoding=Encoding.RGB8)
    assert found[0].detail.startswith("the JPEG ")
    assert found[1].step_count == 1
    assert "the session's first has 160x80" in found[2].detail
