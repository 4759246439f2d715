from __future__ import annotations

import cv2
import numpy as np
import pytest

from steerstream import OutputLost
from steerstream.drive.recorder import MAX_WAITING, Recorder, Scene
from tests.steerstream.values import command, skipped

PICTURE = np.full((48, 64, 3), 90, np.uint8)


async def test_every_scene_becomes_a_picture_of_the_video(tmp_path):
    path = tmp_path / "drive.mp4"
    async with Recorder(path, rate_hz=20.0, budget_ms=50.0) as recorder:
        for number in range(MAX_WAITING + 5):
            answer = command(number, 0.0) if number % 2 else skipped(number, 0.0)
            await recorder.add(Scene(PICTURE, answer, 8.0, 0.1, ("a line",)))
    video = cv2.VideoCapture(str(path))
    assert video.get(cv2.CAP_PROP_FRAME_COUNT) == MAX_WAITING + 5
    video.release()


async def test_a_video_that_is_lost_ends_with_an_error_and_nobody_waits_for_ever(tmp_path):
    async def record() -> None:
        async with Recorder(tmp_path / "drive.mp4", rate_hz=20.0, budget_ms=50.0) as recorder:
            for number in range(3 * MAX_WAITING):
                # Pictures are scaled up to the same width, so that the second has another height.
                picture = PICTURE if number == 0 else PICTURE[:24]
                await recorder.add(Scene(picture, command(number, 0.0), 8.0, None, ()))

    with pytest.raises(OutputLost, match="must have shape"):
        await record()
