"""Closed-loop load: sessions that each send a frame as soon as the last one is answered.

It measures throughput, and the latency of a server that is never idle; for latency at a camera's
rate see `benchmark.loadgen.open_loop`.
"""

from __future__ import annotations

import asyncio
import dataclasses
import time
from typing import TYPE_CHECKING

from benchmark.loadgen import requests
from benchmark.loadgen.open_loop import NS_PER_S, Window
from benchmark.loadgen.stream import Connection
from benchmark.loadgen.tally import Tally

if TYPE_CHECKING:
    from collections.abc import Sequence

DECLARED_RATE_HZ = 20.0
"""What the sessions say that they will send; they send as fast as they are answered."""
PATIENT_MS = 10_000.0
"""Budget of the frames: here none is late."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class ClosedLoop:
    """What every session does.

    Attributes:
        sessions: how many at once, each with one frame under way.
        seconds: length of the measurement.
        images: items of `benchmark.loadgen.requests.road_images`.
        warm_up_s: how long the sessions run before frames are counted.
        budget_ms: what the server is asked for.
    """

    sessions: int
    seconds: float
    images: Sequence[bytes]
    warm_up_s: float = 0.5
    budget_ms: float = PATIENT_MS


async def run(target: str, load: ClosedLoop) -> Tally:
    """Keep all sessions of a load busy and return what they saw.

    Raises:
        RpcFailed: the server refused a session or ended one.
    """
    began_ns, began_cpu_s = time.monotonic_ns(), time.process_time()
    tally = Tally(budget_ms=load.budget_ms)
    all_open = asyncio.Barrier(load.sessions)
    await asyncio.gather(
        *(_session(target, load, index, all_open, tally) for index in range(load.sessions))
    )
    elapsed_s = (time.monotonic_ns() - began_ns) / NS_PER_S
    tally.client_cpu = (time.process_time() - began_cpu_s) / elapsed_s
    return tally


async def _session(
    target: str, load: ClosedLoop, index: int, all_open: asyncio.Barrier, tally: Tally
) -> None:
    opening = requests.open_request(
        f"loop-{index}",
        budget_ms=load.budget_ms,
        rate_hz=DECLARED_RATE_HZ,
        policy=requests.EVERY,
    )
    async with Connection(target) as connection:
        stream = await connection.open(opening)
        tally.opened += 1
        await all_open.wait()
        begin_ns = time.monotonic_ns() + round(load.warm_up_s * NS_PER_S)
        window = Window(begin_ns, begin_ns + round(load.seconds * NS_PER_S))
        answers, number = stream.answers(), 0
        while (sent_ns := time.monotonic_ns()) < window.end_ns:
            image = load.images[(index + number) % len(load.images)]
            await stream.send(requests.frame_request(image, number, sent_ns))
            response = await anext(answers)
            received_ns = time.monotonic_ns()
            if window.holds(received_ns):
                tally.frames += 1
                tally.add_answer(response, received_ns, sent_ns)
            number += 1
        await stream.finish()
