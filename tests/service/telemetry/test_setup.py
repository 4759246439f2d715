"""What the command line asks a server to tell, asked of real processes."""

from __future__ import annotations

import re
import subprocess
import sys
import urllib.request

import grpc
import numpy as np
import pytest

from steerstream.v1 import drive_service_pb2_grpc
from tests.service import bundles
from tests.service.processes import ROOT, process, refusal
from tests.service.vehicle import Vehicle

parser = pytest.importorskip("prometheus_client.parser")
pytest.importorskip("opentelemetry.sdk")

GREY = np.full((8, 16, 3), 100, np.uint8)


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    return bundles.recurrent(tmp_path_factory.mktemp("bundles") / "tiny.onnx")


def samples(address):
    with urllib.request.urlopen(f"http://{address}/metrics") as answer:
        text = answer.read().decode()
    return {
        (sample.name, *sample.labels.values()): sample.value
        for family in parser.text_string_to_metric_families(text)
        for sample in family.samples
    }


async def test_a_drive_shows_in_the_metrics(tiny, tmp_path, free_port):
    place = f"127.0.0.1:{free_port}"
    options = ["--model", tiny, "--metrics", place]
    with process(*options, folder=tmp_path) as (_, address):
        async with grpc.aio.insecure_channel(address) as channel:
            stub = drive_service_pb2_grpc.DriveServiceStub(channel)
            vehicle = Vehicle(stub)
            await vehicle.open()
            for _ in range(3):
                await vehicle.drive(GREY)
            await vehicle.drive(GREY, sequence_number=2)
            during = samples(place)
            assert during["steerstream_slots_used", "tiny"] == 1
            assert during[("steerstream_serving",)] == 1
            assert await vehicle.done() is grpc.StatusCode.OK
            with pytest.raises(grpc.aio.AioRpcError):
                await Vehicle(stub).open(model="other")
        found = samples(place)
    assert found["steerstream_stage_seconds_count", "total"] == 3
    assert found["steerstream_step_frames_sum", "tiny"] == 3
    assert found["steerstream_skips_total", "duplicate"] == 1
    assert found["steerstream_sessions_opened_total", "tiny"] == 1
    assert found["steerstream_sessions_ended_total", "client"] == 1
    assert found["steerstream_streams_refused_total", "unknown_model"] == 1
    assert found["steerstream_slots_used", "tiny"] == 0


@pytest.fixture
def free_port():
    """A port that was free a moment ago, with the next one free as well."""
    from steerstream_service.address import Place, check_free, hold
    from steerstream_service.errors import ListenError

    while True:
        with hold(Place("127.0.0.1", 0)) as held:
            port = held.port
        try:
            check_free(Place("127.0.0.1", port + 1))
        except (ListenError, OverflowError):
            continue
        return port


def test_each_worker_has_a_port_of_its_own(tiny, tmp_path, free_port):
    options = ["--model", tiny, "--workers", 2, "--metrics", f"127.0.0.1:{free_port}"]
    with process(*options, folder=tmp_path) as (server, _):
        found = [samples(f"127.0.0.1:{free_port + worker}") for worker in (0, 1)]
        assert all(worker["steerstream_slots", "tiny"] == 64 for worker in found)
        server.terminate()
        assert server.wait() == 0


def test_a_taken_port_for_metrics_is_one_line_and_exit_code_2(tiny, tmp_path, free_port):
    place = f"127.0.0.1:{free_port}"
    with process("--model", tiny, "--metrics", place, folder=tmp_path):
        line = refusal("--model", tiny, "--metrics", place)
    assert re.fullmatch(f"steerstream serve: cannot serve metrics on {place}: .*in use\n", line)


@pytest.mark.parametrize("place", ["nonsense", "unix:/metrics", "127.0.0.1:99999"])
def test_a_malformed_place_for_metrics_is_named(tiny, place):
    line = refusal("--model", tiny, "--metrics", place)
    assert line.startswith(f"steerstream serve: argument --metrics: needs HOST:PORT, not {place}")


async def test_a_drive_becomes_a_trace(tiny, tmp_path):
    from tests.service.telemetry.test_tracing import Collector

    collector = Collector()
    with process("--model", tiny, "--traces", collector.url, folder=tmp_path) as (server, address):
        async with grpc.aio.insecure_channel(address) as channel:
            vehicle = Vehicle(drive_service_pb2_grpc.DriveServiceStub(channel))
            await vehicle.open()
            await vehicle.drive(GREY)
            await vehicle.done()
        server.terminate()
        assert server.wait() == 0
    collector.stop()
    (session,), (frame,) = collector.named("session"), collector.named("frame")
    assert frame.parent_span_id == session.span_id


@pytest.mark.parametrize("package", ["prometheus_client", "opentelemetry"])
def test_libraries_are_imported_only_on_request(package):
    text = f"import sys, steerstream_service.process.worker; sys.exit({package!r} in sys.modules)"
    subprocess.run([sys.executable, "-c", text], cwd=ROOT, check=True)
