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
from collections.abc import Iterator, Mapping, Sequence
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
        pid: its process; None for one that somebody else started.
        start_s: seconds from its start to SERVING; None for one that somebody else started.
    """

    address: str
    pid: int | None = None
    start_s: float | None = None


@contextlib.contextmanager
def serve(
    model: Path,
    *,
    options: Sequence[str] = (),
    settings: Mapping[str, float | str] | None = None,
    cores: Sequence[int] | None = None,
) -> Iterator[Server]:
    """Run `steerstream serve` on the loopback interface for the time of a `with` block.

    The server takes a free port, so that any number of servers can run side by side. It is stopped
    with SIGTERM, which drains it.

    Args:
        model: a bundle, or a folder of bundles.
        options: further options of the server's command line.
        settings: the server's settings by name, as its `--config` file would hold them.
        cores: numbers of the CPU cores that it runs on; None for any.

    Yields:
        The server, once it answers frames.

    Raises:
        ServerFailedError: it ended, or did not serve within `START_TIMEOUT_S`.
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
