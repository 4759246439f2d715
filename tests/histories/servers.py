"""Servers of a history: the real `Server` and all in it, without gRPC and threads.

The engine is the one that runs its turns in the event loop, or the one with a thread; the thread is
a process of the simulation, so that steps run beside the event loop there too.
"""

from __future__ import annotations

import asyncio
import base64
import dataclasses
import hashlib
import random
from collections.abc import Callable, Sequence
from concurrent.futures import Executor, Future
from pathlib import Path
from typing import Any
from unittest import mock

from steerstream_bundle.errors import StepError
from steerstream_service.config import Config
from steerstream_service.engine.decode_queue import Call, Decoders
from steerstream_service.engine.engine import Engine, deliver
from steerstream_service.engine.loop_engine import LoopEngine, Turn, TurnExecutor
from steerstream_service.engine.model_queue import ModelQueue
from steerstream_service.process import server
from steerstream_service.session.frame_stages import FrameRecord
from steerstream_service.telemetry.observer import Observer
from tests.histories.loop import MS, Process, VirtualLoop
from tests.histories.network import OK, AbortError, Context, Network
from tests.histories.records import ServerRecord, StreamRecord
from tests.histories.stepper import CONTRACT, HashingBundle


class PlantedStepError(StepError):
    """A step that was planned to fail."""


@dataclasses.dataclass(slots=True)
class Machine:
    """How quick a machine is.

    Attributes:
        step_ns: of a step of one frame.
        row_ns: of each frame more.
        decode_ns: of a JPEG.
        callback_ns: of a callback of the event loop.
        slowdown: factor on steps and decoding at present.
        fails: steps that fail from now on.
    """

    step_ns: int
    row_ns: int
    decode_ns: int
    callback_ns: int
    slowdown: float = 1.0
    fails: int = 0


class _Threaded(Engine):
    """The engine with a thread of its own, as a process of the simulation."""

    def __init__(
        self,
        queues: Sequence[ModelQueue],
        observer: Observer,
        loop: VirtualLoop,
        thread: Process,
        server: Server,
    ) -> None:
        super().__init__(queues, observer)
        self._loop = loop
        self._thread = thread
        self._server = server
        self._inbox: list[tuple[ModelQueue, FrameRecord] | None] = []
        self._arrived = asyncio.Event()
        self._begun: tuple[ModelQueue, Sequence[FrameRecord]] | None = None

    async def start(self) -> None:
        warm = self._loop.create_future()
        self._loop.spawn(self._thread, self._main(warm))
        await warm

    def submit(self, queue: ModelQueue, record: FrameRecord) -> None:
        self._post((queue, record))

    async def stop(self) -> None:
        self._post(None)

    def _post(self, item: tuple[ModelQueue, FrameRecord] | None) -> None:
        self._loop.at(self._thread, self._loop.local_ns, self._take, item)

    def _take(self, item: tuple[ModelQueue, FrameRecord] | None) -> None:
        self._inbox.append(item)
        self._arrived.set()

    async def _main(self, warm: asyncio.Future[None]) -> None:
        self._warm_up()
        self._loop.call_soon_threadsafe(warm.set_result, None)
        while True:
            while not self._inbox and not self._has_work:
                self._arrived.clear()
                await self._arrived.wait()
            while self._inbox:
                item = self._inbox.pop(0)
                if item is None:
                    return
                item[0].put(item[1])
            for records in self._turn():
                if self._begun is not None:
                    await self._run(*self._begun)
                self._loop.call_soon_threadsafe(deliver, records)

    def _step(self, queue: ModelQueue, batch: Sequence[FrameRecord]) -> None:
        self._begun = queue, batch

    async def _run(self, queue: ModelQueue, batch: Sequence[FrameRecord]) -> None:
        """Let the time of the step pass, and commit its state at the end of it."""
        self._begun = None
        loop, began_ns = self._loop, self._loop.local_ns
        await asyncio.sleep(self._server.step_ns(len(batch)) / 1e9)
        ended_ns = loop.local_ns
        # The step saw its clock go on; everybody else has seen the same time pass.
        loop.local_ns = began_ns
        self._server.given_ns = ended_ns - began_ns
        super()._step(queue, batch)
        loop.local_ns = max(loop.local_ns, ended_ns)


