"""A server in a process: signals, sockets, and clients that are killed."""

from __future__ import annotations

import asyncio
import contextlib
import json
import resource
import signal
import socket
import subprocess
import sys
from pathlib import Path

import grpc
import numpy as np
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc

from steerstream.v1 import drive_service_pb2_grpc
from steerstream_service.address import Place, hold
from steerstream_service.domain import RecordingPlan
from steerstream_service.process.command import _parser
from steerstream_service.process.worker import RECORD_BYTES, _recording
from tests.service import bundles
from tests.service.closed_window import ClosedWindow
from tests.service.processes import (
    ROOT,
    TIMEOUT_S,
    command,
    full_pipe,
    process,
    refusal,
    wait_until_serving,
)
from tests.service.vehicle import Vehicle

GREY = np.full((8, 16, 3), 100, np.uint8)


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    return bundles.recurrent(tmp_path_factory.mktemp("bundles") / "tiny.onnx")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
async def test_a_signal_drains_and_exits_with_0(tiny, tmp_path, number):
    settings = tmp_path / "server.toml"
    settings.write_text("drain_s = 0.5\n")
    with process("--model", tiny, "--config", settings, folder=tmp_path) as (server, address):
        async with grpc.aio.insecure_channel(address) as channel:
            stub = drive_service_pb2_grpc.DriveServiceStub(channel)
            staying, leaving = Vehicle(stub), Vehicle(stub)
            for vehicle in (staying, leaving):
                await vehicle.open()
            server.send_signal(number)
            assert (await leaving.call.read()).notice.HasField("draining")
            assert await leaving.done() is grpc.StatusCode.OK
            assert (await staying.drive(GREY)).step_count == 1
            assert staying.notices[0].draining.ends_in_ms == 500
            assert (await staying.failure())[1] == "ERROR_REASON_DRAINING"
        assert server.wait() == 0
        events = [json.loads(line) for line in server.stderr]
    ends = {event["ended_by"] for event in events if event["event"] == "session_ended"}
    assert ends == {"client", "draining"}
    assert events[-1]["event"] == "stopped"


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_a_second_signal_ends_the_drain_as_its_time_does(tiny, tmp_path, number):
    settings = tmp_path / "server.toml"
    settings.write_text("drain_s = 3600\nidle_timeout_s = 3600\n")
    with process("--model", tiny, "--config", settings, folder=tmp_path) as (server, address):
        async with grpc.aio.insecure_channel(address) as channel:
            vehicle = Vehicle(drive_service_pb2_grpc.DriveServiceStub(channel))
            await vehicle.open()
            server.send_signal(number)
            while (draining := json.loads(server.stderr.readline()))["event"] != "draining":
                pass
            assert (draining["sessions"], draining["at_most_s"]) == (1, 3600)
            assert draining["at_once"] == (
                "with another SIGTERM or SIGINT, a second or more after the first"
            )
            assert (await vehicle.drive(GREY)).step_count == 1
            assert vehicle.notices[0].draining.ends_in_ms == 3_600_000
            assert (await vehicle.call.read()).notice.HasField("ticket")
            repeating = asyncio.create_task(repeat(server, number))
            code, reason, _ = await vehicle.failure()
            assert (code, reason) == (grpc.StatusCode.UNAVAILABLE, "ERROR_REASON_DRAINING")
        await repeating
        events = [json.loads(line) for line in server.stderr]
    assert server.returncode == 0
    (ended,) = (event for event in events if event["event"] == "session_ended")
    assert ended["ended_by"] == "draining"
    assert events[-1]["event"] == "stopped"


async def repeat(server, number):
    """Send a signal until the server has ended: those within a second of the first count as it."""
    async with asyncio.timeout(TIMEOUT_S):
        while server.poll() is None:
            await asyncio.sleep(0.2)
            server.send_signal(number)


async def test_clients_that_take_no_bytes_do_not_hold_up_the_stop(tiny, tmp_path):
    settings = tmp_path / "server.toml"
    settings.write_text("drain_s = 0.5\nidle_timeout_s = 3600\n")
    with process("--model", tiny, "--config", settings, folder=tmp_path) as (server, address):
        client = await ClosedWindow.connect(address)
        for number in range(4):
            client.open(vehicle_id=f"closed-{number}", budget_ms=1000)
        opened = 0
        while opened < 4:
            opened += json.loads(server.stderr.readline())["event"] == "session_opened"
        server.send_signal(signal.SIGTERM)
        assert server.wait(TIMEOUT_S) == 0
        events = [json.loads(line)["event"] for line in server.stderr]
        await client.close()
    assert events.count("session_ended") == 4
    assert events[-1] == "stopped"


