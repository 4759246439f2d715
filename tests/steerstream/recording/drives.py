"""Short drives at a scripted server, and what a recording holds of them."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from pathlib import Path

import steerstream
from steerstream import FramePolicy
from steerstream.observer import SessionObserver
from steerstream.recording.reader import Recorded, Recording
from steerstream.sources.mcap_records import McapFile
from steerstream.testing import FakeServer, Reply

PERIOD_NS = 50_000_000
PICTURE = b"\xff\xd8 a picture \xff\xd9"


@contextlib.asynccontextmanager
async def driving(
    observer: SessionObserver, fake: FakeServer | None = None, **options
) -> AsyncIterator[steerstream.Session]:
    fake = fake or FakeServer(lambda frame: Reply(0.1))
    options = {"frame_policy": FramePolicy.EVERY, "vehicle_id": "car-7", **options}
    async with (
        steerstream.connect("fake:1", transport=fake.transport()) as client,
        client.open_session(observer=observer, **options) as session,
    ):
        yield session


async def drive(
    session: steerstream.Session, count: int, first: int = 0, picture: bytes = PICTURE
) -> None:
    for number in range(first, first + count):
        await session.request(
            picture, sequence_number=number, capture_time_ns=(number + 1) * PERIOD_NS
        )


def messages(*paths: Path) -> list[Recorded]:
    return list(Recording(paths).messages())


def topics_of(*paths: Path) -> list[str]:
    return [message.topic for message in messages(*paths)]


def records(path: Path) -> tuple[list, bool]:
    """What a file holds, and whether it lost its writer."""
    file = McapFile(path)
    return list(file.records()), file.is_cut_off
