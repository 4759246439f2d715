"""Drives in a simulator's time: one picture, one order, whatever went wrong between them."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import math
import sys
import time

from steerstream.answers import FrameAnswer
from steerstream.drive.tally import Tally
from steerstream.errors import AnswerTimeout, BadRequest, SessionEnded, SteerstreamError
from steerstream.guard import Action
from steerstream.session import VehicleSession

STEERING_RATIO = 14.8
"""Of the reference vehicle: turns of the steering wheel for one of the road wheels."""

LARGEST_PICTURE_BYTES = 4 << 20
"""A JPEG of 4 MiB has more pixels than any simulator of these draws."""

SILENT_S = 2.0
"""After which a vehicle that drives is stopped: its simulator would follow the last order on."""

_THROTTLE_PER_MPS = 0.2
_STANDING_MPS = 0.3
_LONGEST_STOP_S = 5.0
_CONNECTED_S = 1.0
_MOST_COMPLAINTS = 20


class SimulatorError(SteerstreamError):
    """A simulator sent what cannot be used; the text says what."""


@dataclasses.dataclass(frozen=True, slots=True)
class Order:
    """What the vehicle is to do now.

    Attributes:
        road_wheel_rad: angle of the road wheels, left positive.
        throttle: from -1, full brake, to 1.
    """

    road_wheel_rad: float
    throttle: float


class Driver:
    """Steps a session with a simulator's pictures.

    It always gives an order. Where the guard says RELEASE, a simulator has no driver who takes
    over, so the vehicle brakes to a stop with its wheels as they are.

    Args:
        session: an open session.
        tally: counts the answers.
        rate_hz: pictures that come faster than this are not sent; the order before stands.
        speed_mps: a speed in place of the network's; None for the network's.

    Attributes:
        error: what ended the session; the vehicle is stopped since.
    """

    def __init__(
        self,
        session: VehicleSession,
        tally: Tally,
        *,
        rate_hz: float,
        speed_mps: float | None = None,
    ) -> None:
        self._session = session
        self._tally = tally
        self._speed_mps = speed_mps
        # A tenth early is a picture of the next period, not one too many.
        self._period_s = 0.9 / rate_hz
        self._sent_s = -math.inf
        self._ordered_s = -math.inf
        self._braking_since_s: float | None = None
        self._braked_s = -math.inf
        self._order = Order(0.0, 0.0)
        self._complaints = 0
        self._is_halting = False
        self._ended, self._stopped = asyncio.Event(), asyncio.Event()
        self.error: SessionEnded | None = None

    async def order(self, picture: bytes, speed_mps: float) -> Order:
        """Return what to do about a picture.

        Args:
            picture: a JPEG file.
            speed_mps: of the vehicle.
        """
        now_s = time.monotonic()
        if self._is_halting or self.error is not None:
            return self.stop(speed_mps)
        if now_s - self._sent_s < self._period_s:
            return self._order
        self._sent_s = self._ordered_s = now_s
        self._tally.sent()
        try:
            answer = await self._session.request(
                picture, capture_time_ns=round(now_s * 1e9), vehicle_speed_mps=speed_mps
            )
        except SessionEnded as error:
            self._end(error)
            return self.stop(speed_mps)
        except (AnswerTimeout, BadRequest) as error:
            self.complain(error)
        else:
            self._count(answer, round(now_s * 1e9))
        return self._follow(speed_mps)

    async def restart(self) -> None:
        """Forget what was seen, because pictures are missing; the next one is the first."""
        if not self._tally.frames:
            return
        try:
            await self._session.reset()
        except SessionEnded as error:
            self._end(error)

    def stop(self, speed_mps: float) -> Order:
        """Return the order to brake to a stop; wheels stay as they are.

        A brake becomes reverse in some simulators once the vehicle stands, so it is let go then,
        and after a time where the speed is not known any more.

        Args:
            speed_mps: the last that is known.
        """
        self._ordered_s = now_s = time.monotonic()
        if self._braking_since_s is None or now_s - self._braked_s > SILENT_S:
            # A simulator that was silent, or a person who drove meanwhile, is a new matter.
            self._braking_since_s = now_s
        self._braked_s = now_s
        if abs(speed_mps) < _STANDING_MPS or now_s - self._braking_since_s > _LONGEST_STOP_S:
            self._stopped.set()
            self._order = Order(self._order.road_wheel_rad, 0.0)
        else:
            self._order = Order(self._order.road_wheel_rad, -1.0)
        return self._order

    def stop_in_silence(self, speed_mps: float) -> Order:
        """Return the order to stop, for a simulator that sends nothing any more, and say so.

        Args:
            speed_mps: the last that is known.
        """
        self.complain(
            SimulatorError(f"the simulator sends nothing for {SILENT_S:g} s: the vehicle stops")
        )
        return self.stop(speed_mps)

    def complain(self, error: Exception) -> None:
        """Say what was wrong with a message, the first times that something is."""
        self._complaints += 1
        if self._complaints <= _MOST_COMPLAINTS:
            more = "; nothing more is said" if self._complaints == _MOST_COMPLAINTS else ""
            sys.stderr.write(f"steerstream bridge: {error}{more}\n")

    async def until_ended(self, stop: asyncio.Event) -> None:
        """Wait for an event, or until the session has ended; then stop the vehicle.

        Args:
            stop: asks for the end.
        """
        waiting = [asyncio.create_task(event.wait()) for event in (stop, self._ended)]
        await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
        for task in waiting:
            task.cancel()
        self._is_halting = True
        if time.monotonic() - self._ordered_s < _CONNECTED_S:
            self._stopped.clear()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_LONGEST_STOP_S):
                    await self._stopped.wait()

    def _end(self, error: SessionEnded) -> None:
        self.error = error
        self._ended.set()

    def _follow(self, speed_mps: float) -> Order:
        safe = self._session.safe_command()
        wanted = safe.speed_mps if self._speed_mps is None else self._speed_mps
        if safe.action is Action.RELEASE or safe.steering_wheel_angle_rad is None or wanted is None:
            return self.stop(speed_mps)
        self._braking_since_s = None
        throttle = _THROTTLE_PER_MPS * (wanted - speed_mps)
        self._order = Order(
            safe.steering_wheel_angle_rad / STEERING_RATIO, min(max(throttle, -1.0), 1.0)
        )
        return self._order

    def _count(self, answer: FrameAnswer, sent_ns: int) -> None:
        action = self._session.safe_command().action
        self._tally.answered(answer, due_ns=sent_ns, truth=None, action=action)
