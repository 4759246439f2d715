"""Runs one server in this process, alone or as one of a supervisor's workers."""

from __future__ import annotations

import asyncio
import gc
import signal
import socket
import sys
from argparse import Namespace
from collections.abc import Collection
from pathlib import Path

from steerstream_bundle import loading, providers
from steerstream_service import config
from steerstream_service.address import write_address
from steerstream_service.errors import ConfigError
from steerstream_service.process.server import Server
from steerstream_service.process.systemd import Notifier
from steerstream_service.process.worker_pipe import WorkerPipe
from steerstream_service.telemetry.setup import Telemetry

_SWITCH_INTERVAL_S = 0.0002
"""Longest time that a thread keeps Python's lock while others wait for it. With the default of 5
ms, the engine's thread would wait that long for a busy event loop after every step."""


async def run(options: Namespace) -> None:
    """Serve until SIGTERM or SIGINT, and drain.

    Args:
        options: the command line, see `steerstream_service.process.command`.

    Raises:
        StartError: the server cannot start.
    """
    sys.setswitchinterval(_SWITCH_INTERVAL_S)
    settings = _settings(options.config)
    bundles = loading.load_all(
        options.model or [loading.SHIPPED],
        provider=providers.choose(options.provider or settings.provider),
        intra_op_threads=settings.intra_op_threads,
    )
    telemetry = Telemetry(
        bundles,
        metrics=options.metrics,
        traces=options.traces,
        trace_every_frames=settings.trace_every_frames,
        worker=options.worker and options.worker.number,
    )
    server = Server(
        bundles,
        options.default_model or _default_model(bundles),
        settings,
        workers=options.workers,
        observer=telemetry.observer,
    )
    telemetry.start(server.state)
    try:
        await _live(server, options)
    finally:
        await telemetry.stop()


async def _live(server: Server, options: Namespace) -> None:
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, server.stop)
    if options.worker is None:
        await _alone(server, options.listen, options.port_file)
    else:
        await _supervised(server, options.listen, options.worker.pipe_fd)


async def _alone(server: Server, listen: str, port_file: Path | None) -> None:
    notifier = Notifier.take()
    address = await server.startup(listen)
    try:
        write_address(port_file, address)
        await server.warm_up()
        _settle_memory()
        await server.open()
        notifier.ready()
        await server.stopped()
    finally:
        notifier.stopping()
        await server.shutdown()


async def _supervised(server: Server, listen: str, pipe_fd: int) -> None:
    # Warm up before listening, so that no connection waits here that another worker could serve.
    await server.warm_up()
    _settle_memory()
    address = await server.startup(listen)
    pipe = await WorkerPipe.over(socket.socket(fileno=pipe_fd))
    obeying = asyncio.create_task(_obey(server, pipe))
    try:
        await pipe.say_ready(address)
        await server.stopped()
    finally:
        obeying.cancel()
        await server.shutdown()
        pipe.close()


async def _obey(server: Server, pipe: WorkerPipe) -> None:
    if await pipe.serve():
        await server.open()
        await pipe.ended()
    # Without a supervisor, nothing else would end this process.
    server.stop()


def _default_model(names: Collection[str]) -> str:
    """Return the model for vehicles that ask for none.

    Raises:
        ConfigError: there are several models, and none of them is known to be one to drive with.
    """
    if config.DEFAULT_MODEL in names:
        return config.DEFAULT_MODEL
    if len(names) > 1:
        raise ConfigError(f"which model is the default? choose --default-model of {sorted(names)}")
    return next(iter(names))


def _settle_memory() -> None:
    """Exclude the objects of start-up from all later garbage collections."""
    gc.collect()
    gc.freeze()


def _settings(path: Path | None) -> config.Config:
    if path is None:
        return config.Config()
    try:
        return config.parse(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: {error}") from None
    except ConfigError as error:
        raise ConfigError(f"{path}: {error}") from None
