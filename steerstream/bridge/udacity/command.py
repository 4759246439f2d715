"""The command `bridge udacity`: options in, exit code out."""

from __future__ import annotations

import argparse
import asyncio

from steerstream.bridge.options import add_session_options
from steerstream.bridge.vehicle_session import add_driving_options, open_driver
from steerstream.command_line import INTERRUPTED, at_interrupt
from steerstream.extras import command_needs
from steerstream.watch.place import place

_NAME = "steerstream bridge udacity"


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of `bridge udacity`."""
    parser.add_argument(
        "--listen",
        type=place,
        default=place("127.0.0.1:4567"),
        metavar="HOST:PORT",
        help="where the simulator finds this; it knows no other port than the default"
        " (127.0.0.1:4567)",
    )
    add_driving_options(parser)
    add_session_options(parser)


async def run(options: argparse.Namespace) -> int:
    """Drive until Ctrl-C, or until the server ends the session.

    Raises:
        SteerstreamError: something is wrong with the options or the server.
    """
    with command_needs(_NAME, "udacity"):
        from steerstream.bridge.udacity.server import serve  # noqa: PLC0415 - its library is an extra
    stop = asyncio.Event()
    host, port = options.listen
    async with open_driver(options, "udacity") as driver, serve(driver, host, port) as taken:
        print(f"Waiting for the simulator at {host}:{taken}; choose Autonomous Mode", flush=True)
        with at_interrupt(stop.set):
            await driver.until_ended(stop)
    return INTERRUPTED if stop.is_set() else 0
