"""A server: it listens, warms up, opens for sessions, and drains."""

from __future__ import annotations

import asyncio
import dataclasses
import logging
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import TYPE_CHECKING, Any

import grpc
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection, reflection_pb2_grpc

from steerstream.extras import command_needs
from steerstream.v1 import (
    drive_service_pb2,
    drive_service_pb2_grpc,
    models_service_pb2,
    models_service_pb2_grpc,
    watch_pb2,
    watch_pb2_grpc,
)
from steerstream_bundle.loading import Bundle
from steerstream_service import address
from steerstream_service.admission.admission import Admission
from steerstream_service.admission.catalogue import Model
from steerstream_service.admission.frame_cost import available_cores
from steerstream_service.config import Config
from steerstream_service.domain import RecordingPlan
from steerstream_service.engine.decode_queue import DecodeQueue, Decoders
from steerstream_service.engine.engine import Engine
from steerstream_service.engine.loop_engine import LARGEST_STEP, LoopEngine, TurnExecutor
from steerstream_service.engine.model_queue import ModelQueue
from steerstream_service.engine.thread_engine import ThreadEngine
from steerstream_service.errors import ConfigError, ListenError
from steerstream_service.process import bounds, priority
from steerstream_service.process.model_keeper import NO_SOURCE, ModelKeeper, Source
from steerstream_service.process.open_calls import OpenCalls
from steerstream_service.telemetry.live_board import LiveBoard
from steerstream_service.telemetry.logs import fields
from steerstream_service.telemetry.observer import (
    ModelRuntime,
    Observer,
    Observers,
    ServerState,
    SlotUse,
)
from steerstream_service.transport.access import AccessControl, Listener
from steerstream_service.transport.call_bounds import Bound, CallBounds, plain_bound
from steerstream_service.transport.handlers import Handler
from steerstream_service.transport.identity import Identities
from steerstream_service.transport.models_service import ModelsService
from steerstream_service.transport.pace import Pace
from steerstream_service.transport.servicer import DriveService
from steerstream_service.transport.tls import SocketSecurity
from steerstream_service.transport.watch_service import MOST_WATCHERS, WatchService

if TYPE_CHECKING:
    from steerstream_service.transport.recording import ServerRecorder

_log = logging.getLogger(__name__)

SERVICE_NAME = drive_service_pb2.DESCRIPTOR.services_by_name["DriveService"].full_name
_DRIVE = f"/{SERVICE_NAME}/Drive"
_MODELS = models_service_pb2.DESCRIPTOR.services_by_name["ModelsService"]
_WATCH = watch_pb2.DESCRIPTOR.services_by_name["WatchService"]
_WATCH_BOUNDS = {
    f"/{_WATCH.full_name}/{method.name}": plain_bound(MOST_WATCHERS) for method in _WATCH.methods
}
_WITH_OWN_LINE = frozenset({_DRIVE, f"/{health.SERVICE_NAME}/Check"})
_DRIVES_HZ = 100.0
"""Streams that one connection may begin a second, beyond a burst of all that may be open: a proxy's
connection has those of a crowd that comes again and again."""
_STOP_S = 1.0
"""For RPCs that are still open when all sessions have ended: health watches and descriptions."""
_LOOK_S = 1.0
"""Between two looks at how long the present step takes."""
_BESIDE_NICENESS = 5
"""Of the thread that decodes long pictures beside an event loop on the same core: it has a quarter
of the core where the loop wants all of it. With less it might keep Python's lock for too long."""
_STRANGERS = (
    # From a connection's first byte to its settings: a connection that says nothing ends.
    ("grpc.server_handshake_timeout_ms", 10_000),
    # Without a call. A client that comes back connects once more by itself.
    ("grpc.max_connection_idle_ms", 30_000),
    ("grpc.max_metadata_size", bounds.HEADER_BYTES),
    ("grpc.absolute_max_metadata_size", bounds.HEADER_BYTES),
    # To agree to the server's settings, of which that bound is one.
    ("grpc.http2.settings_timeout", 10_000),
    # Pings are answered, however many: that costs 1 us each, and every connection has its turn. To
    # tell a client to go away for them keeps gRPC's thread from all others for seconds.
    ("grpc.http2.max_ping_strikes", 0),
    # Or else gRPC opens the window of a stream for whoever sends fast.
    ("grpc.http2.bdp_probe", 0),
    # Of one connection, before others have their turn: one that begins and cancels calls without
    # end would keep gRPC's thread for more of them than the event loop can take.
    ("grpc.http2.max_requests_per_read", 1),
)
_ALONE = (
    # A second server on a taken port must fail, and not share its vehicles.
    ("grpc.so_reuseport", 0),
)
_SHARED = (
    ("grpc.so_reuseport", 1),
    # No new streams on connections older than this: a vehicle that was refused comes back on a new
    # connection, and so perhaps to another worker. Open streams are not affected.
    ("grpc.max_connection_age_ms", 500),
)


