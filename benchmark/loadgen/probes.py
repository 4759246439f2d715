"""Small loads that ask one question: what a server answers, and when its slots are free again."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Sequence

from benchmark.loadgen.closed_loop import PATIENT_MS
from benchmark.loadgen.timing import together
from benchmark.loadgen.transport import SessionEndedError, Stream, Terms, Transport

_FRAME_PERIOD_NS = 50_000_000
"""Between the capture times of two frames: a 20 Hz camera, however fast they are sent."""
_TERMS = Terms(budget_ms=PATIENT_MS, rate_hz=1.0, every=True)
"""For sessions that send few frames: no server shall refuse one for those it might send."""
_RETRY_S = 0.05
_OUTPUTS_TIMEOUT_S = 20.0


async def outputs(
    transport: Transport, *, sequences: Sequence[Sequence[int]]
) -> list[list[tuple[float, ...] | None]]:
    """Run each sequence of pictures as a session, all at once, and return what each answered.

    Raises:
        SessionEndedError: a session was not opened, or ended early.
        TimeoutError: a session did not get all its answers.
    """

    async def one(index: int, pictures: Sequence[int]) -> list[tuple[float, ...] | None]:
        found = []
        async with transport.connect() as connection:
            stream = await connection.open(f"checked-{index}", _TERMS)
            for number, picture in enumerate(pictures):
                await stream.send(number, picture, (1 + number) * _FRAME_PERIOD_NS)
                found.append((await stream.receive()).outputs)
            await stream.close()
        return found

    async with asyncio.timeout(_OUTPUTS_TIMEOUT_S):
        return await together(one(index, each) for index, each in enumerate(sequences))


class Held:
    """Sessions that stay open until they are released, or this process ends."""

    def __init__(self) -> None:
        self._stack = contextlib.AsyncExitStack()
        # A stream that nobody holds is cancelled by gRPC.
        self._streams: list[Stream] = []

    async def hold(self, transport: Transport, *, sessions: int) -> None:
        """Open sessions, have one frame of each answered, and keep them.

        Raises:
            SessionEndedError: the server refused a session or ended one.
        """
        self._streams += await together(
            _served(transport, f"held-{index}", self._stack) for index in range(sessions)
        )

    async def release(self) -> None:
        """Close all connections."""
        self._streams.clear()
        await self._stack.aclose()


async def reopen(transport: Transport, *, sessions: int, limit_s: float) -> float | None:
    """Open new sessions, again and again where refused, until a frame of each is answered.

    Args:
        transport: to the server.
        sessions: how many.
        limit_s: how long to try.

    Returns:
        Seconds until all sessions are served at once; None if they were not within the limit.
    """
    began_s = time.monotonic()

    async def one(index: int, stack: contextlib.AsyncExitStack) -> Stream:
        while True:
            try:
                return await _served(transport, f"again-{index}", stack)
            except (SessionEndedError, OSError):
                await asyncio.sleep(_RETRY_S)

    async with contextlib.AsyncExitStack() as stack:
        try:
            async with asyncio.timeout(limit_s):
                streams = await together(one(index, stack) for index in range(sessions))
        except TimeoutError:
            return None
        took_s = time.monotonic() - began_s
        await together(stream.close() for stream in streams)
    return took_s


async def _served(transport: Transport, name: str, stack: contextlib.AsyncExitStack) -> Stream:
    """Open a session and have a frame answered; the stack closes its connection."""
    async with contextlib.AsyncExitStack() as own:
        connection = await own.enter_async_context(transport.connect())
        stream = await connection.open(name, _TERMS)
        await stream.send(0, 0, _FRAME_PERIOD_NS)
        await stream.receive()
        stack.push_async_exit(own.pop_all())
        return stream
