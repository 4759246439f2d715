"""Vehicles that drive on two servers, in lock-step or at a camera's pace."""

from __future__ import annotations

import asyncio
import itertools
import math
import time
from collections.abc import Callable, Sequence

import steerstream
from benchmark.failover.model import Event, Sent
from steerstream import Command, DriveState, FramePolicy, HandOver, Image, SessionChange

PERIOD_S = 0.05
LOCK_STEP_BUDGET_MS = 2_000.0
"""So that no frame is late on a busy machine: lock-step looks for wrong answers, not late ones."""
_PATIENT = HandOver(attempt_timeout_s=10.0, give_up_after_s=60.0)
_LONGEST_WAIT_S = 90.0
_LAST_FRAMES = 5
"""Frames of a lock-step drive that come after the fault, whatever happens."""


class LockStep:
    """A vehicle that sends its next frame when the last one was answered.

    Args:
        pictures: sent in turn.
        first: index of the first one.
        frames: how many it sends.
        pause_s: between an answer and the next frame, for faults that take a while.

    Attributes:
        history: what it saw.
        answered: frames that were answered.
        warm_up_steps: of the model, once it drives.
    """

    def __init__(
        self, pictures: Sequence[Image], first: int, frames: int, *, pause_s: float = 0.0
    ) -> None:
        self._pictures = pictures
        self._first = first
        self._frames = frames
        self._pause_s = pause_s
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

    async def drive(self, targets: Sequence[str], struck: asyncio.Event | None = None) -> None:
        """Drive all frames, with the first of the servers as long as it is there.

        Args:
            targets: the servers.
            struck: is set when the fault is over, before which the last frames do not come.
        """
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
                if struck is not None and number == self._frames - _LAST_FRAMES:
                    await struck.wait()
                await asyncio.sleep(self._pause_s)
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
        self._max_age_ms = steerstream.Bounds().max_age_ms
        # By the frame's number.
        self._sent_ns: dict[int, int] = {}
        self._fresh_ns: dict[int, int] = {}

    async def drive(
        self, targets: Sequence[str], is_over: Callable[[], bool], delay_s: float
    ) -> None:
        """Drive for a while.

        Args:
            targets: the servers, the first one preferred.
            is_over: whether the drive ends now; asked before each frame.
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
            for number in itertools.count():
                await asyncio.sleep(begin_s + number * PERIOD_S - loop.time())
                if is_over():
                    break
                self._sent_ns[number] = time.monotonic_ns()
                await session.send_frame(self._pictures[number % len(self._pictures)])
            await session.finish()
            await reading

    def longest_without_ms(self, since_ns: int) -> float:
        """Return the longest time without a fresh command from a moment on, in milliseconds."""
        after = [moment for moment in self._fresh_ns.values() if moment > since_ns]
        if not after:
            return float("inf")
        return max(b - a for a, b in itertools.pairwise([since_ns, *after])) / 1e6

    def held(self, since_ns: int) -> int:
        """Return how many frames from a moment on had no command that a guard still follows."""
        most_ns = self._max_age_ms * 1e6
        return sum(
            sent_ns >= since_ns and self._fresh_ns.get(number, math.inf) - sent_ns > most_ns
            for number, sent_ns in self._sent_ns.items()
        )

    async def _read(self, session: steerstream.DriveSession) -> None:
        async for answer in session:
            if isinstance(answer, Command) and answer.is_fresh:
                self._fresh_ns[answer.sequence_number] = time.monotonic_ns()
