"""The service over real gRPC with real bundles: answers, typed errors, and slots that come back."""

from __future__ import annotations

import asyncio
import logging
from types import SimpleNamespace
from typing import Any

import cv2
import grpc
import numpy as np
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc

from steerstream.checksum import command_checksum
from steerstream.metadata import RETRY_AFTER_KEY
from steerstream.v1 import (
    command_pb2,
    drive_service_pb2,
    drive_service_pb2_grpc,
    frame_pb2,
    session_pb2,
)
from steerstream_bundle import quickest
from steerstream_service.config import Config
from steerstream_service.process.server import SERVICE_NAME, Server
from steerstream_service.session.ticket import MAX_TICKET_BYTES
from steerstream_service.telemetry.live_board import LiveBoard
from tests.service import bundles
from tests.service.closed_window import ClosedWindow
from tests.service.vehicle import (
    FRAME_NS,
    LONG_BUDGET_MS,
    Running,
    Vehicle,
    jpeg,
    pictures,
    raw,
    running,
    values,
)

GREY = np.full((8, 16, 3), 100, np.uint8)
RED = np.array([250, 0, 0], np.uint8) * np.ones((8, 16, 1), np.uint8)
LATEST = session_pb2.FRAME_POLICY_LATEST


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    return bundles.recurrent(tmp_path_factory.mktemp("bundles") / "tiny.onnx")


@pytest.fixture(params=["thread", "loop"])
async def server(tiny, request):
    async with running(tiny, steps_on=request.param) as run:
        yield run


async def slots_free(run: Running, count: int) -> None:
    """Wait until the server has this many sessions."""
    async with asyncio.timeout(60):
        while run.server.admission.sessions != count:  # noqa: ASYNC110 - nothing else tells
            await asyncio.sleep(0.005)


# A session from open to end.


async def test_open_tells_what_was_agreed(server):
    vehicle = Vehicle(server.stub())
    opened = await vehicle.open(vehicle_id="car 7", budget_ms=40, frame_policy=LATEST)
    assert opened.granted_budget_ms == 40
    assert opened.frame_policy == LATEST
    assert opened.model.name == "tiny"
    assert len(opened.session_id) == 16
    assert not opened.resumed
    assert opened.limits.max_pixels == Config().max_pixels
    assert await vehicle.done() is grpc.StatusCode.OK


async def test_the_vehicle_s_own_trace_reaches_the_observer(server, monkeypatch):
    parents, opened = [], LiveBoard.opened

    def note(self, session_id, vehicle_id, model, trace_parent=None):
        parents.append(trace_parent)
        opened(self, session_id, vehicle_id, model, trace_parent)

    monkeypatch.setattr(LiveBoard, "opened", note)
    for metadata in ((("traceparent", "00-1-2-01"),), ()):
        vehicle = Vehicle(server.stub(), metadata)
        await vehicle.open()
        await vehicle.done()
    assert parents == ["00-1-2-01", None]


async def test_zero_and_unspecified_take_the_server_s_defaults(server):
    opened = await server.vehicle(budget_ms=0, frame_policy=0)
    assert opened.opened.granted_budget_ms == Config().default_budget_ms
    assert opened.opened.frame_policy == LATEST


async def test_commands_carry_the_network_s_outputs_and_a_checksum(server):
    vehicle = await server.vehicle()
    film = pictures(30, seed=1)
    expected = bundles.expected(film)
    for number, picture in enumerate(film):
        command = await vehicle.drive(picture, vehicle_speed_mps=8.0)
        assert values(command.raw) == pytest.approx(expected[number], abs=1e-5)
        assert command.sequence_number == number
        assert command.capture_time_ns == 1 + FRAME_NS * number
        assert command.step_count == command.alive_counter == number + 1
        assert command.checksum == command_checksum(vehicle.opened.session_id, command)
        timings = command.timings
        assert timings.queue_us + timings.decode_us + timings.infer_us <= timings.total_us
        assert command.age_ms == pytest.approx(timings.total_us / 1000, abs=0.002)


async def test_jpeg_and_larger_raw_pictures_are_decoded_and_resized(server):
    vehicle = await server.vehicle()
    large = np.full((48, 96, 3), 100, np.uint8)
    first = await vehicle.drive(large)
    await vehicle.frame(jpeg=jpeg(large))
    second = await vehicle.answer()
    expected = bundles.expected(np.stack([GREY, GREY]))
    assert values(first.raw) == pytest.approx(expected[0], abs=1e-3)
    assert values(second.raw) == pytest.approx(expected[1], abs=0.02)
    assert second.timings.decode_us > 0


async def test_a_reset_begins_a_new_epoch(server):
    vehicle = await server.vehicle()
    first = await vehicle.drive(GREY)
    await vehicle.drive(GREY)
    await vehicle.send(reset=session_pb2.Reset())
    again = await vehicle.drive(GREY)
    assert (again.state_epoch, again.step_count) == (1, 1)
    assert again.raw == first.raw


async def test_a_gap_begins_a_new_epoch(server):
    vehicle = await server.vehicle()
    first = await vehicle.drive(GREY)
    await vehicle.drive(GREY)
    again = await vehicle.drive(GREY, capture_time_ns=10 * FRAME_NS)
    assert (again.state_epoch, again.step_count) == (1, 1)
    assert again.raw == first.raw


async def test_outputs_do_not_depend_on_who_shares_the_batch(server):
    films = [pictures(40, seed) for seed in range(12)]
    vehicles = [await server.vehicle(vehicle_id=f"car-{n}") for n in range(len(films))]
    answers = await asyncio.gather(
        *(vehicle.replay(film) for vehicle, film in zip(vehicles, films, strict=True))
    )
    for film, rows in zip(films, answers, strict=True):
        np.testing.assert_allclose(rows, bundles.expected(film), atol=1e-5)


async def test_frames_of_several_sessions_share_a_batch(server):
    vehicles = [await server.vehicle() for _ in range(8)]
    sizes: set[int] = set()
    async with asyncio.timeout(60):
        while max(sizes, default=1) == 1:
            for vehicle in vehicles:
                await vehicle.frame(GREY)
            sizes |= {(await vehicle.answer()).timings.batch_size for vehicle in vehicles}
    assert 1 < max(sizes) <= len(vehicles)


