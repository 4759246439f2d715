"""A vehicle over a link that is late or loses pictures, with the client's guard, in simulated time.

In the closed loop's lock-step a command acts when it arrives, and holds until the next. Here the
vehicle asks its guard what to do several times between two pictures, as actuators do. So what is
late or lost is bridged as on a vehicle: by the horizon of the last command, then by holding it; and
the network is told the delay that the client's own meter measures.
"""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

from steerstream import ActingDelay, Bounds, FrameAnswer, Guard, SafeCommand
from steerstream import Command as WireCommand
from steerstream.acting_delay import DelayMeter
from steerstream_simulation.closed_loop import (
    RATE_HZ,
    START_NS,
    Drivable,
    Moment,
    Observer,
    ignore,
    moment_of,
)
from steerstream_simulation.drivers import Frame, Reply
from steerstream_simulation.guard_count import GuardCount, GuardTimes
from steerstream_simulation.latency import Delay, Latency
from steerstream_simulation.vehicle import Command

LOOKS_PER_FRAME = 5
"""How often the vehicle asks its guard from one picture to the next: at 20 Hz every 10 ms."""

_AGE_BEYOND_MS, _ROUND_TRIP_BEYOND_MS = 100.0, 150.0
"""What the guard's own bounds leave beside a link of 50 ms."""

Ask = Callable[[Frame, float | None], Awaitable[FrameAnswer]]
"""Returns the answer to a frame, however long that takes; told when its command acts, in ms."""


def bounds_for(typical_ms: float) -> Bounds:
    """Return the guard's bounds as the vehicle of a slow link sets them: as far beyond its delay.

    Args:
        typical_ms: the link's delay.
    """
    usual = Bounds()
    max_age_ms = max(usual.max_age_ms, typical_ms + _AGE_BEYOND_MS)
    return dataclasses.replace(
        usual,
        max_age_ms=max_age_ms,
        # What may still be followed is not let go of.
        max_hold_ms=max(usual.max_hold_ms, max_age_ms),
        max_round_trip_ms=max(usual.max_round_trip_ms, typical_ms + _ROUND_TRIP_BEYOND_MS),
    )


@dataclass(frozen=True, slots=True)
class _Answered:
    arrives_ns: int
    moment: Moment
    answer: FrameAnswer
    took_ms: float


