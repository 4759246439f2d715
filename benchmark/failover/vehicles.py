"""Vehicles that drive on two servers, in lock-step or at a camera's pace."""

from __future__ import annotations

import asyncio
import itertools
import time
from collections.abc import Sequence

import steerstream
from benchmark.failover.model import Event, Sent
from steerstream import Command, DriveState, FramePolicy, HandOver, SessionChange

PERIOD_S = 0.05
LOCK_STEP_BUDGET_MS = 2_000.0
"""So that no frame is late on a busy machine: lock-step looks for wrong answers, not late ones."""
_PATIENT = HandOver(attempt_timeout_s=10.0, give_up_after_s=60.0)
_LONGEST_WAIT_S = 90.0


class LockStep:
    """A vehicle that sends its next frame when the last one was answered.

    Args:
        pictures: JPEG files, sent in turn.
        first: index of the first one.
        frames: how many it sends.

    Attributes:
        history: what it saw.
        answered: frames that were answered.
        warm_up_steps: of the model, once it drives.
    """

    def __init__(self, pictures: Sequence[bytes], first: int, frames: int) -> None:
        self._pictures = pictures
        self._first = first
        self._frames = frames
        self.history: list[Event] = []
        self.answered = 0
        self.warm_up_steps = 0

    @property
    def lost_state(self) -> bool:
        """Whether a server began with a fresh state."""
        return any(
            event.state is DriveState.DRIVING and not event.with_state
            for event in self.history
            if isinstance(event, SessionChange)
        )

    async def drive(self, targets: Sequence[str]) -> None:
        """Drive all frames, with the first of the servers as long as it is there."""
        async with (
            steerstream.connect(list(targets), timeout_s=_LONGEST_WAIT_S) as client,
            client.drive_session(
                vehicle_id=f"lock-step-{id(self):x}",
                frame_policy=FramePolicy.EVERY,
                budget_ms=LOCK_STEP_BUDGET_MS,
                hand_over=_PATIENT,
                on_change=self.history.append,
            ) as session,
        ):
            self.warm_up_steps = session.info.model.warm_up_steps
            for number in range(self._frames):
                self.history.append(Sent(number))
                answer = await session.request(
                    self._pictures[(self._first + number) % len(self._pictures)],
                    capture_time_ns=round((number + 1) * PERIOD_S * 1e9),
                    timeout_s=_LONGEST_WAIT_S,
                )
                self.history.append(answer)
                self.answered += 1


class Paced:
    """A vehicle with a camera at 20 Hz, and when it got fresh commands.

    Args:
        pictures: JPEG files, sent in turn.
        budget_ms: of each frame.
    """

    def __init__(self, pictures: Sequence[bytes], budget_ms: float) -> None:
        self._pictures = pictures
        self._budget_ms = budget_ms
        self._fresh_ns: list[int] = []

    async def drive(self, targets: Sequence[str], seconds: float, delay_s: float) -> None:
        """Drive for a while.

        Args:
            targets: the servers, the first one preferred.
            seconds: how long.
            delay_s: before the first frame, so that vehicles do not send together.
        """
        async with (
            steerstream.connect(list(targets), timeout_s=_LONGEST_WAIT_S) as client,
            client.drive_session(
                vehicle_id=f"paced-{id(self):x}", budget_ms=self._budget_ms
            ) as session,
        ):
            reading = asyncio.create_task(self._read(session))
            loop = asyncio.get_running_loop()
            begin_s = loop.time() + delay_s
            for number in range(round(seconds / PERIOD_S)):
                await asyncio.sleep(begin_s + number * PERIOD_S - loop.time())
                await session.send_frame(self._pictures[number % len(self._pictures)])
            await session.finish()
            await reading

    def longest_without_ms(self, since_ns: int) -> float:
        """Return the longest time without a fresh command after a moment, in milliseconds."""
        before = [moment for moment in self._fresh_ns if moment < since_ns]
        after = [moment for moment in self._fresh_ns if moment >= since_ns]
        if not before or not after:
            return float("inf")
        moments = [before[-1], *after]
        return max(b - a for a, b in itertools.pairwise(moments)) / 1e6

    async def _read(self, session: steerstream.DriveSession) -> None:
        async for answer in session:
            if isinstance(answer, Command) and answer.is_fresh:
                self._fresh_ns.append(time.monotonic_ns())
