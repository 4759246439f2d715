"""The command `bridge metadrive`: options in, exit code out."""

from __future__ import annotations

import argparse
import asyncio
import importlib
from pathlib import Path

from steerstream.bridge.options import add_session_options
from steerstream.command_line import INTERRUPTED, at_interrupt, not_negative, positive, whole
from steerstream.extras import command_needs

_NAME = "steerstream bridge metadrive"


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of `bridge metadrive`."""
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    about = "drive maps through a server, with the camera that its network was trained with"
    drive = commands.add_parser("drive", help=about, description=about)
    _add_maps(drive, range(10))
    drive.add_argument("--delay-ms", type=not_negative, metavar="MS", help="a command acts so long"
        " after its picture, in place of what the answer really took")  # fmt: skip
    add_session_options(drive)
    drive.set_defaults(work="drive")
    about = "record MetaDrive's own driver, pushed off its way now and then, for training"
    record = commands.add_parser("record", help=about, description=about)
    record.add_argument("out", type=Path, metavar="DIR", help="pictures and labels.csv go there")
    _add_maps(record, range(1000, 1013))
    record.add_argument("--fov-deg", type=positive, default=60.0, help="horizontal field of view;"
        " MetaDrive's bends leave a narrow picture (default: 60)")  # fmt: skip
    record.add_argument("--validation-maps", type=whole, default=1, help="so many of the maps, the"
        " last ones, are kept from training (default: 1)")  # fmt: skip
    record.set_defaults(work="record")


async def run(options: argparse.Namespace) -> int:
    """Run `bridge metadrive`.

    Raises:
        SteerstreamError: something is wrong with the options, MetaDrive or the server.
    """
    with command_needs(_NAME, "sim"):
        # By name: the client imports nothing of the world.
        module = importlib.import_module(f"steerstream_simulation.metadrive.{options.work}")
    working = asyncio.ensure_future(getattr(module, options.work)(options))
    with at_interrupt(working.cancel):
        await asyncio.wait([working])
    if working.cancelled():
        return INTERRUPTED
    working.result()
    return 0


def _add_maps(parser: argparse.ArgumentParser, maps: range) -> None:
    parser.add_argument("--maps", type=_maps, default=maps, metavar="A..B", help="seeds of the maps"
        f" (default: {maps.start}..{maps.stop - 1})")  # fmt: skip
    parser.add_argument("--seconds", type=positive, default=30.0, help="on each (default: 30)")


def _maps(text: str) -> range:
    first, dots, last = text.partition("..")
    maps = range(whole(first), whole(last if dots else first) + 1)
    if not maps:
        raise argparse.ArgumentTypeError(f"give A..B with A not greater than B, not {text!r}")
    return maps