class Server:
    """A server of one or more models.

    Args:
        bundles: the models, by name.
        default_model: name of the model for vehicles that ask for none.
        config: the settings.
        workers: number of processes that share the CPU, and the port, including this one.
        listens_alone: whether this one has a port that no other worker has.
        observer: receives events of sessions, frames and steps.
        watch_pictures: whether operators may look at the vehicles' pictures.
        recording: which sessions are recorded, and where; None for none.
        security: how the sockets are protected; plain text on this machine alone by default.
        source: where more bundles may be loaded from.

    Raises:
        StartError: the default model is not among the bundles, a bundle names unknown limits, or
            the settings do not fit together.
    """

    def __init__(
        self,
        bundles: Mapping[str, Bundle],
        default_model: str,
        config: Config,
        *,
        workers: int = 1,
        listens_alone: bool = False,
        observer: Observer | None = None,
        watch_pictures: bool = False,
        recording: RecordingPlan | None = None,
        security: SocketSecurity | None = None,
        source: Source = NO_SOURCE,
    ) -> None:
        if default_model not in bundles:
            raise ConfigError(f"default model {default_model!r} is not one of {sorted(bundles)}")
        cores = available_cores() / workers
        in_loop = _steps_in_loop(bundles, config, cores)
        if in_loop:
            config = dataclasses.replace(config, max_batch=min(config.max_batch, LARGEST_STEP))
        models = {name: Model(bundle, config) for name, bundle in bundles.items()}
        self.admission = Admission(models, default_model, config, cores, in_loop=in_loop)
        self._config = config
        self._settings = {name: str(value) for name, value in dataclasses.asdict(config).items()}
        self._security = security or SocketSecurity()
        tls = self._security.tls
        self._identities = Identities(
            config, asks_for_certificates=tls is not None and tls.asks_for_certificates
        )
        self._shares_port = workers > 1 and not listens_alone
        self._recorder = _recorder(recording, self._settings) if recording else None
        board = LiveBoard()
        observer = board if observer is None else Observers([observer, board])
        queues = [model.queue for model in models.values()]
        self._engine, self._decoder = (
            _in_loop(queues, observer)
            if in_loop
            else _in_threads(queues, observer, config.decode_threads)
        )
        self._provider = next(iter(bundles.values())).runtime.provider.name
        self._steps_on = "loop" if in_loop else "thread"
        self._listening = False
        self._serving = False
        self._stop = asyncio.Event()
        self._watching: asyncio.Task[None] | None = None
        self._health = health.aio.HealthServicer()
        self._beside = (
            _threads(1, initializer=partial(priority.lower, _BESIDE_NICENESS)) if in_loop else None
        )
        pictures = DecodeQueue(
            self._decoder, 1 if in_loop else config.decode_threads, beside=self._beside
        )
        self._service = DriveService(
            self.admission,
            self._engine,
            pictures,
            config,
            observer,
            identities=self._identities,
            recorder=self._recorder,
        )
        self._watch = WatchService(
            board, self.admission, config, self.state, shows_pictures=watch_pictures
        )
        shadows = self._service.shadows
        self._keeper = ModelKeeper(
            source,
            admission=self.admission,
            engine=self._engine,
            shadows=shadows,
            config=config,
            observer=observer,
        )
        self._models = ModelsService(self.admission, shadows, self._keeper)
        self._calls = OpenCalls()
        self._server: grpc.aio.Server | None = None
        self._admin: grpc.aio.Server | None = None

    async def startup(self, listen: str, admin: address.Place | None = None) -> str:
        """Listen, with health NOT_SERVING.

        Args:
            listen: `HOST:PORT` with 0 for any free port, or `unix:PATH`.
            admin: where administrators call, and reflection is served instead of at `listen`; None
                for all calls at `listen` alone.

        Returns:
            The address in the same form, with the port that was taken.

        Raises:
            ListenError: the address is malformed or taken, or would be plain text beyond this
                machine without being asked for.
        """
        place = address.parse(listen)
        credentials = self._security.for_vehicles(place)
        if place is None:
            address.check_socket_free(listen)
        elif not self._shares_port:
            address.check_free(place)
        stays_here = place is None or place.is_loopback
        is_open = admin is None and stays_here and not self._identities.in_force
        drives = bounds.drives(self._config)
        call_bounds = CallBounds(
            bounds.CALLS,
            {
                _DRIVE: Bound(
                    drives,
                    self._service.make_room,
                    # A proxy may hold all vehicles on one connection, which come back together.
                    Pace(_DRIVES_HZ, drives),
                    self._service.refuse,
                    takes_bytes=True,
                ),
                **_WATCH_BOUNDS,
            },
            self.admission.count_other,
        )
        self._server = grpc.aio.server(
            interceptors=[
                self._calls,
                call_bounds,
                self._access(Listener(is_admin=False, is_open=is_open)),
            ],
            options=_options(self._config, shares_port=self._shares_port),
        )
        self._add_services(self._server, reflects=admin is None)
        await self._set_health(health_pb2.HealthCheckResponse.NOT_SERVING)
        if admin is not None:
            await self._start_admin(admin)
        taken = _listen(self._server, listen, place, credentials)
        await self._server.start()
        self._listening = True
        _log.info("listening", extra=fields(address=taken))
        return taken

    async def _start_admin(self, place: address.Place) -> None:
        credentials = self._security.for_administrators(place)
        address.check_free(place)
        call_bounds = CallBounds(bounds.CALLS, _WATCH_BOUNDS, self.admission.count_other)
        access = self._access(Listener(is_admin=True, is_open=True))
        self._admin = grpc.aio.server(
            interceptors=[self._calls, call_bounds, access],
            options=[*_ALONE, *_calls_of_strangers(self._config)],
        )
        self._add_services(self._admin, reflects=True)
        taken = _listen(self._admin, str(place), place, credentials)
        await self._admin.start()
        _log.info("admin", extra=fields(address=taken))

    def _access(self, listener: Listener) -> AccessControl:
        return AccessControl(
            self._identities,
            listener,
            closes_descriptions=self._config.descriptions == "administrators",
        )

    def _add_services(self, server: grpc.aio.Server, *, reflects: bool) -> None:
        """Serve everything; who may call what is in `transport.access`."""
        lines: Any = _FewLines(server)
        drive_service_pb2_grpc.add_DriveServiceServicer_to_server(self._service, lines)
        health_pb2_grpc.add_HealthServicer_to_server(self._health, lines)
        watch_pb2_grpc.add_WatchServiceServicer_to_server(self._watch, lines)
        models_service_pb2_grpc.add_ModelsServiceServicer_to_server(self._models, lines)
        if reflects:
            own = (SERVICE_NAME, _MODELS.full_name, _WATCH.full_name)
            names = (*own, health.SERVICE_NAME, reflection.SERVICE_NAME)
            reflection_pb2_grpc.add_ServerReflectionServicer_to_server(
                reflection.aio.ReflectionServicer(names), lines
            )

    async def warm_up(self) -> None:
        """Run every network at every batch size that it will be run at.

        Raises:
            BundleError: a network fails when it is run.
        """
        for name, model in self.admission.models.items():
            chosen = _runtime(model.bundle)
            _log.info("runtime_chosen", extra=fields(model=name, **chosen._asdict()))
        began = time.monotonic()
        await self._engine.start()
        _log.info(
            "warm",
            extra=fields(
                models=sorted(self.admission.models),
                default_model=self.admission.default,
                provider=self._provider,
                steps_on=self._steps_on,
                warm_up_s=round(time.monotonic() - began, 3),
                step_us={
                    name: model.queue.step_cost_ns // 1000
                    for name, model in self.admission.models.items()
                },
            ),
        )

    async def open(self) -> None:
        """Let sessions open, and turn health to SERVING."""
        self._service.open_for_sessions()
        self._serving = True
        await self._set_health(health_pb2.HealthCheckResponse.SERVING)
        _log.info("serving")
        self._watching = asyncio.create_task(self._watch_steps())

    def stop(self) -> None:
        """Make `stopped` return; safe to call from a signal handler of the event loop."""
        self._stop.set()

    def hurry(self) -> None:
        """End the drain at once, as its time ends it; safe to call as `stop` is."""
        self._service.hurry()

    async def stopped(self) -> None:
        """Wait until `stop` is called."""
        await self._stop.wait()

    def state(self) -> ServerState:
        """Return the server's state; safe to call from other threads."""
        total = self._config.max_sessions
        models = self.admission.models
        tls = self._security.tls
        return ServerState(
            slots={
                name: SlotUse(total - model.queue.pool.free, total)
                for name, model in models.items()
            },
            load=self.admission.reviewed_load,
            serving=self._serving and not self.admission.draining,
            late=self.admission.capacity.lateness.lasts,
            provider=next(iter(models.values())).bundle.runtime.provider.name,
            runtimes={name: _runtime(model.bundle) for name, model in models.items()},
            settings=self._settings,
            certificate_expires_in_s=None if tls is None else tls.expires_in_s,
            ticket_key_age_s=self.admission.ticket_key_age_s,
            recording_lost=None if self._recorder is None else self._recorder.dropped,
        )

    async def shutdown(self) -> None:
        """Drain the sessions, then end everything; return when nothing runs any more.

        Raises:
            StuckError: a step does not end; its thread runs on.
        """
        if self._watching is not None:
            self._watching.cancel()
        self._keeper.stop()
        if self._listening:
            _log.info(
                "draining",
                extra=fields(
                    sessions=self.admission.sessions,
                    at_most_s=self._config.drain_s,
                    at_once="with another SIGTERM or SIGINT, a second or more after the first",
                ),
            )
        await self._health.enter_graceful_shutdown()
        await self._service.drain(self._config.drain_s)
        for server in (self._server, self._admin):
            if server is not None:
                await server.stop(_STOP_S)
        if not await self._calls.ended(_STOP_S):
            _log.warning("calls_left")
        self._service.reap()
        if self._recorder is not None:
            await asyncio.to_thread(self._recorder.close)
        try:
            await self._engine.stop()
        finally:
            for decoder in (self._decoder, self._beside):
                if decoder is not None:
                    decoder.shutdown(cancel_futures=True)
        if self._listening:
            _log.info("stopped")

    async def _watch_steps(self) -> None:
        """Turn health to NOT_SERVING as long as a step takes longer than any vehicle waits."""
        longest_s = self._config.max_budget_ms / 1e3
        while True:
            await asyncio.sleep(_LOOK_S)
            step_s = self._engine.step_s
            serving = step_s <= longest_s
            if serving == self._serving:
                continue
            self._serving = serving
            if serving:
                _log.info("serving")
                await self._set_health(health_pb2.HealthCheckResponse.SERVING)
            else:
                _log.error("step_stuck", extra=fields(step_s=round(step_s, 3)))
                await self._set_health(health_pb2.HealthCheckResponse.NOT_SERVING)

    async def _set_health(self, status: health_pb2.HealthCheckResponse.ServingStatus) -> None:
        for name in ("", SERVICE_NAME):
            await self._health.set(name, status)


