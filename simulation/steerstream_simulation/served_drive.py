"""What drives through a server share, on rendered roads and on recorded pictures."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from steerstream import ActingDelay, Client, Encoding, FramePolicy, ViewUse
from steerstream.command_line import at_interrupt
from steerstream.connection_options import PLAIN, ConnectionArguments
from steerstream.errors import OutputLost
from steerstream_simulation.camera import CameraConfig
from steerstream_simulation.closed_loop import (
    RATE_HZ,
    Drivable,
    LockStepClock,
    Observer,
    drive_lock_step,
)
from steerstream_simulation.grpc_driver import VEHICLE_ID, GrpcDriver, open_driver
from steerstream_simulation.guard_count import GuardTimes
from steerstream_simulation.guarded_drive import drive_guarded
from steerstream_simulation.latency import Latency


@dataclass(frozen=True, slots=True, kw_only=True)
class ServedDriveOptions:
    """The options of a drive through a server, whatever it drives on.

    Attributes:
        targets: the servers, `HOST:PORT`; the session goes on at another one where its own is lost.
        delay_ms: in simulated time, from a picture to when its command acts, in place of what the
            answer really took; None for that.
        latency: says when answers arrive, in place of `delay_ms`; the vehicle's guard then bridges
            what is late or lost.
        latency_seed: draws what `latency` leaves to chance.
        act_in_ms: what the network is told of when its commands act, where it takes it; by default
            `delay_ms`. Where neither is given, it is measured in real time and with `latency`, and
            otherwise nothing is said.
        budget_ms: time that a frame may take in the server.
        model: a served model's name; None for the server's default.
        encoding: how pictures are sent.
        whole_frames: whether whole pictures are sent where the server asks for a part.
        vehicle_id: the vehicle's name.
        connection: TLS and token.
        json: the report's file, or None.
    """

    targets: Sequence[str]
    delay_ms: float | None = None
    latency: Latency | None = None
    latency_seed: int = 0
    act_in_ms: float | None = None
    budget_ms: float = 50.0
    model: str | None = None
    encoding: Encoding = Encoding.AUTO
    whole_frames: bool = False
    vehicle_id: str = VEHICLE_ID
    connection: ConnectionArguments = field(default_factory=PLAIN.copy)
    json: Path | None = None

    @property
    def stated_ms(self) -> float | None:
        """What is said of when commands act; None where it is measured, or nothing is said."""
        return self.delay_ms if self.act_in_ms is None else self.act_in_ms

    def clock(self) -> LockStepClock:
        """Return a clock of simulated time, which stands where a stated delay is charged."""
        return LockStepClock(stands=self.delay_ms is not None or self.latency is not None)

    def open(
        self,
        client: Client,
        camera: CameraConfig,
        *,
        frame_policy: FramePolicy = FramePolicy.EVERY,
        rate_hz: float = RATE_HZ,
    ) -> contextlib.AbstractAsyncContextManager[GrpcDriver]:
        """Open a session for the time of an `async with` block.

        Args:
            client: a connected client.
            camera: the world's camera, described to the server.
            frame_policy: EVERY in simulated time, LATEST in real time.
            rate_hz: pictures a second.

        Raises:
            SteerstreamError: the server does not open the session.
        """
        return open_driver(
            client,
            camera,
            frame_policy=frame_policy,
            model=self.model,
            budget_ms=self.budget_ms,
            rate_hz=rate_hz,
            encoding=self.encoding,
            view=ViewUse.NEVER if self.whole_frames else ViewUse.PIXELS,
            act_in_ms=self.stated_ms,
            vehicle_id=self.vehicle_id,
            hands_over=len(self.targets) > 1,
        )

    async def drive_simulated(
        self,
        world: Drivable,
        driver: GrpcDriver,
        *,
        frames: int,
        clock: LockStepClock,
        seed: int,
        times: GuardTimes,
        rate_hz: float = RATE_HZ,
        observe: Observer,
    ) -> None:
        """Drive in simulated time, and charge the vehicle what the options say.

        Args:
            world: where to drive.
            driver: an open session.
            frames: how many pictures are taken.
            clock: the client's.
            seed: of the drive: with the options' own it draws what `latency` leaves to chance.
            times: told, with `latency`, what the guard has the vehicle do.
            rate_hz: pictures a second.
            observe: told of each frame.

        Raises:
            DriverStoppedError: the driver gives no more replies.
            SteerstreamError: the session has ended.
        """
        if self.latency is not None:
            await drive_guarded(
                world,
                driver.ask,
                self.latency,
                frames=frames,
                seed=(self.latency_seed, seed),
                acting=ActingDelay(fixed_ms=self.act_in_ms),
                max_act_in_ms=driver.session.info.model.max_act_in_ms,
                times=times,
                rate_hz=rate_hz,
                observe=observe,
            )
            return
        await drive_lock_step(
            world,
            driver,
            frames=frames,
            clock=clock,
            delay_ms=self.delay_ms,
            rate_hz=rate_hz,
            observe=observe,
        )

    def settings(self) -> dict[str, Any]:
        """Return what was asked for, for the report."""
        return {
            "targets": list(self.targets),
            "delay_ms": self.delay_ms,
            "act_in_ms": self.stated_ms,
            "latency": None if self.latency is None else self.latency.summary(),
        }


async def until_interrupted(driving: Coroutine[None, None, None]) -> None:
    """Drive until the end, or until Ctrl-C or SIGTERM.

    Raises:
        KeyboardInterrupt: one of them came.
    """
    task = asyncio.ensure_future(driving)
    with at_interrupt(task.cancel):
        await asyncio.wait([task])
    if task.cancelled():
        raise KeyboardInterrupt
    task.result()


def write(path: Path | None, make: Callable[[Path], None]) -> None:
    """Have a file made, if one is wanted.

    Raises:
        OutputLost: it cannot be written.
    """
    if path is None:
        return
    try:
        make(path)
    except OSError as error:
        raise OutputLost(f"cannot write {path}: {error.strerror}") from error
