"""Drives MetaDrive's maps through a server, in lock-step, with the report of our own world's."""

from __future__ import annotations

import math
from argparse import Namespace
from typing import Any

import steerstream
from steerstream import BadRequest, FramePolicy
from steerstream.command_line import write_result
from steerstream.connection_options import connection_arguments
from steerstream.progress import Progress
from steerstream_simulation.camera import CameraConfig
from steerstream_simulation.closed_loop import RATE_HZ, LockStepClock, Moment, drive_lock_step
from steerstream_simulation.drivers import Reply
from steerstream_simulation.grpc_driver import open_driver
from steerstream_simulation.metadrive.engine import check_installed
from steerstream_simulation.metadrive.world import MetaDriveWorld
from steerstream_simulation.report import DriveLog, summarise, table


async def drive(options: Namespace) -> None:
    """Drive each map and print its report, then all of them together.

    Args:
        options: those of `steerstream bridge metadrive drive`.

    Raises:
        SteerstreamError: the server cannot be reached, refuses, or fails.
        DriverStoppedError: the server ended a session before its drive was over.
    """
    check_installed()
    camera = await _bundle_camera(options)
    world = MetaDriveWorld(seconds=options.seconds, camera=camera)
    reports: list[dict[str, Any]] = []
    try:
        for seed in options.maps:
            world.start(seed)
            report = await _drive_map(options, world, camera, seed)
            reports.append(report)
            print(_line(report), flush=True)
    finally:
        world.close()
        if reports:
            print(f"\nmap {reports[-1]['seed']}:\n{table(reports[-1])}")
            mean = sum(report["autonomy_percent"] for report in reports) / len(reports)
            print(f"\nautonomy {mean:.2f} % over {len(reports)} maps")
            if options.json:
                write_result(options.json, {"autonomy_percent": mean, "maps": reports})


async def _bundle_camera(options: Namespace) -> CameraConfig:
    """Return the camera that the network was trained with; its picture is 320 pixels wide."""
    async with steerstream.connect(options.target, **connection_arguments(options)) as client:
        served = await client.describe_models()
    name = options.model or served.default_model
    model = next((model for model in served.models if model.name == name), None)
    if model is None or model.camera is None:
        raise BadRequest(
            f"{name} does not say which camera it was trained with; write it with"
            " `python -m model_export camera`"
        )
    return CameraConfig(
        width_px=320,
        height_px=round(320 / model.camera.aspect_ratio),
        field_of_view_rad=math.radians(model.camera.horizontal_fov_deg),
        mount_height_m=model.camera.mount_height_m,
        horizon=model.camera.horizon_fraction,
    )


async def _drive_map(
    options: Namespace, world: MetaDriveWorld, camera: CameraConfig, seed: int
) -> dict[str, Any]:
    frames = round(options.seconds * RATE_HZ)
    # Simulated time begins again with each map, and a client's clock never goes back.
    clock = LockStepClock(stands=options.delay_ms is not None)
    log = DriveLog(options.budget_ms)
    client = steerstream.connect(
        options.target, clock=clock.now_ns, **connection_arguments(options)
    )
    with Progress(f"driving map {seed}", frames, "frames") as progress:

        def observe(moment: Moment, reply: Reply | None) -> None:
            log(moment, reply)
            progress.step(f"lateral error {moment.lateral_offset_m:+.2f} m")

        async with (
            client,
            open_driver(
                client,
                camera,
                frame_policy=FramePolicy.EVERY,
                model=options.model,
                budget_ms=options.budget_ms,
                act_in_ms=options.delay_ms,
                vehicle_id=options.vehicle_id,
            ) as driver,
        ):
            await drive_lock_step(
                world,
                driver,
                frames=frames,
                clock=clock,
                delay_ms=options.delay_ms,
                observe=observe,
            )
            settings = {
                "targets": [options.target],
                "model": driver.session.info.model.name,
                "simulator": "MetaDrive 0.3.0.1",
                "seed": seed,
                "mode": "lock_step",
                "delay_ms": options.delay_ms,
                "image_size_px": [camera.width_px, camera.height_px],
                "rate_hz": RATE_HZ,
                "sent_bytes": driver.session.sent_bytes,
            }
    return summarise(settings, world.score, log)


def _line(report: dict[str, Any]) -> str:
    return (
        "map {seed:>4}  autonomy {autonomy_percent:6.2f} %  interventions {interventions}  "
        "lateral error mean {lateral_error_mean_m:.3f} max {lateral_error_max_m:.3f} m".format(
            **report
        )
    )
