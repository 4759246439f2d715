"""How the part of a drive session at one server ends."""

from __future__ import annotations

import asyncio

import pytest

import steerstream
from steerstream import SessionClosed
from steerstream.leg import Leg
from steerstream.observer import SessionObserver
from steerstream.testing import Drop, FakeServer, Reply

HOUR_S = 3600.0


class Observer(SessionObserver):
    def __init__(self):
        self.answers = 0

    def answered(self, answer, reasons):
        self.answers += 1


async def begun(server):
    """Return a leg with a frame under way and a task that reads, and its observer."""
    observer = Observer()
    client = await steerstream.connect("a:1", transport=server.transport())
    session = await client.open_session(vehicle_id="car", observer=observer)
    leg = Leg("a:1", client, session, with_state=True, losses=0)

    async def read():
        async for _ in session:
            pass

    leg.tasks.append(asyncio.create_task(read()))
    await session.send_frame(b"picture")
    return leg, observer


async def test_a_clean_end_takes_the_answers_under_way():
    leg, observer = await begun(FakeServer(lambda frame: Reply(latency_ms=20)))
    await leg.close(is_clean=True)
    assert observer.answers == 1
    with pytest.raises(SessionClosed):
        await leg.session.send_frame(b"picture")


async def test_another_end_waits_for_no_answer():
    leg, observer = await begun(FakeServer(lambda frame: Reply(latency_ms=HOUR_S * 1e3)))
    await leg.close(is_clean=False)
    assert observer.answers == 0
    with pytest.raises(SessionClosed):
        await leg.session.send_frame(b"picture")


async def test_its_tasks_end_with_it():
    leg, _ = await begun(FakeServer(lambda frame: Drop()))
    leg.tasks.append(asyncio.create_task(asyncio.Event().wait()))
    await leg.close(is_clean=False)
    assert all(task.done() for task in leg.tasks)
