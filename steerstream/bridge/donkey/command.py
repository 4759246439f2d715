"""The command `bridge donkey`: options in, exit code out."""

from __future__ import annotations

import argparse
import asyncio
import contextlib

from steerstream.bridge.donkey.link import Link
from steerstream.bridge.driver import Driver
from steerstream.bridge.options import add_session_options
from steerstream.bridge.vehicle_session import add_driving_options, open_driver
from steerstream.command_line import INTERRUPTED, at_interrupt
from steerstream.errors import ConnectionFailed, SteerstreamError
from steerstream.watch.place import Place, place

_PORT = 9091


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of `bridge donkey`."""
    side = parser.add_mutually_exclusive_group()
    side.add_argument("--simulator", type=place, default=place(f"127.0.0.1:{_PORT}"),
        metavar="HOST:PORT", help="a simulator that listens, as it does by itself (default:"
        f" 127.0.0.1:{_PORT})")  # fmt: skip
    side.add_argument("--listen", type=place, metavar="HOST:PORT", help="wait for a simulator that"
        " connects, as older ones do and those that are told a port")  # fmt: skip
    parser.add_argument("--scene", default="", help="name of a scene (default: the first)")
    add_driving_options(parser)
    add_session_options(parser)


async def run(options: argparse.Namespace) -> int:
    """Drive until Ctrl-C, or until the simulator or the server ends it.

    Raises:
        SteerstreamError: something is wrong with the options, the simulator or the server.
    """
    stop = asyncio.Event()
    async with open_driver(options, "donkey") as driver:
        with at_interrupt(stop.set):
            driving = asyncio.create_task(_converse(options, driver))
            ending = asyncio.create_task(driver.until_ended(stop))
            await asyncio.wait((driving, ending), return_when=asyncio.FIRST_COMPLETED)
            for task in (driving, ending):
                task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await driving
    return INTERRUPTED if stop.is_set() else 0


async def _converse(options: argparse.Namespace, driver: Driver) -> None:
    link = Link(driver, scene=options.scene, fov_deg=options.fov_deg)
    if options.listen is None:
        await link.converse(*await _connect(options.simulator))
    else:
        await _accept(link, options.listen)


async def _connect(simulator: Place) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    try:
        return await asyncio.open_connection(simulator.host, simulator.port)
    except OSError as error:
        raise ConnectionFailed(
            f"no simulator listens on {simulator.host}:{simulator.port}: {error.strerror}; start"
            " it, or give --listen for one that connects"
        ) from error


async def _accept(link: Link, place: Place) -> None:
    """Serve one simulator after another."""
    arrived: asyncio.Queue[tuple[asyncio.StreamReader, asyncio.StreamWriter]] = asyncio.Queue(1)

    def take(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if arrived.full():
            writer.close()
        else:
            arrived.put_nowait((reader, writer))

    try:
        server = await asyncio.start_server(take, *place)
    except OSError as error:
        raise SteerstreamError(
            f"cannot listen on {place.host}:{place.port}: {error.strerror}; choose another --listen"
        ) from error
    async with server:
        port = server.sockets[0].getsockname()[1]
        print(f"Waiting for a simulator at {place.host}:{port}", flush=True)
        while True:
            await link.converse(*await arrived.get())
