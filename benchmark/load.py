"""Open-loop load: vehicles that send a frame whenever one is due, answered or not.

Latency counts from the moment a frame was due. A server that stalls therefore cannot hide the
frames that its stall delayed (coordinated omission, after Gil Tene's wrk2).
"""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass, field

import numpy as np

import steerstream

NS_PER_MS = 1e6
US_PER_MS = 1e3
SETTLE_S = 0.5
"""Between opening the sessions and the first frame."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    """What every vehicle does."""

    sessions: int
    rate_hz: float
    seconds: float
    budget_ms: float
    images: list[steerstream.Image]
    seed: int = 0

    @property
    def frames_per_session(self) -> int:
        """Frames that one vehicle sends."""
        return round(self.rate_hz * self.seconds)


STAGES = ("round_trip", "server", "queue", "decode", "infer")


@dataclass(slots=True)
class Samples:
    """What all vehicles saw: one entry a stage for each command, in milliseconds, and the skips.

    The stages are ``round_trip`` (from when the frame was due), ``server`` (arrival to answer) and
    the server's ``queue``, ``decode`` and ``infer``.
    """

    stages_ms: dict[str, list[float]] = field(
        default_factory=lambda: {stage: [] for stage in STAGES}
    )
    skipped: dict[str, int] = field(default_factory=dict)
    sent: int = 0

    def add_command(self, command: steerstream.Command, latency_ms: float) -> None:
        """Count a command."""
        timings = command.timings
        stages_us = (timings.total_us, timings.queue_us, timings.decode_us, timings.infer_us)
        values_ms = (latency_ms, *(value_us / US_PER_MS for value_us in stages_us))
        for stage, value_ms in zip(STAGES, values_ms, strict=True):
            self.stages_ms[stage].append(value_ms)

    def add_skip(self, reason: str) -> None:
        """Count a frame that got no command of its own."""
        self.skipped[reason] = self.skipped.get(reason, 0) + 1


async def run(target: str, load: Load) -> Samples:
    """Drive all vehicles of a load against a server at once and return what they saw."""
    samples = Samples()
    phases = np.random.default_rng(load.seed).uniform(0, 1 / load.rate_hz, load.sessions)
    async with steerstream.connect(target) as client:
        start = time.monotonic() + SETTLE_S
        vehicles = [
            _vehicle(client, load, f"vehicle-{index}", start + phase, samples)
            for index, phase in enumerate(phases)
        ]
        await asyncio.gather(*vehicles)
    return samples


async def _vehicle(
    client: steerstream.Client, load: Load, vehicle_id: str, start: float, samples: Samples
) -> None:
    due_ns = [
        round((start + index / load.rate_hz) * 1e9) for index in range(load.frames_per_session)
    ]
    async with client.open_session(vehicle_id=vehicle_id, budget_ms=load.budget_ms) as session:
        receiver = asyncio.create_task(_receive(session, len(due_ns), samples))
        for index, due in enumerate(due_ns):
            await asyncio.sleep(max(0.0, (due - time.monotonic_ns()) / 1e9))
            image = load.images[index % len(load.images)]
            await session.send_frame(image, sequence_number=index, capture_time_ns=due)
            samples.sent += 1
        await receiver


async def _receive(session: steerstream.Session, frames: int, samples: Samples) -> None:
    answered = 0
    while answered < frames:
        match await anext(session):
            case steerstream.Command() as command:
                due_ns = command.capture_time_ns
                samples.add_command(command, (command.received_ns - due_ns) / NS_PER_MS)
                answered += 1
            case steerstream.Skipped() as skipped:
                samples.add_skip(skipped.reason.name)
                answered += 1