CLIENT = """
import sys, time, grpc
from steerstream.v1 import drive_service_pb2, drive_service_pb2_grpc, frame_pb2, session_pb2

Request = drive_service_pb2.DriveRequest
image = frame_pb2.Rgb8Image(width_px=16, height_px=8, pixels=bytes(384))

def requests():
    yield Request(open=session_pb2.OpenSession(vehicle_id="doomed", budget_ms=1000))
    number = 0
    while True:
        number += 1
        yield Request(frame=frame_pb2.Frame(
            sequence_number=number, capture_time_ns=number * 50_000_000, rgb8=image))

channel = grpc.insecure_channel(sys.argv[1])
for answer in drive_service_pb2_grpc.DriveServiceStub(channel).Drive(requests()):
    print("answer", flush=True)
"""


def kill_in_the_middle(address: str) -> None:
    """A client process that dies with frames on their way."""
    client = subprocess.Popen(
        [sys.executable, "-c", CLIENT, address], cwd=ROOT, stdout=subprocess.PIPE, text=True
    )
    for _ in range(3):
        assert client.stdout.readline() == "answer\n"
    client.send_signal(signal.SIGKILL)
    client.communicate()


async def test_a_killed_client_frees_its_slot(tiny, tmp_path):
    settings = tmp_path / "server.toml"
    settings.write_text("max_sessions = 1\nidle_timeout_s = 3600\n")
    with process("--model", tiny, "--config", settings, folder=tmp_path) as (_, address):
        for _ in range(2):
            kill_in_the_middle(address)
            await opens(address)


def descriptors(pid: int) -> int:
    return len(list(Path(f"/proc/{pid}/fd").iterdir()))


async def test_a_server_without_free_descriptors_drives_on_and_recovers(tiny, tmp_path):
    with process("--model", tiny, folder=tmp_path) as (server, address):
        host, _, port = address.rpartition(":")
        async with grpc.aio.insecure_channel(address) as channel:
            vehicle = Vehicle(drive_service_pb2_grpc.DriveServiceStub(channel))
            await vehicle.open()
            await vehicle.drive(GREY)
            most = descriptors(server.pid) + 8
            resource.prlimit(server.pid, resource.RLIMIT_NOFILE, (most, most))
            sockets = [socket.create_connection((host, int(port))) for _ in range(120)]
            async with asyncio.timeout(TIMEOUT_S):
                while descriptors(server.pid) < most:  # noqa: ASYNC110 - nothing else tells
                    await asyncio.sleep(0.01)
            steps = [(await vehicle.drive(GREY)).step_count for _ in range(20)]
            assert steps == list(range(2, 22))
            for each in sockets:
                each.close()
        await opens(address)


async def opens(address: str) -> None:
    """Try until a session opens: the kernel tells the server of a dead client in its own time."""
    async with grpc.aio.insecure_channel(address) as channel, asyncio.timeout(60):
        while True:
            vehicle = Vehicle(drive_service_pb2_grpc.DriveServiceStub(channel))
            with contextlib.suppress(grpc.aio.AioRpcError):
                await vehicle.open()
                assert (await vehicle.drive(GREY)).step_count == 1
                await vehicle.done()
                return


def test_a_server_whose_log_nobody_reads_serves_and_stops(tiny, tmp_path):
    address = f"unix:{tmp_path / 'socket'}"
    with full_pipe() as (_, writes, _):
        server = subprocess.Popen(
            command("--model", tiny, "--listen", address), cwd=ROOT, stderr=writes
        )
        try:
            wait_until_serving(address)
            server.send_signal(signal.SIGTERM)
            assert server.wait(TIMEOUT_S) == 0
        finally:
            server.kill()
            server.wait()


