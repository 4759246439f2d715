"""Each method has a bound of its own: no crowd of one keeps calls of another out."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
from typing import Any

import grpc
import numpy as np
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc

from steerstream.metadata import REASON_KEY, RETRY_AFTER_KEY
from steerstream.v1 import drive_service_pb2, session_pb2
from steerstream_service.process import server
from steerstream_service.transport import call_bounds
from tests.service import bundles
from tests.service.closed_window import HELLO, call_headers, http2_frame
from tests.service.vehicle import running

GREY = np.full((8, 16, 3), 100, np.uint8)
SESSIONS = 2
DRIVES = 2 * SESSIONS + 64
CALLS = 64
SERVING = health_pb2.HealthCheckResponse.SERVING
HEADERS, RST_STREAM, SETTINGS = 1, 3, 4
END_HEADERS, ACK = 4, 1
CANCEL = struct.pack(">I", 8)


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    return bundles.recurrent(tmp_path_factory.mktemp("bundles") / "tiny.onnx")


@contextlib.contextmanager
def cancelled(calls):
    try:
        yield calls
    finally:
        for call in calls:
            call.cancel()


async def is_serving(run):
    health = health_pb2_grpc.HealthStub(run.channel())
    request = health_pb2.HealthCheckRequest()
    answer = await health.Check(request, timeout=60)
    return answer.status == health_pb2.HealthCheckResponse.SERVING


async def describes(run):
    request = drive_service_pb2.DescribeModelsRequest()
    return (await run.stub().DescribeModels(request, timeout=60)).default_model == "tiny"


async def the_refused_one(calls):
    """Of calls that the server only answers if it refuses them, the error of the first."""
    reads = [asyncio.create_task(call.read()) for call in calls]
    done, waiting = await asyncio.wait(reads, return_when=asyncio.FIRST_COMPLETED)
    assert len(done) + len(waiting) == len(calls)
    return done.pop().exception()


async def test_idle_streams_keep_nobody_out_and_are_told_why(tiny):
    async with running(tiny, max_sessions=SESSIONS, open_timeout_s=600.0) as run:
        stub = run.stub()
        with cancelled([stub.Drive() for _ in range(DRIVES + 1)]) as calls:
            error = await the_refused_one(calls)
            assert error.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
            metadata = dict(error.trailing_metadata())
            assert metadata[REASON_KEY] == "ERROR_REASON_TOO_MANY_SESSIONS"
            assert metadata[RETRY_AFTER_KEY] == "1000"
            assert await is_serving(run)
            assert await describes(run)
            # A vehicle opens at once: the idle stream that has waited longest makes room.
            for _ in range(3):
                assert await opens(run)


async def opens(run):
    vehicle = await run.vehicle()
    assert (await vehicle.drive(GREY)).step_count == 1
    return await vehicle.done() is grpc.StatusCode.OK


async def test_watching_probes_keep_no_vehicle_out_and_no_other_probe(tiny):
    async with running(tiny, max_sessions=SESSIONS) as run:
        health = health_pb2_grpc.HealthStub(run.channel())
        watches = [health.Watch(health_pb2.HealthCheckRequest()) for _ in range(CALLS)]
        with cancelled(watches):
            for watch in watches:
                assert (await watch.read()).status == health_pb2.HealthCheckResponse.SERVING
            error = await the_refused_one([health.Watch(health_pb2.HealthCheckRequest())])
            assert error.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
            assert REASON_KEY not in dict(error.trailing_metadata())
            assert await is_serving(run)
            assert await describes(run)
            assert await opens(run)


async def test_reflection_answers_and_is_bounded(tiny):
    request = reflection_pb2.ServerReflectionRequest(list_services="")
    async with running(tiny, max_sessions=SESSIONS) as run:
        stub = reflection_pb2_grpc.ServerReflectionStub(run.channel())
        calls = [stub.ServerReflectionInfo() for _ in range(CALLS)]
        with cancelled(calls):
            for call in calls:
                await call.write(request)
                services = (await call.read()).list_services_response.service
                assert "steerstream.v1.DriveService" in {service.name for service in services}
            error = await the_refused_one([stub.ServerReflectionInfo()])
            assert error.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
            assert await opens(run)


async def test_a_method_that_is_not_served_is_unimplemented(tiny):
    async with running(tiny) as run:
        call = run.channel().unary_unary("/steerstream.v1.DriveService/Fly")
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await call(b"", timeout=60)
        assert caught.value.code() is grpc.StatusCode.UNIMPLEMENTED


async def send_junk(method, kind):
    if kind == "stream_stream":
        call = method()
        await call.write(b"\xff\xff\xff")
    else:
        call = method(b"\xff\xff\xff", timeout=60)
    await (call if kind == "unary_unary" else call.read())


@pytest.mark.parametrize(
    ("method", "kind", "reason"),
    [
        ("steerstream.v1.DriveService/Drive", "stream_stream", "ERROR_REASON_INVALID_FIELD"),
        ("steerstream.v1.DriveService/DescribeModels", "unary_unary", None),
        ("grpc.health.v1.Health/Check", "unary_unary", None),
        ("grpc.health.v1.Health/Watch", "unary_stream", None),
        ("grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo", "stream_stream", None),
    ],
)
async def test_bytes_that_are_no_message_are_the_clients_fault(tiny, caplog, method, kind, reason):
    """And no traceback in the log."""
    async with running(tiny) as run:
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await send_junk(getattr(run.channel(), kind)(f"/{method}"), kind)
        assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT
        assert "see the wire contract" in str(caught.value.details())
        assert dict(caught.value.trailing_metadata()).get(REASON_KEY) == reason
        assert await is_serving(run)
    assert [record for record in caplog.records if record.exc_info] == []


async def test_bytes_that_are_no_message_end_an_open_session_as_the_clients_fault(tiny):
    async with running(tiny) as run:
        opening = session_pb2.OpenSession(vehicle_id="car", budget_ms=10_000)
        request = drive_service_pb2.DriveRequest(open=opening).SerializeToString()
        call: Any = run.channel().stream_stream("/steerstream.v1.DriveService/Drive")()
        await call.write(request)
        assert drive_service_pb2.DriveResponse.FromString(await call.read()).HasField("opened")
        await call.write(b"\xff\xff\xff")
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await call.read()
        assert dict(caught.value.trailing_metadata())[REASON_KEY] == "ERROR_REASON_INVALID_FIELD"
        assert await opens(run)


@pytest.mark.parametrize(
    "method",
    ["/steerstream.v1.DriveService/DescribeModels", "/grpc.health.v1.Health/Check"],
)
async def test_a_flood_of_calls_is_slowed_down_and_others_are_not(tiny, method):
    """One that calls without a pause, and one that does not even wait for its answers."""
    async with running(tiny) as run:
        flood = run.channel().unary_unary(method)
        began = asyncio.get_running_loop().time()
        for _ in range(110):
            await flood(b"", timeout=60)
        assert asyncio.get_running_loop().time() - began >= 0.9, "the last ten wait 0.1 s each"
        crowd = [flood(b"", timeout=60) for _ in range(100)]
        codes = [await call.code() for call in crowd]
        assert grpc.StatusCode.RESOURCE_EXHAUSTED in codes
        assert grpc.StatusCode.OK in codes
        assert "too fast" in await crowd[codes.index(grpc.StatusCode.RESOURCE_EXHAUSTED)].details()
        # On a connection of their own, as another client is.
        other = run.channel("other").unary_unary(method)
        for _ in range(20):
            await other(b"", timeout=60)


@contextlib.contextmanager
def plain_connection(address):
    """A connection that has agreed to the server's settings."""
    host, port = address.rsplit(":", 1)
    with socket.create_connection((host, int(port)), timeout=60) as connection:
        connection.sendall(HELLO + http2_frame(SETTINGS, ACK, 0))
        yield connection


