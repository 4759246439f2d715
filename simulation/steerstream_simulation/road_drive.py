"""A drive over one road, through a server or by the expert: report, video and picture."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import math
import os
import signal
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from steerstream import DriveSession, FramePolicy, whole_file
from steerstream.progress import Progress
from steerstream_simulation.camera import CameraConfig
from steerstream_simulation.closed_loop import (
    RATE_HZ,
    LockStepClock,
    Moment,
    Observer,
    drive_lock_step,
    drive_real_time,
)
from steerstream_simulation.drivers import LocalDriver, Reply, expert_policy
from steerstream_simulation.grpc_driver import GrpcDriver, connect
from steerstream_simulation.guard_count import GuardCount
from steerstream_simulation.recorder import Recorder
from steerstream_simulation.report import DriveLog, summarise
from steerstream_simulation.served_drive import ServedDriveOptions, until_interrupted, write
from steerstream_simulation.server_kill import ServerKill
from steerstream_simulation.world import World


@dataclass(frozen=True, slots=True, kw_only=True)
class DriveOptions(ServedDriveOptions):
    """The options of a drive over a road.

    Attributes:
        seed: of the road.
        seconds: length of the drive.
        camera: size of the pictures, lens and mounting; the server is told of them.
        speed_mps: the vehicle's, whatever is commanded, on a road whose bends are built for it;
            None for the network's own on a road as it is.
        real_time: whether to keep up with the wall clock.
        kill: processes of the first servers, in their order; the one that drives the vehicle is
            killed in the sharpest bend. Empty for none.
        save: the video's file, or None.
        plot: the picture's file, or None.
    """

    seed: int
    seconds: float
    camera: CameraConfig
    speed_mps: float | None = None
    real_time: bool = False
    kill: Sequence[int] = ()
    save: Path | None = None
    plot: Path | None = None


def drive(
    options: DriveOptions, show: Callable[[dict[str, Any]], object] = lambda _: None
) -> dict[str, Any]:
    """Drive a road through a server.

    Args:
        options: what is asked for.
        show: told the report, also where the drive broke off.

    Returns:
        The report; it is written to `options.json` as well.

    Raises:
        SteerstreamError: the server cannot be reached, refuses, or fails.
        DriverStoppedError: the server ended the session before the drive was over.
        KeyboardInterrupt: Ctrl-C or SIGTERM ended it.
        OutputLost: a file cannot be written.
    """
    return asyncio.run(_drive(options, show))


async def _drive(options: DriveOptions, show: Callable[[dict[str, Any]], object]) -> dict[str, Any]:
    clock = options.clock()
    now_ns = time.monotonic_ns if options.real_time else clock.now_ns
    client = connect(options.targets, now_ns, options.connection)
    policy = FramePolicy.LATEST if options.real_time else FramePolicy.EVERY
    # The road is drawn first, because an open session must not wait for it.
    world = World(
        options.seed, seconds=options.seconds, camera=options.camera, speed_mps=options.speed_mps
    )
    async with client, options.open(client, options.camera, frame_policy=policy) as driver:
        log, report = DriveLog(options.budget_ms), {}
        kill = _server_kill(options, driver, world)
        try:
            with _observer(options, log, kill, world, driver) as observe:
                await until_interrupted(
                    _close_loop(options, world, driver, clock, log=log, observe=observe)
                )
        finally:
            # Figures from before an error are worth reading too.
            if log.frames:
                report = summarise(_settings(options, driver), world.score, log)
                if kill is not None:
                    report["server_killed"] = kill.summary()
                show(report)
                write(options.json, lambda path: whole_file.write_json(path, report))
        return report


async def _close_loop(
    options: DriveOptions,
    world: World,
    driver: GrpcDriver,
    clock: LockStepClock,
    *,
    log: DriveLog,
    observe: Observer,
) -> None:
    frames = round(options.seconds * RATE_HZ)
    if options.real_time:
        max_hold_ms = driver.session.guard.bounds.max_hold_ms
        count = GuardCount(
            world.score, log.guard_times, max_hold_ms=max_hold_ms, clock=time.monotonic_ns
        )
        driver.told.append(count.told)
        await drive_real_time(world, driver, frames=frames, observe=observe)
        return
    await options.drive_simulated(
        world,
        driver,
        frames=frames,
        clock=clock,
        seed=options.seed,
        times=log.guard_times,
        observe=observe,
    )


def _settings(options: DriveOptions, driver: GrpcDriver) -> dict[str, Any]:
    return {
        **options.settings(),
        "model": driver.session.info.model.name,
        "seed": options.seed,
        "mode": "real_time" if options.real_time else "lock_step",
        "speed_mps": options.speed_mps,
        "image_size_px": [options.camera.width_px, options.camera.height_px],
        "camera_fov_deg": round(math.degrees(options.camera.field_of_view_rad), 3),
        "camera_height_m": options.camera.mount_height_m,
        "rate_hz": RATE_HZ,
        "sent_bytes": driver.session.sent_bytes,
    }


def _server_kill(options: DriveOptions, driver: GrpcDriver, world: World) -> ServerKill | None:
    if not options.kill or not isinstance(driver.session, DriveSession):
        return None
    strikes = {
        target: functools.partial(os.kill, pid, signal.SIGKILL)
        for target, pid in zip(options.targets, options.kill, strict=False)
    }
    return ServerKill(strikes, driver.session, world, options.seconds)


@contextlib.contextmanager
def _observer(
    options: DriveOptions, log: DriveLog, kill: ServerKill | None, world: World, driver: GrpcDriver
) -> Iterator[Observer]:
    with contextlib.ExitStack() as stack:
        observers: list[Observer] = [log] if kill is None else [log, kill]
        frames = round(options.seconds * RATE_HZ)
        if options.plot is not None:
            # Matplotlib comes with the extra `sim`, and a drive without a picture needs none.
            from steerstream_simulation.kill_plot import KillPlot  # noqa: PLC0415
            from steerstream_simulation.plot import DrivePlot  # noqa: PLC0415

            plot: DrivePlot | KillPlot
            if kill is None:
                plot = DrivePlot(frames, budget_ms=options.budget_ms, rate_hz=RATE_HZ)
            else:
                plot = KillPlot(kill, world.score.departure_offset_m)
                driver.told.append(plot.told)
            observers.append(plot)

            def draw() -> None:
                if log.frames:
                    write(options.plot, plot.save)

            stack.callback(draw)
        if options.save is not None:
            recorder = Recorder(
                options.save,
                budget_ms=options.budget_ms,
                title=f"seed {options.seed}",
                writes_later=options.real_time,
            )
            observers.append(stack.enter_context(recorder))
        progress = Progress("driving", frames, "frames")
        stack.enter_context(progress)

        def observe(moment: Moment, reply: Reply | None) -> None:
            for each in observers:
                each(moment, reply)
            progress.step(
                f"lateral error {moment.lateral_offset_m:+.2f} m, "
                f"interventions {moment.interventions}"
            )

        yield observe


def render(*, seed: int, seconds: float, camera: CameraConfig, save: Path) -> None:
    """Let the expert drive a road and save the video.

    Args:
        seed: of the road.
        seconds: length of the drive.
        camera: size of the pictures.
        save: the video's file, .mp4.

    Raises:
        SteerstreamError: the video cannot be written.
    """
    world = World(seed, seconds=seconds, camera=camera)
    driver = LocalDriver(expert_policy(world))
    frames = round(seconds * RATE_HZ)
    with (
        Recorder(save, budget_ms=50.0, title=f"seed {seed}  expert", writes_later=False) as video,
        Progress("driving", frames, "frames") as progress,
    ):

        def observe(moment: Moment, reply: Reply | None) -> None:
            video(moment, reply)
            progress.step()

        asyncio.run(drive_lock_step(world, driver, frames=frames, observe=observe))
