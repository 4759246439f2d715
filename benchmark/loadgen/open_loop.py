"""Open-loop load: vehicles that send a frame whenever one is due, answered or not.

Latency counts from the moment a frame was due. A server that stalls therefore cannot hide the
frames that its stall delayed (coordinated omission, after Gil Tene's wrk2).
"""

from __future__ import annotations

import asyncio
import dataclasses
import enum
import time
from collections.abc import Sequence

import numpy as np

from benchmark.loadgen.picture_set import PictureSet
from benchmark.loadgen.tally import Tally
from benchmark.loadgen.timing import (
    NS_PER_MS,
    NS_PER_S,
    Camera,
    Window,
    seconds_until,
    together,
    until,
)
from benchmark.loadgen.transport import Connection, SessionEndedError, Stream, Terms, Transport

OPEN_EVERY_S = 0.004
"""Between the opening of one session and the next, so that they do not all open in one burst."""
OPEN_TIMEOUT_S = 20.0
"""A server that has not opened a session by then has refused it."""
HELD_BACK = "HELD_BACK"
"""In the place of a skip's reason, for frames that were not sent because the server is full."""
RETRY_S = 1.0
"""Until the next try where a refusal has no hint."""


class Retry(enum.StrEnum):
    """When a vehicle tries again after a refusal, or after the server has ended its session."""

    NEVER = "never"
    AFTER_HINT = "after the hint"
    AT_ONCE = "at once"


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    """A load whose vehicles send when a frame is due.

    Attributes:
        vehicles: how many drive at once.
        rate_hz: frames a second of each.
        seconds: length of the measurement.
        budget_ms: from when a frame was due to its command at the vehicle.
        pictures: what the vehicles send in turn.
        declared_rate_hz: what the vehicles say that they will send; None for what they do send.
        network_ms: the part of the budget that is kept for the way there and back; the server is
            asked for the rest.
        warm_up_s: how long vehicles drive before frames are counted.
        patience_s: how long the last answers of a session may take, beyond the budget.
        retry: what vehicles do after a refusal.
        lifetime_s: mean length of a session, exponentially distributed; None for all of the load.
        vanishing: the share of those sessions that end without a goodbye.
        name: begins the vehicles' names.
        seed: for phases, lifetimes and ways to end.
    """

    vehicles: int
    rate_hz: float
    seconds: float
    budget_ms: float
    pictures: PictureSet
    declared_rate_hz: float | None = None
    network_ms: float = 5.0
    warm_up_s: float = 1.0
    patience_s: float = 2.0
    retry: Retry = Retry.NEVER
    lifetime_s: float | None = None
    vanishing: float = 0.0
    name: str = "vehicle"
    seed: int = 0

    @property
    def opening_s(self) -> float:
        """How long it takes until all vehicles have been started."""
        return self.vehicles * OPEN_EVERY_S

    @property
    def total_s(self) -> float:
        """How long the load takes, from the first opening to the last frame."""
        return self.opening_s + self.warm_up_s + self.seconds

    @property
    def terms(self) -> Terms:
        """The terms that every session asks for."""
        budget_ms = self.budget_ms - self.network_ms
        return Terms(budget_ms=budget_ms, rate_hz=self.declared_rate_hz or self.rate_hz)


async def run(transport: Transport, load: Load, tally: Tally | None = None) -> Tally:
    """Drive all vehicles of a load against a server at once and return what they saw.

    Args:
        transport: to the server.
        load: what the vehicles do.
        tally: counts in place of a new one, of the load's budget.

    Raises:
        OSError: there is no server.
    """
    began_ns, began_cpu_s = time.monotonic_ns(), time.process_time()
    tally = Tally(budget_ms=load.budget_ms) if tally is None else tally
    window = Window.after(load.opening_s + load.warm_up_s, load.seconds)
    seeds = np.random.SeedSequence(load.seed).spawn(load.vehicles)
    await together(
        _Vehicle(transport, load, index, window, tally=tally, seed=seed).drive(began_ns)
        for index, seed in enumerate(seeds)
    )
    elapsed_s = (time.monotonic_ns() - began_ns) / NS_PER_S
    tally.client_cpu = (time.process_time() - began_cpu_s) / elapsed_s
    return tally


