"""Runs one server in this process, alone or as one of a supervisor's workers."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import gc
import signal
import socket
import sys
from argparse import Namespace
from collections.abc import Collection, Sequence

from steerstream_bundle import loading, providers, quickest
from steerstream_bundle.loading import Bundle
from steerstream_bundle.providers import Provider
from steerstream_service import config
from steerstream_service.address import parse, write_address
from steerstream_service.domain import RecordingPlan
from steerstream_service.errors import ConfigError
from steerstream_service.process import allocator, bounds, memory
from steerstream_service.process.model_keeper import Source
from steerstream_service.process.server import Server
from steerstream_service.process.start_guard import StartGuard
from steerstream_service.process.stop_signals import StopSignals
from steerstream_service.process.systemd import Notifier
from steerstream_service.process.worker_pipe import WorkerPipe
from steerstream_service.telemetry.setup import Telemetry
from steerstream_service.transport.tls import ServerTls, SocketSecurity, TlsFiles

_SWITCH_INTERVAL_S = 0.0002
"""Longest time that a thread keeps Python's lock while others wait for it. With the default of 5
ms, the engine's thread would wait that long for a busy event loop after every step."""


RECORD_BYTES = 10_000_000_000
"""Of all recordings, if nothing else is said: 20 hours of one vehicle's views at 20 Hz."""


async def run(options: Namespace) -> None:
    """Serve until a signal stops the server, and drain.

    Args:
        options: the command line, see `steerstream_service.process.command`.

    Raises:
        StartError: the server cannot start.
    """
    sys.setswitchinterval(_SWITCH_INTERVAL_S)
    allocator.tune()
    settings = _settings(options)
    async with contextlib.AsyncExitStack() as ending:
        pipe = None
        if options.worker is not None:
            pipe = await WorkerPipe.over(socket.socket(fileno=options.worker.pipe_fd))
            ending.callback(pipe.close)
        with StartGuard(settings.start_timeout_s) as guard:
            server, address = await _start(options, settings, ending)
        trimming = asyncio.create_task(allocator.keep_trimmed())
        ending.callback(trimming.cancel)
        # A terminal's Ctrl-C comes here and from the supervisor: only the pipe tells the second.
        hurry = server.hurry if pipe is None else server.stop
        signals = StopSignals(server.stop, hurry)
        signals.install(asyncio.get_running_loop())
        if guard.got_signal:
            signals.got(signal.SIGTERM)
        if pipe is None:
            await _serve_alone(server)
        else:
            await pipe.say_ready(address)
            pipe.start_obeying(server.open, server.hurry, server.stop)
            await server.stopped()


def explain_bounds(options: Namespace) -> str:
    """Return what clients can make the server hold; see `bounds.explain`.

    Args:
        options: the command line, as for `run`.

    Raises:
        StartError: a server could not start like that.
    """
    settings = _settings(options)
    candidates = providers.candidates(options.provider or settings.provider)
    contracts = [bundle.contract for bundle in _load(options, settings, candidates).values()]
    return bounds.explain(settings, contracts, options.workers)


def _settings(options: Namespace) -> config.Config:
    settings = config.load(options.config)
    if options.token_keys is None:
        return settings
    return dataclasses.replace(settings, token_keys=str(options.token_keys))


def _load(
    options: Namespace, settings: config.Config, candidates: Sequence[Provider]
) -> dict[str, Bundle]:
    return quickest.load_all(
        options.model or [loading.SHIPPED],
        candidates=candidates,
        precision=options.precision or settings.precision,
        intra_op_threads=settings.intra_op_threads,
    )


async def _start(
    options: Namespace, settings: config.Config, ending: contextlib.AsyncExitStack
) -> tuple[Server, str]:
    """Return a server that is warm and listens, and its address; `ending` gets what ends it."""
    security = _security(options)
    precision = options.precision or settings.precision
    candidates = providers.candidates(options.provider or settings.provider)
    bundles = _load(options, settings, candidates)
    if not candidates[0].pool_on_device:
        memory.check([bundle.contract for bundle in bundles.values()], settings)
    number = options.worker and options.worker.number
    telemetry = Telemetry(
        bundles,
        metrics=options.metrics,
        traces=options.traces,
        trace_every_frames=settings.trace_every_frames,
        worker=number,
    )
    server = Server(
        bundles,
        options.default_model or _default_model(bundles),
        settings,
        workers=options.workers,
        listens_alone=options.listen_each,
        observer=telemetry.observer,
        watch_pictures=options.watch_pictures,
        recording=_recording(options),
        security=security,
        source=Source(options.load_from, candidates, precision),
    )
    ending.push_async_callback(telemetry.stop)
    telemetry.start(server.state)
    ending.push_async_callback(server.shutdown)
    admin = options.admin_listen and options.admin_listen.for_worker(number)
    if options.worker is None:
        address = await server.startup(options.listen, admin)
        write_address(options.port_file, address)
        await server.warm_up()
    else:
        # Warm up before listening: no connection waits here that another worker could serve.
        await server.warm_up()
        address = await server.startup(_listen(options, number), admin)
    _settle_memory()
    return server, address


def _listen(options: Namespace, number: int | None) -> str:
    """Return the address of a worker: the one that all share, or one of those that follow it."""
    place = parse(options.listen) if options.listen_each else None
    return options.listen if place is None else str(place.for_worker(number))


async def _serve_alone(server: Server) -> None:
    notifier = Notifier.take()
    await server.open()
    notifier.ready()
    await server.stopped()
    notifier.stopping()


def _security(options: Namespace) -> SocketSecurity:
    """Read the files of TLS, before anything that takes longer.

    Raises:
        ConfigError: a file cannot be used, or the options do not fit together.
    """
    certificate, key, client_ca = options.tls_cert, options.tls_key, options.client_ca
    if (certificate is None) != (key is None):
        raise ConfigError("--tls-cert and --tls-key go together; give both")
    if certificate is None and client_ca is not None:
        raise ConfigError("--client-ca needs --tls-cert and --tls-key")
    if certificate is not None and options.plaintext:
        raise ConfigError("--plaintext contradicts --tls-cert; choose one")
    if options.admin_plaintext and options.admin_listen is None:
        raise ConfigError("--admin-plaintext needs --admin-listen; --plaintext is for --listen")
    return SocketSecurity(
        tls=None if certificate is None else ServerTls(TlsFiles(certificate, key, client_ca)),
        plain_text=options.plaintext,
        admin_plain_text=options.admin_plaintext,
    )


def _recording(options: Namespace) -> RecordingPlan | None:
    """Return what is recorded; each worker has a folder of its own."""
    if options.record is None:
        if options.record_bytes is not None or options.record_share is not None:
            raise ConfigError("--record-bytes and --record-share need --record")
        return None
    number, folder = options.worker and options.worker.number, options.record
    return RecordingPlan(
        folder if number is None else folder / f"worker-{number}",
        RECORD_BYTES if options.record_bytes is None else options.record_bytes,
        1.0 if options.record_share is None else options.record_share,
        options.workers,
    )


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