def cancelled_at_once(method, count):
    """Calls in HTTP/2 that end as soon as they have begun."""
    block = call_headers(method)
    return b"".join(
        http2_frame(HEADERS, END_HEADERS, stream, block)
        + http2_frame(RST_STREAM, 0, stream, CANCEL)
        for stream in range(1, 2 * count, 2)
    )


@pytest.mark.parametrize(
    "method", ["/steerstream.v1.DriveService/Drive", "/grpc.health.v1.Health/Check"]
)
async def test_calls_that_one_connection_cancels_at_once_end_none_of_others(tiny, method):
    """gRPC holds them while the event loop has no time for them, and ends what comes beyond."""
    async with running(tiny, max_sessions=SESSIONS) as run:
        with plain_connection(run.address) as connection:
            flood = cancelled_at_once(method, count=20_000)
            flooding = asyncio.create_task(asyncio.to_thread(connection.sendall, flood))
            while not flooding.done():
                assert await is_serving(run)
                assert await opens(run)
            await flooding


async def test_requests_of_reflection_are_slowed_down_on_one_stream(tiny):
    request = reflection_pb2.ServerReflectionRequest(list_services="")
    async with running(tiny) as run:
        call = reflection_pb2_grpc.ServerReflectionStub(run.channel()).ServerReflectionInfo()
        began = asyncio.get_running_loop().time()
        for _ in range(110):
            await call.write(request)
            await call.read()
        assert asyncio.get_running_loop().time() - began >= 0.9
        call.cancel()


