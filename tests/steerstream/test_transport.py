"""The client over real gRPC, on this machine's loopback."""

from __future__ import annotations

import asyncio
import shutil
import sys
from pathlib import Path
from typing import Any, cast

import grpc
import pytest

import steerstream
from steerstream import (
    BadRequest,
    Command,
    ConnectionFailed,
    Draining,
    ErrorReason,
    FramePolicy,
    ProtocolError,
    ServerDraining,
    SessionEnded,
    SessionLost,
    SteerstreamError,
    Tls,
    UnknownModel,
    transport,
)
from steerstream.failures import RpcFailed
from steerstream.session import MAX_IN_FLIGHT
from steerstream.testing import Drop, Fail, FakeServer, Reply
from steerstream.transport import GrpcStream
from steerstream.v1 import drive_service_pb2, drive_service_pb2_grpc, frame_pb2
from tests.steerstream.certificates import make_certificate
from tests.steerstream.wired import serving

JPEG = b"\xff\xd8 a picture"
ROOT = Path(__file__).resolve().parents[2]


async def until(condition) -> None:
    async with asyncio.timeout(60):
        while not condition():  # noqa: ASYNC110 - what is waited for sets no event
            await asyncio.sleep(0)


async def test_a_drive_over_a_socket():
    async with (
        serving(FakeServer(lambda f: Reply(f.sequence_number / 10))) as (target, _),
        steerstream.connect(target) as client,
    ):
        assert (await client.describe_models()).default_model == "fake"
        async with client.open_session(vehicle_id="car") as session:
            for number in range(3):
                command = await session.request(JPEG)
                assert command.limited.steering_wheel_angle_rad == number / 10
                assert command.checksum_ok
            await session.send_frame(JPEG)
            await session.finish()
            assert [answer.sequence_number async for answer in session] == [3]


async def test_a_refused_connection_fails_at_once():
    with pytest.raises(ConnectionFailed, match="localhost:1 refuses"):
        async with steerstream.connect("localhost:1", timeout_s=30):
            pytest.fail("nothing listens there")


async def test_a_host_name_that_does_not_exist_fails():
    with pytest.raises(ConnectionFailed, match=r"no\.such\.host\.invalid"):
        async with steerstream.connect("no.such.host.invalid:50051", timeout_s=5):
            pytest.fail("nothing listens there")


async def test_waiting_for_a_server_gives_up_in_time():
    with pytest.raises(ConnectionFailed, match=r"did not answer within 0\.3 s"):
        async with steerstream.connect("localhost:1", timeout_s=0.3, wait_for_server=True):
            pytest.fail("nothing listens there")


async def test_a_server_that_starts_late_is_waited_for(unused_tcp_port):
    async def start_late() -> grpc.aio.Server:
        await asyncio.sleep(0.2)
        server = grpc.aio.server()
        server.add_insecure_port(f"localhost:{unused_tcp_port}")
        await server.start()
        return server

    starting = asyncio.create_task(start_late())
    async with steerstream.connect(
        f"localhost:{unused_tcp_port}", timeout_s=20, wait_for_server=True
    ):
        pass
    await (await starting).stop(None)


async def test_a_server_of_another_kind_is_told_apart():
    server = grpc.aio.server()
    port = server.add_insecure_port("localhost:0")
    await server.start()
    async with steerstream.connect(f"localhost:{port}") as client:
        with pytest.raises(ProtocolError, match="steerstream server"):
            await client.describe_models()
        with pytest.raises(ProtocolError, match="steerstream server"):
            async with client.open_session(vehicle_id="car"):
                pytest.fail("the session must not open")
    await server.stop(None)


async def test_an_opening_that_is_too_large_is_a_bad_request():
    async with serving(FakeServer()) as (target, _), steerstream.connect(target) as client:
        with pytest.raises(BadRequest, match=r"larger than max.*correct the request"):
            await client.open_session(vehicle_id="car", ticket=bytes(5 << 20))


async def test_reasons_travel_in_the_trailing_metadata():
    async with (
        serving(FakeServer()) as (target, _),
        steerstream.connect(target) as client,
    ):
        with pytest.raises(UnknownModel) as caught:
            async with client.open_session(vehicle_id="car", model="nosuch"):
                pytest.fail("the session must not open")
    assert caught.value.reason is ErrorReason.UNKNOWN_MODEL
    assert caught.value.code is grpc.StatusCode.NOT_FOUND


async def test_a_stream_that_is_aborted_gives_the_servers_reason():
    fail = Fail(grpc.StatusCode.UNAVAILABLE, "stopping", ErrorReason.DRAINING)
    async with (
        serving(FakeServer([Reply(), Draining(100), fail])) as (target, _),
        steerstream.connect(target) as client,
        client.open_session(vehicle_id="car") as session,
    ):
        assert isinstance(await session.request(JPEG), Command)
        with pytest.raises(ServerDraining, match="stopping"):
            await session.request(JPEG)
        assert session.draining == Draining(100)


