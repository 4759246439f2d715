"""One client that takes all it can get, beside vehicles that behave."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import time

from benchmark.loadgen.picture_set import PictureSet
from benchmark.loadgen.tally import Tally
from benchmark.loadgen.timing import NS_PER_S, seconds_until
from benchmark.loadgen.transport import SessionEndedError, Stream, Terms, Transport


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Flood:
    """A session under EVERY that sends whenever flow control lets it, answered or not.

    Attributes:
        seconds: how long.
        pictures: what it sends in turn.
        budget_ms: what it asks for.
        rate_hz: what it says that it will send.
    """

    seconds: float
    pictures: PictureSet
    budget_ms: float = 1_000.0
    rate_hz: float = 20.0


async def run(transport: Transport, load: Flood) -> Tally:
    """Flood a server and return what came back.

    Raises:
        OSError: there is no server.
        SessionEndedError: the server refused the session.
    """
    tally, sent_ns = Tally(budget_ms=load.budget_ms), list[int]()
    terms = Terms(budget_ms=load.budget_ms, rate_hz=load.rate_hz, every=True)
    async with transport.connect() as connection:
        stream = await connection.open("flood", terms)
        tally.opened += 1
        receiver = asyncio.create_task(_receive(stream, tally, sent_ns))
        end_ns = time.monotonic_ns() + round(load.seconds * NS_PER_S)
        try:
            await _send(stream, sent_ns, receiver, end_ns)
        finally:
            receiver.cancel()
            await asyncio.wait([receiver])
            await stream.abort()
    tally.frames = len(sent_ns)
    return tally


async def _send(
    stream: Stream, sent_ns: list[int], receiver: asyncio.Task[None], end_ns: int
) -> None:
    # A write that flow control holds back ends with the load's time.
    with contextlib.suppress(SessionEndedError, TimeoutError):
        async with asyncio.timeout(seconds_until(end_ns)):
            while not receiver.done():
                number = len(sent_ns)
                sent_ns.append(time.monotonic_ns())
                await stream.send(number, number, sent_ns[-1])
                # A write may return without waiting: let the receiver have its turn.
                await asyncio.sleep(0)


async def _receive(stream: Stream, tally: Tally, sent_ns: list[int]) -> None:
    try:
        while True:
            answer = await stream.receive()
            tally.add_answer(answer, time.monotonic_ns(), sent_ns[answer.number])
    except SessionEndedError as failure:
        tally.ended[failure.reason] += 1
