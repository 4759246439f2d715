"""Vehicles drive on behind each proxy while its servers are killed, drained and restarted."""

from __future__ import annotations

import asyncio
import contextlib
import signal
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from benchmark.failover.fleet import keys_file
from benchmark.failover.model import violations
from benchmark.failover.vehicles import LockStep
from steerstream import Command
from tests.deploy.fleet import SETTINGS, Server, free_port, server, session
from tests.deploy.test_proxies import FILES, proxied

FRAMES = 240
VEHICLES = 4
PAUSE_S = 0.05
"""Between frames, so that the drive goes on through all that happens."""
PATIENCE_S = 90.0
GENERATOR = np.random.default_rng(12)
PICTURES = [GENERATOR.integers(0, 200, (60, 80, 3), dtype=np.uint8) for _ in range(16)]


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(PATIENCE_S):
        while not condition():  # noqa: ASYNC110 - nothing else tells
            await asyncio.sleep(PAUSE_S)


class Fleet:
    """Two servers with a common key, which are ended and started again at their ports."""

    def __init__(self, stack: contextlib.AsyncExitStack, config: Path) -> None:
        self._stack = stack
        self._options = ("--config", str(config), "--precision", "f32")
        self.ports = [free_port(), free_port()]
        self.servers: list[Server] = []

    async def start(self, at: int) -> Server:
        return await self._stack.enter_async_context(server(self.ports[at], *self._options))

    async def start_both(self) -> None:
        self.servers = list(await asyncio.gather(self.start(0), self.start(1)))

    async def end(self, at: int, number: signal.Signals) -> None:
        """End a server with a signal, which one that drains takes time for; start it again."""
        ended = self.servers[at]
        assert ended.vehicles(), "nobody drives on it"
        ended.send(number)
        assert await ended.ended() == (0 if number is signal.SIGTERM else -number)
        self.servers[at] = await self.start(at)


async def unbroken(target: str) -> tuple[dict[int, Command], int]:
    vehicle = LockStep(PICTURES, 0, FRAMES)
    await vehicle.drive([target])
    answers = [event for event in vehicle.history if isinstance(event, Command)]
    return {answer.sequence_number: answer for answer in answers}, vehicle.warm_up_steps


@pytest.mark.timeout(600)
@pytest.mark.parametrize("proxy", FILES)
async def test_no_vehicle_s_answers_show_that_servers_were_killed_and_restarted(
    proxy: str, tmp_path: Path
) -> None:
    config = tmp_path / "server.toml"
    async with contextlib.AsyncExitStack() as stack:
        keys = stack.enter_context(keys_file())
        config.write_text(f'{SETTINGS.read_text()}\nticket_keys = "{keys}"\n')
        fleet = Fleet(stack, config)
        await fleet.start_both()
        expected, warm_up_steps = await unbroken(f"127.0.0.1:{fleet.ports[0]}")
        address = await stack.enter_async_context(proxied(proxy, tmp_path / proxy, fleet.ports))
        vehicles = [LockStep(PICTURES, 0, FRAMES, pause_s=PAUSE_S) for _ in range(VEHICLES)]
        over = asyncio.Event()
        async with session(address, "scout"):
            """The proxy is there."""
        async with asyncio.TaskGroup() as driving:
            for vehicle in vehicles:
                driving.create_task(vehicle.drive([address], over))
            await until(lambda: all(vehicle.answered > warm_up_steps for vehicle in vehicles))
            await fleet.end(0, signal.SIGKILL)
            await fleet.end(1, signal.SIGTERM)
            await fleet.end(0, signal.SIGTERM)
            over.set()

    for vehicle in vehicles:
        assert violations(vehicle.history, expected, warm_up_steps) == []
        assert not vehicle.lost_state
