"""The closed loop: the driver's answers move what the camera sees next.

Two ways of keeping time, with one rule: a command acts on the vehicle when it arrives.

- Lock-step: simulated time. The world waits for each answer and then charges what it took, or a
  stated delay: the command acts that long after the picture was taken, even if that is some
  frames later.
- Real time: the world keeps up with the wall clock. Frames are sent when they are due, and a
  command acts from when it really came. Between answers the vehicle follows its driver's guard,
  which plays what the last command said comes next where answers are missing.
"""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import heapq
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from steerstream_simulation.drivers import Driver, Frame, Reply
from steerstream_simulation.expert import Label
from steerstream_simulation.road import Position
from steerstream_simulation.scoring import Score
from steerstream_simulation.vehicle import Command

RATE_HZ = 20.0

START_NS = 1_000_000_000
"""When simulated time begins, by the loop's clock."""

_LAST_REPLY_WAIT_S = 1.0
_LOOK_S = 0.01
"""From one look of the vehicle at its guard to the next, in real time."""
_LEAD_IN_NS = 50_000_000


class DriverStoppedError(Exception):
    """The driver gives no more replies though the drive is not over."""

    def __init__(self) -> None:
        super().__init__("the server ended the session before the drive was over")


class Moving(Protocol):
    """What the loop asks of a vehicle."""

    @property
    def speed_mps(self) -> float:
        """Its forward speed."""


class Drivable(Protocol):
    """A world to drive in: a drawn road, or a recording.

    Attributes:
        command: what the vehicle follows.
        score: of the drive so far.
    """

    command: Command
    score: Score

    @property
    def vehicle(self) -> Moving:
        """The vehicle that is driven."""

    @property
    def position(self) -> Position:
        """Where it is."""

    def capture(self) -> NDArray[np.uint8]:
        """Return what its camera sees now, uint8 RGB `[height, width, 3]`."""

    def expert_label(self, interval_s: float) -> Label:
        """Return what should be done here; `interval_s` since the label before."""

    def advance_to(self, time_s: float) -> None:
        """Follow `command` until a time."""


@dataclass(frozen=True, slots=True)
class Moment:
    """One frame of a drive, with what stood there at its capture.

    Attributes:
        frame: the frame.
        expert: what the expert would have done.
        lateral_offset_m: left of the lane's centre.
        interventions: so far.
        autonomy_percent: so far.
        is_released: whether the guard had let go by then.
    """

    frame: Frame
    expert: Label
    lateral_offset_m: float
    interventions: int
    autonomy_percent: float
    is_released: bool


Observer = Callable[[Moment, Reply | None], None]
"""Told of each frame, once, with its reply; None where none came in time."""


class LockStepClock:
    """A clock of simulated time which runs on while an answer is waited for; it never goes back.

    Args:
        stands: whether it stands at each frame's capture instead, so that nothing which goes by it
            depends on how long an answer really took.
    """

    def __init__(self, *, stands: bool = False) -> None:
        self._stands = stands
        self._base_ns = START_NS
        self._wall_ns = time.monotonic_ns()
        self._last_ns = START_NS

    def begin(self, capture_time_ns: int) -> None:
        """Set the clock to a frame's capture."""
        self._base_ns = capture_time_ns
        self._wall_ns = time.monotonic_ns()

    def now_ns(self) -> int:
        """Return the time in nanoseconds."""
        elapsed_ns = 0 if self._stands else time.monotonic_ns() - self._wall_ns
        self._last_ns = max(self._last_ns, self._base_ns + elapsed_ns)
        return self._last_ns


@dataclass
class CommandQueue:
    """Commands on their way to the vehicle, in order of their arrival in simulated seconds."""

    _waiting: list[tuple[float, int, Command]] = field(default_factory=list)
    _newest: int = -1

    def put(self, arrival_s: float, sequence_number: int, command: Command) -> None:
        """Add a command that acts from a time on.

        Args:
            arrival_s: from when on it acts, in simulated time.
            sequence_number: of the frame that it answers.
            command: angle and speed.
        """
        heapq.heappush(self._waiting, (arrival_s, sequence_number, command))

    def advance(self, world: Drivable, time_s: float) -> None:
        """Advance the world to a time; each command acts from its arrival.

        A command that is overtaken by one for a newer frame is dropped.
        """
        while self._waiting and self._waiting[0][0] <= time_s:
            arrival_s, sequence_number, command = heapq.heappop(self._waiting)
            if sequence_number > self._newest:
                world.advance_to(arrival_s)
                world.command = command
                self._newest = sequence_number
        world.advance_to(time_s)


def ignore(_moment: Moment, _reply: Reply | None) -> None:
    """Observe nothing."""


