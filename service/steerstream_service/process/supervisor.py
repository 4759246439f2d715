"""Runs several workers on one port: starts them, replaces those that die, and stops them.

A worker is a whole server in its own process, so the death of one ends its own sessions and no
others. The kernel gives each connection to one of the workers, by a hash of its addresses. The
supervisor only holds the port, tells the workers when all are ready, and replaces dead ones.
"""

from __future__ import annotations

import asyncio
import logging
import signal
import socket
import time
from collections.abc import Callable, Sequence

from steerstream.command_line import CANNOT_START
from steerstream_service.address import Place
from steerstream_service.config import Config
from steerstream_service.errors import StartError
from steerstream_service.process.worker_pipe import WorkerPipe
from steerstream_service.telemetry.logs import fields

_log = logging.getLogger(__name__)

_STABLE_S = 30.0
"""A worker that lived this long is replaced at once: whatever ended it, it can start."""
_SLACK_S = 15.0
"""After the time that a worker has for its start or its drain, before it is killed."""
_MIN_PAUSE_S, _MAX_PAUSE_S = 1.0, 30.0
"""Pause before a worker that died sooner is replaced; it doubles each time."""


class WorkerFailedError(StartError):
    """A worker ended before it could serve.

    Attributes:
        explained: whether the worker has written the reason to stderr itself.
    """

    def __init__(self, index: int, exit_code: int) -> None:
        super().__init__(f"worker {index} could not start: {_ending(exit_code)}")
        self.explained = exit_code == CANNOT_START


class _Worker:
    """A worker's process, and the pipe to it."""

    def __init__(self, index: int, process: asyncio.subprocess.Process, pipe: WorkerPipe) -> None:
        self.index = index
        self.process = process
        self.pipe = pipe
        self.began_s = time.monotonic()

    @classmethod
    async def spawn(cls, index: int, command: Sequence[str]) -> _Worker:
        ours, theirs = socket.socketpair()
        with theirs:
            end = ["--worker", f"{index}:{theirs.fileno()}"]
            process = await asyncio.create_subprocess_exec(
                *command, *end, pass_fds=[theirs.fileno()]
            )
        _log.info("worker_started", extra=fields(worker=index, pid=process.pid))
        return cls(index, process, await WorkerPipe.over(ours))

    @property
    def lived_s(self) -> float:
        return time.monotonic() - self.began_s

    async def is_ready(self, within_s: float) -> bool:
        try:
            async with asyncio.timeout(within_s):
                return await self.pipe.ready() is not None
        except TimeoutError:
            self._kill("not ready in time")
            return False

    async def ended(self) -> int:
        """Wait until the process has ended, and end it if it is stuck; return its exit code."""
        killing = asyncio.create_task(self._kill_if_stuck())
        try:
            exit_code = await self.process.wait()
        finally:
            killing.cancel()
        self.pipe.close()
        return exit_code

    async def end(self, within_s: float) -> int:
        if self.process.returncode is None:
            self.process.send_signal(signal.SIGTERM)
        try:
            async with asyncio.timeout(within_s):
                return await self.process.wait()
        except TimeoutError:
            self._kill("not drained in time")
            return await self.process.wait()
        finally:
            self.pipe.close()

    async def _kill_if_stuck(self) -> None:
        if await self.pipe.stuck():
            self._kill("its event loop is stuck")

    def _kill(self, why: str) -> None:
        if self.process.returncode is None:
            _log.error("worker_killed", extra=fields(worker=self.index, why=why))
            self.process.kill()


