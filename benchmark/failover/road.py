"""The closed loop through a lost server: how far does the vehicle leave its lane's centre?"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

from steerstream import DriveSession, FramePolicy
from steerstream_simulation.camera import CameraConfig
from steerstream_simulation.closed_loop import RATE_HZ, drive_real_time
from steerstream_simulation.grpc_driver import connect, open_driver
from steerstream_simulation.server_kill import ServerKill
from steerstream_simulation.world import World

SEED = 7
"""The road of the demo, whose first sharp bend comes after 11 s."""
SECONDS = 15.0


async def drive(targets: list[str], strike: Callable[[], Awaitable[None]]) -> dict[str, Any]:
    """Drive into the bend, lose the server there, and return how the vehicle went on.

    Args:
        targets: the servers, the first of which is lost.
        strike: makes it happen; it is begun in the bend.
    """
    camera, world = CameraConfig(), World(SEED, seconds=SECONDS, camera=CameraConfig())
    striking: list[asyncio.Future[None]] = []
    async with (
        connect(targets) as client,
        open_driver(client, camera, frame_policy=FramePolicy.LATEST, hands_over=True) as driver,
    ):
        assert isinstance(driver.session, DriveSession), "it was asked to hand over"  # noqa: S101 - own call
        kill = ServerKill(
            {targets[0]: lambda: striking.append(asyncio.ensure_future(strike()))},
            driver.session,
            world,
            SECONDS,
        )
        await drive_real_time(world, driver, frames=round(SECONDS * RATE_HZ), observe=kill)
        await asyncio.gather(*striking)
    return kill.summary() or {}