async def test_streams_that_come_too_fast_on_one_connection_are_told_so(tiny, monkeypatch):
    monkeypatch.setattr(server, "_DRIVES_HZ", 10.0)
    async with running(tiny, max_sessions=1) as run:
        stub = run.stub()
        reasons = set()
        async with asyncio.timeout(60):
            while reasons != {"ERROR_REASON_NOT_OPEN", "ERROR_REASON_TOO_MANY_SESSIONS"}:
                calls = [stub.Drive() for _ in range(300)]
                for call in calls:
                    await call.done_writing()
                for call in calls:
                    await call.code()
                    reasons.add(dict(await call.trailing_metadata())[REASON_KEY])
        assert await opens(run)


async def test_a_call_whose_request_does_not_come_ends(tiny, monkeypatch):
    monkeypatch.setattr(call_bounds, "REQUEST_S", 0.2)
    async with running(tiny) as run:
        # A stream of requests, as gRPC's own stub for one cannot hold it back.
        call = run.channel().stream_unary("/grpc.health.v1.Health/Check")()
        assert await call.code() is grpc.StatusCode.DEADLINE_EXCEEDED
        assert "no request came" in await call.details()


async def test_of_many_calls_whose_requests_do_not_come_the_oldest_ends(tiny, monkeypatch):
    monkeypatch.setattr(call_bounds, "REQUEST_S", 600.0)
    async with running(tiny) as run:
        channel = run.channel()
        calls = [
            channel.stream_unary("/grpc.health.v1.Health/Check")()
            for _ in range(call_bounds.MOST_REQUESTS + 1)
        ]
        with cancelled(calls):
            ended = [asyncio.create_task(call.code()) for call in calls]
            done, waiting = await asyncio.wait(ended, return_when=asyncio.FIRST_COMPLETED)
            assert {each.result() for each in done} == {grpc.StatusCode.DEADLINE_EXCEEDED}
            assert len(waiting) == call_bounds.MOST_REQUESTS
            for _ in range(3):
                assert await is_serving(run)


async def test_a_call_without_a_request_is_the_clients_fault(tiny):
    async with running(tiny) as run:
        none = run.channel().stream_unary("/grpc.health.v1.Health/Check")()
        await none.done_writing()
        assert await none.code() is grpc.StatusCode.INVALID_ARGUMENT
        assert await is_serving(run)


class Context:
    """A call of a client at one end of a connection."""

    def __init__(self, peer):
        self._peer = peer
        self.done = []

    def peer(self):
        return self._peer

    def add_done_callback(self, callback):
        self.done.append(callback)


@pytest.mark.parametrize(("stuck", "driving", "ends"), [(1, 0, 1), (1, 1, 0), (3, 3, 0), (4, 3, 1)])
async def test_a_connection_ends_where_most_of_its_calls_take_no_status(
    monkeypatch, stuck, driving, ends
):
    """The others may be those of vehicles behind the same proxy."""
    ended = []
    monkeypatch.setattr(call_bounds, "hang_up", ended.append)
    monkeypatch.setattr(call_bounds, "STATUS_S", 0.01)
    bound = call_bounds.CallBounds(64, {}, lambda: None)
    contexts = [Context("proxy") for _ in range(stuck + driving)] + [Context("other")]
    calls = [bound._begin("method", context) for context in contexts]
    for call in calls[:stuck]:
        bound._ending(call)
        bound._ending(call)
    async with asyncio.timeout(60):
        while not all(call.is_stuck for call in calls[:stuck]):  # noqa: ASYNC110
            await asyncio.sleep(0.005)
    assert ended == ["proxy"] * ends
    assert bound._open["method"] == len(contexts)
    for context in contexts:
        for callback in context.done:
            callback(context)
    assert bound._open["method"] == 0
    assert not bound._calls


async def test_a_status_that_is_taken_in_time_ends_no_connection(monkeypatch):
    ended = []
    monkeypatch.setattr(call_bounds, "hang_up", ended.append)
    monkeypatch.setattr(call_bounds, "STATUS_S", 0.05)
    bound = call_bounds.CallBounds(64, {}, lambda: None)
    context = Context("vehicle")
    call = bound._begin("method", context)
    call_bounds.say_ending()
    assert call.timer is not None
    context.done[0](context)
    await asyncio.sleep(0.1)
    assert ended == []
