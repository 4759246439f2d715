"""A real server in a process of its own, for tests, benchmarks and the demo."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import grpc

START_TIMEOUT_S = 60.0
STOP_TIMEOUT_S = 30.0
_HEALTH_TIMEOUT_S = 5.0
_POLL_S = 0.02
_SERVING = b"\x08\x01"
"""A `HealthCheckResponse` with status SERVING, so that no package of stubs is needed for it."""


class ServerFailedError(RuntimeError):
    """The server did not start; the message ends with what it said."""


@dataclasses.dataclass(frozen=True, slots=True)
class Server:
    """A server that answers frames.

    Attributes:
        address: HOST:PORT.
        pid: its process; None where it is not ours.
        start_s: from its command to SERVING.
    """

    address: str
    pid: int | None = None
    start_s: float | None = None


@contextlib.contextmanager
def serve(model: Path, *, options: Sequence[str] = ()) -> Iterator[str]:
    """Run `steerstream serve` until the context ends, then stop it with SIGTERM.

    Args:
        model: a bundle, or a folder of bundles.
        options: further options of the server's command line.

    Yields:
        The server's address, HOST:PORT on the loopback interface, once it answers frames.

    Raises:
        ServerFailedError: it ended, or was not ready within a minute.
    """
    with launch(model, options=options) as server:
        yield server.address


@contextlib.contextmanager
def launch(
    model: Path,
    *,
    options: Sequence[str] = (),
    settings: Mapping[str, float | str] | None = None,
    cores: Sequence[int] | None = None,
) -> Iterator[Server]:
    """Do as `serve` does, with more say.

    Args:
        model: a bundle, or a folder of bundles.
        options: further options of the server's command line.
        settings: what its settings file holds.
        cores: where it runs; None for anywhere.

    Raises:
        ServerFailedError: it ended, or was not ready within a minute.
    """
    with tempfile.TemporaryDirectory(prefix="steerstream-") as name:
        folder = Path(name)
        command = [sys.executable, "-m", "steerstream_service", "--model", str(model), *options]
        command += ["--listen", "127.0.0.1:0", "--port-file", str(folder / "address")]
        if settings:
            lines = [f"{key} = {json.dumps(value)}\n" for key, value in settings.items()]
            (folder / "config.toml").write_text("".join(lines))
            command += ["--config", str(folder / "config.toml")]
        with (folder / "log").open("wb") as log:
            began_s = time.monotonic()
            process = subprocess.Popen(command, stdout=log, stderr=log)  # noqa: S603 - our server
            try:
                if cores is not None:
                    # Before its first thread: the interpreter itself takes longer to start.
                    os.sched_setaffinity(process.pid, cores)
                address = _address(process, folder)
                yield Server(address, process.pid, round(time.monotonic() - began_s, 3))
            finally:
                _stop(process)


def _address(process: subprocess.Popen[bytes], folder: Path) -> str:
    """Wait until the server has left its address and says that it serves."""
    port_file = folder / "address"
    deadline = time.monotonic() + START_TIMEOUT_S
    while time.monotonic() < deadline and process.poll() is None:
        if port_file.exists() and _serves(address := port_file.read_text().strip()):
            return address
        time.sleep(_POLL_S)
    said = (folder / "log").read_text(errors="replace").strip().splitlines()[-5:]
    raise ServerFailedError("the server did not start:\n" + "\n".join(said))


def _serves(address: str) -> bool:
    with grpc.insecure_channel(address) as channel:
        check: grpc.UnaryUnaryMultiCallable[bytes, bytes]
        check = channel.unary_unary("/grpc.health.v1.Health/Check")
        try:
            return check(b"", timeout=_HEALTH_TIMEOUT_S) == _SERVING
        except grpc.RpcError:
            return False


def _stop(process: subprocess.Popen[bytes]) -> None:
    if process.poll() is None:
        process.terminate()
    try:
        process.wait(STOP_TIMEOUT_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
