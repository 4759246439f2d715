"""The `steerstream` command: serve, drive, simulate, watch, or ask a server what it serves."""

from __future__ import annotations

import argparse
import asyncio
import importlib
import os
import sys
from collections.abc import Callable, Coroutine, Sequence
from typing import NoReturn

from steerstream import __version__, models_command
from steerstream.bridge import command as bridge
from steerstream.command_line import Parser, ends_with_its_reader, error_text, exit_code
from steerstream.drive import command
from steerstream.errors import SteerstreamError
from steerstream.link import command as link
from steerstream.recording import command as recording
from steerstream.sources import convert as converting
from steerstream.watch import command as watch


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command line and return its exit code."""
    with ends_with_its_reader():
        return _run(sys.argv[1:] if arguments is None else list(arguments))


def _run(given: list[str]) -> int:
    if given[:1] == ["serve"]:
        _serve(given[1:])
    if given[:1] == ["simulate"]:
        return _simulate(given[1:])
    options = _parser().parse_args(given)
    run: Callable[[argparse.Namespace], Coroutine[object, object, int]] = options.run
    try:
        return asyncio.run(run(options))
    except SteerstreamError as error:
        said = error_text(error, vars(options))
        print(f"steerstream: {said}", file=sys.stderr)
        for note in getattr(error, "__notes__", ()):
            print(f"steerstream: {note}", file=sys.stderr)
        return exit_code(error)


def _serve(arguments: Sequence[str]) -> NoReturn:
    """Become the server's process.

    A fresh interpreter, because gRPC reads its settings when it is first imported, which this
    package has done already, and the server's are not the client's.
    """
    os.execv(sys.executable, [sys.executable, "-m", "steerstream_service", *arguments])  # noqa: S606


def _simulate(arguments: Sequence[str]) -> int:
    # By name: the client imports nothing of the world.
    world = importlib.import_module("steerstream_simulation.command")
    exit_code: int = world.main(arguments)
    return exit_code


def _parser() -> Parser:
    parser = Parser(
        prog="steerstream",
        description="Recurrent driving networks over gRPC: the server, a vehicle, and a world.",
        epilog="Exit codes: 0 done; 1 the session or a file of results was lost on the way, or no"
        " frame of a drive got a command; 2 wrong options, files or server; 3 a replay came out"
        " otherwise than its recording; 130 ended by"
        " Ctrl-C or SIGTERM, but for serve and watch, which end so with 0; 141 nobody reads the"
        " output any more. Training (python -m"
        " model_export) and benchmarks (python -m benchmark) are commands of a checkout only.",
    )
    parser.add_argument("--version", action="version", version=f"steerstream {__version__}")
    commands = parser.add_subparsers(title="commands", required=True)
    commands.add_parser("serve", help="serve bundles to vehicles")
    drive = commands.add_parser("drive", help="stream pictures and watch the commands")
    command.add_drive_options(drive)
    drive.set_defaults(run=command.drive)
    convert = commands.add_parser("convert", help="write a recording as pictures and labels")
    converting.add_convert_options(convert)
    convert.set_defaults(run=converting.convert)
    models = commands.add_parser("models", help="list what a server serves, or change it")
    models_command.add_models_options(models)
    models.set_defaults(run=models_command.models)
    replay = commands.add_parser("replay", help="step a flight recording again, and compare")
    recording.add_replay_options(replay)
    replay.set_defaults(run=recording.replay)
    bench = commands.add_parser("bench", help="measure what this machine's link costs a frame")
    link.add_bench_options(bench)
    bench.set_defaults(run=link.bench)
    doctor = commands.add_parser("doctor", help="look at the link to a server, and advise")
    link.add_doctor_options(doctor)
    doctor.set_defaults(run=link.doctor)
    page = commands.add_parser("watch", help="show servers and their vehicles in a browser")
    watch.add_watch_options(page)
    page.set_defaults(run=watch.watch)
    simulators = commands.add_parser("bridge", help="drive in other people's simulators")
    bridge.add_bridge_options(simulators)
    commands.add_parser("simulate", help="drive in the world that ships, or look at its roads")
    return parser


if __name__ == "__main__":
    sys.exit(main())
