"""Closed-loop load: sessions that each send a frame as soon as the last one is answered.

It measures throughput, and the latency of a server that is never idle; for latency at a camera's
rate see `open_loop`.
"""

from __future__ import annotations

import asyncio
import dataclasses
import time

from benchmark.loadgen.picture_set import PictureSet
from benchmark.loadgen.tally import Tally
from benchmark.loadgen.timing import NS_PER_S, Window, together
from benchmark.loadgen.transport import Terms, Transport

DECLARED_RATE_HZ = 20.0
"""The rate that each session states; it sends as fast as it is answered."""
PATIENT_MS = 10_000.0
"""Budget of the frames: here none is late."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class ClosedLoop:
    """A load whose sessions send as soon as they are answered.

    Attributes:
        sessions: how many at once, each with one frame under way.
        seconds: length of the measurement.
        pictures: what the sessions send in turn.
        warm_up_s: how long the sessions run before frames are counted.
        budget_ms: what the server is asked for.
        declared_rate_hz: what each session says that it will send.
    """

    sessions: int
    seconds: float
    pictures: PictureSet
    warm_up_s: float = 0.5
    budget_ms: float = PATIENT_MS
    declared_rate_hz: float = DECLARED_RATE_HZ


async def run(transport: Transport, load: ClosedLoop) -> Tally:
    """Keep all sessions of a load busy and return what they saw.

    Raises:
        OSError: there is no server.
        SessionEndedError: the server refused a session or ended one.
    """
    began_ns, began_cpu_s = time.monotonic_ns(), time.process_time()
    tally = Tally(budget_ms=load.budget_ms)
    all_open = asyncio.Barrier(load.sessions)
    await together(
        _session(transport, load, index, all_open, tally) for index in range(load.sessions)
    )
    elapsed_s = (time.monotonic_ns() - began_ns) / NS_PER_S
    tally.client_cpu = (time.process_time() - began_cpu_s) / elapsed_s
    return tally


async def _session(
    transport: Transport, load: ClosedLoop, index: int, all_open: asyncio.Barrier, tally: Tally
) -> None:
    terms = Terms(budget_ms=load.budget_ms, rate_hz=load.declared_rate_hz, every=True)
    async with transport.connect() as connection:
        stream = await connection.open(f"loop-{index}", terms)
        tally.opened += 1
        await all_open.wait()
        window, number = Window.after(load.warm_up_s, load.seconds), 0
        while (sent_ns := time.monotonic_ns()) < window.end_ns:
            await stream.send(number, index + number, sent_ns)
            answer = await stream.receive()
            received_ns = time.monotonic_ns()
            if window.holds(received_ns):
                tally.frames += 1
                tally.add_answer(answer, received_ns, sent_ns)
            number += 1
        await stream.close()