def _recorder(plan: RecordingPlan, settings: Mapping[str, str]) -> ServerRecorder:
    with command_needs("steerstream serve --record", "record"):
        from steerstream_service.transport.recording import ServerRecorder  # noqa: PLC0415
    return ServerRecorder(plan, settings)


def _runtime(bundle: Bundle) -> ModelRuntime:
    return ModelRuntime(bundle.precision, bundle.runtime.provider.name, bundle.reason)


def _steps_in_loop(bundles: Mapping[str, Bundle], config: Config, cores: float) -> bool:
    """Return whether steps and decoding run on the event loop's thread."""
    on_cpu = all(bundle.runtime.provider.on_cpu for bundle in bundles.values())
    if config.steps_on == "loop" and not on_cpu:
        raise ConfigError("steps_on must not be 'loop' on a GPU: the event loop would wait for it")
    return config.steps_on == "loop" or (config.steps_on == "auto" and on_cpu and cores <= 1)


def _in_loop(queues: Sequence[ModelQueue], observer: Observer) -> tuple[Engine, Decoders]:
    engine = LoopEngine(queues, observer)
    return engine, TurnExecutor(engine)


def _in_threads(
    queues: Sequence[ModelQueue], observer: Observer, decode_threads: int
) -> tuple[Engine, Decoders]:
    return ThreadEngine(queues, observer), _threads(decode_threads)