async def test_several_models_are_served_at_once(tiny, tmp_path):
    others = [bundles.stateless(tmp_path / "a.onnx"), bundles.ring(tmp_path / "b.onnx")]
    film = pictures(10, seed=3)
    colour = film.mean(axis=(1, 2)) / 255
    async with running(tiny, tmp_path) as run:
        assert len(others) == len(run.server.admission.models) - 1
        cars = [await run.vehicle(model=name) for name in ("", "stateless", "ring")]
        rows = await asyncio.gather(*(car.replay(film) for car in cars))
    np.testing.assert_allclose(rows[0], bundles.expected(film), atol=1e-5)
    np.testing.assert_allclose(rows[1][:, 1], 10 * colour[:, 0], atol=1e-5)
    ring = np.concatenate([np.arange(12).reshape(4, 3) / 100, colour])
    means = np.stack([ring[t + 1 : t + 5].mean(axis=0) for t in range(10)])
    np.testing.assert_allclose(rows[2][:, 1], 10 * means[:, 0], atol=1e-5)


async def test_a_client_that_is_done_gets_all_its_answers(server):
    vehicle = await server.vehicle()
    for _ in range(8):
        await vehicle.frame(GREY)
    await vehicle.call.done_writing()
    answers = [await vehicle.answer() for _ in range(8)]
    assert [answer.sequence_number for answer in answers] == list(range(8))
    assert await vehicle.call.read() is grpc.aio.EOF
    await slots_free(server, 0)


# Frames without a command of their own.


