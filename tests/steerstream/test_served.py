"""The client against the real server and the bundle that ships."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

import steerstream
import steerstream.blocking
from steerstream import (
    Action,
    BadRequest,
    Command,
    Encoding,
    ErrorReason,
    FramePolicy,
    Skipped,
    SkipReason,
    UnknownModel,
    Validity,
    ViewUse,
)
from steerstream.__main__ import main
from steerstream.testing.server_process import serve

PART = 60
"""Frames of each of the real drive's four validation blocks that are replayed."""
ROOT = Path(__file__).resolve().parents[2]


PATIENCE_S = 30.0
BUDGET_MS = 1000.0
"""However slow this machine is just now, no frame is late for it."""


@pytest.fixture(scope="module")
def target(bundle_path):
    with serve(bundle_path) as server:
        yield server.address


@contextlib.asynccontextmanager
async def driving(target: str, **options: Any) -> AsyncIterator[steerstream.Session]:
    """A session that waits for every answer, however long it takes."""
    async with (
        steerstream.connect(target) as client,
        client.open_session(
            vehicle_id="car", frame_policy=FramePolicy.EVERY, budget_ms=BUDGET_MS, **options
        ) as session,
    ):
        yield session


def picture(seed: int = 0) -> np.ndarray:
    noise = np.random.default_rng(seed).integers(0, 256, (60, 80, 3), np.uint8)
    return cv2.resize(noise, (320, 240), interpolation=cv2.INTER_CUBIC)


def nv12(pixels: np.ndarray) -> steerstream.Nv12:
    height, width = pixels.shape[:2]
    planar = cv2.cvtColor(pixels, cv2.COLOR_RGB2YUV_I420)
    chroma = planar[height:].reshape(2, -1).T
    planes = np.concatenate([planar[:height].ravel(), chroma.ravel()])
    return steerstream.Nv12(width, height, planes)


async def test_raw_video_is_driven_as_its_pixels_are(target):
    angles = []
    for image in (picture(), nv12(picture())):
        async with driving(target) as session:
            command = await session.request(image, encoding=Encoding.RGB8)
            angles.append(command.raw.steering_wheel_angle_rad)
    assert angles[0] == pytest.approx(angles[1], abs=0.02)


async def test_a_drive_warms_up_and_every_command_is_sealed_and_counted(target):
    async with driving(target) as session:
        commands = [await session.request(picture(seed)) for seed in range(12)]
        assert all(isinstance(command, Command) for command in commands)
        assert all(command.checksum_ok for command in commands)
        assert [command.alive_counter for command in commands] == list(range(1, 13))
        assert [command.step_count for command in commands] == list(range(1, 13))
        assert commands[0].validity is Validity.WARMING_UP
        assert session.safe_command().action is Action.FOLLOW


async def test_a_session_goes_on_with_the_ticket_of_the_one_that_ended(target):
    async with driving(target) as session:
        for seed in range(12):
            await session.request(picture(seed))
        ticket = session.ticket
    assert ticket is not None
    async with driving(target, ticket=ticket) as session:
        assert session.info.resumed
        command = await session.request(picture(12))
    assert isinstance(command, Command)
    assert command.sequence_number == ticket.sequence_number + 1


async def test_a_reset_begins_a_new_epoch_from_the_same_state(target):
    # The network takes the time between pictures, which a busy machine would change.
    times_ns = itertools.count(time.monotonic_ns(), 50_000_000)

    async def driven() -> list[Command]:
        answers = [
            await session.request(picture(seed), capture_time_ns=next(times_ns))
            for seed in range(3)
        ]
        return [answer for answer in answers if isinstance(answer, Command)]

    async with driving(target) as session:
        first = await driven()
        await session.reset()
        second = await driven()
    assert [answer.state_epoch for answer in first + second] == [0, 0, 0, 1, 1, 1]
    for before, after in zip(first, second, strict=True):
        assert after.raw == before.raw


async def test_jpeg_and_raw_pixels_are_understood_alike(target):
    image = np.full((240, 320, 3), 120, np.uint8)
    async with driving(target) as session:
        raw = await session.request(image, encoding=Encoding.RGB8)
        await session.reset()
        jpeg = await session.request(image, encoding=Encoding.JPEG)
    assert jpeg.raw.steering_wheel_angle_rad == pytest.approx(
        raw.raw.steering_wheel_angle_rad, abs=1e-3
    )


async def test_a_broken_picture_is_skipped_and_the_guard_lives_with_it(target):
    async with driving(target) as session:
        await session.request(picture())
        broken = await session.request(b"no picture")
        assert isinstance(broken, Skipped)
        assert broken.reason is SkipReason.UNDECODABLE
        assert broken.held is not None
        assert broken.held.checksum_ok
        assert session.safe_command().action is Action.HOLD
        assert isinstance(await session.request(picture()), Command)
        assert session.safe_command().reasons == ()


