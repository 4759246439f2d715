"""Frames for the engine without a session, and bounded waits for what it does with them."""

from __future__ import annotations

import asyncio

import numpy as np

from steerstream_service.session.frame_stages import Event, FrameRecord

FAR_NS = 10**18
"""A deadline that never comes."""
GREY = np.full((8, 16, 3), 100, np.uint8)
RED = np.full((8, 16, 3), 250, np.uint8)


def submitted(
    queue,
    pixels=GREY,
    *,
    slot=None,
    reset=True,
    interval_s=0.05,
    act_in_s=0.0,
    deadline_ns=FAR_NS,
    reply=lambda record: None,
):
    """A frame as a session submits it; it takes a new slot of the queue unless one is given."""
    record = FrameRecord(0, 0, None, None, 0)
    for event in (Event.DECODE, Event.DECODED, Event.SUBMIT):
        record.move(event)
    record.pixels = pixels
    record.reset = reset
    record.interval_s = interval_s
    record.act_in_s = act_in_s
    record.deadline_ns = deadline_ns
    record.slot = queue.pool.allocate() if slot is None else slot
    record.reply = reply
    return record


async def stepped(engine, queue, pixels=GREY, **fields):
    """Submit a frame and return its outcome."""
    replied = asyncio.get_running_loop().create_future()
    engine.submit(queue, submitted(queue, pixels, **fields, reply=replied.set_result))
    async with asyncio.timeout(60):
        return (await replied).outcome


async def until(condition):
    """Give the event loop to others until a condition holds."""
    async with asyncio.timeout(60):
        while not condition():  # noqa: ASYNC110 - nothing else tells
            await asyncio.sleep(0)