async def test_the_servers_reason_survives_writes_into_the_ended_stream():
    """gRPC puts a status of its own in its place; one that never arrived cannot be helped."""

    async def flood(target: str) -> steerstream.SteerstreamError:
        async with (
            steerstream.connect(target) as client,
            client.open_session(vehicle_id="car") as session,
        ):
            async with asyncio.timeout(5):
                try:
                    while True:
                        await session.send_frame(bytes(20_000))
                except steerstream.SteerstreamError as error:
                    return error

    def script(frame):
        if frame.sequence_number < 40:
            return Reply()
        return Fail(grpc.StatusCode.UNAVAILABLE, "stopping", ErrorReason.DRAINING)

    async with serving(FakeServer(script)) as (target, _):
        errors = [await flood(target) for _ in range(8)]
    assert sum(isinstance(error, ServerDraining) for error in errors) >= 7


async def test_what_a_proxy_says_of_a_dead_server_is_believed_at_once(monkeypatch):
    """INTERNAL is gRPC's own word only where a write failed; another status follows that one."""
    monkeypatch.setattr(transport, "_STATUS_GRACE_S", 3600.0)
    reset = Fail(grpc.StatusCode.INTERNAL, "Received RST_STREAM with error code 2")
    async with (
        serving(FakeServer([Reply(), reset])) as (target, _),
        steerstream.connect(target) as client,
        client.open_session(vehicle_id="car") as session,
    ):
        assert isinstance(await session.request(JPEG), Command)
        async with asyncio.timeout(60):
            with pytest.raises(SessionLost, match="RST_STREAM"):
                await session.request(JPEG)


async def test_a_server_that_is_killed_in_a_drive_is_noticed_at_once():
    server = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "tests.steerstream.wired", cwd=ROOT, stdout=asyncio.subprocess.PIPE
    )
    try:
        target = (await server.stdout.readline()).decode().strip()
        async with (
            steerstream.connect(target) as client,
            client.open_session(vehicle_id="car") as session,
        ):
            assert isinstance(await session.request(JPEG), Command)
            reading = asyncio.create_task(anext(session))
            server.kill()
            with pytest.raises(SessionLost, match="the connection to the server was lost; "):
                async with asyncio.timeout(5):
                    await reading
            with pytest.raises(SessionLost):
                await session.send_frame(JPEG)
            with pytest.raises(ConnectionFailed, match="the connection to the server was lost; "):
                async with client.open_session(vehicle_id="car"):
                    pytest.fail("the server is dead")
    finally:
        if server.returncode is None:
            server.kill()
        await server.communicate()


async def test_a_cancelled_send_leaves_the_stream_whole():
    """gRPC itself cancels the call when a write is cancelled."""
    async with (
        serving(FakeServer(lambda f: Reply(float(f.sequence_number)))) as (target, _),
        steerstream.connect(target) as client,
        client.open_session(vehicle_id="car") as session,
    ):
        sending = asyncio.create_task(session.send_frame(b"\xff\xd8" + bytes(1_000_000)))
        await until(lambda: session.frames_in_flight == 1)
        sending.cancel()
        with pytest.raises(asyncio.CancelledError):
            await sending
        assert (await session.request(JPEG)).limited.steering_wheel_angle_rad == 1.0
        assert (await anext(session)).sequence_number == 0


async def test_closing_a_client_ends_a_session_whose_answers_nobody_reads():
    """Its reader waits for room, so that the end of the connection alone would not wake it."""
    async with serving(FakeServer()) as (target, _):
        client = await steerstream.connect(target)
        session = await client.open_session(vehicle_id="car", frame_policy=FramePolicy.EVERY)

        async def send() -> None:
            while True:
                await session.send_frame(JPEG)

        sending = asyncio.create_task(send())
        async with asyncio.timeout(30):
            await until(lambda: session.frames_in_flight == MAX_IN_FLIGHT)
            await client.aclose()
            with pytest.raises(SessionEnded):
                await sending


class SilentServicer(drive_service_pb2_grpc.DriveServiceServicer):
    """Takes every call and answers none."""

    def __init__(self) -> None:
        self.called, self._never = asyncio.Event(), asyncio.Event()

    async def DescribeModels(self, request, context):  # noqa: N802 - the contract's name
        self.called.set()
        await self._never.wait()

    async def Drive(self, requests, context):  # noqa: N802 - the contract's name
        self.called.set()
        await self._never.wait()
        yield None