class Supervisor:
    """Keeps a number of workers alive.

    Args:
        command: what starts a worker; `--worker NUMBER:FD` is added.
        place: the port that they share, held by the caller.
        config: the settings of each, for the time that its start and its drain may take.
        count: how many.
        on_ready: called once, when every worker listens and is about to serve.
        on_serving: called once, when every worker has been told to serve.
    """

    def __init__(
        self,
        command: Sequence[str],
        place: Place,
        config: Config,
        *,
        count: int,
        on_ready: Callable[[], None],
        on_serving: Callable[[], None],
    ) -> None:
        self._command = [*command, "--listen", str(place)]
        self._place = place
        self._start_s = config.start_timeout_s + _SLACK_S
        self._drain_s = config.drain_s + _SLACK_S
        self._count = count
        self._on_ready = on_ready
        self._on_serving = on_serving
        self._workers: dict[int, _Worker] = {}
        self._stopping = asyncio.Event()
        self._hurrying = asyncio.Event()

    def stop(self) -> None:
        """Ask `run` to drain all workers and return."""
        self._stopping.set()

    def hurry(self) -> None:
        """Have the workers end their drain at once."""
        self._hurrying.set()

    async def run(self) -> None:
        """Start the workers and keep them until `stop` is called.

        Raises:
            WorkerFailedError: a worker could not start, before all of them served.
            StartError: `on_ready` raised it.
        """
        keeping = asyncio.create_task(self._keep_all())
        stopping = asyncio.create_task(self._stopping.wait())
        try:
            await asyncio.wait({keeping, stopping}, return_when=asyncio.FIRST_COMPLETED)
            if keeping.done():
                keeping.result()
        finally:
            keeping.cancel()
            stopping.cancel()
            await asyncio.gather(keeping, stopping, return_exceptions=True)
            await self._end()

    async def _keep_all(self) -> None:
        await self._start()
        async with asyncio.TaskGroup() as group:
            for index in range(self._count):
                group.create_task(self._keep(index))

    async def _start(self) -> None:
        # Start one worker first, so that a bad option is reported once instead of N times.
        await self._ready(await self._spawn(0))
        others = [await self._spawn(index) for index in range(1, self._count)]
        for worker in others:
            await self._ready(worker)
        self._on_ready()
        for worker in self._workers.values():
            await worker.pipe.say_serve()
        self._on_serving()
        _log.info("workers_serving", extra=fields(workers=self._count, address=str(self._place)))

    async def _ready(self, worker: _Worker) -> None:
        if not await worker.is_ready(self._start_s):
            raise WorkerFailedError(worker.index, await worker.process.wait())

    async def _keep(self, index: int) -> None:
        """Replace a worker whenever it ends."""
        pause_s = 0.0
        while True:
            worker = self._workers[index]
            exit_code = await worker.ended()
            short = worker.lived_s < _STABLE_S
            pause_s = min(max(2 * pause_s, _MIN_PAUSE_S), _MAX_PAUSE_S) if short else 0.0
            _log.error(
                "worker_died",
                extra=fields(worker=index, ending=_ending(exit_code), replaced_in_s=pause_s),
            )
            await asyncio.sleep(pause_s)
            await self._replace(index)

    async def _replace(self, index: int) -> None:
        worker = await self._spawn(index)
        if await worker.is_ready(self._start_s):
            await worker.pipe.say_serve()
            _log.info("worker_replaced", extra=fields(worker=index, pid=worker.process.pid))

    async def _spawn(self, index: int) -> _Worker:
        worker = await _Worker.spawn(index, self._command)
        self._workers[index] = worker
        return worker

    async def _end(self) -> None:
        hurrying = asyncio.create_task(self._hurry_workers())
        codes = await asyncio.gather(
            *(worker.end(self._drain_s) for worker in self._workers.values())
        )
        hurrying.cancel()
        _log.info("workers_stopped", extra=fields(exit_codes=codes))

    async def _hurry_workers(self) -> None:
        await self._hurrying.wait()
        for worker in self._workers.values():
            await worker.pipe.say_hurry()


def _ending(exit_code: int) -> str:
    if exit_code < 0:
        return f"ended by {signal.Signals(-exit_code).name}"
    return f"ended with exit code {exit_code}"