@pytest.mark.parametrize(
    ("options", "kind", "reason"),
    [
        ({"model": "nosuch"}, UnknownModel, ErrorReason.UNKNOWN_MODEL),
        ({"budget_ms": 0.001}, BadRequest, ErrorReason.BUDGET_TOO_SMALL),
        ({"budget_ms": -1.0}, BadRequest, ErrorReason.INVALID_FIELD),
        ({"vehicle_id": ""}, BadRequest, ErrorReason.INVALID_FIELD),
        ({"ticket": b"forged"}, BadRequest, ErrorReason.BAD_TICKET),
    ],
)
async def test_a_session_that_cannot_be_is_refused_with_its_reason(target, options, kind, reason):
    async with steerstream.connect(target) as client:
        with pytest.raises(kind) as caught:
            async with client.open_session(**{"vehicle_id": "car", **options}):
                pytest.fail("the session must not open")
    assert caught.value.reason is reason


async def test_a_picture_that_the_server_would_refuse_is_not_sent(target):
    async with driving(target) as session:
        with pytest.raises(BadRequest, match="pixels"):
            await session.send_frame(np.zeros((4000, 4000, 3), np.uint8), view=ViewUse.NEVER)
        assert isinstance(await session.request(picture()), Command)


def test_the_blocking_client_drives_too(target):
    with (
        steerstream.blocking.connect(target) as client,
        client.open_session(vehicle_id="car", budget_ms=BUDGET_MS) as session,
    ):
        assert isinstance(session.request(picture(), timeout_s=PATIENCE_S), Command)


EXAMPLES = pytest.mark.parametrize("example", ["minimal_client.py", "blocking_client.py"])


def example_run(example: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, ROOT / "examples" / example, *arguments],
        capture_output=True,
        text=True,
        check=False,
        cwd=ROOT,
        env={"PYTHONPATH": str(ROOT)},
    )


@EXAMPLES
def test_the_examples_run(target, tmp_path, example):
    names = [str(tmp_path / f"{index}.jpg") for index in range(12)]
    for index, name in enumerate(names):
        cv2.imwrite(name, picture(index))
    result = example_run(example, target, *names)
    assert (result.returncode, result.stderr) == (0, "")
    # What the guard says depends on how fast this machine is just now.
    acts = ("steer ", "keep steering ", "hand over ", "HOLD ", "RELEASE ")
    lines = result.stdout.splitlines()
    assert sum(line.startswith(acts) for line in lines) == len(names)
    assert max(map(len, lines)) < 200, "a ticket is nothing to read"


@EXAMPLES
def test_the_examples_say_what_they_are_called_with(example):
    result = example_run(example)
    assert result.returncode == 2
    assert result.stderr.startswith(f"usage: {example} ")


def part_of(labels, path):
    """Write the beginnings of all blocks, between which the state is reset."""
    header, *rows = labels.read_text().splitlines()
    blocks = {}
    for row in rows:
        blocks.setdefault(row.split(",")[4], []).append(row)
    path.write_text(
        "\n".join([header, *(row for block in blocks.values() for row in block[:PART])])
    )
    return path


@pytest.mark.data
@pytest.mark.train
@pytest.mark.parametrize(
    ("precision", "as_views"), [("f32", False), ("int8", False), ("f32", True), ("int8", True)]
)
def test_a_replayed_drive_scores_as_the_evaluation_without_a_server(
    bundle_path, data_dir, tmp_path, precision, as_views
):
    drive = data_dir / "udacity_ch2_hmb3"
    labels = part_of(drive / "labels.csv", tmp_path / "labels.csv")
    labelled = ["--labels", labels, "--split", "validation"]
    streamed, bare = tmp_path / "streamed.json", tmp_path / "bare.json"
    words = ["drive", "--source", drive, *labelled, "--as-fast-as-possible"]
    words += ["--budget-ms", str(BUDGET_MS), *([] if as_views else ["--whole-frames"])]
    with serve(bundle_path, options=["--precision", precision]) as server:
        words += ["--target", server.address, "--json", streamed]
        assert main([str(word) for word in words]) == 0
    run = bundle_path if precision == "f32" else bundle_path.with_suffix(f".{precision}.onnx")
    evaluate = ["-m", "model_export", "evaluate", run, *labelled, "--images", drive, "--json", bare]
    evaluate += ["--view"] if as_views else []
    subprocess.run([sys.executable, *evaluate], check=True, cwd=ROOT, capture_output=True)
    result, expected = json.loads(streamed.read_text()), json.loads(bare.read_text())
    assert (result["frames"], result["commands"]) == (4 * PART, 4 * PART)
    for figure in ("rmse", "mae"):
        assert result["heads"]["steering_wheel_angle"][figure] == pytest.approx(
            expected["heads"]["steering_wheel_angle"][figure], abs=1e-5
        )


async def test_a_server_that_stops_says_so_and_the_drive_can_end_well(bundle_path):
    with serve(bundle_path) as server:
        async with driving(server.address) as session:
            await session.request(picture())
            assert server.pid is not None
            os.kill(server.pid, signal.SIGTERM)
            async with asyncio.timeout(PATIENCE_S):
                assert isinstance(await anext(session), steerstream.Draining)
            assert isinstance(await session.request(picture()), Command)


async def test_a_client_that_is_closed_gives_its_places_back_at_once(bundle_path):
    with serve(bundle_path, settings={"max_sessions": 2, "max_load": 100.0}) as server:
        for _ in range(3):
            client = await steerstream.connect(server.address)
            for vehicle_id in ("a", "b"):
                session = await client.open_session(vehicle_id=vehicle_id, budget_ms=BUDGET_MS)
                await session.send_frame(picture())
            await client.aclose()
