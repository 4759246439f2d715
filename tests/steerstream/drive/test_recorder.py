from __future__ import annotations

import asyncio
import threading

import cv2
import numpy as np
import pytest

from steerstream import OutputLost
from steerstream.drive import overlay
from steerstream.drive.recorder import MAX_WAITING, Recorder, Scene
from tests.steerstream.values import command, skipped

PICTURE = np.full((48, 64, 3), 90, np.uint8)


async def test_every_scene_becomes_a_picture_of_the_video(tmp_path):
    path = tmp_path / "drive.mp4"
    async with Recorder(path, rate_hz=20.0, budget_ms=50.0, waits=True) as recorder:
        for number in range(MAX_WAITING + 5):
            answer = command(number, 0.0) if number % 2 else skipped(number, 0.0)
            await recorder.add(Scene(PICTURE, answer, 8.0, 0.1, ("a line",)))
    video = cv2.VideoCapture(str(path))
    assert video.get(cv2.CAP_PROP_FRAME_COUNT) == MAX_WAITING + 5
    video.release()


async def test_a_video_that_is_lost_ends_with_an_error_and_nobody_waits_for_ever(tmp_path):
    async def record() -> None:
        async with Recorder(
            tmp_path / "drive.mp4", rate_hz=20.0, budget_ms=50.0, waits=True
        ) as recorder:
            for number in range(3 * MAX_WAITING):
                # Pictures are scaled up to the same width, so that the second has another height.
                picture = PICTURE if number == 0 else PICTURE[:24]
                await recorder.add(Scene(picture, command(number, 0.0), 8.0, None, ()))

    with pytest.raises(OutputLost, match="must have shape"):
        await record()


async def test_a_drive_waits_for_drawing_that_is_too_slow_and_loses_nothing(tmp_path, monkeypatch):
    go, draw = threading.Event(), overlay.draw_overlay

    def slow(*args, **options):
        assert go.wait(30)
        return draw(*args, **options)

    monkeypatch.setattr("steerstream.drive.recorder.draw_overlay", slow)
    path = tmp_path / "drive.mp4"
    async with Recorder(path, rate_hz=20.0, budget_ms=50.0, waits=True) as recorder:
        scene = Scene(PICTURE, command(0, 0.0), 8.0, None, ())
        for _ in range(MAX_WAITING):
            await recorder.add(scene)
        # One more takes the place of the scene that is being drawn.
        adding = [asyncio.create_task(recorder.add(scene)) for _ in range(2)]
        await asyncio.sleep(0)
        assert not all(task.done() for task in adding)
        go.set()
        await asyncio.gather(*adding)
    video = cv2.VideoCapture(str(path))
    assert video.get(cv2.CAP_PROP_FRAME_COUNT) == MAX_WAITING + 2
    video.release()


async def test_a_fault_in_drawing_shows_itself_and_nobody_waits_for_ever(tmp_path, monkeypatch):
    monkeypatch.setattr("steerstream.drive.recorder.draw_overlay", lambda *_, **__: 1 // 0)

    async def record() -> None:
        async with Recorder(
            tmp_path / "drive.mp4", rate_hz=20.0, budget_ms=50.0, waits=True
        ) as recorder:
            for number in range(3 * MAX_WAITING):
                await recorder.add(Scene(PICTURE, command(number, 0.0), 8.0, None, ()))

    with pytest.raises(ZeroDivisionError):
        await record()
    assert list(tmp_path.iterdir()) == []
