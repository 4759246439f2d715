"""The options that several benchmarks share: which server, which vehicles, which pictures."""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from benchmark.host.machine import split_cores
from benchmark.loadgen import synthetic_road, view_pictures
from benchmark.loadgen.crew import Crew, crew
from benchmark.loadgen.open_loop import Load
from benchmark.loadgen.picture_set import PictureSet
from steerstream.command_line import count, not_negative, positive
from steerstream.testing.server_process import Server, serve

DEFAULT_MODEL = Path("models/pilotnet_lstm.onnx")
MAX_SESSIONS = 2048
"""Sessions for which a measured server has slots, so that its load bounds it and nothing else."""


def add_server(parser: argparse.ArgumentParser) -> None:
    """Add what says which server is measured, and where it runs."""
    server, clients = split_cores()
    add = parser.add_argument
    add("--model", type=Path, default=DEFAULT_MODEL, help="bundle to serve")
    add("--target", help="HOST:PORT of a running server, in place of --model")
    add("--provider", help="execution provider of the server; by default its own choice")
    add("--server-args", default="", help="further options of the server, in one string")
    add("--settings", type=settings, default="", help="of the server: max_batch=8,max_load=0.7")
    add("--server-cores", type=cores, default=_text(server), help="cores of the server")
    add("--client-cores", type=cores, default=_text(clients), help="cores of the load generators")
    add("--processes", type=count, help="load generators; by default one a client core")
    # Of benchmarks that have an option, or a value of their own, for these.
    parser.set_defaults(workers=1, ca_file=None)


def add_workers(parser: argparse.ArgumentParser) -> None:
    """Add how many workers the server has, for benchmarks that mean something with several."""
    parser.add_argument(
        "--workers",
        type=count,
        default=1,
        help="whole servers on the one port; the kernel spreads vehicles over them unevenly, so "
        "that one may refuse while another has room",
    )


def add_load(parser: argparse.ArgumentParser, *, seconds: float, runs: str = "each run") -> None:
    """Add what says what the vehicles do.

    Args:
        parser: of the benchmark.
        seconds: length of its runs by default.
        runs: which of its runs have that length, for the help.
    """
    add = parser.add_argument
    add("--rate-hz", type=positive, default=20.0, help="frames a second of each vehicle")
    add("--seconds", type=positive, default=seconds, help=f"length of {runs}")
    add("--budget-ms", type=positive, default=50.0, help="from when a frame was due to its command")
    add(
        "--network-ms",
        type=not_negative,
        default=5.0,
        help="part of the budget kept for the network",
    )
    add_pictures(parser)


def add_pictures(parser: argparse.ArgumentParser) -> None:
    """Add what says what the vehicles send."""
    add = parser.add_argument
    add("--size", type=size, default="640x480", help="WIDTHxHEIGHT of the pictures")
    add("--encoding", choices=synthetic_road.ENCODINGS, default="jpeg", help="how pictures travel")
    add("--view", action="store_true", help="send the view that the server declares instead")


def pictures(options: argparse.Namespace) -> PictureSet:
    """Return the pictures that the options ask for."""
    return synthetic_road.picture_set(options.encoding, *options.size)


def load(options: argparse.Namespace, **changes: Any) -> Load:  # noqa: ANN401
    """Return the load that the options ask for, with changes."""
    values: dict[str, Any] = {
        "vehicles": 1,
        "rate_hz": options.rate_hz,
        "seconds": options.seconds,
        "budget_ms": options.budget_ms,
        "network_ms": options.network_ms,
        "pictures": pictures(options),
    }
    return Load(**values | changes)


def as_sent(load: Load, running: Server, options: argparse.Namespace) -> Load:
    """Return a load with the pictures that vehicles send to a server: whole ones, or its view.

    Args:
        load: with whole pictures.
        running: the server, which declares what it wants to see.
        options: with those of `add_server`.
    """
    if not options.view:
        return load
    return dataclasses.replace(load, pictures=view_pictures.seen(running.address, load.pictures))


@contextlib.contextmanager
def server(options: argparse.Namespace, **fixed: float) -> Iterator[Server]:
    """Run the server that the options ask for; the context ends it.

    Args:
        options: with those of `add_server`.
        **fixed: settings of the server that the benchmark needs; the user's come before them.

    Raises:
        ServerFailedError: it did not start.
    """
    if options.target:
        yield Server(options.target)
        return
    chosen: dict[str, float | str] = {"max_sessions": MAX_SESSIONS}
    if options.provider:
        chosen["provider"] = options.provider
    with serve(
        options.model,
        options=["--workers", str(options.workers), *shlex.split(options.server_args)],
        settings=chosen | fixed | options.settings,
        cores=options.server_cores,
        ca_file=options.ca_file,
    ) as running:
        yield running


@contextlib.contextmanager
def clients(options: argparse.Namespace) -> Iterator[Crew]:
    """Run the load generators that the options ask for; the context ends them."""
    processes = options.processes or len(options.client_cores)
    with crew(processes, options.client_cores) as started:
        yield started


def counts(text: str) -> list[int]:
    """Read positive numbers such as `1,8,16`."""
    return [count(item) for item in text.split(",")]


def settings(text: str) -> dict[str, float | str]:
    """Read settings such as `max_batch=8,provider=cpu`."""
    found: dict[str, float | str] = {}
    for item in filter(None, text.split(",")):
        name, _, value = item.partition("=")
        if not name or not value:
            raise argparse.ArgumentTypeError(f"needs NAME=VALUE, not {item!r}")
        found[name] = _value(value)
    return found


def cores(text: str) -> list[int]:
    """Read cores such as `0,1`."""
    items = text.split(",")
    if not all(item.isascii() and item.isdecimal() for item in items):
        raise argparse.ArgumentTypeError(f"needs cores such as 0,1, not {text!r}")
    return [int(item) for item in items]


def size(text: str) -> tuple[int, int]:
    """Read `WIDTHxHEIGHT`."""
    width, _, height = text.partition("x")
    sides = (width, height)
    if not all(side.isascii() and side.isdecimal() and int(side) for side in sides):
        raise argparse.ArgumentTypeError(f"needs WIDTHxHEIGHT such as 640x480, not {text!r}")
    return int(width), int(height)


def _value(text: str) -> float | str:
    for kind in (int, float):
        with contextlib.suppress(ValueError):
            return kind(text)
    return text


def _text(numbers: list[int]) -> str:
    return ",".join(str(number) for number in numbers)
