"""Server processes: one that serves, and one that refuses to start."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc

TIMEOUT_S = 120
"""For a start, however busy the machine is; a server that takes longer hangs."""

ROOT = Path(__file__).resolve().parents[2]


def command(*arguments: object) -> list[str]:
    return [sys.executable, "-m", "steerstream_service", *map(str, arguments)]


def refusal(*arguments: object) -> str:
    """The one line that a server that cannot start leaves on stderr."""
    result = subprocess.run(
        command("--listen", "127.0.0.1:0", "--log-level", "error", *arguments),
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        timeout=TIMEOUT_S,
    )
    assert result.returncode == 2
    assert "Traceback" not in result.stderr
    assert result.stdout == ""
    return result.stderr


@contextlib.contextmanager
def process(*arguments: object, folder: Path) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """A server process and its address, stopped in the end however the test went."""
    port_file = folder / "port"
    server = subprocess.Popen(
        command(*arguments, "--listen", "127.0.0.1:0", "--port-file", port_file),
        cwd=ROOT,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        # The port file is there before a server, or its last worker, logs that it serves.
        _wait_for_event(server, "serving")
        yield server, port_file.read_text().strip()
    finally:
        server.kill()
        server.communicate()


@contextlib.contextmanager
def full_pipe() -> Iterator[tuple[int, int, int]]:
    """A pipe that takes no byte more: its ends for reading and writing, and the bytes in it."""
    reads, writes = os.pipe()
    try:
        os.set_blocking(writes, False)
        filling = 0
        with contextlib.suppress(BlockingIOError):
            while True:
                filling += os.write(writes, b" " * 4096)
        os.set_blocking(writes, True)
        yield reads, writes, filling
    finally:
        os.close(reads)
        os.close(writes)


def wait_until_serving(address: str) -> None:
    """Wait for a server that may not listen yet, without its log."""
    with grpc.insecure_channel(address) as channel:
        states = health_pb2_grpc.HealthStub(channel).Watch(
            health_pb2.HealthCheckRequest(), timeout=TIMEOUT_S, wait_for_ready=True
        )
        serving = health_pb2.HealthCheckResponse.SERVING
        assert next(answer for answer in states if answer.status == serving)


def _wait_for_event(server: subprocess.Popen[str], event: str) -> None:
    """Read the server's log, one JSON object a line, up to an event; the log ends with a server."""
    watchdog = threading.Timer(TIMEOUT_S, server.kill)
    watchdog.start()
    try:
        for line in server.stderr:
            if json.loads(line)["event"] == event:
                return
    finally:
        watchdog.cancel()
    raise AssertionError(f"the server ended, or was stopped after {TIMEOUT_S} s, before {event!r}")