class GuardedVehicle:
    """A vehicle in a world that follows its guard; whoever drives it calls `look` and `advance`.

    Args:
        world: at the start of its road.
        ask: the driver.
        acting: what the vehicle states of when its commands act; by default it measures that.
        max_act_in_ms: the longest such delay that the network was trained with; 0 where it is not
            told.
        bounds: the guard's; None for the usual ones.
        times: told what the guard has the vehicle do.
        rate_hz: pictures a second.
        plays_horizon: whether the guard is shown the horizons.
        observe: told of each picture, once, when its answer arrives or is known to be lost.

    Attributes:
        has_horizon: whether an answer has brought one.
    """

    def __init__(
        self,
        world: Drivable,
        ask: Ask,
        *,
        acting: ActingDelay,
        max_act_in_ms: float,
        bounds: Bounds | None = None,
        times: GuardTimes | None = None,
        rate_hz: float = RATE_HZ,
        plays_horizon: bool = True,
        observe: Observer = ignore,
    ) -> None:
        self.has_horizon = False
        self._world, self._ask, self._observe = world, ask, observe
        self._guard, self._meter = Guard(bounds), DelayMeter(acting, live=True)
        self._max_act_in_ms = max_act_in_ms
        self._rate_hz, self._plays_horizon = rate_hz, plays_horizon
        self._looks = 0
        self._count = GuardCount(
            world.score,
            GuardTimes() if times is None else times,
            max_hold_ms=self._guard.bounds.max_hold_ms,
            clock=lambda: self._now_ns,
        )
        self._arriving: list[_Answered] = []
        self._silent_until_ns = 0

    async def look(self, delay_ms: Callable[[int], Delay]) -> SafeCommand:
        """Take a picture if one is due, receive what has arrived, and follow the guard.

        Args:
            delay_ms: of the answer to a picture, by the picture's number.
        """
        now_ns = self._now_ns
        number, since = divmod(self._looks, LOOKS_PER_FRAME)
        if since == 0:
            await self._take(number, delay_ms(number))
        while self._arriving and self._arriving[0].arrives_ns <= now_ns:
            self._receive(self._arriving.pop(0))
        safe = self._guard.safe_command(now_ns)
        if safe.steering_wheel_angle_rad is not None:
            before_mps = self._world.command.speed_mps
            speed_mps = before_mps if safe.speed_mps is None else safe.speed_mps
            self._world.command = Command(safe.steering_wheel_angle_rad, speed_mps)
        self._count.told(safe)
        return safe

    def advance(self) -> None:
        """Move on to the next look."""
        self._looks += 1
        self._world.advance_to(self._looks / (LOOKS_PER_FRAME * self._rate_hz))

    def lose_answers(self, seconds: float) -> None:
        """Lose the answers that would arrive from now on for a while; the server saw the pictures.

        Args:
            seconds: for how long.
        """
        self._silent_until_ns = self._now_ns + round(seconds * 1e9)

    def end(self) -> None:
        """Count the time up to now, and the answers that are still on their way as lost."""
        self._count.end()
        for waiting in self._arriving:
            self._observe(waiting.moment, None)
        self._arriving.clear()

    @property
    def _now_ns(self) -> int:
        return START_NS + round(self._looks * 1e9 / (LOOKS_PER_FRAME * self._rate_hz))

    async def _take(self, number: int, delay_ms: Delay) -> None:
        now_ns = self._now_ns
        moment = moment_of(self._world, number, now_ns, self._world.capture(), self._rate_hz)
        stated_ms = self._meter.stated_ms(None, self._max_act_in_ms)
        due_in_ms = self._meter.to_apply_ms(stated_ms, 0, self._max_act_in_ms)
        self._guard.frame_sent(number, now_ns, now_ns, due_in_ms=due_in_ms)
        if delay_ms is None:
            self._observe(moment, None)
            return
        asked_ns = time.monotonic_ns()
        answer = await self._ask(moment.frame, stated_ms)
        took_ms = (time.monotonic_ns() - asked_ns) / 1e6
        arrives_ns = now_ns + round(delay_ms * 1e6)
        if self._arriving:
            # Answers come over one stream, in their order.
            arrives_ns = max(arrives_ns, self._arriving[-1].arrives_ns)
        self._arriving.append(_Answered(arrives_ns, moment, answer, took_ms))

    def _receive(self, answered: _Answered) -> None:
        arrives_ns, moment, answer = answered.arrives_ns, answered.moment, answered.answer
        frame = moment.frame
        if arrives_ns < self._silent_until_ns:
            self._observe(moment, None)
            return
        if isinstance(answer, WireCommand):
            self.has_horizon |= answer.horizon is not None
            if answer.is_fresh:
                self._meter.answered(
                    capture_time_ns=frame.capture_time_ns,
                    sent_ns=frame.capture_time_ns,
                    received_ns=arrives_ns,
                    max_ms=self._max_act_in_ms,
                )
            if not self._plays_horizon:
                answer = dataclasses.replace(answer, horizon=None)
        self._guard.received(answer, arrives_ns)
        command = None
        if isinstance(answer, WireCommand) and answer.limited.steering_wheel_angle_rad is not None:
            speed_mps = answer.limited.speed_mps or frame.vehicle_speed_mps
            command = Command(answer.limited.steering_wheel_angle_rad, speed_mps)
        reply = Reply(
            frame.sequence_number,
            command,
            answer,
            sent_ns=frame.capture_time_ns,
            arrived_ns=arrives_ns,
            took_ms=answered.took_ms,
        )
        self._observe(moment, reply)


async def drive_guarded(
    world: Drivable,
    ask: Ask,
    latency: Latency,
    *,
    frames: int,
    seed: Sequence[int],
    acting: ActingDelay,
    max_act_in_ms: float,
    times: GuardTimes | None = None,
    rate_hz: float = RATE_HZ,
    observe: Observer = ignore,
) -> None:
    """Drive in simulated time over a link.

    Args:
        world: where to drive.
        ask: the driver.
        latency: of the link.
        frames: how many pictures are taken.
        seed: draws what the link does.
        acting: what the vehicle states of when its commands act; by default it measures that.
        max_act_in_ms: the longest such delay that the network was trained with; 0 where it is not
            told.
        times: told what the guard has the vehicle do.
        rate_hz: pictures a second.
        observe: told of each picture.
    """
    delays: Sequence[Delay] = latency.draw(frames, rate_hz, seed)
    vehicle = GuardedVehicle(
        world,
        ask,
        acting=acting,
        max_act_in_ms=max_act_in_ms,
        bounds=bounds_for(latency.typical_ms),
        times=times,
        rate_hz=rate_hz,
        observe=observe,
    )
    for _ in range(frames * LOOKS_PER_FRAME):
        await vehicle.look(delays.__getitem__)
        vehicle.advance()
    vehicle.end()
