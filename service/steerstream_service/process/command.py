"""`steerstream serve`: serve one or more bundles."""

from __future__ import annotations

from steerstream_service.process import environment  # noqa: F401 - before what reads it

# isort: split
import argparse
import asyncio
import contextlib
import logging
import os
import sys
from collections.abc import Coroutine, Sequence
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import NamedTuple
from urllib.parse import urlsplit

from steerstream.command_line import (
    BROKE_OFF,
    CANNOT_START,
    Parser,
    count,
    ends_with_its_reader,
    output_file,
    share,
)
from steerstream_bundle.errors import BundleError
from steerstream_service import address, config
from steerstream_service.errors import ConfigError, ListenError, StartError, StuckError
from steerstream_service.process.stop_signals import StopSignals
from steerstream_service.process.supervisor import Supervisor, WorkerFailedError
from steerstream_service.process.systemd import Notifier
from steerstream_service.telemetry import logs

_log = logging.getLogger(__name__)

_MAX_WORKERS = 256


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the server until a signal stops it.

    Returns:
        0 after a drain; 2 where the server could not start, with one line on stderr. A step that
        does not end keeps its thread, so there the process ends itself, with 1.
    """
    with ends_with_its_reader():
        return _run(sys.argv[1:] if arguments is None else arguments)


def _run(given: Sequence[str]) -> int:
    options = _parser().parse_args(given)
    many = options.workers > 1 and options.worker is None
    try:
        if options.explain_bounds:
            print(_worker_module().explain_bounds(options))
            return 0
        logs.configure(options.log_level, worker=options.worker and options.worker.number)
        with asyncio.Runner(loop_factory=None if many else _new_event_loop) as runner:
            runner.run(_supervise(options, given) if many else _serve(options))
    except (MemoryError, RuntimeError) as error:
        if isinstance(error, RuntimeError) and "can't start new thread" not in str(error):
            raise
        logs.say(f"steerstream serve: not enough memory or threads: {error}")
        return CANNOT_START
    except StuckError as error:
        _log.error("step_never_ended", extra=logs.fields(error=str(error)))
        logging.shutdown()
        # ONNX Runtime must not be taken down while a thread is in it.
        os._exit(BROKE_OFF)
    except (StartError, BundleError) as error:
        if not (isinstance(error, WorkerFailedError) and error.explained):
            logs.say(f"steerstream serve: {error}")
        return CANNOT_START
    return 0


def _serve(options: argparse.Namespace) -> Coroutine[None, None, None]:
    serving: Coroutine[None, None, None] = _worker_module().run(options)
    return serving


def _worker_module() -> ModuleType:
    # Imported here and not above: a supervisor does not need it, and so starts its workers sooner.
    from steerstream.extras import command_needs, server_extras  # noqa: PLC0415

    with command_needs("steerstream serve", *server_extras()):
        from steerstream_service.process import worker  # noqa: PLC0415
    return worker


def _new_event_loop() -> asyncio.AbstractEventLoop:
    # A supervisor does not need it.
    from steerstream_service.process.event_loop import EventLoop  # noqa: PLC0415

    return EventLoop()


async def _supervise(options: argparse.Namespace, given: Sequence[str]) -> None:
    place = address.parse(options.listen)
    if place is None:
        raise ConfigError("workers share a TCP port; give --listen HOST:PORT")
    if options.listen_each and not place.port:
        raise ConfigError("--listen-each uses a port and the following ones; give --listen a port")
    firsts = (options.metrics, options.admin_listen, place if options.listen_each else None)
    for first in firsts:
        if first is not None:
            first.for_worker(options.workers - 1)
    notifier = Notifier.take()
    with contextlib.nullcontext(place) if options.listen_each else address.hold(place) as held:
        each = [held.for_worker(number) for number in range(options.workers)]
        places = each if options.listen_each else [held]
        supervisor = Supervisor(
            [sys.executable, "-m", "steerstream_service", *given],
            held,
            config.load(options.config),
            count=options.workers,
            on_ready=partial(address.write_address, options.port_file, "\n".join(map(str, places))),
            on_serving=notifier.ready,
        )

        def stop() -> None:
            notifier.stopping()
            supervisor.stop()

        StopSignals(stop, supervisor.hurry).install(asyncio.get_running_loop())
        await supervisor.run()


class _WorkerOption(NamedTuple):
    """The worker's number and its end of the pipe, as its supervisor hands them over."""

    number: int
    pipe_fd: int