class _Decoders(Executor):
    """Threads that decode, as processes of the simulation."""

    def __init__(self, loop: VirtualLoop, threads: Sequence[Process], server: Server) -> None:
        self._loop = loop
        self._threads = threads
        self._server = server

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        future: Future[Any] = Future()
        thread = min(self._threads, key=lambda item: item.free_ns)
        self._loop.at(thread, self._loop.local_ns, self._run, future, fn, args)
        return future

    def _run(self, future: Future[Any], fn: Callable[..., Any], args: Any) -> None:
        if not future.set_running_or_notify_cancel():
            return
        self._loop.spend(self._server.decode_ns())
        # As a real thread has it: what follows runs in the event loop.
        try:
            result = fn(*args)
        except Exception as error:  # noqa: BLE001 - raised where the result is asked for
            self._loop.call_soon_threadsafe(future.set_exception, error)
        else:
            self._loop.call_soon_threadsafe(future.set_result, result)


class _TurnDecoder(TurnExecutor):
    """Decoding in turns of the event loop; each takes its time."""

    def __init__(self, engine: LoopEngine, loop: VirtualLoop, server: Server) -> None:
        super().__init__(engine)
        self._loop = loop
        self._server = server

    def submit(self, fn: Call, record: FrameRecord, /) -> Turn:
        def decode(record: FrameRecord) -> None:
            self._loop.spend(self._server.decode_ns())
            fn(record)

        return super().submit(decode, record)


