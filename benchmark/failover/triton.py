"""The answers of Triton's sequence batcher after its server was killed and started again.

A vehicle's sequence has no state in the new process. The vehicle may go on with its sequence, or
mark its next frame as the start of a new one; both are asked here, and what is answered is compared
with a sequence that was not broken.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import tempfile
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any, Self

import grpc
import numpy as np

from benchmark.errors import BenchmarkError
from benchmark.host import cpu_time
from benchmark.host.jobs import environment
from benchmark.loadgen.picture_set import PictureSet
from benchmark.loadgen.transport import SessionEndedError, Stream, Terms
from benchmark.loadgen.triton_rpc import TritonTransport
from benchmark.peers import environments, registry
from benchmark.peers.peer import Launch, Peer, free_port
from reports import text
from steerstream.testing import server_process
from steerstream_bundle import loading

FRAMES_BEFORE, FRAMES_AFTER = 40, 21
"""Of the sequence, before its server is killed and after that."""
_SAME = 1e-5
"""Two runs of one sequence differ by less; they step in batches of one."""
_PATIENCE_S = 20.0
_TERMS = Terms(budget_ms=1e3 * _PATIENCE_S, rate_hz=20.0, every=True)
_PERIOD_NS = 50_000_000
_READY = b"\x08\x01"
"""The message `ServerReadyResponse` with `ready` set."""

Outputs = tuple[float, ...]
Restart = Callable[[], Awaitable[None]]


def answers(model: Path, folder: Path, pictures: PictureSet) -> dict[str, Any]:
    """Start Triton, kill it in the middle of a sequence, start it again, and ask on.

    Args:
        model: the bundle.
        folder: the peers' environments, into which Triton is installed where it is not there.
        pictures: what the vehicle sees.

    Raises:
        BenchmarkError: Triton could not be installed, or answers an unbroken sequence differently
            each time.
        ServerFailedError: it did not start.
    """
    peer = registry.PEERS["triton"]
    python = environments.install(peer.requirements or peer.name, folder)
    with tempfile.TemporaryDirectory(prefix="triton-") as files:
        launch = Launch(
            python=python,
            model=model,
            port=free_port(),
            slots=1,
            folder=Path(files),
            admits_all=True,
        )
        with _Server(peer, launch) as server:
            transport = TritonTransport(server.address, pictures)
            found = asyncio.run(compare(transport, server.restart))
    heads = {output.head: output.unit for output in loading.load(model).contract.outputs}
    return {"versions": environments.versions(python, peer.packages), "heads": heads, **found}


def table(found: dict[str, Any]) -> str:
    """Return what `answers` found as Markdown."""
    asked = {
        "goes on with its sequence": found["without_start"],
        "starts a new one": found["with_start"],
    }
    version = found["versions"]["nvidia-pytriton"]
    said = [
        f"Beside it NVIDIA Triton (nvidia-pytriton {version}).",
        f"It is killed after {found['frames_before']} frames of a sequence and started again.",
    ]
    said += [
        f"A vehicle that {what} is answered with an error: `{got['error']}`."
        for what, got in asked.items()
        if "error" in got
    ]
    columns = ["outputs differ from those of an unbroken sequence by", "at once"]
    columns += [f"{found['frames_after'] - 1} frames later"]
    rows = [
        [f"{what}: {head}, {unit}", f"{first:.2g}", f"{last:.2g}"]
        for what, got in asked.items()
        if "differences" in got
        for (head, unit), first, last in zip(
            found["heads"].items(), got["differences"][0], got["differences"][-1], strict=True
        )
    ]
    return " ".join(said) + (f"\n\n{text.table(columns, rows)}" if rows else "")


async def compare(transport: TritonTransport, restart: Restart) -> dict[str, Any]:
    """Return what is answered after a restart, beside the outputs of an unbroken sequence.

    Args:
        transport: to the server.
        restart: kills the server and starts it again at the same address.

    Raises:
        BenchmarkError: the outputs before the restart differ from those of the unbroken sequence.
    """
    async with asyncio.timeout(_PATIENCE_S), transport.connect() as connection:
        stream = await connection.open("unbroken", _TERMS)
        unbroken = await _step(stream, range(FRAMES_BEFORE + FRAMES_AFTER), 0)
        await stream.close()
    before, after = unbroken[:FRAMES_BEFORE], unbroken[FRAMES_BEFORE:]
    pictures = range(FRAMES_BEFORE, FRAMES_BEFORE + FRAMES_AFTER)
    async with transport.connect() as connection:
        stream = await connection.open("broken", _TERMS)
        async with asyncio.timeout(_PATIENCE_S):
            again = await _step(stream, range(FRAMES_BEFORE), 0)
        if np.max(_differences(again, before)) > _SAME:
            raise BenchmarkError("an unbroken sequence is answered differently each time")
        await restart()
        await stream.abort()
    async with transport.connect() as connection:
        goes_on = connection.resume(stream)
        without_start = await _asked(goes_on, pictures, FRAMES_BEFORE, after)
        await goes_on.abort()
    async with transport.connect() as connection:
        begins = await connection.open("again", _TERMS)
        with_start = await _asked(begins, pictures, 0, after)
        await begins.abort()
    return {
        "frames_before": FRAMES_BEFORE,
        "frames_after": FRAMES_AFTER,
        "without_start": without_start,
        "with_start": with_start,
    }


async def _asked(
    stream: Stream, pictures: Sequence[int], first: int, wanted: Sequence[Outputs]
) -> dict[str, Any]:
    """Return the error, or how far each frame's outputs are from the unbroken sequence's."""
    try:
        async with asyncio.timeout(_PATIENCE_S):
            differences = _differences(await _step(stream, pictures, first), wanted)
    except SessionEndedError as failure:
        return {"error": str(failure)}
    return {"differences": differences}


async def _step(stream: Stream, pictures: Sequence[int], first: int) -> list[Outputs]:
    """Send pictures one after the other, numbered from `first`, and return their outputs."""
    found = []
    for number, picture in enumerate(pictures, first):
        await stream.send(number, picture, (1 + number) * _PERIOD_NS)
        found.append((await stream.receive()).outputs or ())
    return found


def _differences(found: Sequence[Outputs], wanted: Sequence[Outputs]) -> list[list[float]]:
    """Return each frame's differences, one a head."""
    differences: list[list[float]] = np.abs(np.subtract(found, wanted)).tolist()
    return differences


