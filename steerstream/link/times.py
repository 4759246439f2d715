"""Measures what the link costs a frame: its round trip, less its time in the server."""

from __future__ import annotations

import asyncio
import dataclasses
import time
from typing import Any

import numpy as np
from numpy.typing import NDArray

from steerstream.answers import Command
from steerstream.drive.histogram import Histogram
from steerstream.images import Encoding, ViewUse
from steerstream.session import FrameOptions, Session

AS_IT_IS = FrameOptions(encoding=Encoding.RGB8, view=ViewUse.NEVER)
"""The options of a frame whose bytes on the wire are those of its picture."""

_WIDTH_PX = 64
_BYTES_PER_ROW = 3 * _WIDTH_PX


def picture_of(kilobytes: float) -> NDArray[np.uint8]:
    """Return noise that takes about so many kilobytes (1000 bytes) on the wire as raw pixels."""
    rows = max(1, round(kilobytes * 1000 / _BYTES_PER_ROW))
    return np.random.default_rng(0).integers(0, 256, (rows, _WIDTH_PX, 3), dtype=np.uint8)


@dataclasses.dataclass(slots=True)
class LinkTimes:
    """Times of the frames of one run, in milliseconds.

    Attributes:
        bytes_per_frame: of a picture on the wire.
        round_trip: from when a frame was due to its command.
        server: from a frame's arrival in the server to its answer.
        link: the rest of each round trip: the network both ways, proxies, and both ends' gRPC.
        frames: frames that were sent.
        in_budget: frames with a command within the budget.
    """

    bytes_per_frame: int
    round_trip: Histogram = dataclasses.field(default_factory=Histogram)
    server: Histogram = dataclasses.field(default_factory=Histogram)
    link: Histogram = dataclasses.field(default_factory=Histogram)
    frames: int = 0
    in_budget: int = 0

    @property
    def jitter_ms(self) -> float:
        """Return how much longer the link takes a frame in a hundred than one in two."""
        return self.link.percentile_ms(99) - self.link.percentile_ms(50)

    def add(self, command: Command, due_ns: int, budget_ms: float) -> None:
        """Count a command.

        Args:
            command: the answer to a frame.
            due_ns: when the frame was due, by the client's monotonic clock.
            budget_ms: the longest round trip that is in time.
        """
        round_trip_ms = (command.received_ns - due_ns) / 1e6
        server_ms = command.timings.total_us / 1e3
        self.round_trip.add(round_trip_ms)
        self.server.add(server_ms)
        self.link.add(max(0.0, round_trip_ms - server_ms))
        self.in_budget += round_trip_ms <= budget_ms

    def as_json(self) -> dict[str, Any]:
        """Return the figures as values that JSON can hold."""
        return {
            "bytes_per_frame": self.bytes_per_frame,
            "frames": self.frames,
            "commands": self.link.count,
            "in_budget": self.in_budget,
            "round_trip_ms": self.round_trip.summary(),
            "server_ms": self.server.summary(),
            "link_ms": self.link.summary(),
        }


async def measure(
    session: Session,
    picture: NDArray[np.uint8],
    *,
    frames: int,
    rate_hz: float,
    budget_ms: float,
    stop: asyncio.Event | None = None,
) -> LinkTimes:
    """Send a picture again and again, each time when it is due, whatever the answers do.

    Args:
        session: an open session, under the policy EVERY.
        picture: pixels [height, width, 3], sent raw, so that its bytes are known.
        frames: how often it is sent.
        rate_hz: how often a second.
        budget_ms: the longest round trip that is in time.
        stop: set it to end the run early.

    Raises:
        SteerstreamError: the session ended with an error.
    """
    times = LinkTimes(picture.nbytes)
    began_ns = time.monotonic_ns()

    def due_ns(number: int) -> int:
        return began_ns + round(number * 1e9 / rate_hz)

    async def send() -> None:
        for number in range(frames):
            await asyncio.sleep(max(0, due_ns(number) - time.monotonic_ns()) / 1e9)
            if stop is not None and stop.is_set():
                break
            times.frames += 1
            await session.send_frame(picture, **(AS_IT_IS | {"sequence_number": number}))
        await session.finish()

    sending = asyncio.create_task(send())
    try:
        async for answer in session:
            if isinstance(answer, Command):
                times.add(answer, due_ns(answer.sequence_number), budget_ms)
        await sending
    finally:
        sending.cancel()
        await asyncio.gather(sending, return_exceptions=True)
    return times
