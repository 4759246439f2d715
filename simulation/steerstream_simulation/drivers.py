"""Drivers: frames in, commands out, each after some time.

A driver takes frames and gives one reply for each, in its own time. The closed loop charges that
time to the vehicle: a command acts when it arrives and no sooner.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from steerstream import Command as WireCommand
from steerstream import ControlValues, FrameAnswer, StageTimings, Validity
from steerstream_simulation.vehicle import Command
from steerstream_simulation.world import World

Policy = Callable[[NDArray[np.uint8]], tuple[float, float]]
"""Steering wheel angle in radians and speed in metres per second for a picture."""


@dataclass(frozen=True, slots=True)
class Frame:
    """One picture of the world's camera.

    Attributes:
        sequence_number: counts up from 0.
        capture_time_ns: when the pose was taken, by the loop's clock.
        image: uint8 RGB `[height, width, 3]`.
        vehicle_speed_mps: the vehicle's own speed.
    """

    sequence_number: int
    capture_time_ns: int
    image: NDArray[np.uint8]
    vehicle_speed_mps: float


@dataclass(frozen=True, slots=True)
class Reply:
    """The reply of a driver to a frame.

    Attributes:
        sequence_number: the frame's.
        command: what the vehicle follows from its arrival; None to keep the command before.
        answer: as it came over the wire.
        sent_ns: when the frame was sent, by the loop's clock.
        arrived_ns: when the answer arrives at the vehicle, by the loop's clock.
        took_ms: what the answer really took, where the vehicle is charged a stated delay instead;
            None where both are the same.
    """

    sequence_number: int
    command: Command | None
    answer: FrameAnswer
    sent_ns: int
    arrived_ns: int
    took_ms: float | None = None

    @property
    def delay_ms(self) -> float:
        """Milliseconds from sending the frame until its command acts."""
        return (self.arrived_ns - self.sent_ns) / 1e6

    @property
    def round_trip_ms(self) -> float:
        """Milliseconds that the answer really took."""
        return self.delay_ms if self.took_ms is None else self.took_ms


class Driver(Protocol):
    """Takes frames, gives replies."""

    async def send(self, frame: Frame) -> None:
        """Take a frame; does not wait for its reply."""

    async def receive(self) -> Reply | None:
        """Wait for the next reply; None when no more come."""

    def follow(self) -> Command | None:
        """Return what the vehicle follows at this moment; None to keep the command before."""


class LocalDriver:
    """A driver inside this process whose every answer takes one stated time.

    Args:
        policy: drives by the picture alone.
        latency_ms: what each answer takes.
    """

    def __init__(self, policy: Policy, *, latency_ms: float = 0.0) -> None:
        self._policy = policy
        self._latency_ns = round(latency_ms * 1e6)
        self._replies: asyncio.Queue[Reply] = asyncio.Queue()

    async def send(self, frame: Frame) -> None:
        """Decide at once; the reply carries the stated time."""
        command = Command(*self._policy(frame.image))
        sent, arrived = frame.capture_time_ns, frame.capture_time_ns + self._latency_ns
        self._replies.put_nowait(
            Reply(frame.sequence_number, command, _answer(frame, command, arrived), sent, arrived)
        )

    async def receive(self) -> Reply:
        """Return the next reply."""
        return await self._replies.get()

    def follow(self) -> Command | None:
        """Return None: a policy says nothing between its replies."""
        return None


def expert_policy(world: World) -> Policy:
    """Return the expert as a policy; it looks at the world and not at the picture."""

    def drive(_image: NDArray[np.uint8]) -> tuple[float, float]:
        angle, speed, _ = world.expert_label(0.0)
        return angle, speed

    return drive


def _answer(frame: Frame, command: Command, arrived_ns: int) -> WireCommand:
    values = ControlValues(
        steering_wheel_angle_rad=command.steering_wheel_angle_rad, speed_mps=command.speed_mps
    )
    return WireCommand(
        sequence_number=frame.sequence_number,
        capture_time_ns=frame.capture_time_ns,
        raw=values,
        limited=values,
        active_limits=(),
        validity=Validity.VALID,
        age_ms=(arrived_ns - frame.capture_time_ns) / 1e6,
        alive_counter=frame.sequence_number % 65_536,
        checksum_ok=True,
        state_epoch=0,
        step_count=frame.sequence_number + 1,
        timings=StageTimings(),
        sent_ns=frame.capture_time_ns,
        received_ns=arrived_ns,
    )