class _Server(contextlib.AbstractContextManager["_Server"]):
    """Triton, which can be killed and started again at its address."""

    def __init__(self, peer: Peer, launch: Launch) -> None:
        self._peer = peer
        self._launch = launch
        self._command = peer.command(launch)
        self._running = contextlib.ExitStack()
        self._pid = 0
        self.address = f"127.0.0.1:{launch.port}"

    def __enter__(self) -> Self:
        self._start()
        return self

    def __exit__(self, *_: object) -> None:
        self._running.close()

    async def restart(self) -> None:
        """Kill the server and its processes, and start it again.

        A Triton that is killed leaves a megabyte of shared memory in /dev/shm.
        """
        for pid in cpu_time.family(self._pid):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        await asyncio.to_thread(self._running.close)
        await asyncio.to_thread(self._start)

    def _start(self) -> None:
        running = server_process.run(
            self._command,
            self._is_ready,
            log=self._launch.folder / "log",
            environment=environment(self._peer.variables(self._launch)),
            start_timeout_s=self._peer.start_limit_s,
        )
        self._pid = self._running.enter_context(running).pid or 0

    def _is_ready(self) -> bool:
        options = [("grpc.enable_http_proxy", 0)]
        with grpc.insecure_channel(self.address, options) as channel:
            ask: grpc.UnaryUnaryMultiCallable[bytes, bytes]
            ask = channel.unary_unary("/inference.GRPCInferenceService/ServerReady")
            try:
                return ask(b"", timeout=1.0) == _READY
            except grpc.RpcError:
                return False
