"""A real server in a process, for tests, benchmarks and the demo.

```python
with serve(Path("models/pilotnet_lstm.onnx")) as server:
    client = steerstream.blocking.connect(server.address)
```
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

import grpc

START_TIMEOUT_S = 60.0
"""How long a server may take until it serves: loading, warm-up and a busy machine."""

STOP_TIMEOUT_S = 30.0
"""How long a server may take to drain after SIGTERM; then it is killed."""

_HEALTH_TIMEOUT_S = 5.0
_POLL_S = 0.02
_SERVING = b"\x08\x01"
"""A `HealthCheckResponse` with status SERVING, so that no package of stubs is needed for it."""


class ServerFailedError(RuntimeError):
    """The server did not start; the message ends with the last lines that it wrote."""


@dataclasses.dataclass(frozen=True, slots=True)
class Server:
    """A server that answers frames.

    Attributes:
        address: HOST:PORT, to connect to.
        pid: its process; None for a server that was already running.
        start_s: seconds from its start to SERVING; None for a server that was already running.
        ca_file: the authority of its certificate; None for plain text.
    """

    address: str
    pid: int | None = None
    start_s: float | None = None
    ca_file: Path | None = None


@contextlib.contextmanager
def serve(
    model: Path,
    *,
    options: Sequence[str] = (),
    settings: Mapping[str, float | str] | None = None,
    cores: Sequence[int] | None = None,
    ca_file: Path | None = None,
) -> Iterator[Server]:
    """Run `steerstream serve` on the loopback interface for the time of a `with` block.

    The server takes a free port, unless the options name another one, so that any number of servers
    can run side by side. It is stopped with SIGTERM, which drains it.

    Args:
        model: a bundle, or a folder of bundles.
        options: further options of the server's command line.
        settings: the server's settings by name, as its `--config` file would hold them.
        cores: numbers of the CPU cores that it runs on; None for any.
        ca_file: the authority of its certificate, where the options ask for TLS.

    Yields:
        The server, once it answers frames.

    Raises:
        ServerFailedError: it ended, or did not serve within `START_TIMEOUT_S`.
    """
    with tempfile.TemporaryDirectory(prefix="steerstream-") as name:
        folder = Path(name)
        port_file = folder / "address"
        command = [sys.executable, "-m", "steerstream_service", "--model", str(model)]
        command += ["--listen", "127.0.0.1:0", "--port-file", str(port_file), *options]
        if settings:
            lines = [f"{key} = {json.dumps(value)}\n" for key, value in settings.items()]
            (folder / "config.toml").write_text("".join(lines))
            command += ["--config", str(folder / "config.toml")]

        def is_ready() -> bool:
            return port_file.exists() and _serves(port_file.read_text().strip(), ca_file)

        with run(command, is_ready, log=folder / "log", cores=cores) as server:
            address = port_file.read_text().strip()
            yield dataclasses.replace(server, address=address, ca_file=ca_file)


@contextlib.contextmanager
def run(
    command: Sequence[str],
    is_ready: Callable[[], bool],
    *,
    log: Path,
    cores: Sequence[int] | None = None,
    environment: Mapping[str, str] | None = None,
    start_timeout_s: float = START_TIMEOUT_S,
) -> Iterator[Server]:
    """Run any server until the context ends, then stop it with SIGTERM.

    Args:
        command: its command line.
        is_ready: says whether it serves; asked again and again until it does.
        log: the file for its output.
        cores: where it runs; None for anywhere.
        environment: its variables; None for those of this process.
        start_timeout_s: seconds until it must be ready.

    Yields:
        The server, without an address.

    Raises:
        ServerFailedError: it ended, or was not ready in time; the message ends with its log.
    """
    began_s = time.monotonic()
    with log.open("wb") as output:
        process = subprocess.Popen(  # noqa: S603 - servers that the caller trusts
            command, stdout=output, stderr=output, env=environment
        )
    try:
        if cores is not None:
            # Before its first thread: the interpreter itself takes longer to start.
            os.sched_setaffinity(process.pid, cores)
        while not is_ready():
            if process.poll() is not None or time.monotonic() - began_s > start_timeout_s:
                said = log.read_text(errors="replace").strip().splitlines()[-5:]
                raise ServerFailedError("the server did not start:\n" + "\n".join(said))
            time.sleep(_POLL_S)
        yield Server("", process.pid, round(time.monotonic() - began_s, 3))
    finally:
        _stop(process)


def _serves(address: str, ca_file: Path | None) -> bool:
    options = [("grpc.enable_http_proxy", 0)]
    if ca_file is None:
        opened = grpc.insecure_channel(address, options)
    else:
        credentials = grpc.ssl_channel_credentials(ca_file.read_bytes())
        opened = grpc.secure_channel(address, credentials, options)
    with opened as channel:
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