async def drive_lock_step(
    world: Drivable,
    driver: Driver,
    *,
    frames: int,
    clock: LockStepClock | None = None,
    delay_ms: float | None = None,
    rate_hz: float = RATE_HZ,
    observe: Observer = ignore,
) -> None:
    """Drive in simulated time.

    Args:
        world: where to drive.
        driver: takes the frames and gives the commands.
        frames: how many pictures are taken.
        clock: the clock that the driver goes by, if it has one.
        delay_ms: from a picture to when its command acts, in place of what the answer really took;
            None for that.
        rate_hz: pictures a second.
        observe: told of each frame.

    Raises:
        DriverStoppedError: the driver gives no more replies.
    """
    queue = CommandQueue()
    for number in range(frames):
        due_s = number / rate_hz
        queue.advance(world, due_s)
        capture_ns = START_NS + round(due_s * 1e9)
        moment = moment_of(world, number, capture_ns, world.capture(), rate_hz)
        if clock is not None:
            clock.begin(capture_ns)
        asked_ns = time.monotonic_ns()
        await driver.send(moment.frame)
        reply = await driver.receive()
        if reply is None:
            raise DriverStoppedError
        if delay_ms is not None:
            arrives_ns = reply.sent_ns + round(delay_ms * 1e6)
            took_ms = (time.monotonic_ns() - asked_ns) / 1e6
            reply = dataclasses.replace(reply, arrived_ns=arrives_ns, took_ms=took_ms)
        if reply.command is not None:
            queue.put(due_s + reply.delay_ms / 1e3, number, reply.command)
        observe(moment, reply)
    queue.advance(world, frames / rate_hz)


async def drive_real_time(
    world: Drivable,
    driver: Driver,
    *,
    frames: int,
    rate_hz: float = RATE_HZ,
    observe: Observer = ignore,
) -> None:
    """Drive by the wall clock; the driver's clock is `time.monotonic_ns`.

    Args:
        world: where to drive.
        driver: takes the frames and gives the commands.
        frames: how many pictures are taken.
        rate_hz: pictures a second.
        observe: told of each frame when its reply comes, or at the end.

    Raises:
        DriverStoppedError: the driver gives no more replies.
    """
    loop = _RealTimeLoop(world, driver, rate_hz, observe)
    await loop.run(frames)


class _RealTimeLoop:
    """Sends frames when they are due while another task takes the replies."""

    def __init__(self, world: Drivable, driver: Driver, rate_hz: float, observe: Observer) -> None:
        self._world = world
        self._driver = driver
        self._rate_hz = rate_hz
        self._observe = observe
        self._queue = CommandQueue()
        self._commands = 0
        self._waiting: dict[int, Moment] = {}
        self._settled = asyncio.Event()
        self._start_ns = 0

    async def run(self, frames: int) -> None:
        self._start_ns = time.monotonic_ns() + _LEAD_IN_NS
        receiver = asyncio.create_task(self._receive())
        end_ns = self._start_ns + round(frames / self._rate_hz * 1e9)
        looker = asyncio.create_task(self._look(end_ns))
        try:
            for number in range(frames):
                if receiver.done():
                    break
                await self._send(number)
            await self._finish(frames / self._rate_hz)
        finally:
            looker.cancel()
            receiver.cancel()
            for task in (looker, receiver):
                # Raises what ended the task, if that was not this cancellation.
                with contextlib.suppress(asyncio.CancelledError):
                    await task
        for moment in self._waiting.values():
            self._observe(moment, None)

    async def _send(self, number: int) -> None:
        due_ns = self._start_ns + round(number / self._rate_hz * 1e9)
        await self._sleep_until(due_ns)
        self._queue.advance(self._world, number / self._rate_hz)
        # In a thread, so that an answer that comes during the rendering is stamped at once.
        image = await asyncio.to_thread(self._world.capture)
        moment = moment_of(self._world, number, due_ns, image, self._rate_hz)
        self._waiting[number] = moment
        self._settled.clear()
        await self._driver.send(moment.frame)

    async def _receive(self) -> None:
        while (reply := await self._driver.receive()) is not None:
            self._act(reply.arrived_ns, reply.command)
            moment = self._waiting.pop(reply.sequence_number, None)
            if moment is not None:
                self._observe(moment, reply)
            if not self._waiting:
                self._settled.set()
        raise DriverStoppedError

    async def _look(self, end_ns: int) -> None:
        while time.monotonic_ns() < end_ns:
            self._act(time.monotonic_ns(), self._driver.follow())
            await asyncio.sleep(_LOOK_S)

    def _act(self, now_ns: int, command: Command | None) -> None:
        """Let a command act from a time on; the guard has dropped what was overtaken."""
        if command is not None:
            self._commands += 1
            self._queue.put((now_ns - self._start_ns) / 1e9, self._commands, command)

    async def _sleep_until(self, due_ns: int) -> None:
        await asyncio.sleep(max(0, due_ns - time.monotonic_ns()) / 1e9)

    async def _finish(self, end_s: float) -> None:
        await self._sleep_until(self._start_ns + round(end_s * 1e9))
        self._queue.advance(self._world, end_s)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_LAST_REPLY_WAIT_S):
                await self._settled.wait()


def moment_of(
    world: Drivable, number: int, capture_ns: int, image: NDArray[np.uint8], rate_hz: float
) -> Moment:
    """Return the moment of a picture that was just taken.

    Args:
        world: where it was taken.
        number: the frame's.
        capture_ns: when, by the loop's clock.
        image: uint8 RGB `[height, width, 3]`.
        rate_hz: pictures a second.
    """
    return Moment(
        Frame(number, capture_ns, image, world.vehicle.speed_mps),
        world.expert_label(1.0 / rate_hz),
        world.position.lateral_offset_m,
        world.score.interventions,
        world.score.autonomy_percent,
        world.score.is_released,
    )
