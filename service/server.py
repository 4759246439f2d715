"""The server's life in three parts: startup, serve, shutdown."""

from __future__ import annotations

import asyncio
import logging
import re
import socket
import time
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor

import grpc
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection

from service.admission import Admission, Model
from service.bundle import Bundle
from service.config import Config
from service.engine import Engine
from service.errors import ConfigError, ListenError
from service.rpc import DriveService
from service.telemetry import fields
from steerstream.v1 import drive_service_pb2, drive_service_pb2_grpc

_log = logging.getLogger(__name__)

SERVICE_NAME = drive_service_pb2.DESCRIPTOR.services_by_name["DriveService"].full_name
_ADDRESS = re.compile(r"unix:.+|(?P<host>\[[0-9A-Fa-f:.]+\]|[^:\[\]/\s]+):(?P<port>\d{1,5})")
_MAX_PORT = 65_535
_OTHER_RPCS = 64
"""RPCs beside sessions: health, reflection, descriptions, and streams that are refused."""
_STOP_S = 1.0
"""For RPCs that are left when all sessions have ended: health watches and descriptions."""


class Server:
    """A server of one or more models.

    Args:
        bundles: the models, by name.
        default_model: name of the model for those who ask for none.
        config: the settings.

    Raises:
        StartError: the default model is not among the bundles, or a bundle names unknown limits.
    """

    def __init__(self, bundles: Mapping[str, Bundle], default_model: str, config: Config) -> None:
        if default_model not in bundles:
            raise ConfigError(f"default model {default_model!r} is not one of {sorted(bundles)}")
        models = {name: Model(bundle, config) for name, bundle in bundles.items()}
        self.admission = Admission(models, default_model, config)
        self._config = config
        self._engine = Engine([model.lane for model in models.values()])
        self._decoder = ThreadPoolExecutor(config.decode_threads, thread_name_prefix="decode")
        self._stop = asyncio.Event()
        self._health = health.aio.HealthServicer()
        self._service = DriveService(self.admission, self._engine, self._decoder, config)
        self._server: grpc.aio.Server | None = None

    async def startup(self, listen: str) -> str:
        """Listen, with health NOT_SERVING.

        Args:
            listen: ``HOST:PORT`` with 0 for any free port, or ``unix:PATH``.

        Returns:
            The address in the same form, with the port that was taken.

        Raises:
            ListenError: the address is malformed or taken.
        """
        place = _parse(listen)
        if place is not None:
            _check_free(*place)
        self._server = grpc.aio.server(
            options=_options(self._config),
            maximum_concurrent_rpcs=2 * self._config.max_sessions + _OTHER_RPCS,
        )
        drive_service_pb2_grpc.add_DriveServiceServicer_to_server(self._service, self._server)
        health_pb2_grpc.add_HealthServicer_to_server(self._health, self._server)
        names = (SERVICE_NAME, health.SERVICE_NAME, reflection.SERVICE_NAME)
        reflection.enable_server_reflection(names, self._server)
        await self._set_health(health_pb2.HealthCheckResponse.NOT_SERVING)
        address = _listen(self._server, listen, place)
        await self._server.start()
        _log.info("listening", extra=fields(address=address))
        return address

    async def serve(self) -> None:
        """Warm up, turn health to SERVING, and serve until :meth:`stop` is called.

        Raises:
            BundleError: a network fails when it is run.
        """
        await self.warm_up()
        await self._stop.wait()

    async def warm_up(self) -> None:
        """Run every network, then let sessions open and turn health to SERVING.

        Raises:
            BundleError: a network fails when it is run.
        """
        began = time.monotonic()
        await self._engine.start()
        self._service.open_for_sessions()
        await self._set_health(health_pb2.HealthCheckResponse.SERVING)
        _log.info(
            "serving",
            extra=fields(
                models=sorted(self.admission.models),
                default_model=self.admission.default,
                warm_up_s=round(time.monotonic() - began, 3),
                step_us={
                    name: model.lane.step_cost_ns // 1000
                    for name, model in self.admission.models.items()
                },
            ),
        )

    def stop(self) -> None:
        """Ask :meth:`serve` to return; safe to call from a signal handler of the event loop."""
        self._stop.set()

    async def shutdown(self) -> None:
        """Drain the sessions, then end everything; returns when nothing runs any more."""
        _log.info("draining", extra=fields(sessions=self.admission.sessions))
        await self._health.enter_graceful_shutdown()
        await self._service.drain(self._config.drain_s)
        if self._server is not None:
            await self._server.stop(_STOP_S)
        # Server.stop may return before cancelled handlers have ended (grpc#37240).
        self._service.reap()
        await self._engine.stop()
        self._decoder.shutdown(cancel_futures=True)
        _log.info("stopped")

    async def _set_health(self, status: health_pb2.HealthCheckResponse.ServingStatus) -> None:
        for name in ("", SERVICE_NAME):
            await self._health.set(name, status)


def _options(config: Config) -> list[tuple[str, int]]:
    return [
        ("grpc.max_receive_message_length", config.max_message_bytes),
        # A second server on a taken port shall fail instead of sharing its vehicles.
        ("grpc.so_reuseport", 0),
        # A vehicle that lost its link without a goodbye is found out within seconds.
        ("grpc.keepalive_time_ms", 10_000),
        ("grpc.keepalive_timeout_ms", 5_000),
        # Clients may ping as often as this server does.
        ("grpc.http2.min_ping_interval_without_data_ms", 5_000),
    ]


def _parse(listen: str) -> tuple[str, int] | None:
    """Split an address into host and port; None for a Unix socket."""
    match = _ADDRESS.fullmatch(listen)
    if match is None or int(match["port"] or 0) > _MAX_PORT:
        raise ListenError(f"cannot listen on {listen!r}; give HOST:PORT or unix:PATH")
    return (match["host"], int(match["port"])) if match["host"] else None


def _check_free(host: str, port: int) -> None:
    """Find out whether an address can be had: gRPC would say why only in its debug log."""
    try:
        found = socket.getaddrinfo(host.strip("[]"), port, type=socket.SOCK_STREAM)
        family, kind, protocol, _, address = found[0]
        with socket.socket(family, kind, protocol) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(address)
            probe.listen()
    except OSError as error:
        raise ListenError(f"cannot listen on {host}:{port}: {error.strerror}") from None


def _listen(server: grpc.aio.Server, listen: str, place: tuple[str, int] | None) -> str:
    try:
        port = server.add_insecure_port(listen)
    except RuntimeError:
        raise ListenError(f"cannot listen on {listen}; choose another address") from None
    return f"{place[0]}:{port}" if place else listen
