"""WatchService over a real server: what operators see, who else may not, and what it costs."""

from __future__ import annotations

import asyncio
import contextlib

import grpc
import numpy as np
import pytest
import simplejpeg

from steerstream import __version__
from steerstream.v1 import command_pb2, session_pb2, watch_pb2, watch_pb2_grpc
from steerstream_bundle import quickest
from steerstream_service.address import Place, parse
from steerstream_service.config import Config
from steerstream_service.process.server import Server
from steerstream_service.transport import watch_service
from steerstream_service.transport.tls import SocketSecurity
from tests.service import bundles
from tests.service.vehicle import Running, running

GREY = np.full((8, 16, 3), 100, np.uint8)
ALL = watch_pb2.WatchServerRequest()
WAIT_S = 60
"""However busy the machine is; what takes longer hangs."""


@pytest.fixture
def tiny(tmp_path):
    return bundles.recurrent(tmp_path / "tiny.onnx")


@pytest.fixture
def failing(tmp_path):
    return bundles.failing(tmp_path / "failing.onnx")


def stub(channel):
    return watch_pb2_grpc.WatchServiceStub(channel)


def one(name):
    return watch_pb2.WatchSessionRequest(session_id=name)


async def until(call, is_right):
    """The first message for which something holds."""
    async with asyncio.timeout(WAIT_S):
        while not is_right(message := await call.read()):
            assert message is not grpc.aio.EOF, "the call ended before"
    return message


async def code_of(call):
    """The status of a call, after all its messages."""
    async with asyncio.timeout(WAIT_S):
        try:
            while await call.read() is not grpc.aio.EOF:
                pass
        except grpc.aio.AioRpcError as error:
            return error.code(), error.details()
    return grpc.StatusCode.OK, ""


async def test_the_server_and_its_sessions(tiny):
    async with running(tiny, max_sessions=7) as run:
        car = await run.vehicle(
            vehicle_id="car-7", budget_ms=5000, frame_rate_hz=10, camera={"width_px": 640}
        )
        watching = stub(run.channel()).WatchServer(ALL)
        for _ in range(3):
            await car.drive(GREY)
        seen = await until(watching, lambda message: message.answers == 3)
        assert seen.status == watch_pb2.SERVER_STATUS_SERVING
        assert seen.version == __version__
        assert (seen.session_count, seen.max_sessions) == (1, 7)
        assert (seen.misses, seen.refusals, list(seen.endings)) == (0, 0, [])
        [model] = seen.models
        assert (model.name, model.precision, model.provider) == ("tiny", "f32", "cpu")
        assert model.sessions == 1
        assert model.step_us > 0
        [session] = seen.sessions
        assert session.session_id == car.opened.session_id
        assert (session.vehicle_id, session.model) == ("car-7", "tiny")
        assert (session.rate_hz, session.budget_ms, session.resumed) == (10, 5000, False)
        assert (session.answers, session.misses, session.held) == (3, 0, 0)
        assert session.validity == command_pb2.VALIDITY_VALID
        assert session.total_us > 0
        assert session.silent_ms <= session.open_ms <= seen.up_ms


async def test_stages_are_of_the_answers_since_the_last_message(tiny):
    async with running(tiny) as run:
        car = await run.vehicle()
        watching = stub(run.channel()).WatchServer(ALL)
        first = await until_first(watching)
        assert not first.stages
        answers = [await car.drive(GREY) for _ in range(5)]
        stages = []
        while len(stages) < 1:
            message = await asyncio.wait_for(watching.read(), WAIT_S)
            stages += [message.stages] if message.stages else []
        assert [item.stage for item in stages[0]] == ["queue", "decode", "infer", "total"]
        total = stages[0][-1]
        assert 0 < total.p50_us <= total.p99_us <= total.max_us
        assert total.max_us <= max(answer.timings.total_us for answer in answers)
        watching.cancel()


async def until_first(call):
    return await asyncio.wait_for(call.read(), WAIT_S)


async def test_all_who_look_get_the_same_message(tiny, monkeypatch):
    monkeypatch.setattr(watch_service, "_EVERY_S", 3600.0)
    async with running(tiny) as run:
        service = stub(run.channel())
        calls = [service.WatchServer(ALL) for _ in range(watch_service.MOST_WATCHERS)]
        seen = [await until_first(call) for call in calls]
        assert len({message.up_ms for message in seen}) == 1
        code, details = await code_of(service.WatchServer(ALL))
        assert code is grpc.StatusCode.RESOURCE_EXHAUSTED
        assert details == "too many calls of this method are open; try again"
        for call in calls:
            call.cancel()