class Server:
    """One run of a server.

    Args:
        name: the machine's.
        loop: of the history.
        rng: where costs and clocks come from.
        config: the settings.
        machine: how quick it is.
    """

    def __init__(
        self, name: str, loop: VirtualLoop, rng: random.Random, config: Config, machine: Machine
    ) -> None:
        self.name = name
        self.config = config
        self.machine = machine
        self.given_ns = 0
        self.listens = False
        self._loop = loop
        self._rng = rng
        clock_ns = rng.randrange(1, 10**15)
        skew_ns = rng.randrange(-500, 500) * MS
        callback_ns = machine.callback_ns
        self.process = Process(
            name, callback_ns=callback_ns, clock_ns=clock_ns, wall_skew_ns=skew_ns
        )
        self.threads = [
            Process(
                f"{name}-{number}",
                callback_ns=callback_ns // 4,
                clock_ns=clock_ns,
                wall_skew_ns=skew_ns,
                main=self.process,
            )
            for number in range(3)
        ]
        self._open: dict[Context, asyncio.Task[None]] = {}
        self.record = ServerRecord(
            name,
            self.process,
            config.max_sessions,
            config.max_unsent_answers,
            config.max_waiting_frames,
            config.max_load < 100.0,
        )

    # What the network asks of it.

    def serve(self, context: Context) -> None:
        """Handle a call, in the server's process."""
        is_strange = context.connection.client.name.startswith("stranger")
        stream = StreamRecord(self._loop, self.process, self.record, is_strange)
        self.record.streams.append(stream)
        context.tap = stream
        context.task = self._loop.spawn(self.process, self._handle(context))
        self._open[context] = context.task
        context.task.add_done_callback(lambda _task: self._open.pop(context))

    async def _handle(self, context: Context) -> None:
        try:
            await self.service.Drive(None, context)  # type: ignore[arg-type]
        except (AbortError, asyncio.CancelledError):
            return
        context.finish(OK)

    # What the machine does.

    def step_ns(self, size: int) -> int:
        """Return what the next step takes."""
        machine = self.machine
        cost_ns = (machine.step_ns + machine.row_ns * (size - 1)) * machine.slowdown
        cost_ns *= self._rng.uniform(0.85, 1.3)
        self.record.slowest_step_ns = max(self.record.slowest_step_ns, round(cost_ns))
        return round(cost_ns)

    def decode_ns(self) -> int:
        """Return what the next JPEG takes."""
        return round(self.machine.decode_ns * self.machine.slowdown * self._rng.uniform(0.8, 1.5))

    def _spend(self, size: int) -> None:
        given_ns, self.given_ns = self.given_ns, 0
        self._loop.spend(given_ns or self.step_ns(size))
        if self.machine.fails:
            self.machine.fails -= 1
            self.record.step_faults += 1
            raise PlantedStepError("planted")

    # Its life.

    async def start(self, network: Network) -> None:
        """Load, warm up and listen; in the server's process."""
        bundle: Any = HashingBundle(self._spend)
        with mock.patch.multiple(
            server,
            _in_loop=self._in_loop,
            _in_threads=self._in_threads,
            available_cores=lambda: 2.0,
        ):
            self.inner = server.Server({CONTRACT.name: bundle}, CONTRACT.name, self.config)
        # The real one has nothing but gRPC's server to end handlers with.
        self.inner._server = self  # type: ignore[assignment]
        self.admission = self.inner.admission
        self.service = self.inner._service
        self.queue = self.admission.models[CONTRACT.name].queue
        network.servers[self.name] = self
        self.listens = self._rng.random() < 0.5
        fails, self.machine.fails = self.machine.fails, 0
        await self.inner.warm_up()
        self.machine.fails = fails
        self.listens = True
        await self.inner.open()

    def _in_loop(self, queues: Sequence[ModelQueue], observer: Observer) -> tuple[Engine, Decoders]:
        engine = LoopEngine(queues, observer)
        return engine, _TurnDecoder(engine, self._loop, self)

    def _in_threads(
        self, queues: Sequence[ModelQueue], observer: Observer, decode_threads: int
    ) -> tuple[Engine, Decoders]:
        engine = _Threaded(queues, observer, self._loop, self.threads[0], self)
        return engine, _Decoders(self._loop, self.threads[1 : 1 + decode_threads], self)

    async def shut_down(self, network: Network) -> None:
        """Drain and end, as SIGTERM has it; in the server's process."""
        self._network = network
        await self.inner.shutdown()

    async def stop(self, _grace_s: float) -> None:
        """End every call that is left, as gRPC's server does; the real server calls it."""
        self.listens = False
        self._network.lose(self.process, is_silent=False)
        handlers = list(self._open.values())
        for context in list(self._open):
            context.cancel()
        if handlers:
            await asyncio.wait(handlers, timeout=1.0)
        # A step may run that a frame waits behind which nobody wants any more.
        for _ in range(100):
            if not self.queue.waiting:
                break
            await asyncio.sleep(0.05)
        self.check_empty()

    def kill(self, network: Network, *, is_silent: bool) -> None:
        """End at once: killed, or without power."""
        self.record.crashed_ns = self._loop.local_ns
        self.listens = False
        for process in (self.process, *self.threads):
            self._loop.kill(process)
        network.lose(self.process, is_silent=is_silent)

    @property
    def is_empty(self) -> bool:
        """Whether no session is left, nor a stream that waits for one."""
        return not (self.admission.sessions or self.service._unopened)

    def check_empty(self) -> None:
        """Note what is still held although no client is left."""
        held = {
            "sessions": self.admission.sessions,
            "slots": self.config.max_sessions - self.queue.pool.free,
            "load": self.admission.capacity.load,
            "streams": len(self.service._streams),
            "streams without a session": len(self.service._unopened),
            "waiting frames": self.queue.waiting,
        }
        self.record.left = [f"{count} {name}" for name, count in held.items() if count]


def keys_file(folder: Path, *names: str) -> Path:
    """Write a file of ticket keys, the first of which seals."""
    path = folder / ("-".join(names) + ".keys")
    if not path.exists():
        lines = [
            f"{name} = {base64.b64encode(hashlib.sha256(name.encode()).digest()).decode()}\n"
            for name in names
        ]
        path.write_text("".join(lines))
    return path
