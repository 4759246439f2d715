"""``python -m service``: serve one or more bundles."""

from __future__ import annotations

import argparse
import asyncio
import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

from service import config, telemetry
from service.errors import ConfigError, StartError
from steerstream.extras import command_needs

with command_needs("service", "'steerstream[cpu]' or, on a GPU, 'steerstream[gpu]'"):
    from service import bundle
    from service.server import Server

_EXIT_USAGE = 2


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the server until SIGTERM or SIGINT.

    Returns:
        0 after a drain; 2 where the server could not start, with one line on stderr.
    """
    options = _parser().parse_args(arguments)
    telemetry.configure(options.log_level)
    try:
        asyncio.run(_run(options))
    except StartError as error:
        sys.stderr.write(f"service: {error}\n")
        return _EXIT_USAGE
    return 0


class _Parser(argparse.ArgumentParser):
    """A parser that says what is wrong in one line; the usage is behind ``--help``."""

    def error(self, message: str) -> NoReturn:
        self.exit(_EXIT_USAGE, f"service: {message}; see {self.prog} --help\n")


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(
        prog="python -m service",
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
        required=True,
        help="a bundle (.onnx), or a folder of bundles; may be given more than once",
    )
    parser.add_argument(
        "--default-model",
        metavar="NAME",
        help="the model for vehicles that ask for none; the first bundle if not given",
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
        type=Path,
        help="write the address here once the server listens, for scripts that gave port 0",
    )
    parser.add_argument(
        "--log-level",
        choices=("debug", "info", "warning", "error"),
        default="info",
        help="least level of the JSON lines on stderr (default: %(default)s)",
    )
    return parser


async def _run(options: argparse.Namespace) -> None:
    settings = _settings(options.config)
    bundles = bundle.load_all(options.model, intra_op_threads=settings.intra_op_threads)
    server = Server(bundles, options.default_model or next(iter(bundles)), settings)
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, server.stop)
    address = await server.startup(options.listen)
    try:
        _write_address(options.port_file, address)
        await server.serve()
    finally:
        await server.shutdown()


def _settings(path: Path | None) -> config.Config:
    if path is None:
        return config.Config()
    try:
        return config.parse(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: {error}") from None
    except ConfigError as error:
        raise ConfigError(f"{path}: {error}") from None


def _write_address(path: Path | None, address: str) -> None:
    if path is None:
        return
    # Written aside and renamed, so that a reader never finds half an address.
    aside = path.with_name(f"{path.name}.new")
    try:
        aside.write_text(f"{address}\n", encoding="utf-8")
        aside.replace(path)
    except OSError as error:
        raise ConfigError(f"{path}: {error.strerror}") from None


if __name__ == "__main__":
    sys.exit(main())