async def test_a_place_is_free_again_when_its_caller_leaves(tiny):
    async with running(tiny) as run:
        service = stub(run.channel())
        for _ in range(3 * watch_service.MOST_WATCHERS):
            call = service.WatchServer(ALL)
            message = None
            while message is None:
                # The server learns a moment later than the caller that a call has ended.
                with contextlib.suppress(grpc.aio.AioRpcError):
                    message = await until_first(call)
                if message is None:
                    call = service.WatchServer(ALL)
            call.cancel()


async def test_no_more_sessions_are_shown_than_fit_and_those_in_trouble_come_first(
    failing, monkeypatch
):
    monkeypatch.setattr(watch_service, "MOST_SESSIONS", 2)
    async with running(failing) as run:
        cars = [await run.vehicle(vehicle_id=f"car-{at}") for at in range(4)]
        red = np.full((8, 16, 3), (255, 0, 0), np.uint8)
        skipped = await cars[3].drive(red)
        assert skipped.reason == command_pb2.SKIP_REASON_FAILED
        seen = await until(stub(run.channel()).WatchServer(ALL), lambda message: message.misses)
        assert seen.session_count == 4
        assert [session.vehicle_id for session in seen.sessions] == ["car-3", "car-0"]
        assert (seen.sessions[0].misses, seen.sessions[0].held) == (1, 1)
        assert seen.sessions[0].validity == command_pb2.VALIDITY_HELD
        assert seen.sessions[1].validity == command_pb2.VALIDITY_UNSPECIFIED


async def test_more_sessions_than_are_made_at_once_are_all_there(tiny):
    async with running(tiny) as run:
        for at in range(20):
            await run.vehicle(vehicle_id=f"car-{at}")
        seen = await until_first(stub(run.channel()).WatchServer(ALL))
        assert [session.vehicle_id for session in seen.sessions] == [
            f"car-{at}" for at in range(20)
        ]


async def test_ends_refusals_and_draining(tiny):
    async with running(tiny, max_sessions=1, drain_s=30.0) as run:
        car = await run.vehicle(vehicle_id="car-1")
        with pytest.raises(grpc.aio.AioRpcError):
            await run.vehicle(vehicle_id="car-2")
        await car.call.done_writing()
        service = stub(run.channel())
        seen = await until(service.WatchServer(ALL), lambda message: message.endings)
        assert (seen.refusals, seen.session_count) == (1, 0)
        [ending] = seen.endings
        assert (ending.vehicle_id, ending.ended_by) == ("car-1", "client")
        assert ending.session_id == car.opened.session_id
        assert ending.ended_ms <= seen.up_ms
        await run.vehicle(vehicle_id="car-3")
        watching = service.WatchServer(ALL)
        stopping = asyncio.create_task(run.server._service.drain(30.0))
        draining = watch_pb2.SERVER_STATUS_DRAINING
        await until(watching, lambda message: message.status == draining)
        stopping.cancel()


async def test_a_server_that_is_starting_or_stuck_says_so(tiny):
    bundles_ = quickest.load_all([tiny])
    server = Server(bundles_, "tiny", Config(drain_s=0.0))
    run = Running(server, await server.startup("127.0.0.1:0"))
    try:
        service = stub(run.channel())
        first = await until_first(service.WatchServer(ALL))
        assert first.status == watch_pb2.SERVER_STATUS_STARTING
        await server.warm_up()
        await server.open()
        watching = service.WatchServer(ALL)
        serving = watch_pb2.SERVER_STATUS_SERVING
        assert (await until(watching, lambda message: message.status == serving)).answers == 0
        server._serving = False
        stuck = watch_pb2.SERVER_STATUS_STUCK
        await until(service.WatchServer(ALL), lambda message: message.status == stuck)
    finally:
        await run.close()
        await server.shutdown()


async def test_one_session_in_full_as_its_vehicle_sees_it(tiny):
    async with running(tiny) as run:
        camera = session_pb2.CameraDescription(
            width_px=16, height_px=8, horizontal_fov_deg=18, mount_height_m=1.3
        )
        car = await run.vehicle(vehicle_id="car-7", budget_ms=5000, camera=camera)
        watching = stub(run.channel()).WatchSession(one(car.opened.session_id))
        first = await until_first(watching)
        about = first.description
        assert (about.vehicle_id, about.budget_ms) == ("car-7", 5000)
        assert (about.wheelbase_m, about.steering_ratio) == (2.85, 14.8)
        assert about.camera == camera
        given = [await car.drive(GREY) for _ in range(3)]
        shown, pictures = [], []
        while len(shown) < 3:
            message = await until_first(watching)
            assert not message.HasField("description")
            shown += [answer.command for answer in message.answers]
            pictures.append(message.picture.jpeg)
        assert shown == given
        assert not any(pictures), "the operator did not allow them"
        await car.call.done_writing()
        last = await until(watching, lambda message: message.ended_by)
        assert last.ended_by == "client"


