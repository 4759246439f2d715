"""Several servers on one port: real processes, killed, replaced, drained."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pytest

from steerstream.v1 import command_pb2, drive_service_pb2_grpc
from steerstream_service.address import Place
from steerstream_service.config import Config
from steerstream_service.process import supervisor as supervisor_module
from steerstream_service.process import worker_pipe
from steerstream_service.process.supervisor import Supervisor
from tests.service import bundles
from tests.service.processes import ROOT, command, refusal
from tests.service.vehicle import Vehicle

GREY = np.full((8, 16, 3), 100, np.uint8)
OWN_CONNECTION = [("grpc.use_local_subchannel_pool", 1)]


class Crowd:
    """A supervisor with two workers, its log, and the channels of its vehicles."""

    def __init__(self, process: asyncio.subprocess.Process, channels: contextlib.AsyncExitStack):
        self.process = process
        self.log: list[dict[str, Any]] = []
        self.address = ""
        self._channels = channels
        self._news = asyncio.Condition()
        self.reading = asyncio.create_task(self._read())

    async def _read(self) -> None:
        async for line in self.process.stderr:
            async with self._news:
                self.log.append(json.loads(line))
                self._news.notify_all()

    async def logged(self, event: str, **fields: object) -> dict[str, Any]:
        """Wait for a line of the log."""

        def found() -> list[dict[str, Any]]:
            return [
                line
                for line in self.log
                if line["event"] == event and fields.items() <= line.items()
            ]

        async with self._news:
            await self._news.wait_for(found)
        return found()[-1]

    async def stub(self) -> drive_service_pb2_grpc.DriveServiceStub:
        """On a connection of its own, as each vehicle has."""
        channel = grpc.aio.insecure_channel(self.address, options=OWN_CONNECTION)
        await self._channels.enter_async_context(channel)
        return drive_service_pb2_grpc.DriveServiceStub(channel)

    async def vehicle_on(self, worker: int) -> Vehicle:
        """A vehicle whose connection the kernel gave to this worker."""
        while True:
            vehicle = Vehicle(await self.stub())
            session_id = (await vehicle.open()).session_id
            if (await self.logged("session_opened", session_id=session_id))["worker"] == worker:
                return vehicle
            await vehicle.done()


@contextlib.asynccontextmanager
async def crowd(bundle: Path, folder: Path, settings: str = "") -> AsyncIterator[Crowd]:
    port_file, config = folder / "port", folder / "server.toml"
    config.write_text(settings)
    arguments = ["--model", bundle, "--config", config, "--port-file", port_file, "--workers", 2]
    process = await asyncio.create_subprocess_exec(
        *command("--listen", "127.0.0.1:0", *arguments), cwd=ROOT, stderr=subprocess.PIPE
    )
    async with asyncio.timeout(60), contextlib.AsyncExitStack() as channels:
        run = Crowd(process, channels)
        try:
            await run.logged("workers_serving")
            run.address = port_file.read_text().strip()
            yield run
        finally:
            if process.returncode is None:
                process.terminate()
            await process.wait()
            await run.reading


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    return bundles.recurrent(tmp_path_factory.mktemp("bundles") / "tiny.onnx")


async def test_a_killed_worker_is_replaced_and_the_others_sessions_go_on(tiny, tmp_path):
    async with crowd(tiny, tmp_path) as run:
        staying, doomed = await run.vehicle_on(0), await run.vehicle_on(1)
        for vehicle in (staying, doomed):
            assert (await vehicle.drive(GREY)).step_count == 1
        os.kill((await run.logged("worker_started", worker=1))["pid"], signal.SIGKILL)
        assert (await doomed.failure())[0] is grpc.StatusCode.UNAVAILABLE
        assert (await staying.drive(GREY)).step_count == 2
        died = await run.logged("worker_died", worker=1)
        assert died["ending"] == "ended by SIGKILL"
        await run.logged("worker_replaced", worker=1)
        successor = await run.vehicle_on(1)
        assert (await successor.drive(GREY)).step_count == 1
        assert (await staying.drive(GREY)).step_count == 3


def two_free_ports():
    """The first of two ports in a row that nothing listens on."""
    while True:
        with socket.socket() as first, socket.socket() as second:
            first.bind(("127.0.0.1", 0))
            port = first.getsockname()[1]
            with contextlib.suppress(OSError, OverflowError):
                second.bind(("127.0.0.1", port + 1))
                return port


async def test_workers_that_listen_each_have_the_ports_in_a_row(tiny, tmp_path):
    port_file, port = tmp_path / "port", two_free_ports()
    arguments = ["--listen", f"127.0.0.1:{port}", "--listen-each", "--workers", 2]
    process = await asyncio.create_subprocess_exec(
        *command("--model", tiny, "--port-file", port_file, *arguments),
        cwd=ROOT,
        stderr=subprocess.PIPE,
    )
    async with asyncio.timeout(60), contextlib.AsyncExitStack() as channels:
        run = Crowd(process, channels)
        try:
            await run.logged("workers_serving")
            addresses = port_file.read_text().split()
            assert addresses == [f"127.0.0.1:{port}", f"127.0.0.1:{port + 1}"]
            for worker, run.address in enumerate(addresses):
                vehicle = Vehicle(await run.stub())
                session_id = (await vehicle.open()).session_id
                opened = await run.logged("session_opened", session_id=session_id)
                assert opened["worker"] == worker
        finally:
            process.terminate()
            await process.wait()
            await run.reading


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
async def test_a_signal_drains_all_workers(tiny, tmp_path, number):
    async with crowd(tiny, tmp_path, "drain_s = 2.0\n") as run:
        vehicles = [await run.vehicle_on(0), await run.vehicle_on(1)]
        run.process.send_signal(number)
        for vehicle in vehicles:
            # The signal takes its way through the supervisor; frames are answered meanwhile.
            while not vehicle.notices:
                assert isinstance(await vehicle.drive(GREY), command_pb2.Command)
            assert vehicle.notices[0].HasField("draining")
        for vehicle in vehicles:
            assert (await vehicle.failure())[1] == "ERROR_REASON_DRAINING"
        assert await run.process.wait() == 0
        assert (await run.logged("workers_stopped"))["exit_codes"] == [0, 0]


@contextlib.asynccontextmanager
async def killed(run: Crowd) -> AsyncIterator[None]:
    """End a crowd whose test failed, in place of its drain of an hour."""
    try:
        yield
    except BaseException:
        for pid in (run.process.pid, *(line["pid"] for line in run.log if "pid" in line)):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        raise


async def test_a_second_signal_ends_the_drain_of_all_workers(tiny, tmp_path):
    async with crowd(tiny, tmp_path, "drain_s = 3600\nidle_timeout_s = 3600\n") as run, killed(run):
        vehicles = [await run.vehicle_on(0), await run.vehicle_on(1)]
        pids = [(await run.logged("worker_started", worker=worker))["pid"] for worker in (0, 1)]
        # As a terminal has it: to the workers too, which count it as the supervisor's.
        for pid in (run.process.pid, *pids):
            os.kill(pid, signal.SIGINT)
        for worker in (0, 1):
            await run.logged("draining", worker=worker, at_most_s=3600)
        for vehicle in vehicles:
            assert (await vehicle.drive(GREY)).step_count == 1
        while run.process.returncode is None:
            run.process.send_signal(signal.SIGINT)
            await asyncio.sleep(0.2)
        for vehicle in vehicles:
            assert (await vehicle.failure())[1] == "ERROR_REASON_DRAINING"
        assert run.process.returncode == 0
        assert (await run.logged("workers_stopped"))["exit_codes"] == [0, 0]


async def test_workers_end_with_their_supervisor(tiny, tmp_path):
    async with crowd(tiny, tmp_path, "drain_s = 0.0\n") as run:
        run.process.kill()
        await run.logged("stopped", worker=0)
        await run.logged("stopped", worker=1)


async def test_a_refused_vehicle_finds_the_worker_with_room(tiny, tmp_path):
    async with crowd(tiny, tmp_path, "max_sessions = 1\n") as run:
        staying = await run.vehicle_on(0)
        stub = await run.stub()
        while not await opens(vehicle := Vehicle(stub)):
            assert (await vehicle.failure())[1] == "ERROR_REASON_TOO_MANY_SESSIONS"
            # By then the connection is old, and the next one falls anew.
            await asyncio.sleep(0.6)
        assert (await vehicle.drive(GREY)).step_count == 1
        session_id = vehicle.opened.session_id
        assert (await run.logged("session_opened", session_id=session_id))["worker"] == 1
        assert (await staying.drive(GREY)).step_count == 1


async def opens(vehicle: Vehicle) -> bool:
    try:
        await vehicle.open()
    except grpc.aio.AioRpcError:
        return False
    return True


async def test_a_port_that_workers_share_is_taken_for_all_others(tiny, tmp_path):
    async with crowd(tiny, tmp_path) as run:
        for workers in (1, 2):
            line = await asyncio.to_thread(
                refusal, "--model", tiny, "--workers", workers, "--listen", run.address
            )
            assert (
                line
                == f"steerstream serve: cannot listen on {run.address}: Address already in use\n"
            )


def test_a_fault_of_all_workers_is_reported_once(tmp_path):
    line = refusal("--model", tmp_path / "missing.onnx", "--workers", 3)
    assert line == f"steerstream serve: {tmp_path / 'missing.onnx'}: No such file or directory\n"


def test_workers_do_not_share_a_unix_socket(tiny, tmp_path):
    line = refusal("--model", tiny, "--workers", 2, "--listen", f"unix:{tmp_path / 'socket'}")
    assert line == "steerstream serve: workers share a TCP port; give --listen HOST:PORT\n"


@pytest.mark.parametrize("count", ["0", "257", "-1", "two"])
def test_a_wrong_number_of_workers_is_named(tiny, count):
    line = refusal("--model", tiny, "--workers", count)
    assert line.startswith("steerstream serve: argument --workers: needs a number from 1 to 256")


STUCK = """
import os, signal, socket, sys, time
number, _, fd = sys.argv[sys.argv.index("--worker") + 1].partition(":")
pipe = socket.socket(fileno=int(fd))
pipe.sendall(b"ready 127.0.0.1:1\\n")
first = not os.path.exists(sys.argv[1])
open(sys.argv[1], "w").close()
if first:
    os.kill(os.getpid(), signal.SIGSTOP)
