"""The server as a process: start, refusals to start, signals, and clients that are killed."""

from __future__ import annotations

import asyncio
import contextlib
import json
import re
import signal
import socket
import subprocess
import sys

import grpc
import numpy as np
import pytest

from steerstream.v1 import drive_service_pb2, drive_service_pb2_grpc
from steerstream_bundle.contract import METADATA_KEY
from steerstream_service.config import DEFAULT_MODEL, Config, parse
from tests.service import bundles
from tests.service.processes import ROOT, command, process, refusal
from tests.service.vehicle import Vehicle

GREY = np.full((8, 16, 3), 100, np.uint8)


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    return bundles.recurrent(tmp_path_factory.mktemp("bundles") / "tiny.onnx")


def broken(tmp_path, kind):
    path = tmp_path / "broken.onnx"
    match kind:
        case "empty":
            path.write_bytes(b"")
        case "not ONNX":
            path.write_bytes(b"these are not the weights" * 100)
        case "truncated":
            whole = bundles.recurrent(path).read_bytes()
            path.write_bytes(whole[: len(whole) // 2])
        case "no contract":
            bundles.write(path, bundles.contract(), _NODES, metadata={})
        case "contract":
            text = bundles.contract().to_json().replace('"rate_hz"', '"rate"')
            bundles.write(path, bundles.contract(), _NODES, metadata={METADATA_KEY: text})
        case "limits":
            bundles.recurrent(path, limits_profile="rocket")
    return path


_NODES = [*bundles._mean_colour(), *bundles._hidden(), *bundles._heads("h_next")]


@pytest.mark.parametrize(
    ("kind", "text"),
    [
        ("missing", "No such file"),
        ("empty", "the file is empty"),
        ("not ONNX", "not an ONNX model"),
        ("truncated", "not an ONNX model|broken"),
        ("no contract", "no contract under 'steerstream.contract'"),
        ("contract", "its contract is broken: contract has unknown fields: rate"),
        ("limits", "limits profile 'rocket' is not one of"),
    ],
)
def test_a_broken_bundle_is_one_line_and_exit_code_2(tmp_path, kind, text):
    line = refusal("--model", broken(tmp_path, kind))
    assert re.search(text, line), line
    assert line.count("\n") == 1
    assert line.startswith("steerstream serve: ")


def test_a_bad_setting_is_one_line_and_exit_code_2(tiny, tmp_path):
    file = tmp_path / "server.toml"
    file.write_text("max_sessions = 0\n")
    line = refusal("--model", tiny, "--config", file)
    assert line == f"steerstream serve: {file}: max_sessions must be from 1 to 65536, is 0\n"


def test_an_unknown_default_model_is_one_line_and_exit_code_2(tiny):
    line = refusal("--model", tiny, "--default-model", "other")
    assert line == "steerstream serve: default model 'other' is not one of ['tiny']\n"


def test_several_models_without_a_default_are_one_line_and_exit_code_2(tiny, tmp_path):
    other = bundles.stateless(tmp_path / "a.onnx")
    line = refusal("--model", tiny, "--model", other)
    assert line == (
        "steerstream serve: which model is the default? "
        "choose --default-model of ['stateless', 'tiny']\n"
    )


def test_the_network_to_drive_with_is_the_default_among_several(tmp_path):
    bundles.recurrent(tmp_path / "z.onnx", name=DEFAULT_MODEL)
    bundles.stateless(tmp_path / "a.onnx")
    with process("--model", tmp_path, folder=tmp_path) as (_, address):
        assert described(address).default_model == DEFAULT_MODEL


def test_without_a_model_the_bundle_that_ships_is_served(tmp_path):
    with process(folder=tmp_path) as (_, address):
        answer = described(address)
    assert [model.name for model in answer.models] == [DEFAULT_MODEL]
    assert answer.default_model == DEFAULT_MODEL


def described(address):
    with grpc.insecure_channel(address) as channel:
        stub = drive_service_pb2_grpc.DriveServiceStub(channel)
        return stub.DescribeModels(drive_service_pb2.DescribeModelsRequest(), timeout=60)


def test_a_taken_port_is_one_line_and_exit_code_2(tiny):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        line = refusal("--model", tiny, "--listen", f"127.0.0.1:{port}")
    assert line == f"steerstream serve: cannot listen on 127.0.0.1:{port}: Address already in use\n"


@pytest.mark.parametrize("address", ["nonsense", "127.0.0.1", "127.0.0.1:99999", ":", "a:b:1"])
def test_a_malformed_address_is_one_line_and_exit_code_2(tiny, address):
    line = refusal("--model", tiny, "--listen", address)
    assert line == f"steerstream serve: cannot listen on {address!r}; give HOST:PORT or unix:PATH\n"


@pytest.mark.parametrize(
    ("arguments", "wrong"),
    [(["--model"], "--model"), (["--port", "5"], "--port 5"), (["--model", "a", "--wat"], "--wat")],
)
def test_a_wrong_option_is_one_line_and_exit_code_2(arguments, wrong):
    result = subprocess.run(
        command(*arguments), cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert result.returncode == 2
    assert wrong in result.stderr
    assert result.stderr.startswith("steerstream serve: ")
    assert result.stderr.endswith("; see steerstream serve --help\n")
    assert result.stderr.count("\n") == 1


def test_help_explains_every_option_and_setting():
    text = subprocess.run(
        command("--help"), cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout
    options = ("--model", "--default-model", "--config", "--listen", "--port-file", "--workers")
    for name in (*options, "--log-level", *Config.__dataclass_fields__):
        assert name in text


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
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


def test_serving_on_a_unix_socket(tiny, tmp_path):
    address = f"unix:{tmp_path / 'socket'}"
    server = subprocess.Popen(
        command("--model", tiny, "--listen", address), cwd=ROOT, stderr=subprocess.PIPE, text=True
    )
    try:
        assert json.loads(server.stderr.readline())["address"] == address
        with grpc.insecure_channel(address) as channel:
            grpc.channel_ready_future(channel).result(timeout=60)
        server.send_signal(signal.SIGTERM)
        assert server.wait() == 0
    finally:
        server.kill()
        server.communicate()


def test_the_defaults_are_within_their_bounds():
    assert parse("") == Config()
