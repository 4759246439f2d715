"""``python -m steerstream``: drive a server from pictures, or ask what it serves."""

from __future__ import annotations

import argparse
import asyncio
import sys
from collections.abc import Callable, Coroutine, Sequence

from steerstream.drive import command
from steerstream.errors import (
    AnswerTimeout,
    ServerDraining,
    SessionClosed,
    SessionLost,
    SteerstreamError,
)

CANNOT_START = 2
"""Something is wrong with the options, the files or the server: nothing was done."""

BROKE_OFF = 1
"""The session was lost on the way."""

_ON_THE_WAY = (SessionLost, SessionClosed, ServerDraining, AnswerTimeout)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command line and return its exit code."""
    options = _parser().parse_args(arguments)
    run: Callable[[argparse.Namespace], Coroutine[object, object, int]] = options.run
    try:
        return asyncio.run(run(options))
    except SteerstreamError as error:
        print(f"steerstream: {error}", file=sys.stderr)
        return BROKE_OFF if isinstance(error, _ON_THE_WAY) else CANNOT_START


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m steerstream",
        description="Drive a steerstream server from pictures, or ask what it serves.",
        epilog="Exit codes: 0 done; 1 the session was lost on the way; 2 wrong options, files or"
        " server; 130 ended by Ctrl-C.",
    )
    commands = parser.add_subparsers(title="commands", required=True)
    drive = commands.add_parser("drive", help="stream pictures and watch the commands")
    command.add_drive_options(drive)
    drive.set_defaults(run=command.drive)
    models = commands.add_parser("models", help="list the models that a server serves")
    command.add_models_options(models)
    models.set_defaults(run=command.models)
    return parser


if __name__ == "__main__":
    sys.exit(main())