@pytest.mark.parametrize("what", ["open", "describe"])
async def test_closing_a_client_ends_its_calls_and_does_not_cancel_the_tasks_that_wait(what):
    """gRPC itself raises CancelledError in them."""
    servicer, server = SilentServicer(), grpc.aio.server()
    drive_service_pb2_grpc.add_DriveServiceServicer_to_server(servicer, server)
    port = server.add_insecure_port("localhost:0")
    await server.start()
    client = await steerstream.connect(f"localhost:{port}", timeout_s=60)

    async def call() -> None:
        if what == "open":
            await client.open_session(vehicle_id="car")
        else:
            await client.describe_models()

    calling = asyncio.create_task(call())
    async with asyncio.timeout(30):
        await servicer.called.wait()
        await client.aclose()
        with pytest.raises(SteerstreamError, match="the client is closed"):
            await calling
    await server.stop(None)


async def test_a_cancelled_call_cancels_its_task():
    async with serving(FakeServer(lambda frame: Drop())) as (target, _):
        client = await steerstream.connect(target)
        session = await client.open_session(vehicle_id="car")
        reading = asyncio.create_task(anext(session))
        await asyncio.sleep(0)
        reading.cancel()
        with pytest.raises(asyncio.CancelledError):
            await reading
        await client.aclose()


class StalledCall:
    """A call of gRPC whose network takes nothing until it is let go on; one write at a time."""

    def __init__(self) -> None:
        self.goes_on = asyncio.Event()
        self.written: list[int] = []
        self._is_writing = False

    async def write(self, request: drive_service_pb2.DriveRequest) -> None:
        assert not self._is_writing
        self._is_writing = True
        await self.goes_on.wait()
        self.written.append(request.frame.sequence_number)
        self._is_writing = False

    async def done_writing(self) -> None:
        assert not self._is_writing
        self.written.append(-1)

    def add_done_callback(self, callback) -> None:
        pass

    def cancel(self) -> None:
        """Leave the write waiting, as gRPC does when the call never began."""


async def test_a_stream_whose_network_takes_nothing_is_aborted_at_once():
    """gRPC may leave a write waiting after its call was cancelled."""
    before = asyncio.all_tasks()
    call = StalledCall()
    stream = GrpcStream(cast(Any, call), lambda: True)
    sending = [asyncio.create_task(stream.send(drive_service_pb2.DriveRequest())) for _ in range(2)]
    await asyncio.sleep(0)
    aborting = asyncio.create_task(stream.abort())
    for _ in range(10):
        await asyncio.sleep(0)
    assert aborting.done()
    for each in sending:
        with pytest.raises(RpcFailed):
            await each
    assert asyncio.all_tasks() == before


async def test_messages_whose_senders_were_cancelled_are_sent_in_order_all_the_same():
    """A frame that is counted as sent and never is would have no answer for ever."""
    call = StalledCall()
    stream = GrpcStream(cast(Any, call), lambda: True)
    sending = []
    for number in range(5):
        frame = frame_pb2.Frame(sequence_number=number)
        request = drive_service_pb2.DriveRequest(frame=frame)
        sending.append(asyncio.create_task(stream.send(request)))
        await asyncio.sleep(0)
        sending[-1].cancel()
    await asyncio.wait(sending)
    finishing = asyncio.create_task(stream.finish())
    await asyncio.sleep(0)
    call.goes_on.set()
    await finishing
    assert all(task.cancelled() for task in sending)
    assert call.written == [0, 1, 2, 3, 4, -1]


class EndedCall(StalledCall):
    """A call of gRPC that has ended, as its last operation tells."""

    async def done_writing(self) -> None:
        self.written.append(-1)
        raise grpc.aio.InternalError("Failed grpc_call_start_batch: 8")


async def test_finishing_a_stream_that_its_deadline_has_ended_does_nothing():
    call = EndedCall()
    await GrpcStream(cast(Any, call), lambda: True).finish()
    assert call.written == [-1]


async def test_many_sessions_that_are_cancelled_leave_no_task_behind():
    async with serving(FakeServer(lambda f: Drop())) as (target, _):
        before = len(asyncio.all_tasks())
        async with steerstream.connect(target) as client:

            async def drive() -> None:
                async with client.open_session(vehicle_id="car") as session:
                    await session.request(JPEG)

            drives = [asyncio.create_task(drive()) for _ in range(30)]
            await asyncio.sleep(0.1)
            for task in drives:
                task.cancel()
            await asyncio.gather(*drives, return_exceptions=True)
        await until(lambda: len(asyncio.all_tasks()) <= before)


@pytest.mark.skipif(shutil.which("openssl") is None, reason="openssl makes the certificate")
async def test_a_drive_over_tls(tmp_path):
    key, certificate = await asyncio.to_thread(make_certificate, tmp_path)
    credentials = grpc.ssl_server_credentials([(key.read_bytes(), certificate.read_bytes())])
    async with serving(FakeServer(), credentials) as (target, _):
        async with steerstream.connect(target, tls=Tls(ca_file=certificate)) as client:
            assert (await client.describe_models()).default_model == "fake"
        with pytest.raises(ConnectionFailed):
            async with steerstream.connect(target, tls=Tls()):
                pytest.fail("the certificate is nobody's")
