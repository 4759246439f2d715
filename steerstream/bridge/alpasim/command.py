"""The command `bridge alpasim`: options in, exit code out."""

from __future__ import annotations

import argparse
import asyncio

import steerstream.blocking
from steerstream.bridge.alpasim.rollouts import Rollouts
from steerstream.bridge.options import add_session_options
from steerstream.command_line import INTERRUPTED, at_interrupt, not_negative
from steerstream.connection_options import connection_arguments
from steerstream.errors import SteerstreamError
from steerstream.extras import command_needs
from steerstream.watch.place import place

_NAME = "steerstream bridge alpasim"


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of `bridge alpasim`."""
    add = parser.add_argument
    add(
        "--listen",
        type=place,
        default=place("127.0.0.1:6789"),
        metavar="HOST:PORT",
        help="where the simulator finds the driver, port 0 for any free one"
        " (default: 127.0.0.1:6789)",
    )
    add(
        "--runtime",
        choices=("alpasim", "carla"),
        default="alpasim",
        help="what is at the other end; both speak this contract, and differ in their debug"
        " messages (default: alpasim)",
    )
    add("--camera", help="logical id of the camera to drive by (default: the first with `front` in"
        " its name, or the first)")  # fmt: skip
    add("--delay-ms", type=not_negative, metavar="MS", help="a command acts so long after its"
        " picture, in place of what the answer really took")  # fmt: skip
    add_session_options(parser)


async def run(options: argparse.Namespace) -> int:
    """Serve until Ctrl-C.

    Raises:
        SteerstreamError: something is wrong with the options or the server.
    """
    with command_needs(_NAME, "alpasim"):
        from steerstream.bridge.alpasim.contract import serving  # noqa: PLC0415 - an extra
    stop = asyncio.Event()
    host, port = options.listen
    # Rollouts block, each in a thread of the contract's server.
    client = await asyncio.to_thread(
        lambda: steerstream.blocking.connect(options.target, **connection_arguments(options))
    )
    try:
        try:
            server = serving(Rollouts(client, options), host, port, options.runtime)
            with server as taken, at_interrupt(stop.set):
                print(f"Driving for {options.runtime} at {host}:{taken}", flush=True)
                await stop.wait()
        except RuntimeError as error:
            raise SteerstreamError(f"{error}; choose another --listen") from error
    finally:
        await asyncio.to_thread(client.close)
    return INTERRUPTED