try:
    while True:
        pipe.sendall(b"alive\\n")
        time.sleep(0.001)
except OSError:
    pass
"""


async def test_a_worker_that_is_stopped_is_killed_and_replaced(tmp_path, monkeypatch, caplog):
    """A worker that speaks its side of the pipe, and stops itself at its first start."""
    monkeypatch.setattr(worker_pipe, "_ALIVE_EVERY_S", 0.05)
    monkeypatch.setattr(supervisor_module, "_MIN_PAUSE_S", 0.01)
    caplog.set_level("INFO")
    supervisor = Supervisor(
        [sys.executable, "-c", STUCK, str(tmp_path / "seen")],
        Place("127.0.0.1", 1),
        Config(),
        count=1,
        on_ready=lambda: None,
        on_serving=lambda: None,
    )
    running = asyncio.create_task(supervisor.run())
    async with asyncio.timeout(60):
        while "worker_replaced" not in caplog.messages:  # noqa: ASYNC110 - nothing else tells
            await asyncio.sleep(0.01)
    assert caplog.messages.index("worker_killed") < caplog.messages.index("worker_died")
    supervisor.stop()
    await running


async def test_a_worker_that_ignores_the_drain_is_killed(tmp_path, monkeypatch, caplog):
    monkeypatch.setattr(supervisor_module, "_SLACK_S", 0.1)
    text = "import signal\nsignal.signal(signal.SIGTERM, signal.SIG_IGN)\n" + STUCK
    (tmp_path / "seen").touch()
    served = asyncio.Event()
    supervisor = Supervisor(
        [sys.executable, "-c", text, str(tmp_path / "seen")],
        Place("127.0.0.1", 1),
        Config(drain_s=0.0, start_timeout_s=60.0),
        count=1,
        on_ready=lambda: None,
        on_serving=served.set,
    )
    monkeypatch.setattr(supervisor, "_start_s", 60.0)
    running = asyncio.create_task(supervisor.run())
    await served.wait()
    supervisor.stop()
    await running
    assert "worker_killed" in caplog.messages
