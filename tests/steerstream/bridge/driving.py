"""A driver before a scripted server, for the tests of simulators."""

from __future__ import annotations

import contextlib

import cv2
import numpy as np

import steerstream
from steerstream.bridge.driver import Driver
from steerstream.drive.tally import Tally
from steerstream.testing import FakeServer, Reply

PICTURE = cv2.imencode(".jpg", np.full((48, 64, 3), 90, np.uint8))[1].tobytes()


@contextlib.asynccontextmanager
async def driving(
    fake: FakeServer | None = None, *, rate_hz: float = 1e6, speed_mps=None, is_plain=False
):
    """Yields a driver; pictures may come as fast as they like.

    A plain session ends with its server, at once.
    """
    fake = fake or FakeServer(lambda frame: Reply(0.148, speed_mps=8.0))
    async with steerstream.connect("fake", transport=lambda name: fake.transport()) as client:
        open_session = client.open_session if is_plain else client.drive_session
        session = await open_session(vehicle_id="car")
        try:
            yield Driver(session, Tally(50.0), rate_hz=rate_hz, speed_mps=speed_mps)
        finally:
            await session.aclose()