def test_serving_on_a_unix_socket(tiny, tmp_path):
    address = f"unix:{tmp_path / 'socket'}"
    server = subprocess.Popen(
        command("--model", tiny, "--listen", address), cwd=ROOT, stderr=subprocess.PIPE, text=True
    )
    try:
        assert json.loads(server.stderr.readline())["address"] == address
        chosen = json.loads(server.stderr.readline())
        assert (chosen["event"], chosen["model"]) == ("runtime_chosen", "tiny")
        assert (chosen["precision"], chosen["provider"]) == ("f32", "cpu")
        assert chosen["reason"] == "nothing else to choose from"
        warm = json.loads(server.stderr.readline())
        assert (warm["event"], warm["provider"], warm["models"]) == ("warm", "cpu", ["tiny"])
        assert warm["steps_on"] in {"loop", "thread"}
        with grpc.insecure_channel(address) as channel:
            grpc.channel_ready_future(channel).result(timeout=60)
        server.send_signal(signal.SIGTERM)
        assert server.wait() == 0
    finally:
        server.kill()
        server.communicate()


HANGING = """
import asyncio, ctypes, sys
from steerstream_service.process import command, server

async def warm_up(self):
    while True:
        await asyncio.to_thread(ctypes.CDLL(None).sleep, 1000)  # as a network that loops

server.Server.warm_up = warm_up
sys.exit(command.main(sys.argv[1:]))
"""


def hanging(*arguments):
    """A server whose warm-up never ends."""
    given = ["--listen", "127.0.0.1:0", *map(str, arguments)]
    return subprocess.Popen(
        [sys.executable, "-c", HANGING, *given], cwd=ROOT, stderr=subprocess.PIPE, text=True
    )


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_during_the_warm_up_ends_the_server_without_serving(tiny, number):
    server = hanging("--model", tiny)
    log = [json.loads(server.stderr.readline())]
    assert log[0]["event"] == "listening"
    server.send_signal(number)
    _, rest = server.communicate(timeout=60)
    assert server.returncode == 0
    assert [json.loads(line)["event"] for line in rest.splitlines()] == ["stopped"]


def test_a_network_that_takes_too_long_is_one_line_and_exit_code_2(tiny, tmp_path):
    (tmp_path / "server.toml").write_text("start_timeout_s = 1.0\n")
    server = hanging("--model", tiny, "--config", tmp_path / "server.toml", "--log-level", "error")
    _, said = server.communicate(timeout=60)
    assert said.startswith("steerstream serve: not ready within start_timeout_s, 1 s")
    assert said.count("\n") == 1
    assert server.returncode == 2


STUCK = """
import ctypes, sys
from steerstream_service.engine import host_stepper
from steerstream_service.process import command

def step(self, *frames, **options):
    while True:
        ctypes.CDLL(None).sleep(1000)  # as a device that hangs

host_stepper.HostStepper.step = step
sys.exit(command.main(sys.argv[1:]))
"""