def _threads(count: int, initializer: Callable[[], None] | None = None) -> ThreadPoolExecutor:
    """Return a pool of threads that decode, with all of them running.

    A pool makes threads as calls come. All are made here, so that a lack of threads ends the start
    and no session later.
    """
    decoder = ThreadPoolExecutor(count, "decode", initializer)
    go_on = threading.Event()
    try:
        for _ in range(count):
            decoder.submit(go_on.wait)
    except RuntimeError:
        decoder.shutdown(wait=False)
        raise
    finally:
        go_on.set()
    return decoder


class _FewLines:
    """Takes the handlers for a server whose vehicles and probes have lines for themselves.

    gRPC lets calls of each method that is registered with it wait in a line, and all others in
    one. So no flood of other calls ends those, and there are not as many lines as methods.
    """

    def __init__(self, server: grpc.aio.Server) -> None:
        self._server = server

    def add_generic_rpc_handlers(self, handlers: Sequence[grpc.GenericRpcHandler]) -> None:
        self._server.add_generic_rpc_handlers(handlers)

    def add_registered_method_handlers(self, service: str, handlers: Mapping[str, Handler]) -> None:
        own = {
            method: handler
            for method, handler in handlers.items()
            if f"/{service}/{method}" in _WITH_OWN_LINE
        }
        self._server.add_registered_method_handlers(service, own)


