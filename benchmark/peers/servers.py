"""A peer's server in a process of its own, on one core."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from benchmark.host import cpu_time
from benchmark.peers import cores
from benchmark.peers.errors import JobError, StartError
from benchmark.peers.peer import Launch, Peer, free_port, variables
from benchmark.peers.worker import Worker

_STOP_S = 15.0
_POLL_S = 0.05
_IDLE_WINDOW_S = 0.2
_IDLE_CORES = 0.1
_IDLE_LIMIT_S = 20.0
_SAID_LINES = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class Server:
    """A running server.

    Attributes:
        peer: what it is.
        target: HOST:PORT.
        pid: of its first process.
        start_s: from its start to its first answered frame.
    """

    peer: Peer
    target: str
    pid: int
    start_s: float

    def job(self, frames: Path) -> Mapping[str, str]:
        """Return what every job of the load generator needs to know."""
        return {"transport": self.peer.transport, "target": self.target, "frames": str(frames)}

    def settle(self) -> None:
        """Wait until the server has worked off what a load left behind, 20 s at most."""
        deadline = time.monotonic() + _IDLE_LIMIT_S
        while time.monotonic() < deadline:
            before = cpu_time.used_s(cpu_time.family(self.pid))
            time.sleep(_IDLE_WINDOW_S)
            used = cpu_time.used_s(cpu_time.family(self.pid)) - before
            if used < _IDLE_CORES * _IDLE_WINDOW_S:
                return


@contextlib.contextmanager
def serve(
    peer: Peer,
    python: Path,
    model: Path,
    *,
    slots: int,
    admits_all: bool,
    client: Worker,
    frames: Path,
    core: int,
) -> Iterator[Server]:
    """Run a peer's server until the context ends; it has answered a frame when the context begins.

    Raises:
        StartError: it ended, or has answered none in time.
    """
    with tempfile.TemporaryDirectory(prefix=f"{peer.name}-") as folder:
        launch = Launch(
            python=python,
            model=model,
            port=free_port(),
            slots=slots,
            folder=Path(folder),
            admits_all=admits_all,
        )
        log_path = Path(folder) / "log"
        began = time.monotonic()
        with log_path.open("wb") as log, cores.pinned(core):
            process = subprocess.Popen(  # noqa: S603 - a peer's own server
                peer.command(launch),
                stdout=log,
                stderr=log,
                env=variables(peer.variables(launch)),
                start_new_session=True,
            )
        try:
            target = f"127.0.0.1:{launch.port}"
            waiting = Server(peer=peer, target=target, pid=process.pid, start_s=0.0)
            _await_answer(waiting, process, client, frames, log_path)
            took = round(time.monotonic() - began, 2)
            yield Server(peer=peer, target=target, pid=process.pid, start_s=took)
        finally:
            _stop(process)


def _await_answer(
    server: Server, process: subprocess.Popen[bytes], client: Worker, frames: Path, log: Path
) -> None:
    deadline = time.monotonic() + server.peer.start_limit_s
    problem = "it did not answer in time"
    while time.monotonic() < deadline and process.poll() is None:
        if _listens(server.target):
            try:
                client.do("outputs", sequences=[[0]], **server.job(frames))
            except JobError as error:
                problem = str(error)
            else:
                return
        time.sleep(_POLL_S)
    said = log.read_text(errors="replace").strip().splitlines()[-_SAID_LINES:]
    raise StartError("\n".join([f"{server.peer.name}: {problem}; its server said:", *said]))


def _listens(target: str) -> bool:
    host, _, port = target.partition(":")
    with contextlib.suppress(OSError), socket.create_connection((host, int(port)), timeout=1.0):
        return True
    return False


def _stop(process: subprocess.Popen[bytes]) -> None:
    """End the server with all its processes."""
    members = cpu_time.family(process.pid)
    process.terminate()
    try:
        process.wait(_STOP_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    for pid in members - {process.pid}:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
