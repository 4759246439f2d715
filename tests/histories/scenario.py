"""Makes a history from a seed: servers, vehicles, and what goes wrong, and lets it happen."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import gc
import logging
import random
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Self
from unittest import mock

import steerstream
from steerstream import DriveSession, HandOver, drive_session
from steerstream_service.admission import frame_cost
from steerstream_service.config import Config
from steerstream_service.engine.state_pool import StatePool
from steerstream_service.session import machine
from steerstream_service.transport.stream import DriveStream
from tests.histories.loop import MS, Process, StuckError, VirtualLoop, virtual_time
from tests.histories.network import Network
from tests.histories.records import History
from tests.histories.servers import Machine, PlantedStepError, Server, keys_file
from tests.histories.strangers import Stranger
from tests.histories.vehicles import Drive, Vehicle

_LONGEST_NS = 400_000 * MS
"""Of virtual time: far more than any vehicle tries to find a server."""
_S = 1_000 * MS
_STRANGE_EVERY, _STRANGE_AT = 5, 3
"""One in so many histories has strangers."""
_OLD_EVERY = 4
"""Of so many histories, the vehicles of one do not play frames for rings again."""
_OUTAGE_EVERY, _OUTAGE_AT = 10, 2
"""One in so many histories has long drives on quick servers, and an outage of all of them, in
which a vehicle takes more pictures than may be without an answer; in some a short one follows."""
_OUTAGE_FRAMES = 280
"""Of a drive: the outages end after 8.5 s at the latest, and then there are 5 s to come back."""


_ALARMS = {"server_late", "step_stuck"}
"""Errors that a server logs about its machine, which the faults of a history bring about."""


_KINDS = (DriveStream, machine.Session, steerstream.Session, DriveSession, StatePool)
"""What a finished history must not leave in memory."""


class _Errors(logging.Handler):
    """Collects what the code under test logs as an error."""

    def __init__(self) -> None:
        super().__init__(logging.ERROR)
        self.found: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        error = record.exc_info[1] if record.exc_info else None
        if isinstance(error, PlantedStepError) or record.getMessage() in _ALARMS:
            return
        if record.name == drive_session.__name__ and error is None:
            # It says that the session is lost, for which there are other invariants.
            return
        self.found.append(f"logged: {record.getMessage()} {error!r}")


class _World:
    """One history while it runs."""

    def __init__(self, seed: int, folder: Path) -> None:
        self.rng = random.Random(seed)
        self.loop = VirtualLoop(random.Random(seed ^ 0x5EED))
        self.loop.ends_ns = _LONGEST_NS
        self.network = Network(self.loop, random.Random(seed ^ 0xCAB1E))
        self.history = History(seed)
        self.folder = folder
        self.running: dict[str, Server] = {}
        self.all: list[Server] = []
        self.vehicles: list[Vehicle] = []
        self.tasks: list[asyncio.Task[None]] = []

    # Planning.

    def plan(self) -> None:
        rng, history = self.rng, self.history
        self.has_outage = history.seed % _OUTAGE_EVERY == _OUTAGE_AT
        self.is_calm = history.is_calm = rng.random() < 0.2 and not self.has_outage
        self.is_over = False
        self.waits_for_servers = self.is_calm or rng.random() < 0.9
        # Cameras that begin together make batches.
        self.begins_ns = rng.choice([None, _S // 5])
        self.names = [f"server-{at}" for at in range(rng.choice([1, 2, 2, 2, 3]))]
        self.configs = {name: self._config() for name in self.names}
        self.machines = {name: self._machine() for name in self.names}
        vehicles = rng.choice([1, 2, 2, 3, 4])
        # Their drives are ten times as long.
        for at in range(min(vehicles, 2) if self.has_outage else vehicles):
            self._plan_vehicle(f"car-{at}")
        self.loses_keys = False
        self.faults = [] if self.is_calm else self._plan_faults()
        if self.has_outage:
            self.loses_keys = False
            self._plan_outage()
        self.strangers = self._strangers()
        for vehicle in self.vehicles:
            vehicle.record.may_lose_state = (
                self.loses_keys
                or vehicle._drive.hand_over.max_kept_bytes < 1 << 20
                or any(config.ticket_valid_s < 60 for config in self.configs.values())
            )
        history.plan = [
            *(f"{name}: {self.machines[name]}" for name in self.names),
            *(f"{vehicle.record.name}: {vehicle._drive}" for vehicle in self.vehicles),
            *(f"{stranger.process.name} keeps no rule" for stranger in self.strangers),
            *(f"{at_ns / _S:.3f} s: {words}" for at_ns, words, _ in self.faults),
        ]

    def _strangers(self) -> list[Stranger]:
        if self.is_calm or self.history.seed % _STRANGE_EVERY != _STRANGE_AT:
            return []
        return [
            Stranger(
                f"stranger-{100 + at}",
                self.loop,
                self.network,
                random.Random(f"{self.history.seed} {at}"),
                self.names,
            )
            for at in range(2)
        ]

    def _config(self) -> Config:
        rng = self.rng
        idle_s = 10.0 if self.is_calm else rng.choice([0.6, 3.0, 10.0])
        return Config(
            max_sessions=6 if self.is_calm else rng.choice([1, 4, 6, 6]),
            max_waiting_frames=rng.choice([2, 8]),
            max_batch=rng.choice([1, 4, 32]),
            max_unsent_answers=rng.choice([16, 64]) if not self.is_calm else 64,
            idle_timeout_s=idle_s,
            expiring_notice_s=min(2.0, idle_s / 3),
            drain_s=rng.choice([0.0, 0.2, 2.0]),
            shed_after_s=0.3,
            shed_notice_s=rng.choice([0.1, 1.0]),
            max_load=100.0 if self.is_calm else rng.choice([0.8, 100.0, 100.0]),
            ticket_every_frames=rng.choice([0, 1, 4, 20]),
            ticket_valid_s=rng.choice([1.0, 60.0, 60.0, 60.0]),
            steps_on=rng.choice(["loop", "thread"]),
            ticket_keys=str(keys_file(self.folder, "fleet")),
        )

    def _machine(self) -> Machine:
        rng = self.rng
        if self.is_calm:
            return Machine(2 * MS, MS // 5, MS // 2, 10_000)
        return Machine(
            step_ns=rng.choice([1, 3, 10, 25]) * MS,
            row_ns=rng.choice([MS // 5, 2 * MS]),
            decode_ns=rng.choice([MS // 2, 4 * MS]),
            callback_ns=rng.choice([10_000, 60_000]),
        )

    def _plan_vehicle(self, name: str) -> None:
        rng = self.rng
        drives_on = rng.random() < 0.9
        is_latest = rng.random() < 0.5
        drive = Drive(
            frames=rng.choice([8, 25, 40]),
            is_latest=is_latest,
            drives_on=drives_on,
            in_lock_step=rng.random() < 0.4,
            budget_ms=10_000.0 if self.is_calm else rng.choice([40.0, 60.0, 100.0, 1000.0]),
            jpeg=rng.choice([0.0, 0.5, 1.0]),
            damaged=rng.choice([0.0, 0.0, 0.1]),
            resets=rng.choice([0.0, 0.0, 0.1]),
            gaps=rng.choice([0.0, 0.05]),
            hand_over=HandOver(
                missing_answers=4,
                attempt_timeout_s=rng.choice([0.3, 1.0]),
                give_up_after_s=rng.choice([1.0, 5.0, 60.0]),
                max_kept_bytes=rng.choice([8_000] + 5 * [32 << 20]),
            ),
            is_old=self.history.seed % _OLD_EVERY == _OLD_EVERY - 1,
            targets=rng.sample(self.names, len(self.names)),
            begins_ns=self.begins_ns or rng.randrange(_S // 20, _S // 2),
        )
        if self.has_outage:
            drive.frames, drive.drives_on = _OUTAGE_FRAMES, True
            drive.hand_over = HandOver(attempt_timeout_s=drive.hand_over.attempt_timeout_s)
            if not self.vehicles:
                drive.is_latest, drive.in_lock_step = True, False
        vehicle = Vehicle(name, self.loop, self.network, random.Random(rng.random()), drive)
        self.vehicles.append(vehicle)
        self.history.vehicles.append(vehicle.record)

    def _plan_faults(self) -> list[tuple[int, str, Callable[[], None]]]:
        rng = self.rng
        kinds = [
            self._crash,
            self._crash,
            self._crash,
            self._drain,
            self._drain,
            self._freeze,
            self._cut,
            self._reset,
            self._slow,
            self._fail,
            self._leave,
            self._stall,
            self._rotate,
        ]
        faults = []
        for _ in range(rng.choice([1, 1, 2, 2, 3, 4, 6])):
            at_ns = _S // 5 + rng.randrange(0, 2 * _S)
            words, act = rng.choice(kinds)()
            faults.append((at_ns, words, act))
        return sorted(faults, key=lambda fault: fault[0])

    def _plan_outage(self) -> None:
        rng = random.Random(f"{self.history.seed} outage")
        if rng.random() < 0.5:
            # A round trip is longer than from one picture to the next.
            self.network.latency_ns = 40 * MS
        for name in self.names:
            self.configs[name] = dataclasses.replace(
                self.configs[name], max_sessions=6, max_load=100.0, ticket_valid_s=60.0
            )
            self.machines[name].step_ns = 3 * MS
        is_crash, at_ns, for_ns = (
            rng.random() < 0.5,
            _S + rng.randrange(_S),
            rng.choice([4, 5]) * _S,
        )
        self.faults = [self._outage(at_ns, for_ns, is_crash=is_crash)]
        if rng.random() < 0.3:
            # While the frames of the first one are played again.
            again_ns = at_ns + for_ns + rng.randrange(_S)
            self.faults.append(self._outage(again_ns, _S // 2, is_crash=is_crash))

    def _outage(
        self, at_ns: int, for_ns: int, *, is_crash: bool
    ) -> tuple[int, str, Callable[[], None]]:
        def act() -> None:
            self.history.outage_ends_ns = self.loop.local_ns + for_ns
            for name in self.names:
                if is_crash:
                    self._kill(name, is_silent=False, back_ns=for_ns, has_key=True)
                else:
                    self._stop(name, for_ns)

        return (
            at_ns,
            f"all servers {'crash' if is_crash else 'stand still'} for {for_ns / _S} s",
            act,
        )

    def _some_server(self) -> str:
        """Return a server, most often one that a vehicle prefers."""
        if self.rng.random() < 0.3:
            return self.rng.choice(self.names)
        return self.rng.choice(self.vehicles)._drive.targets[0]

    def _crash(self) -> tuple[str, Callable[[], None]]:
        name, is_silent = self._some_server(), self.rng.random() < 0.4
        back_ns = self.rng.choice([0, 50 * MS, _S // 2, 3 * _S, _LONGEST_NS])
        has_key = self.rng.random() < 0.85
        self.loses_keys |= not has_key

        def act() -> None:
            self._kill(name, is_silent=is_silent, back_ns=back_ns, has_key=has_key)

        words = f"{name} crashes{' silently' if is_silent else ''}, back after {back_ns / _S} s"
        return f"{words} {'with' if has_key else 'without'} its key", act

    def _kill(self, name: str, *, is_silent: bool, back_ns: int, has_key: bool) -> None:
        server = self.running.pop(name, None)
        if server is None:
            return
        server.kill(self.network, is_silent=is_silent)
        if back_ns < _LONGEST_NS:
            self.loop.at(
                self.loop.looker_on, self.loop.local_ns + back_ns, self._start, name, has_key
            )

    def _drain(self) -> tuple[str, Callable[[], None]]:
        name, back_ns = self._some_server(), self.rng.choice([0, _S])

        def act() -> None:
            server = self.running.pop(name, None)
            if server is not None:
                self.tasks.append(
                    self.loop.spawn(self.loop.looker_on, self._replace(server, back_ns))
                )

        return f"{name} drains, back after {back_ns / _S} s", act

    def _freeze(self) -> tuple[str, Callable[[], None]]:
        name, for_ns = self._some_server(), self.rng.choice([30, 300, 2000]) * MS

        return f"{name} is stopped for {for_ns / _S} s", lambda: self._stop(name, for_ns)

    def _stop(self, name: str, for_ns: int) -> None:
        if server := self.running.get(name):
            for process in (server.process, *server.threads):
                process.freeze(self.loop.local_ns + for_ns)

    def _cut(self) -> tuple[str, Callable[[], None]]:
        name, car = self._some_server(), self.rng.choice(self.vehicles)
        for_ns = self.rng.choice([40, 300, 2000, 20_000]) * MS

        def act() -> None:
            self.network.cut(car.record.name, name, for_ns)

        return f"no network from {car.record.name} to {name} for {for_ns / _S} s", act

    def _reset(self) -> tuple[str, Callable[[], None]]:
        name, car = self._some_server(), self.rng.choice(self.vehicles)

        def act() -> None:
            self.network.reset(car.record.name, name)

        return f"the connection of {car.record.name} to {name} breaks", act

    def _slow(self) -> tuple[str, Callable[[], None]]:
        name, factor = self._some_server(), self.rng.choice([3.0, 10.0])
        for_ns = self.rng.choice([300, 3000]) * MS
        machine = self.machines[name]

        def back() -> None:
            machine.slowdown = 1.0

        def act() -> None:
            machine.slowdown = factor
            self.loop.at(self.loop.looker_on, self.loop.local_ns + for_ns, back)

        return f"{name} takes {factor:g} times as long for {for_ns / _S} s", act

    def _fail(self) -> tuple[str, Callable[[], None]]:
        name, times = self._some_server(), self.rng.choice([1, 3])

        def act() -> None:
            self.machines[name].fails += times

        return f"{times} steps of {name} fail", act

    def _leave(self) -> tuple[str, Callable[[], None]]:
        car = self.rng.choice(self.vehicles)

        def act() -> None:
            car.record.is_gone = True
            self.loop.kill(car.process)
            self.network.leave(car.process)

        return f"{car.record.name} is gone", act

    def _stall(self) -> tuple[str, Callable[[], None]]:
        car, for_ns = self.rng.choice(self.vehicles), self.rng.choice([60, 400, 1500]) * MS

        def act() -> None:
            car.process.freeze(self.loop.local_ns + for_ns)
            car.record.was_frozen = True

        return f"{car.record.name} stands still for {for_ns / _S} s", act

    def _rotate(self) -> tuple[str, Callable[[], None]]:
        name = self._some_server()
        self.loses_keys = True

        def act() -> None:
            path = str(keys_file(self.folder, "next", "fleet"))
            for other in self.names:
                self.configs[other] = dataclasses.replace(self.configs[other], ticket_keys=path)
            server = self.running.pop(name, None)
            if server is not None:
                self.tasks.append(self.loop.spawn(self.loop.looker_on, self._replace(server, 0)))

        return f"a new ticket key, and {name} drains", act

    # Running.

    def _start(self, name: str, has_key: bool = True) -> asyncio.Task[None]:
        config = self.configs[name]
        if not has_key:
            config = dataclasses.replace(config, ticket_keys="")
        server = Server(
            name, self.loop, random.Random(self.rng.random()), config, self.machines[name]
        )
        self.running[name] = server
        self.all.append(server)
        self.history.servers.append(server.record)
        return self.loop.spawn(server.process, server.start(self.network))

    async def _replace(self, server: Server, back_ns: int) -> None:
        stopping = self.loop.spawn(server.process, server.shut_down(self.network))
        await _done(stopping, server.process)
        if server.process.is_dead:
            return
        await asyncio.sleep(back_ns / 1e9)
        if server.name not in self.running:
            self._start(server.name)

    async def run(self) -> None:
        starting = [self._start(name) for name in self.names]
        if self.waits_for_servers:
            for task in starting:
                await _done(task)
        visiting = [
            self.loop.spawn(stranger.process, stranger.run()) for stranger in self.strangers
        ]
        driving = [self.loop.spawn(vehicle.process, vehicle.run()) for vehicle in self.vehicles]
        for at_ns, _, act in self.faults:
            self.loop.at(self.loop.looker_on, self.loop.local_ns + at_ns, self._act, act)
        for task, vehicle in zip(driving, self.vehicles, strict=True):
            await _done(task, vehicle.process)
            if task.done() and (error := task.exception()):
                self.history.faults.append(f"a vehicle's program: {error!r}")
        for task in visiting:
            await _done(task)
            if error := task.exception():
                self.history.faults.append(f"a stranger: {error!r}")
        await self._end()

    def _act(self, act: Callable[[], None]) -> None:
        if not self.is_over:
            act()

    async def _end(self) -> None:
        self.is_over = True
        await asyncio.sleep(0.1)
        for task in self.tasks:
            await _done(task)
        # The last restarts, and clients whose silence is only noticed by keepalive.
        for _ in range(200):
            if all(server.is_empty for server in self._alive() if hasattr(server, "inner")):
                break
            await asyncio.sleep(0.1)
        await asyncio.sleep(0.3)
        for server in self._alive():
            server.check_empty()
            stopping = self.loop.spawn(server.process, server.shut_down(self.network))
            await _done(stopping)
            stopping.result()
        self.history.ended_ns = self.loop.local_ns

    def _alive(self) -> list[Server]:
        return [server for server in self.running.values() if not server.process.is_dead]

    async def end_all(self) -> None:
        """Cancel whatever is left, so that nothing of it is collected while another one runs."""
        self.network.connections.clear()
        threads = [thread for server in self.all for thread in (server.process, *server.threads)]
        clients = [vehicle.process for vehicle in self.vehicles]
        clients += [stranger.process for stranger in self.strangers]
        for process in (*threads, *clients):
            self.loop.revive(process)
        while left := asyncio.all_tasks() - {asyncio.current_task()}:
            for task in left:
                task.cancel()
            await asyncio.wait(left, timeout=1.0)


async def _done(task: asyncio.Task[Any], process: Process | None = None) -> None:
    """Wait until a task of another process is done, or that process is dead."""
    while not (task.done() or (process is not None and process.is_dead)):  # noqa: ASYNC110
        await asyncio.sleep(0.05)


@contextlib.contextmanager
def _logged_errors() -> Iterator[list[str]]:
    handler = _Errors()
    loggers = [logging.getLogger(name) for name in ("steerstream_service", "steerstream")]
    for logger in loggers:
        logger.addHandler(handler)
        logger.propagate = False
    try:
        yield handler.found
    finally:
        for logger in loggers:
            logger.removeHandler(handler)
            logger.propagate = True


class Histories:
    """Makes histories from seeds; a context manager, for the files that servers read."""

    def __enter__(self) -> Self:
        self._folder = tempfile.TemporaryDirectory()
        return self

    def __exit__(self, *_: object) -> None:
        self._folder.cleanup()

    def run(self, seed: int) -> History:
        """Let the history of a seed happen."""
        world = _World(seed, Path(self._folder.name))
        loop, history = world.loop, world.history
        try:
            with (
                virtual_time(loop, seed),
                mock.patch.object(frame_cost, "_stolen_ns", return_value=0),
                _logged_errors() as errors,
            ):
                world.plan()
                try:
                    loop.run_until_complete(world.run())
                except StuckError as error:
                    history.is_stuck = str(error)
                history.faults += errors + loop.faults
                loop.ends_ns = 1 << 61
                with contextlib.suppress(StuckError):
                    loop.run_until_complete(world.end_all())
        finally:
            loop.close()
        return history

    def left_in_memory(self) -> list[str]:
        """Return what finished histories left in memory, by kind; nothing is good."""
        gc.collect()
        counts = Counter(type(item) for item in gc.get_objects())
        return [f"{counts[kind]} {kind.__name__} left" for kind in _KINDS if counts[kind]]