async def test_skips_are_shown_too(failing):
    async with running(failing) as run:
        car = await run.vehicle()
        watching = stub(run.channel()).WatchSession(one(car.opened.session_id))
        await until_first(watching)
        skipped = await car.drive(np.full((8, 16, 3), (255, 0, 0), np.uint8))
        message = await until(watching, lambda message: message.answers)
        assert message.answers[0].skipped == skipped


async def test_pictures_are_shown_where_the_operator_allows_it(tiny):
    server = Server(quickest.load_all([tiny]), "tiny", Config(drain_s=0.0), watch_pictures=True)
    run = Running(server, await server.startup("127.0.0.1:0"))
    try:
        await server.warm_up()
        await server.open()
        car = await run.vehicle()
        service = stub(run.channel())
        assert (await until_first(service.WatchServer(ALL))).shows_pictures
        watching = service.WatchSession(one(car.opened.session_id))
        await until_first(watching)
        number = await car.frame(GREY)
        await car.answer()
        message = await until(watching, lambda message: message.picture.jpeg)
        assert message.picture.sequence_number == number
        assert abs(simplejpeg.decode_jpeg(message.picture.jpeg).mean() - 100) < 3
        await car.frame(jpeg=b"<script>alert(1)</script>")
        await car.answer()
        watching = service.WatchSession(one(car.opened.session_id))
        await until_first(watching)
        number = await car.frame(jpeg=b"<script>alert(1)</script>")
        await car.answer()
        message = await until(watching, lambda message: message.HasField("picture"))
        assert (message.picture.sequence_number, message.picture.jpeg) == (number, b"")
    finally:
        await run.close()
        await server.shutdown()


async def test_a_session_that_is_not_open_is_not_found(tiny):
    async with running(tiny) as run:
        code, details = await code_of(stub(run.channel()).WatchSession(one("x" * 1000)))
        assert code is grpc.StatusCode.NOT_FOUND
        assert len(details) < 100


async def test_who_does_not_look_any_more_is_forgotten(tiny):
    async with running(tiny) as run:
        car = await run.vehicle()
        watching = stub(run.channel()).WatchSession(one(car.opened.session_id))
        await until_first(watching)
        tally = dict(run.server._watch._board.sessions(1))[car.opened.session_id]
        assert len(tally.closeups) == 1
        watching.cancel()
        async with asyncio.timeout(WAIT_S):
            while tally.closeups:  # noqa: ASYNC110 - the server tells nobody
                await asyncio.sleep(0.01)


async def test_a_caller_that_takes_nothing_leaves_its_place(tiny, monkeypatch):
    monkeypatch.setattr(watch_service, "_PATIENCE_S", 0.05)
    monkeypatch.setattr(watch_service, "_EVERY_S", 0.0)
    watch, left = watch_service.WatchService.WatchServer, asyncio.Event()

    async def watched(service, request, context):
        await watch(service, request, context)
        left.set()

    monkeypatch.setattr(watch_service.WatchService, "WatchServer", watched)
    async with running(tiny) as run:
        for at in range(20):
            await run.vehicle(vehicle_id=f"car-{at}" + "x" * 100)
        watching = stub(run.channel()).WatchServer(ALL)
        await until_first(watching)
        await asyncio.wait_for(left.wait(), WAIT_S)
        code, _ = await code_of(watching)
        assert code in {grpc.StatusCode.DEADLINE_EXCEEDED, grpc.StatusCode.CANCELLED}


@pytest.mark.parametrize(
    ("is_loopback", "admin", "at_listen"),
    [(True, None, True), (False, None, False), (True, "127.0.0.1:0", False)],
)
async def test_vehicles_of_other_machines_may_not_look(
    tiny, monkeypatch, is_loopback, admin, at_listen
):
    monkeypatch.setattr(Place, "is_loopback", is_loopback)
    security = SocketSecurity(plain_text=True)
    server = Server(quickest.load_all([tiny]), "tiny", Config(drain_s=0.0), security=security)
    run = Running(server, await server.startup("127.0.0.1:0", admin and parse(admin)))
    try:
        call = stub(run.channel()).WatchServer(ALL)
        if at_listen:
            assert (await until_first(call)).max_sessions == 64
        else:
            code, _ = await code_of(call)
            assert code is grpc.StatusCode.PERMISSION_DENIED
    finally:
        await run.close()
        await server.shutdown()
