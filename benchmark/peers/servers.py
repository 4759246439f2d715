"""Runs a peer's server on one core, and holds what all measurements share."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import signal
import socket
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmark.errors import JobError
from benchmark.host import cpu_time
from benchmark.host.jobs import Helper, environment
from benchmark.loadgen import view_pictures
from benchmark.loadgen.crew import Crew, crew
from benchmark.loadgen.picture_set import PictureSet
from benchmark.peers.peer import Launch, Peer, free_port
from steerstream.testing import server_process
from steerstream_bundle.loading import reduced_path
from steerstream_bundle.quickest import INT8

CLIENT = "client"
"""Name of the load generator's environment."""
_IDLE_WINDOW_S = 0.2
_IDLE_CORES = 0.1
_IDLE_LIMIT_S = 20.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Bench:
    """Shared by all measurements of the comparison.

    Attributes:
        model: the bundle.
        pythons: each peer's interpreter; the load generator's stands under `client`.
        client: the load generator, one process on another core than the servers.
        bares: the bare loop and the references of each bundle, on the servers' core.
        pictures: what vehicles send, by encoding.
        seconds: counted time of one measurement.
        server_core: where servers and bare loop run.
        client_core: where load generators run.
    """

    model: Path
    pythons: Mapping[str, Path]
    client: Crew
    bares: Mapping[Path, Helper]
    pictures: Mapping[str, PictureSet]
    seconds: float
    server_core: int
    client_core: int

    @property
    def bare(self) -> Helper:
        """The bare loop of the bundle that is compared."""
        return self.bares[self.model]

    def served(self, peer: Peer) -> Path:
        """Return the bundle that a peer serves."""
        return peer.model or self.model

    def another_client(self) -> contextlib.AbstractContextManager[Crew]:
        """Start another load generator, which ends with the context."""
        return crew(1, [self.client_core], python=self.pythons[CLIENT])


@dataclass(frozen=True, slots=True, kw_only=True)
class PeerServer:
    """A running server.

    Attributes:
        peer: what it is.
        address: HOST:PORT.
        pid: of its first process.
        start_s: from its start to its first answered frame.
        view: pictures as it wants to see them; None where it gets whole ones.
    """

    peer: Peer
    address: str
    pid: int = 0
    start_s: float = 0.0
    view: PictureSet | None = None

    def pictures(self, bench: Bench) -> Mapping[str, PictureSet]:
        """Return what vehicles send to it, by encoding."""
        return bench.pictures if self.view is None else {**bench.pictures, "jpeg": self.view}

    def probe(self, client: Crew, what: str, pictures: PictureSet, **values: object) -> Any:  # noqa: ANN401
        """Run one of the load generator's small loads against it.

        Args:
            client: the load generator.
            what: `outputs`, `hold` or `reopen`; see `benchmark.loadgen.probes`.
            pictures: what vehicles send.
            **values: further arguments of the load.

        Raises:
            JobError: it failed.
        """
        transport = self.peer.transport
        return client.probe(what, self.address, pictures, transport=transport, **values)

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
def serve(bench: Bench, peer: Peer, *, slots: int, admits_all: bool) -> Iterator[PeerServer]:
    """Run a peer's server until the context ends; it has answered a frame when the context begins.

    Args:
        bench: what all measurements share.
        peer: what is served.
        slots: sessions at once, where the peer has such a bound.
        admits_all: whether a peer that forecasts its load shall admit sessions regardless.

    Raises:
        ServerFailedError: it ended, or has answered no frame in time.
    """
    print(f"{peer.name}: starting ...", file=sys.stderr)
    port, members = free_port(), set[int]()
    waiting = PeerServer(peer=peer, address=f"127.0.0.1:{port}")

    def is_ready() -> bool:
        if not _listens(port):
            return False
        with contextlib.suppress(JobError):
            waiting.probe(bench.client, "outputs", bench.pictures["rgb8"], sequences=[[0]])
            return True
        return False

    with tempfile.TemporaryDirectory(prefix=f"{peer.name}-") as folder:
        launch = Launch(
            python=bench.pythons[peer.name],
            model=reduced_path(bench.model, INT8) if peer.is_reduced else bench.served(peer),
            port=port,
            slots=slots,
            folder=Path(folder),
            admits_all=admits_all,
        )
        try:
            with server_process.run(
                peer.command(launch),
                is_ready,
                log=launch.folder / "log",
                cores=[bench.server_core],
                environment=environment(peer.variables(launch)),
                start_timeout_s=peer.start_limit_s,
            ) as server:
                assert server.pid is not None  # noqa: S101 - it was started here
                try:
                    view = None
                    if peer.sees_view:
                        view = view_pictures.seen(waiting.address, bench.pictures["jpeg"])
                    yield dataclasses.replace(
                        waiting, pid=server.pid, start_s=server.start_s or 0.0, view=view
                    )
                finally:
                    members = cpu_time.family(server.pid) - {server.pid}
        finally:
            # Daemons that a server leaves behind.
            for pid in members:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)


def _listens(port: int) -> bool:
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1.0):
        return True
    return False
