"""A real server in a process of its own, for benchmarks and the demo."""

from __future__ import annotations

import contextlib
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc

START_TIMEOUT_S = 60.0
STOP_TIMEOUT_S = 30.0
_HEALTH_TIMEOUT_S = 5.0
_POLL_S = 0.02


class ServerFailedError(RuntimeError):
    """The server did not start; the message ends with what it said."""


@contextlib.contextmanager
def serve(model: Path, *, options: Sequence[str] = ()) -> Iterator[str]:
    """Run ``python -m service`` until the context ends, then stop it with SIGTERM.

    Args:
        model: a bundle, or a folder of bundles.
        options: further options of the server's command line.

    Yields:
        The server's address, HOST:PORT on the loopback interface, once it answers frames.

    Raises:
        ServerFailedError: it ended, or was not ready within a minute.
    """
    with tempfile.TemporaryDirectory(prefix="steerstream-") as folder:
        port_file, log_file = Path(folder) / "address", Path(folder) / "log"
        command = [sys.executable, "-m", "service", "--model", str(model)]
        command += ["--listen", "127.0.0.1:0", "--port-file", str(port_file), *options]
        with log_file.open("wb") as log:
            process = subprocess.Popen(command, stdout=log, stderr=log)  # noqa: S603 - our server
            try:
                yield _address(process, port_file, log_file)
            finally:
                _stop(process)


def _address(process: subprocess.Popen[bytes], port_file: Path, log_file: Path) -> str:
    """Wait until the server has left its address and says that it serves."""
    deadline = time.monotonic() + START_TIMEOUT_S
    while time.monotonic() < deadline and process.poll() is None:
        if port_file.exists() and _serves(address := port_file.read_text().strip()):
            return address
        time.sleep(_POLL_S)
    said = log_file.read_text(errors="replace").strip().splitlines()[-5:]
    raise ServerFailedError("the server did not start:\n" + "\n".join(said))


def _serves(address: str) -> bool:
    with grpc.insecure_channel(address) as channel:
        try:
            answer = health_pb2_grpc.HealthStub(channel).Check(
                health_pb2.HealthCheckRequest(), timeout=_HEALTH_TIMEOUT_S
            )
        except grpc.RpcError:
            return False
    return bool(answer.status == health_pb2.HealthCheckResponse.SERVING)


def _stop(process: subprocess.Popen[bytes]) -> None:
    if process.poll() is None:
        process.terminate()
    try:
        process.wait(STOP_TIMEOUT_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