class _Vehicle:
    """One vehicle: a session, or one after the other."""

    def __init__(
        self,
        transport: Transport,
        load: Load,
        index: int,
        window: Window,
        *,
        tally: Tally,
        seed: np.random.SeedSequence,
    ) -> None:
        self._transport = transport
        self._load = load
        self._index = index
        self._window = window
        self._tally = tally
        self._random = np.random.default_rng(seed)
        self._camera = Camera(load.rate_hz, self._random.uniform())
        # A try before this time, which the server's last hint gave, comes too soon.
        self._welcome_ns = 0

    async def drive(self, began_ns: int) -> None:
        """Open sessions and drive until the load ends."""
        await until(began_ns + self._index * OPEN_EVERY_S * NS_PER_S)
        async with self._transport.connect() as connection:
            while time.monotonic_ns() < self._window.end_ns:
                try:
                    await self._drive(await self._open(connection))
                    if self._load.lifetime_s is None:
                        return
                except SessionEndedError as failure:
                    if not await self._wait_to_retry(failure):
                        return

    async def _open(self, connection: Connection) -> Stream:
        asked_ns, name = time.monotonic_ns(), f"{self._load.name}-{self._index}"
        try:
            async with asyncio.timeout(OPEN_TIMEOUT_S):
                stream = await connection.open(name, self._load.terms)
        except TimeoutError:
            failure = SessionEndedError("TIMEOUT", "the server did not open the session")
            self._note_refusal(failure, asked_ns)
            raise failure from None
        except SessionEndedError as failure:
            self._note_refusal(failure, asked_ns)
            raise
        # A vehicle that gets in when the others have left was not carried beside them.
        self._tally.opened += time.monotonic_ns() < self._window.end_ns
        return stream

    def _note_refusal(self, failure: SessionEndedError, asked_ns: int) -> None:
        took_ms = (time.monotonic_ns() - asked_ns) / NS_PER_MS
        is_early = asked_ns < self._welcome_ns
        (self._tally.held_back if is_early else self._tally.refusal).add(took_ms)
        self._tally.refused[failure.reason] += 1
        self._welcome_ns = time.monotonic_ns() + round(_hint_s(failure) * NS_PER_S)

    async def _drive(self, stream: Stream) -> None:
        """Drive one session to its end.

        Raises:
            SessionEndedError: the server ended it.
        """
        end_ns, is_polite = self._ending()
        camera = self._camera
        ticks = range(camera.tick_after(time.monotonic_ns()), camera.tick_after(end_ns))
        session = _Session(stream, [camera.due_ns(tick) for tick in ticks], self._window)
        patience_s = self._load.budget_ms / 1e3 + self._load.patience_s if is_polite else 0.0
        failure = await session.drive(self._tally, self._index, end_ns, patience_s)
        if not is_polite:
            # Nobody waits for the answers of a vehicle that has gone.
            self._tally.frames -= session.unanswered
        elif failure is not None:
            self._tally.ended[failure.reason] += 1
            raise failure

    def _ending(self) -> tuple[int, bool]:
        """Return when this session ends, and whether it says goodbye."""
        mean_s = self._load.lifetime_s
        if mean_s is None:
            return self._window.end_ns, True
        end_ns = time.monotonic_ns() + round(self._random.exponential(mean_s) * NS_PER_S)
        is_polite = self._random.uniform() >= self._load.vanishing
        return min(end_ns, self._window.end_ns), is_polite

    async def _wait_to_retry(self, failure: SessionEndedError) -> bool:
        """Wait as the load says; return whether to try again."""
        match self._load.retry:
            case Retry.NEVER:
                return False
            case Retry.AFTER_HINT:
                await asyncio.sleep(_hint_s(failure))
        return True


class _Session:
    """One session's frames, each sent when it is due, and the answers to them.

    Args:
        stream: the open session.
        dues_ns: when each frame is due, by number.
        window: the frames that count.
    """

    def __init__(self, stream: Stream, dues_ns: Sequence[int], window: Window) -> None:
        self._stream = stream
        self._dues_ns = dues_ns
        self._window = window
        self._tried = 0
        self._expected = len(dues_ns)
        self.unanswered = 0

    async def drive(
        self, tally: Tally, first_picture: int, end_ns: int, patience_s: float
    ) -> SessionEndedError | None:
        """Send and receive until the session is over, and end it.

        Args:
            tally: counts what is sent and answered.
            first_picture: index of the picture to begin with.
            end_ns: when the session ends, by the monotonic clock.
            patience_s: how long answers may take after that; 0 ends it without a goodbye.

        Returns:
            Why the server ended the session; None if it did not.
        """
        receiver = asyncio.create_task(self._receive(tally))
        sender = asyncio.create_task(self._send(tally, first_picture))
        await asyncio.wait({receiver}, timeout=seconds_until(end_ns) + patience_s)
        failure = receiver.result() if receiver.done() else None
        over_ns = end_ns if failure is None else time.monotonic_ns()
        # Keep the place until all others end too: it would go to a vehicle that was refused.
        await until(over_ns)
        is_answered = receiver.done() and failure is None
        for task in (sender, receiver):
            task.cancel()
        await asyncio.gather(sender, receiver, return_exceptions=True)
        # Frames that were due while the transport took no more of them count as sent.
        for due_ns in self._dues_ns[self._tried :]:
            if due_ns < over_ns:
                self._count_sent(tally, due_ns)
        await (self._stream.close() if is_answered and patience_s else self._stream.abort())
        return failure

    async def _send(self, tally: Tally, first_picture: int) -> None:
        for number, due_ns in enumerate(self._dues_ns):
            await until(due_ns)
            self._tried = number + 1
            self._count_sent(tally, due_ns)
            if not self._stream.takes(due_ns):
                self._count_held_back(tally, due_ns)
                continue
            try:
                await self._stream.send(number, first_picture + number, due_ns)
            except SessionEndedError:
                return

    def _count_sent(self, tally: Tally, due_ns: int) -> None:
        if self._window.holds(due_ns):
            self.unanswered += 1
            tally.frames += 1
            tally.sent_late.add((time.monotonic_ns() - due_ns) / NS_PER_MS)

    def _count_held_back(self, tally: Tally, due_ns: int) -> None:
        """Count a frame that the server asked not to be sent: a miss like any other."""
        self._expected -= 1
        if self._window.holds(due_ns):
            self.unanswered -= 1
            tally.skipped[HELD_BACK] += 1

    async def _receive(self, tally: Tally) -> SessionEndedError | None:
        """Count answers until every frame has one; return why the server ended it before."""
        received = 0
        while received < self._expected:
            received += 1
            try:
                answer = await self._stream.receive()
            except SessionEndedError as failure:
                return failure
            received_ns, due_ns = time.monotonic_ns(), self._dues_ns[answer.number]
            if self._window.holds(due_ns):
                self.unanswered -= 1
                tally.add_answer(answer, received_ns, due_ns)
        return None


def _hint_s(failure: SessionEndedError) -> float:
    return RETRY_S if failure.retry_after_s is None else failure.retry_after_s