def _parser() -> argparse.ArgumentParser:
    parser = Parser(
        prog="steerstream serve",
        description="Serve recurrent driving networks to vehicles over gRPC.",
        epilog="settings of the --config file (TOML, all optional), with their defaults:\n\n"
        + config.describe(),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--model",
        metavar="PATH",
        type=Path,
        action="append",
        help="a bundle (.onnx), or a folder of bundles; may be given more than once (default: the "
        "bundle that comes with steerstream)",
    )
    parser.add_argument(
        "--load-from",
        metavar="DIR",
        type=_folder,
        help="let operators load bundles of this folder while the server runs, with steerstream "
        "models --load (default: none)",
    )
    parser.add_argument(
        "--default-model",
        metavar="NAME",
        help="the model for vehicles that ask for none (default: the only one, or "
        f"{config.DEFAULT_MODEL})",
    )
    parser.add_argument(
        "--provider",
        choices=config.PROVIDERS,
        help="what runs the networks, in place of the setting provider",
    )
    parser.add_argument(
        "--precision",
        choices=config.PRECISIONS,
        help="what the networks compute in, in place of the setting precision",
    )
    parser.add_argument("--config", metavar="FILE", type=Path, help="settings, see below")
    parser.add_argument(
        "--listen",
        metavar="ADDRESS",
        default="127.0.0.1:50051",
        help="HOST:PORT, port 0 for any free one, or unix:PATH (default: %(default)s)",
    )
    parser.add_argument(
        "--port-file",
        metavar="FILE",
        type=output_file,
        help="write the address to this file once the server listens, for scripts that give port 0"
        "; missing folders are made",
    )
    parser.add_argument(
        "--workers",
        metavar="N",
        type=_workers,
        default=1,
        help="number of processes on this port; each is a whole server with its own sessions, and "
        "every setting holds for each (default: %(default)s)",
    )
    parser.add_argument(
        "--listen-each",
        action="store_true",
        help="let each worker listen on a port that it does not share, the one of --listen and the "
        "following ones, for proxies that hold few connections and spread vehicles over a list of "
        "servers; the port's file gets all addresses, a line each",
    )
    parser.add_argument(
        "--admin-listen",
        metavar="HOST:PORT",
        type=_place,
        help="serve health here too, and reflection and administrative calls such as steerstream "
        "watch's here only, on a port that vehicles need not reach; workers use it and the "
        "following ports",
    )
    parser.add_argument(
        "--watch-pictures",
        action="store_true",
        help="let steerstream watch show the vehicles' pictures, to everyone who reaches it",
    )
    _add_recording(parser)
    _add_security(parser)
    parser.add_argument(
        "--metrics",
        metavar="HOST:PORT",
        type=_place,
        help="serve Prometheus here, at /metrics; the first worker uses this port, the next worker "
        "the next port, and so on",
    )
    parser.add_argument(
        "--traces",
        metavar="URL",
        type=_collector,
        help="send OpenTelemetry traces to this collector, as OTLP over gRPC: http://HOST:4317",
    )
    parser.add_argument(
        "--explain-bounds",
        action="store_true",
        help="print what clients can make this server hold, by every bound, and serve nothing",
    )
    # For a supervisor's workers only.
    parser.add_argument("--worker", type=_worker, help=argparse.SUPPRESS)
    parser.add_argument(
        "--log-level",
        choices=("debug", "info", "warning", "error"),
        default="info",
        help="lowest level of the JSON lines on stderr (default: %(default)s)",
    )
    return parser


def _add_recording(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--record",
        metavar="DIR",
        type=Path,
        help="record sessions as flight recordings into this folder, where the oldest files make "
        "room for newer ones; each worker into a folder in it",
    )
    parser.add_argument(
        "--record-bytes",
        metavar="N",
        type=count,
        help="bytes of all recordings in the folder of --record (default: 10 gigabytes)",
    )
    parser.add_argument(
        "--record-share",
        metavar="F",
        type=share,
        help="share of the sessions that are recorded, from 0 to 1 (default: 1)",
    )


def _add_security(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--tls-cert",
        metavar="FILE",
        type=Path,
        help="speak TLS with this certificate chain, PEM; a change of TLS's files is seen within a "
        "second",
    )
    parser.add_argument(
        "--tls-key", metavar="FILE", type=Path, help="the private key of --tls-cert, PEM"
    )
    parser.add_argument(
        "--client-ca",
        metavar="FILE",
        type=Path,
        help="ask every client for a certificate that one of these authorities signed, PEM; its "
        "name says which vehicle it is, see the setting identity",
    )
    parser.add_argument(
        "--token-keys",
        metavar="FILE",
        type=Path,
        help="the setting token_keys: know vehicles by bearer tokens that are signed with these "
        "keys, a JSON Web Key Set",
    )
    parser.add_argument(
        "--plaintext",
        action="store_true",
        help="speak plain text at --listen though it is not on this machine: others on the way can "
        "read and change everything",
    )
    parser.add_argument(
        "--admin-plaintext",
        action="store_true",
        help="the same for --admin-listen, with --tls-cert or without, for probes that know no TLS",
    )


def _workers(text: str) -> int:
    if not (text.isascii() and text.isdecimal() and 1 <= int(text) <= _MAX_WORKERS):
        raise argparse.ArgumentTypeError(f"needs a number from 1 to {_MAX_WORKERS}, not {text}")
    return int(text)


def _folder(text: str) -> Path:
    path = Path(text)
    if not path.is_dir():
        raise argparse.ArgumentTypeError(f"needs a folder, not {text}")
    return path


def _place(text: str) -> address.Place:
    try:
        place = address.parse(text)
    except ListenError:
        place = None
    if place is None:
        raise argparse.ArgumentTypeError(f"needs HOST:PORT, not {text}")
    return place


def _collector(text: str) -> str:
    try:
        url = urlsplit(text)
        is_url = url.scheme in {"http", "https"} and url.hostname and url.port != 0
    except ValueError:  # such as a port that is no number
        is_url = False
    if not is_url:
        raise argparse.ArgumentTypeError(f"needs http://HOST:PORT, not {text}")
    return text


def _worker(text: str) -> _WorkerOption:
    number, _, pipe_fd = text.partition(":")
    return _WorkerOption(int(number), int(pipe_fd))