def _calls_of_strangers(config: Config) -> list[tuple[str, int]]:
    return [
        *_STRANGERS,
        ("grpc.max_concurrent_streams", bounds.streams(config)),
        ("grpc.http2.max_deallocating_streams", bounds.ENDING_CALLS),
        ("grpc.server.max_pending_requests", bounds.pending_calls(config)),
        ("grpc.server.max_pending_requests_hard_limit", bounds.pending_calls(config)),
    ]


def _options(config: Config, *, shares_port: bool) -> list[tuple[str, int]]:
    return [
        *(_SHARED if shares_port else _ALONE),
        ("grpc.max_receive_message_length", config.max_message_bytes),
        # More comes when gRPC finds that the server waits for a larger message. With a mebibyte, 64
        # streams that began together kept gRPC's thread from all others for 60 ms.
        ("grpc.http2.lookahead_bytes", config.stream_window_bytes),
        ("grpc.max_allowed_incoming_connections", config.max_connections),
        # A proxy may hold all vehicles on one connection; beyond this, streams wait for others.
        *_calls_of_strangers(config),
        # Notices within seconds that a vehicle has lost its link.
        ("grpc.keepalive_time_ms", 10_000),
        ("grpc.keepalive_timeout_ms", 5_000),
    ]


def _listen(
    server: grpc.aio.Server,
    listen: str,
    place: address.Place | None,
    credentials: grpc.ServerCredentials | None,
) -> str:
    try:
        port = (
            server.add_insecure_port(listen)
            if credentials is None
            else server.add_secure_port(listen, credentials)
        )
    except RuntimeError:
        raise ListenError(f"cannot listen on {listen}; choose another address") from None
    return str(address.Place(place.host, port)) if place else listen