def truncated() -> bytes:
    data = jpeg(pictures(1, 0, (48, 96, 3))[0])
    return data[: len(data) // 2]


def header(width: int, height: int) -> bytes:
    """A small JPEG that claims another size."""
    data = bytearray(jpeg(GREY))
    at = data.index(b"\xff\xc0") + 5
    data[at : at + 4] = height.to_bytes(2) + width.to_bytes(2)
    return bytes(data)


UNDECODABLE: dict[str, tuple[dict[str, Any], str]] = {
    "not a JPEG": ({"jpeg": b"\x89PNG\r\n\x1a\n rest"}, "not a JPEG"),
    "empty JPEG": ({"jpeg": b""}, "jpeg is empty"),
    "no picture": ({}, "holds no picture"),
    "truncated": ({"jpeg": truncated()}, "truncated"),
    "only a header": ({"jpeg": jpeg(GREY)[:40]}, "truncated"),
    "damaged header": ({"jpeg": b"\xff\xd8" + bytes(64)}, "header is damaged"),
    "huge header": ({"jpeg": header(20_000, 20_000)}, "20000x20000 is over the server's"),
    "no size": ({"rgb8": frame_pb2.Rgb8Image(pixels=bytes(3))}, "empty: 0x0"),
    "too few bytes": (
        {"rgb8": frame_pb2.Rgb8Image(width_px=16, height_px=8, pixels=bytes(383))},
        "needs 384 bytes, has 383",
    ),
    "too many bytes": (
        {"rgb8": frame_pb2.Rgb8Image(width_px=16, height_px=8, pixels=bytes(385))},
        "needs 384 bytes, has 385",
    ),
    "huge raw": (
        {"rgb8": frame_pb2.Rgb8Image(width_px=2**31, height_px=2**31, pixels=bytes(3))},
        "is over the server's",
    ),
}


@pytest.mark.parametrize("policy", ["LATEST", "EVERY"])
async def test_bad_pictures_get_a_typed_answer_and_the_stream_lives(server, policy):
    vehicle = await server.vehicle(frame_policy=f"FRAME_POLICY_{policy}")
    good = await vehicle.drive(GREY)
    for name, (image, text) in UNDECODABLE.items():
        await vehicle.frame(**image)
        skip = await vehicle.answer()
        assert skip.reason == command_pb2.SKIP_REASON_UNDECODABLE, name
        assert text in skip.detail, (name, skip.detail)
        assert skip.held.limited == good.limited
        assert skip.held.validity == command_pb2.VALIDITY_HELD
        assert skip.held.checksum == command_checksum(vehicle.opened.session_id, skip.held)
    # 300 ms of bad frames have passed since the good one: a new epoch, by the rule for gaps.
    after = await vehicle.drive(GREY)
    assert (after.state_epoch, after.step_count) == (1, 1)


async def test_a_view_is_answered_as_the_picture_that_it_was_made_of(server):
    """The tiny network sees the whole picture, at 16x8."""
    large = cv2.resize(RED, (64, 32))
    vehicle, other = await server.vehicle(), await server.vehicle()
    declared = vehicle.opened.view
    assert (declared.width_px, declared.height_px) == (16, 8)
    told = frame_pb2.ViewApplied(source_width_px=64, source_height_px=32, bottom_px=32, right_px=64)
    whole, seen = await other.drive(large), await vehicle.drive(RED, view_applied=told)
    assert seen.raw == whole.raw


@pytest.mark.parametrize(
    ("changes", "picture", "text"),
    [
        ({}, np.zeros((8, 17, 3), np.uint8), "the view has 17x8 pixels, the server asked for 16x8"),
        ({"top_px": 5}, RED, "rows 5 to 32, columns 0 to 64 of a picture of 64x32, the server"),
        ({"source_width_px": 0}, RED, "states a picture of 0x32 pixels"),
        ({"source_width_px": 2**32 - 1}, RED, "columns 0 to 64 of a picture of 4294967295x32"),
    ],
)
async def test_what_is_not_the_view_is_skipped_with_its_numbers(server, changes, picture, text):
    vehicle = await server.vehicle()
    told = {"source_width_px": 64, "source_height_px": 32, "bottom_px": 32, "right_px": 64}
    await vehicle.frame(picture, view_applied=frame_pb2.ViewApplied(**told | changes))
    skip = await vehicle.answer()
    assert skip.reason == command_pb2.SKIP_REASON_UNDECODABLE
    assert text in skip.detail
    assert (await vehicle.drive(GREY)).step_count == 1


async def test_a_skip_without_a_command_to_hold_has_none(server):
    vehicle = await server.vehicle()
    await vehicle.frame(jpeg=b"no")
    assert not (await vehicle.answer()).HasField("held")


async def test_numbers_and_times_that_go_back_are_skipped(server):
    vehicle = await server.vehicle()
    await vehicle.drive(GREY, sequence_number=5)
    duplicate = await vehicle.drive(GREY, sequence_number=5)
    assert duplicate.reason == command_pb2.SKIP_REASON_DUPLICATE
    assert duplicate.held.sequence_number == 5
    back = await vehicle.drive(GREY, sequence_number=4)
    assert back.reason == command_pb2.SKIP_REASON_OUT_OF_ORDER
    past = await vehicle.drive(GREY, sequence_number=6, capture_time_ns=7)
    assert past.reason == command_pb2.SKIP_REASON_OUT_OF_ORDER
    assert (await vehicle.drive(GREY, sequence_number=6)).step_count == 2


@pytest.mark.parametrize("speed", [float("nan"), float("inf"), 200.0])
async def test_an_impossible_speed_spoils_its_frame_and_the_session_goes_on(server, speed):
    vehicle = await server.vehicle()
    good = await vehicle.drive(GREY)
    skip = await vehicle.drive(GREY, vehicle_speed_mps=speed)
    assert skip.reason == command_pb2.SKIP_REASON_INVALID_FIELD
    assert "frame.vehicle_speed_mps" in skip.detail
    assert skip.held.limited == good.limited
    assert (await vehicle.drive(GREY, sequence_number=1)).step_count == 2


async def test_a_step_that_fails_costs_only_the_frames_in_it(tmp_path):
    async with running(bundles.failing(tmp_path / "failing.onnx")) as run:
        vehicle = await run.vehicle()
        first = await vehicle.drive(GREY)
        skip = await vehicle.drive(RED)
        assert skip.reason == command_pb2.SKIP_REASON_FAILED
        assert skip.held.limited == first.limited
        second = await vehicle.drive(GREY)
        assert second.step_count == 2
        expected = bundles.expected(np.stack([GREY, GREY]))[1]
        assert values(second.raw) == pytest.approx(expected, abs=1e-5)


async def test_a_state_that_is_not_a_number_is_not_kept(tmp_path):
    async with running(bundles.nan_state(tmp_path / "nan.onnx")) as run:
        ill, well = await run.vehicle(), await run.vehicle()
        film = np.stack([GREY] * 6)
        for _ in range(3):
            skip, command = await asyncio.gather(ill.drive(RED), well.drive(GREY))
            assert skip.reason == command_pb2.SKIP_REASON_FAILED
            assert not skip.HasField("held")
            assert isinstance(command, command_pb2.Command)
        command = await ill.drive(GREY)
        assert command.step_count == 1
        assert values(command.raw) == pytest.approx(bundles.expected(film)[0], abs=1e-5)


async def test_an_output_that_is_not_a_number_never_leaves_as_valid(tmp_path):
    async with running(bundles.nan_output(tmp_path / "nan.onnx")) as run:
        vehicle = await run.vehicle()
        fallback = await vehicle.drive(RED)
        assert fallback.validity == command_pb2.VALIDITY_FALLBACK
        assert not fallback.limited.HasField("steering_wheel_angle_rad")
        good = await vehicle.drive(GREY)
        held = await vehicle.drive(RED)
        assert held.validity == command_pb2.VALIDITY_HELD
        assert held.limited == good.limited
        assert held.step_count == 3


async def test_intervals_go_in_and_standard_deviations_come_out(tmp_path):
    capture_ms = [70, 120, 150, 300, 350]
    film = pictures(len(capture_ms), 0)
    async with running(bundles.timed(tmp_path / "timed.onnx")) as run:
        vehicle = await run.vehicle()
        found = [
            await vehicle.drive(picture, capture_time_ns=ms * 1_000_000)
            for picture, ms in zip(film, capture_ms, strict=True)
        ]
        unusable = await vehicle.drive(RED, capture_time_ns=400 * 1_000_000)
    rows = [
        [
            *values(command.raw),
            command.raw.steering_wheel_angle_stddev_rad,
            command.raw.steering_torque_stddev_nm,
        ]
        for command in found
    ]
    expected = bundles.expected_timed(film, [0.05, 0.05, 0.03, 0.15, 0.05])
    np.testing.assert_allclose(rows, expected, atol=1e-5)
    assert not any(command.raw.HasField("speed_stddev_mps") for command in found)
    assert not any(
        "stddev" in field.name for command in found for field, _ in command.limited.ListFields()
    )
    assert unusable.validity == command_pb2.VALIDITY_HELD
    assert unusable.limited == found[-1].limited


@pytest.mark.parametrize(("stated_ms", "told_s"), [(None, 0.05), (0.0, 0.0), (120.0, 0.12)])
async def test_the_network_is_told_when_its_command_acts(tmp_path, stated_ms, told_s):
    stated = {} if stated_ms is None else {"act_in_ms": stated_ms}
    async with running(bundles.acting(tmp_path / "acting.onnx")) as run:
        vehicle = await run.vehicle()
        assert vehicle.opened.model.max_act_in_ms == 250.0
        command = await vehicle.drive(GREY, **stated)
        beyond = await vehicle.drive(GREY, act_in_ms=9_000.0)
    first, second = bundles.expected(np.stack([GREY, GREY]))[:, 0]
    angles = [each.raw.steering_wheel_angle_rad for each in (command, beyond)]
    np.testing.assert_allclose(angles, [first + told_s, second + 0.25], atol=1e-5)


@pytest.mark.parametrize("stated_ms", [-1.0, 10_001.0, float("nan"), float("inf")])
async def test_a_delay_that_cannot_be_true_spoils_its_frame_alone(server, stated_ms):
    vehicle = await server.vehicle()
    await vehicle.frame(GREY, act_in_ms=stated_ms)
    skip = await vehicle.answer()
    assert skip.reason == command_pb2.SKIP_REASON_INVALID_FIELD
    assert "frame.act_in_ms must be a number from 0 to 10000" in skip.detail
    assert (await vehicle.drive(GREY, act_in_ms=100.0)).step_count == 1


async def test_a_flooding_client_gets_answers_and_starves_nobody(server):
    """The flood sends without reading; each of the others still gets every command, in order."""
    flood = await server.vehicle(frame_policy=LATEST)
    sent, stop = 0, False

    async def pour():
        nonlocal sent
        while not stop:
            await flood.frame(GREY)
            sent += 1

    pouring = asyncio.create_task(pour())
    others = [await server.vehicle() for _ in range(3)]
    films = [pictures(40, seed) for seed in range(3)]
    answers = await asyncio.gather(
        *(car.replay(film, ahead=1) for car, film in zip(others, films, strict=True))
    )
    for film, rows in zip(films, answers, strict=True):
        np.testing.assert_allclose(rows, bundles.expected(film), atol=1e-5)
    stop = True
    async with asyncio.timeout(60):
        while not pouring.done() or sent:
            await flood.answer()
            sent -= 1
    assert await flood.done() is grpc.StatusCode.OK


# Streams that end with an error.


FIRST_MESSAGES = {
    "a frame": (
        {"frame": frame_pb2.Frame()},
        grpc.StatusCode.INVALID_ARGUMENT,
        "NOT_OPEN",
        "must be open, is frame",
    ),
    "nothing": ({}, grpc.StatusCode.INVALID_ARGUMENT, "NOT_OPEN", "is empty"),
}


@pytest.mark.parametrize("case", FIRST_MESSAGES)
async def test_the_first_message_must_be_open(server, case):
    message, code, reason, text = FIRST_MESSAGES[case]
    vehicle = Vehicle(server.stub())
    await vehicle.send(**message)
    found = await vehicle.failure()
    assert found[:2] == (code, f"ERROR_REASON_{reason}")
    assert text in found[2]


async def test_a_stream_that_says_nothing_was_never_open(server):
    vehicle = Vehicle(server.stub())
    await vehicle.call.done_writing()
    assert (await vehicle.failure())[1] == "ERROR_REASON_NOT_OPEN"


BAD_OPENINGS: dict[str, tuple[dict[str, Any], str, str]] = {
    "no vehicle": ({"vehicle_id": ""}, "INVALID_FIELD", "open.vehicle_id"),
    "long vehicle": ({"vehicle_id": "x" * 129}, "INVALID_FIELD", "open.vehicle_id"),
    "control characters": ({"vehicle_id": "a\nb"}, "INVALID_FIELD", "open.vehicle_id"),
    "not ASCII": ({"vehicle_id": "größe"}, "INVALID_FIELD", "open.vehicle_id"),
    "NaN budget": ({"budget_ms": float("nan")}, "INVALID_FIELD", "open.budget_ms"),
    "negative budget": ({"budget_ms": -1.0}, "INVALID_FIELD", "open.budget_ms"),
    "infinite budget": ({"budget_ms": float("inf")}, "INVALID_FIELD", "open.budget_ms"),
    "huge budget": ({"budget_ms": 1e9}, "INVALID_FIELD", "open.budget_ms"),
    "tiny budget": ({"budget_ms": 0.01}, "BUDGET_TOO_SMALL", "ask for 2 ms"),
    "policy": ({"frame_policy": 9}, "INVALID_FIELD", "open.frame_policy"),
    "rate": ({"frame_rate_hz": -20.0}, "INVALID_FIELD", "open.frame_rate_hz"),
    "tiny rate": ({"frame_rate_hz": 1e-305}, "INVALID_FIELD", "from 0.1 to 1000"),
    "NaN rate": ({"frame_rate_hz": float("nan")}, "INVALID_FIELD", "open.frame_rate_hz"),
    "camera": (
        {"camera": session_pb2.CameraDescription(mount_height_m=float("nan"))},
        "INVALID_FIELD",
        "open.camera.mount_height_m",
    ),
    "model": ({"model": "nobody"}, "UNKNOWN_MODEL", "choose one of ['tiny']"),
    "long model": ({"model": "x" * 300}, "INVALID_FIELD", "open.model"),
    "ticket": ({"ticket": b"secret"}, "BAD_TICKET", "open without a ticket"),
    "large ticket": ({"ticket": bytes(MAX_TICKET_BYTES)}, "BAD_TICKET", "open without a ticket"),
    "larger ticket": ({"ticket": bytes(MAX_TICKET_BYTES + 1)}, "BAD_TICKET", "open without it"),
    "largest ticket": ({"ticket": bytes(2 << 20)}, "BAD_TICKET", "open without the ticket"),
}


@pytest.mark.parametrize("case", BAD_OPENINGS)
async def test_bad_openings_are_refused_by_name(server, case):
    fields, reason, text = BAD_OPENINGS[case]
    vehicle = Vehicle(server.stub())
    await vehicle.send(
        open=session_pb2.OpenSession(**{"vehicle_id": "car", "budget_ms": 100, **fields})
    )
    _, found, details = await vehicle.failure()
    assert found == f"ERROR_REASON_{reason}"
    assert text in details
    assert server.server.admission.sessions == 0


async def test_open_comes_once(server):
    vehicle = await server.vehicle()
    await vehicle.send(open=session_pb2.OpenSession(vehicle_id="car"))
    assert (await vehicle.failure())[1] == "ERROR_REASON_NOT_OPEN"
    await slots_free(server, 0)


async def test_an_empty_message_ends_the_stream(server):
    vehicle = await server.vehicle()
    await vehicle.send()
    assert (await vehicle.failure())[1] == "ERROR_REASON_INVALID_FIELD"


async def test_a_message_over_the_limit_ends_only_its_stream(tiny):
    async with running(tiny, max_message_bytes=64 * 1024) as run:
        large, small = await run.vehicle(), await run.vehicle()
        await large.frame(jpeg=bytes(65 * 1024))
        assert (await large.failure())[0] is grpc.StatusCode.RESOURCE_EXHAUSTED
        assert (await small.drive(GREY)).step_count == 1
        await slots_free(run, 1)


async def test_all_sessions_taken_is_said_at_once_and_slots_come_back(tiny):
    async with running(tiny, max_sessions=2) as run:
        first, second = await run.vehicle(), await run.vehicle()
        third = Vehicle(run.stub())
        await third.send(open=session_pb2.OpenSession(vehicle_id="third"))
        code, reason, _ = await third.failure()
        assert (code, reason) == (
            grpc.StatusCode.RESOURCE_EXHAUSTED,
            "ERROR_REASON_TOO_MANY_SESSIONS",
        )
        await first.done()
        await slots_free(run, 1)
        fourth = await run.vehicle()
        assert (await fourth.drive(GREY)).step_count == 1
        assert (await second.drive(GREY)).step_count == 1


async def test_a_vehicle_gets_the_place_of_a_session_that_never_sent_a_frame(tiny, monkeypatch):
    monkeypatch.setattr("steerstream_service.transport.stream._FIRST_FRAME_NS", 0)
    async with running(tiny, max_sessions=3) as run:
        driving = await run.vehicle(vehicle_id="driving")
        assert (await driving.drive(GREY)).step_count == 1
        silent = await run.vehicle(vehicle_id="silent")
        deaf = await ClosedWindow.connect(run.address)
        deaf.open(vehicle_id="deaf", budget_ms=LONG_BUDGET_MS)
        await slots_free(run, 3)
        for number in range(2):
            other = await run.vehicle(vehicle_id=f"other-{number}")
            assert (await other.drive(GREY)).step_count == 1
        code, reason, text = await silent.failure()
        assert (code, reason) == (grpc.StatusCode.DEADLINE_EXCEEDED, "ERROR_REASON_IDLE")
        assert "another vehicle needs the place" in text
        with pytest.raises(grpc.aio.AioRpcError, match="all 3 sessions are taken"):
            await run.vehicle(vehicle_id="one too many")
        assert (await driving.drive(GREY)).step_count == 2
        await deaf.close()


async def test_a_session_has_some_time_for_its_first_frame(tiny):
    async with running(tiny, max_sessions=1) as run:
        vehicle = await run.vehicle()
        with pytest.raises(grpc.aio.AioRpcError, match="all 1 sessions are taken"):
            await run.vehicle(vehicle_id="other")
        assert (await vehicle.drive(GREY)).step_count == 1


async def test_a_fault_while_a_stream_is_made_keeps_no_slot(tiny, monkeypatch):
    def fault(*_):
        raise ValueError("secret")

    async with running(tiny, max_sessions=1) as run:
        vehicle = Vehicle(run.stub())
        with monkeypatch.context() as patch:
            patch.setattr("steerstream_service.transport.stream.Session", fault)
            await vehicle.send(open=session_pb2.OpenSession(vehicle_id="unlucky"))
            code, reason, text = await vehicle.failure()
        assert (code, reason) == (grpc.StatusCode.INTERNAL, "ERROR_REASON_INTERNAL")
        assert "secret" not in text
        assert run.server.admission.sessions == 0
        assert (await (await run.vehicle()).drive(GREY)).step_count == 1


async def test_a_slot_that_is_used_again_starts_afresh(tiny):
    async with running(tiny, max_sessions=1) as run:
        film = pictures(5, seed=9)
        for _ in range(3):
            vehicle = await run.vehicle()
            np.testing.assert_allclose(
                await vehicle.replay(film), bundles.expected(film), atol=1e-5
            )
            vehicle.call.cancel()
            await slots_free(run, 0)


async def test_a_thousand_opens_without_frames_leave_others_served(tiny):
    async with running(tiny, max_sessions=16) as run:
        vehicle = await run.vehicle(vehicle_id="driving")
        outcomes = set()
        for turn in range(50):
            # A few turns a connection, so that none is told to slow down.
            if turn % 4 == 0:
                stub = run.stub(f"crowd-{turn}")
            crowd = [Vehicle(stub) for _ in range(20)]
            for number, other in enumerate(crowd):
                name = f"crowd-{turn}-{number}"
                await other.send(open=session_pb2.OpenSession(vehicle_id=name))
            for other in crowd:
                message = await _first_or_none(other)
                outcomes.add("refused" if message is None else message.WhichOneof("message"))
            command = await vehicle.drive(GREY)
            assert command.step_count == command.alive_counter
            for other in crowd:
                other.call.cancel()
            await slots_free(run, 1)
        assert outcomes == {"opened", "refused"}
        assert command.step_count == 50


async def _first_or_none(vehicle):
    try:
        message = await vehicle.call.read()
    except grpc.aio.AioRpcError:
        return None
    return None if message is grpc.aio.EOF else message


async def test_a_storm_of_cancels_leaks_nothing(tiny):
    async with running(tiny, max_sessions=32) as run:
        stub = run.stub()
        for _ in range(20):
            storm = [Vehicle(stub) for _ in range(10)]
            for vehicle in storm:
                await vehicle.open()
                await vehicle.frame(GREY)
                await vehicle.frame(jpeg=jpeg(GREY))
            for vehicle in storm:
                vehicle.call.cancel()
            await slots_free(run, 0)
        service = run.server._service
        assert not service._streams
        assert all(m.queue.pool.free == 32 for m in run.server.admission.models.values())
        await asyncio.sleep(0)
        tasks = [task for task in asyncio.all_tasks() if "DriveStream" in repr(task)]
        assert tasks == []


# Time.


async def test_silence_is_warned_of_and_then_ended(tiny):
    async with running(tiny, idle_timeout_s=0.3, expiring_notice_s=0.2) as run:
        vehicle = await run.vehicle()
        notice = (await vehicle.call.read()).notice
        assert 0 < notice.expiring.ends_in_ms <= 200
        code, reason, _ = await vehicle.failure()
        assert (code, reason) == (grpc.StatusCode.DEADLINE_EXCEEDED, "ERROR_REASON_IDLE")
        await slots_free(run, 0)


async def test_a_stream_that_never_opens_is_ended(tiny):
    async with running(tiny, open_timeout_s=0.1) as run:
        vehicle = Vehicle(run.stub())
        code, reason, _ = await vehicle.failure()
        assert (code, reason) == (grpc.StatusCode.DEADLINE_EXCEEDED, "ERROR_REASON_IDLE")


async def test_a_vehicle_that_comes_long_before_the_server_is_warm_is_told_to_come_back(tiny):
    server = Server(quickest.load_all([tiny]), "tiny", Config(drain_s=0.0, open_timeout_s=0.1))
    run = Running(server, await server.startup("127.0.0.1:0"))
    vehicle = Vehicle(run.stub())
    await vehicle.send(open=session_pb2.OpenSession(vehicle_id="early"))
    code, reason, text = await vehicle.failure()
    assert (code, reason) == (
        grpc.StatusCode.RESOURCE_EXHAUSTED,
        "ERROR_REASON_TOO_MANY_SESSIONS",
    )
    assert text == "the server is warming up; try again later"
    assert int(dict(await vehicle.call.trailing_metadata())[RETRY_AFTER_KEY]) >= 1000
    await run.close()
    await server.shutdown()


async def test_a_fault_of_the_server_is_what_ended_its_session(tiny, monkeypatch, caplog):
    caplog.set_level(logging.INFO)
    async with running(tiny) as run:
        vehicle = await run.vehicle()
        monkeypatch.setattr(
            "steerstream_service.session.machine.Session.receive", lambda *_, **__: 1 // 0
        )
        await vehicle.frame(GREY)
        assert (await vehicle.failure())[1] == "ERROR_REASON_INTERNAL"
        await slots_free(run, 0)
    ended = [record for record in caplog.records if record.getMessage() == "session_ended"]
    assert [record.steerstream_fields["ended_by"] for record in ended] == ["internal"]


async def test_a_client_that_takes_no_answers_is_ended(tiny):
    async with running(
        tiny, idle_timeout_s=0.5, expiring_notice_s=0.1, max_unsent_answers=4
    ) as run:
        channel = grpc.aio.insecure_channel(run.address, options=[("grpc.http2.bdp_probe", 0)])
        vehicle = Vehicle(drive_service_pb2_grpc.DriveServiceStub(channel))
        await vehicle.open()
        pouring = asyncio.create_task(_pour(vehicle))
        await slots_free(run, 0)
        pouring.cancel()
        await channel.close()


async def test_streams_that_take_no_bytes_give_their_slots_back(tiny, caplog):
    """Not even `opened` can be sent; the server must not wait for that without end."""
    async with running(
        tiny, max_sessions=4, idle_timeout_s=0.5, expiring_notice_s=0.1, drain_s=0.1
    ) as run:
        client = await ClosedWindow.connect(run.address)
        for number in range(4):
            client.open(vehicle_id=f"closed-{number}", budget_ms=LONG_BUDGET_MS)
        await slots_free(run, 4)
        await slots_free(run, 0)
        assert (await (await run.vehicle()).drive(GREY)).step_count == 1
        await client.close()
    assert [record for record in caplog.records if record.exc_info] == []


async def test_streams_that_take_no_bytes_keep_nobody_out(tiny, caplog, monkeypatch):
    """gRPC cannot end them, so the server ends their connection, which would hold every place."""
    caplog.set_level(logging.WARNING)
    monkeypatch.setattr("steerstream_service.process.bounds.CALLS", 0)
    monkeypatch.setattr("steerstream_service.transport.call_bounds.STATUS_S", 0.2)
    async with running(
        tiny, max_sessions=2, idle_timeout_s=0.5, expiring_notice_s=0.1, drain_s=0.1
    ) as run:
        client = await ClosedWindow.connect(run.address)
        for _ in range(2):
            for number in range(2):
                client.open(vehicle_id=f"closed-{number}", budget_ms=LONG_BUDGET_MS)
        async with asyncio.timeout(60):
            await client.closed()
            while not await _opens(run):  # noqa: ASYNC110 - nothing else tells
                await asyncio.sleep(0.005)
        assert not client.ended
        await client.close()
    assert [record for record in caplog.records if record.exc_info] == []
    assert "hung_up" in caplog.text


async def _opens(run):
    try:
        vehicle = await run.vehicle()
    except grpc.aio.AioRpcError:
        return False
    return await vehicle.done() is grpc.StatusCode.OK


async def _pour(vehicle):
    while True:
        await vehicle.frame(GREY)


@pytest.mark.parametrize("image", [{"jpeg": jpeg(GREY)}, {"rgb8": raw(GREY)}], ids=["jpeg", "raw"])
async def test_a_cost_that_looks_too_high_makes_frames_late_but_not_for_ever(tiny, image):
    """After a stall the cost of a step is believed to be above the budget; then it is doubted."""
    async with running(tiny) as run:
        vehicle = await run.vehicle(budget_ms=200, frame_policy=LATEST)
        queue = run.server.admission.models["tiny"].queue
        queue.cost._speed *= 400e6 / queue.step_cost_ns
        await vehicle.frame(**image)
        skip = await vehicle.answer()
        assert skip.reason == command_pb2.SKIP_REASON_LATE
        assert "within the budget" in skip.detail
        async with asyncio.timeout(60):
            while not isinstance(skip, command_pb2.Command):
                await vehicle.frame(**image)
                skip = await vehicle.answer()


# Around the sessions.


async def test_all_that_is_no_served_frame_is_counted_apart(tiny):
    """The cost of a frame is learned only while there is little else."""
    async with running(tiny) as run:
        admission = run.server.admission
        before = admission._others
        for _ in range(3):
            await run.stub().DescribeModels(drive_service_pb2.DescribeModelsRequest())
        health = health_pb2_grpc.HealthStub(run.channel())
        for _ in range(2):
            await health.Check(health_pb2.HealthCheckRequest())
        vehicle = await run.vehicle()
        for _ in range(4):
            await vehicle.frame()
            assert isinstance(await vehicle.answer(), command_pb2.FrameSkipped)
        await vehicle.send(reset=session_pb2.Reset())
        assert isinstance(await vehicle.drive(GREY), command_pb2.Command)
        assert await vehicle.done() is grpc.StatusCode.OK
        await slots_free(run, 0)
        assert admission._frames == 1
        assert admission._others - before == 3 + 2 + 1 + 4 + 1


async def test_models_are_described(server):
    answer = await server.stub().DescribeModels(drive_service_pb2.DescribeModelsRequest())
    (model,) = answer.models
    assert answer.default_model == model.name == "tiny"
    assert (model.input_width_px, model.input_height_px, model.rate_hz) == (16, 8, 20)
    assert [(o.head, o.unit) for o in model.outputs] == [
        ("steering_wheel_angle", "rad"),
        ("speed", "m/s"),
        ("steering_torque", "Nm"),
    ]
    assert [(s.name, list(s.shape), s.kind) for s in model.state] == [("h", [3], "recurrent")]
    assert len(model.bundle_sha256) == 64
    assert answer.limits.max_sessions == Config().max_sessions


async def test_health_serves_only_after_warm_up(tiny):
    serving = health_pb2.HealthCheckResponse.SERVING
    server = Server(quickest.load_all([tiny]), "tiny", Config(drain_s=0.0))
    address = await server.startup("127.0.0.1:0")
    async with grpc.aio.insecure_channel(address) as channel:
        check = health_pb2_grpc.HealthStub(channel).Check
        for name in ("", SERVICE_NAME):
            request = health_pb2.HealthCheckRequest(service=name)
            assert (await check(request)).status == health_pb2.HealthCheckResponse.NOT_SERVING
        vehicle = Vehicle(drive_service_pb2_grpc.DriveServiceStub(channel))
        opening = asyncio.create_task(vehicle.open())
        await check(request)
        assert not opening.done()
        await server.warm_up()
        await server.open()
        for name in ("", SERVICE_NAME):
            request = health_pb2.HealthCheckRequest(service=name)
            assert (await check(request)).status == serving
        assert (await opening).model.name == "tiny"
    await server.shutdown()


async def test_reflection_lists_the_service(server):
    stub = reflection_pb2_grpc.ServerReflectionStub(server.channel())
    call = stub.ServerReflectionInfo()
    await call.write(reflection_pb2.ServerReflectionRequest(list_services=""))
    names = {item.name for item in (await call.read()).list_services_response.service}
    await call.done_writing()
    assert {SERVICE_NAME, "grpc.health.v1.Health"} <= names


async def test_draining_tells_the_streams_refuses_new_ones_and_ends_the_rest(tiny):
    async with running(tiny, drain_s=0.4) as run:
        staying, leaving = await run.vehicle(), await run.vehicle()
        late = Vehicle(run.stub())
        ending = asyncio.create_task(run.server.shutdown())
        assert (await leaving.call.read()).notice.draining.ends_in_ms == 400
        await late.send(open=session_pb2.OpenSession(vehicle_id="late"))
        assert (await late.failure())[:2] == (
            grpc.StatusCode.UNAVAILABLE,
            "ERROR_REASON_DRAINING",
        )
        assert (await staying.drive(GREY)).step_count == 1
        assert await leaving.done() is grpc.StatusCode.OK
        assert (await staying.failure())[:2] == (
            grpc.StatusCode.UNAVAILABLE,
            "ERROR_REASON_DRAINING",
        )
        await ending
        assert run.server.admission.sessions == 0


# Load.


async def test_a_load_that_does_not_fit_is_refused_with_figures_and_a_hint(tiny):
    async with running(tiny) as run:
        modest = await run.vehicle(budget_ms=50, frame_rate_hz=500)
        greedy = Vehicle(run.stub())
        await greedy.send(
            open=session_pb2.OpenSession(vehicle_id="greedy", budget_ms=50, frame_rate_hz=1000)
        )
        code, reason, text = await greedy.failure()
        assert (code, reason) == (
            grpc.StatusCode.RESOURCE_EXHAUSTED,
            "ERROR_REASON_TOO_MANY_SESSIONS",
        )
        assert text.startswith("1000 Hz within 50 ms asks for ")
        hint = dict(await greedy.call.trailing_metadata())[RETRY_AFTER_KEY]
        assert 1000 <= int(hint) <= 2000
        assert (await modest.drive(GREY)).step_count == 1


async def test_a_vehicle_that_comes_back_too_soon_waits_for_its_answer(tiny):
    async with running(tiny, max_sessions=1) as run:
        driving = await run.vehicle()
        hints, began = [], asyncio.get_running_loop().time()
        for _ in range(2):
            eager = Vehicle(run.stub())
            await eager.send(open=session_pb2.OpenSession(vehicle_id="eager"))
            assert (await eager.failure())[1] == "ERROR_REASON_TOO_MANY_SESSIONS"
            metadata = dict(await eager.call.trailing_metadata())
            hints.append(int(metadata[RETRY_AFTER_KEY]))
        assert asyncio.get_running_loop().time() - began > 0.9 * hints[0] / 1000
        assert (await driving.drive(GREY)).step_count == 1


async def test_a_fault_of_one_review_of_the_load_ends_no_later_one(tiny, monkeypatch, caplog):
    async with running(tiny) as run:
        vehicle = await run.vehicle()
        admission, reviewed = run.server.admission, asyncio.Event()
        review = admission.review

        def broken(_):
            monkeypatch.setattr(admission, "review", sound)
            raise RuntimeError("a fault")

        def sound(lags_ns):
            reviewed.set()
            return review(lags_ns)

        monkeypatch.setattr(admission, "review", broken)
        async with asyncio.timeout(60):
            await reviewed.wait()
        assert (await vehicle.drive(GREY)).step_count == 1
    assert "review_failed" in caplog.text


async def test_a_server_that_has_become_slow_lets_its_newest_session_go_with_notice(tiny):
    async with running(tiny, shed_after_s=0.1, shed_notice_s=0.2) as run:
        oldest, newest = await run.vehicle(budget_ms=50), await run.vehicle(budget_ms=50)
        cost = run.server.admission.models["tiny"].queue.cost
        cost._speed, cost._share_ns = 1.0, [30e6 * size for size in cost.buckets]
        notice = (await newest.call.read()).notice.shedding
        assert notice.ends_in_ms == 200
        assert 1000 <= notice.retry_after_ms <= 2000
        code, reason, _ = await newest.failure()
        assert (code, reason) == (grpc.StatusCode.UNAVAILABLE, "ERROR_REASON_SHED")
        hint = dict(await newest.call.trailing_metadata())[RETRY_AFTER_KEY]
        assert int(hint) == notice.retry_after_ms
        await slots_free(run, 1)
        await oldest.frame(GREY)
        assert (await oldest.answer()).sequence_number == 0


async def test_a_server_whose_loop_is_starved_says_so_and_takes_nobody_until_it_is_in_time(
    tiny, monkeypatch, caplog
):
    caplog.set_level(logging.WARNING)
    monkeypatch.setattr("steerstream_service.transport.servicer._REVIEW_S", 0.02)
    monkeypatch.setattr("steerstream_service.admission.lateness.WINDOW_NS", 100_000_000)
    async with running(tiny) as run:
        vehicle = await run.vehicle(budget_ms=50)
        lag = run.server._service._lag
        monkeypatch.setattr(lag, "take", lambda: [500_000_000])
        async with asyncio.timeout(60):
            while not run.server.state().late:  # noqa: ASYNC110 - nothing else tells
                await asyncio.sleep(0.005)
            code, reason, text = await _refused(run)
            assert (code, reason) == (
                grpc.StatusCode.RESOURCE_EXHAUSTED,
                "ERROR_REASON_TOO_MANY_SESSIONS",
            )
            assert "for want of time on its cores" in text
            monkeypatch.setattr(lag, "take", list)
            while run.server.state().late:  # noqa: ASYNC110
                await asyncio.sleep(0.005)
        other = await run.vehicle(vehicle_id="other", budget_ms=50)
        assert other.opened is not None
        await vehicle.frame(GREY)
        assert (await vehicle.answer()).sequence_number == 0
    (late,) = [record for record in caplog.records if record.message == "server_late"]
    assert late.levelname == "ERROR"
    assert "server_in_time" in caplog.text


async def test_lateness_after_the_last_vehicle_left_is_no_error(tiny, monkeypatch, caplog):
    caplog.set_level(logging.INFO)
    async with running(tiny) as run:
        service = run.server._service
        lateness = SimpleNamespace(lasts=True, missed=0.5)
        monkeypatch.setattr(service._admission.capacity, "lateness", lateness)
        service._tell_lateness([])
        monkeypatch.undo()
    (late,) = [record for record in caplog.records if record.message == "server_late"]
    assert late.levelname == "INFO"


async def test_a_full_server_asks_its_vehicles_for_a_pace_and_ends_it(tiny, caplog):
    caplog.set_level(logging.WARNING)
    async with running(tiny) as run:
        terms = {"frame_policy": session_pb2.FRAME_POLICY_LATEST, "frame_rate_hz": 20.0}
        vehicles = [await run.vehicle(vehicle_id=f"v{at}", **terms) for at in range(4)]
        for share in (0.5, 0.25, 1.0):
            run.server._service._ask_for_pace(share)
        paces = [
            [(await vehicle.call.read()).notice.pace for _ in range(3)] for vehicle in vehicles
        ]
    assert [[pace.period_ms for pace in each] for each in paces] == [[100.0, 200.0, 0.0]] * 4
    assert [each[0].first_in_ms for each in paces] == [0.0, 25.0, 50.0, 75.0]
    messages = [record.message for record in caplog.records]
    assert messages.count("server_full") == messages.count("server_has_room") == 1


async def _refused(run):
    vehicle = Vehicle(run.stub())
    await vehicle.send(open=session_pb2.OpenSession(vehicle_id="newcomer", budget_ms=50))
    return await vehicle.failure()


@pytest.mark.parametrize("policy", ["LATEST", "EVERY"])
async def test_surplus_frames_wait_where_the_server_is_busy(tiny, policy, monkeypatch):
    """LATEST skips them at once; EVERY takes its time; no frame is left without an answer."""
    async with running(tiny) as run:
        monkeypatch.setattr(run.server.admission, "review", lambda _: [])
        run.server.admission.capacity.is_busy = True
        vehicle = await run.vehicle(frame_policy=f"FRAME_POLICY_{policy}", frame_rate_hz=0.1)
        began = asyncio.get_running_loop().time()
        answers = [await vehicle.drive(GREY) for _ in range(11)]
        took_s = asyncio.get_running_loop().time() - began
    surplus = [isinstance(each, command_pb2.FrameSkipped) for each in answers]
    # Eight frames may come at once. After each further one the server reads nothing for 0.2 s.
    assert took_s >= 2 * 0.2
    if policy == "EVERY":
        assert not any(surplus)
    else:
        assert surplus == [False] * 8 + [True] * 3
        skips = answers[8:]
        assert {each.reason for each in skips} == {command_pb2.SKIP_REASON_OVERLOADED}
        assert all("state it when opening" in each.detail for each in skips)


# A second session of a vehicle.


async def test_a_vehicle_that_lost_its_network_is_back_at_once(tiny, caplog):
    caplog.set_level(logging.INFO)
    async with running(tiny, max_sessions=1) as run:
        lost = await run.vehicle(vehicle_id="car-7")
        await lost.drive(GREY)
        back = await run.vehicle(vehicle_id="car-7")
        assert (await back.drive(GREY)).step_count == 1
        code, reason, text = await lost.failure()
        assert (code, reason) == (grpc.StatusCode.ABORTED, "ERROR_REASON_TAKEN_OVER")
        assert text.startswith("a newer session of this vehicle has taken over; ")
        assert run.server.admission.sessions == 1
        assert await back.done() is grpc.StatusCode.OK
        await slots_free(run, 0)
    ended = [record for record in caplog.records if record.message == "session_ended"]
    ways = {
        record.steerstream_fields["session_id"]: record.steerstream_fields["ended_by"]
        for record in ended
    }
    assert len(ended) == 2
    assert ways == {lost.opened.session_id: "taken_over", back.opened.session_id: "client"}


async def test_or_it_is_refused_where_that_is_set(tiny):
    async with running(tiny, second_session="refuse") as run:
        first = await run.vehicle(vehicle_id="car-7")
        second = Vehicle(run.stub())
        await second.send(open=session_pb2.OpenSession(vehicle_id="car-7"))
        code, reason, _ = await second.failure()
        assert (code, reason) == (
            grpc.StatusCode.RESOURCE_EXHAUSTED,
            "ERROR_REASON_SHARE_TAKEN",
        )
        assert (await first.drive(GREY)).step_count == 1
        assert await first.done() is grpc.StatusCode.OK
        await slots_free(run, 0)
        await run.vehicle(vehicle_id="car-7")


@pytest.mark.parametrize("asked", [{"model": "none"}, {"ticket": b"no"}, {"budget_ms": 0.001}])
async def test_a_session_that_is_refused_takes_nobody_s_place(tiny, asked):
    async with running(tiny, max_sessions=1) as run:
        first = await run.vehicle(vehicle_id="car-7")
        second = Vehicle(run.stub())
        await second.send(open=session_pb2.OpenSession(**{"vehicle_id": "car-7", **asked}))
        code, _, _ = await second.failure()
        assert code is not grpc.StatusCode.OK
        assert (await first.drive(GREY)).step_count == 1


async def test_of_many_sessions_that_open_at_once_one_is_left_and_each_of_the_others_knows_why(
    tiny,
):
    async with running(tiny, max_sessions=2) as run:
        other = await run.vehicle(vehicle_id="other")
        vehicles = [Vehicle(run.stub()) for _ in range(24)]
        await asyncio.gather(*(vehicle.open(vehicle_id="car-7") for vehicle in vehicles))
        assert run.server.admission.sessions == 2
        ended = [asyncio.create_task(vehicle.failure()) for vehicle in vehicles]
        async with asyncio.timeout(60):
            while sum(task.done() for task in ended) < len(ended) - 1:  # noqa: ASYNC110
                await asyncio.sleep(0.005)
        (left,) = (task for task in ended if not task.done())
        assert {task.result()[1] for task in ended if task is not left} == {
            "ERROR_REASON_TAKEN_OVER"
        }
        assert (await other.drive(GREY)).step_count == 1
        vehicles[ended.index(left)].call.cancel()
        await slots_free(run, 1)
        await asyncio.wait([left])
        assert len(run.server.admission.capacity._claims) == 1


async def test_a_client_that_takes_nothing_does_not_keep_its_stream_when_it_was_taken_over(tiny):
    async with running(tiny, max_sessions=1) as run:
        client = await ClosedWindow.connect(run.address)
        client.open(vehicle_id="car-7", budget_ms=LONG_BUDGET_MS)
        await slots_free(run, 1)
        (older,) = run.server._service._streams
        patience = older._patience
        back = await run.vehicle(vehicle_id="car-7")
        assert (await back.drive(GREY)).step_count == 1
        async with asyncio.timeout(60):
            while not patience.expired():  # noqa: ASYNC110 - nothing else tells
                await asyncio.sleep(0.005)
        await client.close()


async def test_no_frame_of_a_session_that_was_taken_over_is_stepped_in_the_row_of_another(
    tiny,
):
    """The pool has one row, which the newer session gets while frames of the older one wait."""
    async with running(tiny, max_sessions=1) as run:
        older = await run.vehicle(vehicle_id="car-7")
        for _ in range(4):
            await older.frame(RED)
        newer = await run.vehicle(vehicle_id="car-7")
        film = pictures(10, seed=4)
        rows = await newer.replay(film)
        np.testing.assert_allclose(rows, bundles.expected(film), atol=1e-5)
        _, reason, _ = await older.failure()
        assert reason == "ERROR_REASON_TAKEN_OVER"
