"""Open-loop load: vehicles that send a frame whenever one is due, answered or not.

Latency counts from the moment a frame was due. A server that stalls therefore cannot hide the
frames that its stall delayed (coordinated omission, after Gil Tene's wrk2).
"""

from __future__ import annotations

import asyncio
import dataclasses
import enum
import math
import time
from typing import TYPE_CHECKING

import numpy as np

from benchmark.loadgen import requests
from benchmark.loadgen.stream import Connection, Stream
from benchmark.loadgen.tally import NS_PER_MS, Tally
from steerstream.errors import ErrorReason
from steerstream.failures import RpcFailed

if TYPE_CHECKING:
    from collections.abc import Sequence

    from steerstream.v1 import session_pb2

NS_PER_S = 1e9
OPEN_EVERY_S = 0.004
"""Between the opening of one session and the next, so that opening is no burst of its own."""
RETRY_S = 1.0
"""Where a refusal brings no hint when to try again."""
PATIENCE_S = 2.0
"""For the last answers of a session, beyond the budget."""


class Retry(enum.Enum):
    """What a vehicle does that was refused, or whose session was ended."""

    NEVER = "never"
    AFTER_HINT = "after the hint"
    AT_ONCE = "at once"


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    """What every vehicle does.

    Attributes:
        vehicles: how many drive at once.
        rate_hz: frames a second of each.
        seconds: length of the measurement.
        budget_ms: from when a frame was due to its command at the vehicle.
        images: items of `benchmark.loadgen.requests.road_images`.
        declared_rate_hz: what the vehicles say that they will send; None for what they do send.
        network_ms: the part of the budget that is kept for the way there and back; the server is
            asked for the rest.
        warm_up_s: how long vehicles drive before frames are counted.
        policy: what the server does with a frame that waits when a newer one arrives.
        retry: what vehicles do that were refused.
        lifetime_s: mean length of a session, exponentially distributed; None for all of the load.
        vanishing: the share of those sessions that end without a goodbye.
        name: begins the vehicles' names.
        seed: for phases, lifetimes and ways to end.
    """

    vehicles: int
    rate_hz: float
    seconds: float
    budget_ms: float
    images: Sequence[bytes]
    declared_rate_hz: float | None = None
    network_ms: float = 5.0
    warm_up_s: float = 1.0
    policy: session_pb2.FramePolicy.ValueType = requests.LATEST
    retry: Retry = Retry.NEVER
    lifetime_s: float | None = None
    vanishing: float = 0.0
    name: str = "vehicle"
    seed: int = 0

    def opening(self, index: int) -> bytes:
        """Return the request that opens a vehicle's session."""
        return requests.open_request(
            f"{self.name}-{index}",
            budget_ms=self.budget_ms - self.network_ms,
            rate_hz=self.declared_rate_hz or self.rate_hz,
            policy=self.policy,
        )


async def run(target: str, load: Load) -> Tally:
    """Drive all vehicles of a load against a server at once and return what they saw."""
    began_ns, began_cpu_s = time.monotonic_ns(), time.process_time()
    tally = Tally(budget_ms=load.budget_ms)
    opening_s = load.vehicles * OPEN_EVERY_S
    first_ns = began_ns + round((opening_s + load.warm_up_s) * NS_PER_S)
    window = Window(first_ns, first_ns + round(load.seconds * NS_PER_S))
    seeds = np.random.SeedSequence(load.seed).spawn(load.vehicles)
    await asyncio.gather(
        *(
            _Vehicle(target, load, index, window, tally=tally, seed=seed).drive(began_ns)
            for index, seed in enumerate(seeds)
        )
    )
    elapsed_s = (time.monotonic_ns() - began_ns) / NS_PER_S
    tally.client_cpu = (time.process_time() - began_cpu_s) / elapsed_s
    return tally


@dataclasses.dataclass(frozen=True, slots=True)
class Window:
    """The time in which frames are due that count, in nanoseconds of the monotonic clock."""

    begin_ns: int
    end_ns: int

    def holds(self, due_ns: int) -> bool:
        """Return whether a frame that was due at a moment counts."""
        return self.begin_ns <= due_ns < self.end_ns


