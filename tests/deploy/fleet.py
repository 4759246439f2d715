"""Real servers, and vehicles that drive through whatever stands in front of them."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import shutil
import signal
import socket
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Self

import cv2
import numpy as np

import steerstream
from tests.deploy.tools import DEPLOY, ROOT

BUNDLE = ROOT / "models/pilotnet_lstm.onnx"
SETTINGS = DEPLOY / "server.toml"
START_S = 60
"""For a start on a machine that is busy with other tests."""
ANSWER_S = 20


def free_port() -> int:
    """A port of this machine that nobody listens on."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]


def noise() -> bytes:
    """A JPEG larger than any proxy's window of 64 KiB."""
    pixels = np.random.default_rng(0).integers(0, 256, (480, 640, 3), np.uint8)
    picture = cv2.imencode(".jpg", pixels)[1].tobytes()
    assert len(picture) > 200_000
    return picture


class Program:
    """A process, and what it says on stderr, line by line."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process
        self.lines: list[str] = []
        self._news = asyncio.Condition()
        self._reading = asyncio.create_task(self._read())

    @classmethod
    async def start(
        cls, *command: object, cwd: Path = ROOT, env: dict[str, str] | None = None
    ) -> Self:
        """Start it, in a folder and with an environment; without one, with this process's."""
        # A program of another environment is found by that environment's PATH.
        name, *arguments = map(str, command)
        program = shutil.which(name, path=(env or os.environ)["PATH"]) or name
        process = await asyncio.create_subprocess_exec(
            program, *arguments, cwd=cwd, env=env, stderr=asyncio.subprocess.PIPE
        )
        return cls(process)

    async def _read(self) -> None:
        async for line in self._process.stderr:
            async with self._news:
                self.lines.append(line.decode())
                self._news.notify_all()
        async with self._news:
            self._news.notify_all()

    async def says(self, text: str) -> None:
        """Wait for a text on stderr."""
        async with asyncio.timeout(START_S), self._news:
            await self._news.wait_for(
                lambda: any(text in line for line in self.lines) or self._reading.done()
            )
        assert any(text in line for line in self.lines), self.lines

    def send(self, number: signal.Signals) -> None:
        self._process.send_signal(number)

    async def ended(self) -> int:
        async with asyncio.timeout(START_S):
            return await self._process.wait()

    async def stop(self, number: signal.Signals = signal.SIGKILL) -> None:
        """End it. Programs with processes of their own are asked: SIGKILL would leave those."""
        with contextlib.suppress(ProcessLookupError):
            self.send(number)
        await self.ended()
        await asyncio.wait_for(self._reading, START_S)


class Server(Program):
    """A server of the bundle that ships."""

    def vehicles(self) -> set[str]:
        """The vehicles whose sessions it has opened."""
        events = [json.loads(line) for line in self.lines]
        return {line["vehicle_id"] for line in events if line["event"] == "session_opened"}


@contextlib.asynccontextmanager
async def server(port: int, *more: str) -> AsyncIterator[Server]:
    """A server that serves on a port, stopped in the end however the test went."""
    options = ("--config", SETTINGS, "--listen", f"127.0.0.1:{port}", *more)
    program = await Server.start(
        sys.executable, "-m", "steerstream_service", "--model", BUNDLE, *options
    )
    try:
        await program.says('"serving"')
        yield program
    finally:
        await program.stop()


@contextlib.asynccontextmanager
async def session(
    address: str, vehicle: str, *, tls: steerstream.Tls | None = None
) -> AsyncIterator[steerstream.Session]:
    """A session on a connection of its own, that waits for a proxy that has just been started."""
    async with (
        steerstream.connect(address, tls=tls, wait_for_server=True, timeout_s=ANSWER_S) as client,
        client.open_session(vehicle_id=vehicle, budget_ms=10_000) as opened,
    ):
        yield opened


async def drive(
    session: steerstream.Session, picture: steerstream.Image, frames: int = 1, pause_s: float = 0.0
) -> None:
    """Send pictures, each of which must be answered with a command, with pauses between them."""
    for _ in range(frames):
        answer = await session.request(picture, timeout_s=ANSWER_S)
        assert isinstance(answer, steerstream.Command), answer
        await asyncio.sleep(pause_s)
