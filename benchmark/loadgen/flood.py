"""One client that takes all it can get, beside vehicles that behave."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import time
from typing import TYPE_CHECKING

from benchmark.loadgen import requests
from benchmark.loadgen.open_loop import NS_PER_S
from benchmark.loadgen.stream import Connection, Stream
from benchmark.loadgen.tally import Tally
from steerstream.failures import RpcFailed

if TYPE_CHECKING:
    from collections.abc import Sequence


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Flood:
    """A session under EVERY that sends whenever flow control lets it, answered or not.

    Attributes:
        seconds: how long.
        images: items of `benchmark.loadgen.requests.road_images`.
        budget_ms: what it asks for.
        rate_hz: what it says that it will send.
    """

    seconds: float
    images: Sequence[bytes]
    budget_ms: float = 1_000.0
    rate_hz: float = 20.0


async def flood(target: str, load: Flood) -> Tally:
    """Flood a server and return what came back.

    Raises:
        RpcFailed: the server refused the session.
    """
    tally = Tally(budget_ms=load.budget_ms)
    opening = requests.open_request(
        "flood", budget_ms=load.budget_ms, rate_hz=load.rate_hz, policy=requests.EVERY
    )
    async with Connection(target) as connection:
        stream = await connection.open(opening)
        tally.opened += 1
        receiver = asyncio.create_task(_receive(stream, tally))
        end_ns = time.monotonic_ns() + round(load.seconds * NS_PER_S)
        try:
            await _send(stream, load, tally, receiver, end_ns)
        finally:
            stream.cancel()
            await asyncio.wait([receiver])
    return tally


async def _send(
    stream: Stream, load: Flood, tally: Tally, receiver: asyncio.Task[None], end_ns: int
) -> None:
    # A write that flow control holds back ends with the load's time.
    with contextlib.suppress(RpcFailed, TimeoutError):
        async with asyncio.timeout((end_ns - time.monotonic_ns()) / NS_PER_S):
            while not receiver.done():
                image = load.images[tally.frames % len(load.images)]
                now_ns = time.monotonic_ns()
                await stream.send(requests.frame_request(image, tally.frames, now_ns))
                tally.frames += 1
                # A write that does not wait would leave answers unread.
                await asyncio.sleep(0)


async def _receive(stream: Stream, tally: Tally) -> None:
    try:
        async for response in stream.answers():
            answer = response.command if response.HasField("command") else response.skipped
            tally.add_answer(response, time.monotonic_ns(), answer.capture_time_ns)
    except RpcFailed as failure:
        tally.ended[failure.reason.name] += 1