class _Vehicle:
    """One vehicle: a session, or one after the other."""

    def __init__(
        self,
        target: str,
        load: Load,
        index: int,
        window: Window,
        *,
        tally: Tally,
        seed: np.random.SeedSequence,
    ) -> None:
        self._target = target
        self._load = load
        self._index = index
        self._window = window
        self._tally = tally
        self._random = np.random.default_rng(seed)
        self._period_ns = NS_PER_S / load.rate_hz
        self._phase = self._random.uniform()
        # Before it, by the last hint, the vehicle comes too soon.
        self._welcome_ns = 0

    async def drive(self, began_ns: int) -> None:
        """Open sessions and drive until the load ends."""
        await _until(began_ns + round(self._index * OPEN_EVERY_S * NS_PER_S))
        async with Connection(self._target) as connection:
            while time.monotonic_ns() < self._window.end_ns:
                try:
                    await self._drive(await self._open(connection))
                    if self._load.lifetime_s is None:
                        return
                except RpcFailed as failure:
                    if not await self._wait_to_retry(failure):
                        return

    async def _open(self, connection: Connection) -> Stream:
        asked_ns = time.monotonic_ns()
        try:
            stream = await connection.open(self._load.opening(self._index))
        except RpcFailed as failure:
            self._note_refusal(failure, asked_ns)
            raise
        # Who gets in when the others have left was not carried beside them.
        self._tally.opened += time.monotonic_ns() < self._window.end_ns
        return stream

    def _note_refusal(self, failure: RpcFailed, asked_ns: int) -> None:
        took_ms = (time.monotonic_ns() - asked_ns) / NS_PER_MS
        is_early = asked_ns < self._welcome_ns
        (self._tally.held_back if is_early else self._tally.refusal).add(took_ms)
        self._tally.refused[_reason(failure)] += 1
        self._welcome_ns = time.monotonic_ns() + round(_hint_s(failure) * NS_PER_S)

    async def _drive(self, stream: Stream) -> None:
        """Drive one session to its end.

        Raises:
            RpcFailed: the server ended it.
        """
        counts = _Counts()
        end_ns, is_polite = self._ending()
        receiver = asyncio.create_task(self._receive(stream, counts))
        try:
            await self._send(stream, counts, receiver, end_ns)
            if is_polite:
                await stream.finish()
                await asyncio.wait([receiver], timeout=self._load.budget_ms / 1e3 + PATIENCE_S)
        finally:
            stream.cancel()
            await asyncio.wait([receiver])
        if not is_polite:
            # Nobody waits for the answers of a vehicle that has gone.
            self._tally.frames -= counts.sent - counts.answered
        elif not receiver.cancelled():
            self._note_end(receiver.exception())

    def _note_end(self, failure: BaseException | None) -> None:
        if isinstance(failure, RpcFailed):
            self._tally.ended[_reason(failure)] += 1
        if failure is not None:
            raise failure

    async def _send(
        self, stream: Stream, counts: _Counts, receiver: asyncio.Task[None], end_ns: int
    ) -> None:
        """Send every frame when it is due, until time is over or the server ends the session."""
        number, images = 0, self._load.images
        due_ns = self._first_due_ns(time.monotonic_ns())
        while due_ns < end_ns:
            await _until(due_ns)
            if receiver.done():
                return
            if self._window.holds(due_ns):
                counts.sent += 1
                self._tally.frames += 1
                self._tally.sent_late.add((time.monotonic_ns() - due_ns) / NS_PER_MS)
            image = images[(self._index + number) % len(images)]
            try:
                await stream.send(requests.frame_request(image, number, due_ns))
            except RpcFailed:
                return
            number += 1
            due_ns = self._first_due_ns(due_ns + self._period_ns / 2)
        # A session that ended before the others would let in one that was refused.
        await _until(end_ns)

    async def _receive(self, stream: Stream, counts: _Counts) -> None:
        """Count answers until the stream ends.

        Raises:
            RpcFailed: the server ended it.
        """
        async for response in stream.answers():
            received_ns = time.monotonic_ns()
            answer = response.command if response.HasField("command") else response.skipped
            due_ns = answer.capture_time_ns
            if self._window.holds(due_ns):
                counts.answered += 1
                self._tally.add_answer(response, received_ns, due_ns)

    def _first_due_ns(self, after_ns: float) -> int:
        """Return when this camera's next frame is due; it ticks whether or not anybody listens."""
        ticks = math.ceil(after_ns / self._period_ns - self._phase)
        return round((ticks + self._phase) * self._period_ns)

    def _ending(self) -> tuple[int, bool]:
        mean_s = self._load.lifetime_s
        if mean_s is None:
            return self._window.end_ns, True
        end_ns = time.monotonic_ns() + round(self._random.exponential(mean_s) * NS_PER_S)
        is_polite = self._random.uniform() >= self._load.vanishing
        return min(end_ns, self._window.end_ns), is_polite

    async def _wait_to_retry(self, failure: RpcFailed) -> bool:
        """Wait as the load says; return whether to try again."""
        match self._load.retry:
            case Retry.NEVER:
                return False
            case Retry.AT_ONCE:
                return True
        await asyncio.sleep(_hint_s(failure))
        return True


@dataclasses.dataclass(slots=True)
class _Counts:
    """One session's frames that count, and their answers."""

    sent: int = 0
    answered: int = 0


def _hint_s(failure: RpcFailed) -> float:
    return RETRY_S if failure.retry_after_s is None else failure.retry_after_s


def _reason(failure: RpcFailed) -> str:
    if failure.reason is ErrorReason.UNSPECIFIED:
        return failure.code.name
    return failure.reason.name


async def _until(moment_ns: int) -> None:
    delay_s = (moment_ns - time.monotonic_ns()) / NS_PER_S
    if delay_s > 0:
        await asyncio.sleep(delay_s)
