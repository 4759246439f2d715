"""The command `watch`: options in, exit code out."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import sys

from steerstream.command_line import at_interrupt
from steerstream.connection_options import add_connection_options, connection_arguments
from steerstream.errors import BadRequest
from steerstream.extras import command_needs
from steerstream.transport import check_address
from steerstream.watch.hub import Hub
from steerstream.watch.place import place

_MOST_TARGETS = 32


def add_watch_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of `watch`."""
    parser.add_argument(
        "--target",
        required=True,
        action="append",
        metavar="HOST:PORT",
        help="a server, by its --admin-listen address where it has one; may be given several times",
    )
    parser.add_argument(
        "--listen",
        type=place,
        default=place("127.0.0.1:8080"),
        metavar="HOST:PORT",
        help="where the page is served, port 0 for any free one; everybody who reaches it sees what"
        " the servers show (default: 127.0.0.1:8080)",
    )
    add_connection_options(parser)


async def watch(options: argparse.Namespace) -> int:
    """Serve the page until Ctrl-C or SIGTERM, which is its only end.

    Raises:
        SteerstreamError: something is wrong with the options, or the page's address is taken.
    """
    with command_needs("steerstream watch", "watch"):
        from steerstream.watch import page  # noqa: PLC0415 - its library is an extra
    targets = list(dict.fromkeys(options.target))
    if len(targets) > _MOST_TARGETS:
        raise BadRequest(f"--target can be given {_MOST_TARGETS} times, not {len(targets)}")
    for target in targets:
        check_address(target, 0.0)
    hub, stop = Hub(targets, **connection_arguments(options), on_gone=_note), asyncio.Event()
    async with page.serve(hub, options.listen) as served:
        if not served.is_loopback:
            _note(f"everybody who reaches {served.url} may look")
        print(f"Watching {', '.join(targets)} at {served.url}", flush=True)
        watching = asyncio.create_task(hub.run())
        with at_interrupt(stop.set):
            stopping = asyncio.create_task(stop.wait())
            await asyncio.wait([watching, stopping], return_when=asyncio.FIRST_COMPLETED)
        stopping.cancel()
        watching.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await watching
    return 0


def _note(text: str) -> None:
    print(f"steerstream watch: {text}", file=sys.stderr, flush=True)
