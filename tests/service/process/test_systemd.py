"""What is said to systemd, and by which process."""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from steerstream_service.process.systemd import Notifier

WATCHDOG_S = 0.02


@pytest.fixture
def heard(tmp_path: Path) -> Iterator[socket.socket]:
    """The socket that systemd listens on."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listening:
        listening.bind(str(tmp_path / "notify"))
        listening.setblocking(False)
        yield listening


def environment(listening: socket.socket, **more: str) -> dict[str, str]:
    return {"NOTIFY_SOCKET": listening.getsockname(), **more}


async def states(listening: socket.socket, count: int) -> list[str]:
    loop = asyncio.get_running_loop()
    async with asyncio.timeout(10):
        return [(await loop.sock_recv(listening, 64)).decode() for _ in range(count)]


async def test_ready_alive_and_stopping_are_said(heard: socket.socket) -> None:
    notifier = Notifier(heard.getsockname(), WATCHDOG_S)
    notifier.ready()
    assert await states(heard, 4) == ["READY=1", "WATCHDOG=1", "WATCHDOG=1", "WATCHDOG=1"]
    notifier.stopping()
    assert "STOPPING=1" in await states(heard, 2)
    assert await states(heard, 1) == ["WATCHDOG=1"]


async def test_without_a_watchdog_nothing_follows_ready(heard: socket.socket) -> None:
    notifier = Notifier.take(environment(heard))
    notifier.ready()
    notifier.stopping()
    assert await states(heard, 2) == ["READY=1", "STOPPING=1"]


async def test_the_watchdog_of_another_process_is_left_to_it(heard: socket.socket) -> None:
    other = environment(heard, WATCHDOG_USEC="20000", WATCHDOG_PID=str(os.getpid() + 1))
    notifier = Notifier.take(other)
    notifier.ready()
    notifier.stopping()
    assert await states(heard, 2) == ["READY=1", "STOPPING=1"]


async def test_workers_inherit_nothing_of_it(heard: socket.socket) -> None:
    given = environment(heard, WATCHDOG_USEC="1", WATCHDOG_PID=str(os.getpid()), HOME="/root")
    Notifier.take(given)
    assert given == {"HOME": "/root"}


async def test_a_name_without_a_file_is_understood() -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listening:
        name = f"steerstream-test-{os.getpid()}"
        listening.bind(f"\0{name}")
        listening.setblocking(False)
        Notifier(f"@{name}").ready()
        assert await states(listening, 1) == ["READY=1"]


async def test_a_socket_that_is_gone_or_full_costs_the_server_nothing(tmp_path: Path) -> None:
    Notifier(str(tmp_path / "gone")).ready()
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listening:
        listening.bind(str(tmp_path / "notify"))
        notifier = Notifier(str(tmp_path / "notify"))
        for _ in range(10_000):  # far more than the kernel keeps for it
            notifier.stopping()
        assert listening.recv(64) == b"STOPPING=1"