@contextlib.contextmanager
def stuck(*arguments):
    """A server whose first step never ends."""
    server = subprocess.Popen(
        [sys.executable, "-c", STUCK, *map(str, arguments)],
        cwd=ROOT,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        yield server
    finally:
        server.kill()
        server.communicate()


async def test_a_step_that_never_ends_turns_health_and_does_not_hold_up_the_stop(tiny, tmp_path):
    settings, address = tmp_path / "server.toml", f"unix:{tmp_path / 'socket'}"
    settings.write_text('steps_on = "thread"\ndrain_s = 0.1\nmax_budget_ms = 100.0\n')
    with stuck("--model", tiny, "--listen", address, "--config", settings) as server:
        async with grpc.aio.insecure_channel(address) as channel, asyncio.timeout(TIMEOUT_S):
            states = health_pb2_grpc.HealthStub(channel).Watch(
                health_pb2.HealthCheckRequest(), wait_for_ready=True
            )
            answer = health_pb2.HealthCheckResponse
            while (await states.read()).status != answer.SERVING:
                pass
            vehicle = Vehicle(drive_service_pb2_grpc.DriveServiceStub(channel))
            await vehicle.open(budget_ms=100)
            await vehicle.frame(GREY)
            assert (await states.read()).status == answer.NOT_SERVING
        server.send_signal(signal.SIGTERM)
        assert await asyncio.to_thread(server.wait, TIMEOUT_S) == 1
        events = [json.loads(line)["event"] for line in server.stderr]
    assert "step_stuck" in events
    assert events[-1] == "step_never_ended"


SETTLED = """
import gc, sys
from steerstream_service.process import command, server

async def stopped(self):
    print(sys.getswitchinterval(), gc.get_freeze_count(), flush=True)

server.Server.stopped = stopped
sys.exit(command.main(sys.argv[1:]))
"""


def test_a_server_that_serves_has_set_up_the_interpreter(tiny):
    """Threads hand over Python's lock quickly, and no collection looks at the start's objects."""
    program = [sys.executable, "-c", SETTLED, "--model", str(tiny), "--listen", "127.0.0.1:0"]
    said = subprocess.run(program, cwd=ROOT, capture_output=True, text=True, check=True, timeout=60)
    interval_s, frozen = said.stdout.split()
    assert float(interval_s) < 0.001
    assert int(frozen) > 10_000


def test_a_unix_socket_is_not_stolen(tiny, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    command_line = command("--model", tiny, "--listen", "unix:socket")
    with subprocess.Popen(command_line, stderr=subprocess.PIPE, text=True) as server:
        assert json.loads(server.stderr.readline())["event"] == "listening"
        thief = subprocess.run(
            command_line, capture_output=True, text=True, check=False, timeout=60
        )
        assert thief.returncode == 2
        (line,) = [line for line in thief.stderr.splitlines() if not line.startswith("{")]
        assert line == "steerstream serve: cannot listen on unix:socket: Address already in use"
        with grpc.insecure_channel(f"unix:{tmp_path / 'socket'}") as channel:
            grpc.channel_ready_future(channel).result(timeout=60)
        server.terminate()
        server.communicate(timeout=60)


def test_an_admin_port_has_health_and_takes_reflection_away_from_vehicles(tiny, tmp_path):
    with hold(Place("127.0.0.1", 0)) as held:
        admin = str(held)
    with process("--model", tiny, "--admin-listen", admin, folder=tmp_path) as (server, address):
        for place, reflects in ((admin, True), (address, False)):
            with grpc.insecure_channel(place) as channel:
                health = health_pb2_grpc.HealthStub(channel)
                answer = health.Check(health_pb2.HealthCheckRequest(), timeout=60)
                assert answer.status == health_pb2.HealthCheckResponse.SERVING
                assert has_reflection(channel) is reflects
        line = refusal("--model", tiny, "--admin-listen", admin)
        assert line == f"steerstream serve: cannot listen on {admin}: Address already in use\n"
        server.terminate()
        assert server.wait(60) == 0


def has_reflection(channel):
    stub = reflection_pb2_grpc.ServerReflectionStub(channel)
    request = reflection_pb2.ServerReflectionRequest(list_services="")
    try:
        (answer,) = stub.ServerReflectionInfo(iter([request]), timeout=60)
    except grpc.RpcError as error:
        return error.code() is not grpc.StatusCode.UNIMPLEMENTED
    return len(answer.list_services_response.service) == 5


LACKING = """
import sys
from pathlib import Path
from steerstream_service.process import command, memory, server

async def warm_up(self):
    raise {error}

{patch}
sys.exit(command.main(sys.argv[1:]))
"""
FAILS = "server.Server.warm_up = warm_up"


@pytest.mark.parametrize(
    ("patch", "error", "said"),
    [
        (
            "memory.free_bytes = lambda: 100.0",
            "",
            "64 sessions and batches of 32 take ",
        ),
        (FAILS, "MemoryError('no 3 GB')", "not enough memory or threads: no 3 GB\n"),
        (FAILS, 'RuntimeError("can\'t start new thread")', "not enough memory or threads: can't"),
    ],
)
def test_a_lack_of_memory_is_one_line_and_exit_code_2(tiny, patch, error, said):
    text = LACKING.format(patch=patch, error=error or "AssertionError")
    options = ["--model", str(tiny), "--listen", "127.0.0.1:0", "--log-level", "error"]
    result = subprocess.run(
        [sys.executable, "-c", text, *options],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert result.returncode == 2
    assert result.stderr.startswith(f"steerstream serve: {said}")
    assert result.stderr.count("\n") == 1


@pytest.mark.parametrize("words", [("--record-bytes", 5), ("--record-share", 0.5)])
def test_how_much_is_recorded_says_nothing_without_where(tiny, words):
    said = refusal("--model", tiny, *words)
    assert "--record-bytes and --record-share need --record" in said


@pytest.mark.parametrize(
    ("words", "plan"),
    [
        ((), None),
        (("--record", "a"), (Path("a"), RECORD_BYTES, 1.0)),
        (
            ("--record", "a", "--record-bytes", "100", "--record-share", "0", "--workers", "4",
             "--worker", "3:1"),
            (Path("a", "worker-3"), 100, 0.0, 4),
        ),
    ],
)  # fmt: skip
def test_each_worker_records_into_a_folder_of_its_own(words, plan):
    made = _recording(_parser().parse_args(words))
    assert made == (plan and RecordingPlan(*plan))
