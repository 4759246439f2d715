"""What the bridges to driving games share: a session in real time, and the report at its end."""

from __future__ import annotations

import argparse
import contextlib
import time
from collections.abc import AsyncIterator
from pathlib import Path

import steerstream
from steerstream.bridge.driver import Driver
from steerstream.bridge.options import session_arguments
from steerstream.camera_file import read_camera
from steerstream.command_line import positive, write_result
from steerstream.connection_options import connection_arguments
from steerstream.drive import report
from steerstream.drive.tally import Tally
from steerstream.models import Camera, FramePolicy


def add_driving_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of simulators that take a throttle."""
    add = parser.add_argument
    add("--rate-hz", type=positive, default=20.0, help="pictures a second at most; those between"
        " keep the command before (default: 20)")  # fmt: skip
    add("--speed-mps", type=positive, help="drive at this speed (default: the network's)")
    add("--fov-deg", type=positive, help="horizontal field of view of the simulator's camera")
    add("--camera-file", type=Path, metavar="FILE.toml", help="describes that camera in full,"
        " so that its pictures are mapped to those that the network was trained with")  # fmt: skip


@contextlib.asynccontextmanager
async def open_driver(options: argparse.Namespace, source: str) -> AsyncIterator[Driver]:
    """Open a session for the time of a block, and print what came of it.

    Args:
        options: those of `add_session_options` and `add_driving_options`.
        source: what the report calls the simulator.

    Raises:
        SteerstreamError: the server cannot be reached, refuses, or ended the session.
    """
    camera = Camera(horizontal_fov_deg=options.fov_deg)
    if options.camera_file is not None:
        camera = read_camera(options.camera_file)
    tally, began_s = Tally(options.budget_ms), time.monotonic()
    async with (
        steerstream.connect(options.target, **connection_arguments(options)) as client,
        client.drive_session(
            **session_arguments(options),
            frame_policy=FramePolicy.LATEST,
            frame_rate_hz=options.rate_hz,
            camera=camera,
        ) as session,
    ):
        driver = Driver(session, tally, rate_hz=options.rate_hz, speed_mps=options.speed_mps)
        try:
            yield driver
        finally:
            # Figures from before an error are worth reading too.
            if tally.frames:
                tally.sent_bytes, elapsed_s = session.sent_bytes, time.monotonic() - began_s
                print(report.as_table(tally, session.info, elapsed_s=elapsed_s))
                if options.json:
                    result = report.as_json(tally, session.info, source=source, elapsed_s=elapsed_s)
                    write_result(options.json, result)
        if driver.error is not None:
            raise driver.error
