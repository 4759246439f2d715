"""Who may call which method, at which address, over real connections."""

from __future__ import annotations

import asyncio
import contextlib
import logging

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc

from steerstream.metadata import REASON_KEY
from steerstream.v1 import (
    drive_service_pb2,
    drive_service_pb2_grpc,
    models_service_pb2,
    watch_pb2,
)
from steerstream_service.address import Place
from steerstream_service.config import Config
from steerstream_service.transport import identity
from steerstream_service.transport.access import Access, AccessControl, Listener, access
from steerstream_service.transport.identity import Identities
from tests.service import bundles
from tests.service.vehicle import Vehicle, running

PLACE = Place("127.0.0.1", 0)
SERVING = health_pb2.HealthCheckResponse.SERVING


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    return bundles.recurrent(tmp_path_factory.mktemp("bundles") / "tiny.onnx")


@pytest.mark.parametrize(
    ("method", "who"),
    [
        ("/steerstream.v1.DriveService/Drive", Access.VEHICLES),
        ("/steerstream.v1.DriveService/DescribeModels", Access.DESCRIPTIONS),
        ("/grpc.health.v1.Health/Check", Access.ANYONE),
        ("/grpc.health.v1.Health/Watch", Access.ANYONE),
        ("/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo", Access.DESCRIPTIONS),
        ("/steerstream.v1.DriveService/Tomorrow", Access.ADMINISTRATORS),
        ("/steerstream.v1.WatchService/Watch", Access.ADMINISTRATORS),
        ("/steerstream.v1.ModelsService/Load", Access.ADMINISTRATORS),
        ("/grpc.health.v1.HealthX/Check", Access.ADMINISTRATORS),
        ("", Access.ADMINISTRATORS),
    ],
)
def test_a_method_that_nobody_decided_about_is_for_administrators(method, who):
    assert access(method) is who


@pytest.mark.parametrize("module", [watch_pb2, models_service_pb2])
def test_the_services_of_operators_are_for_administrators(module):
    (service,) = module.DESCRIPTOR.services_by_name.values()
    assert service.methods
    for method in service.methods:
        assert access(f"/{service.full_name}/{method.name}") is Access.ADMINISTRATORS


@contextlib.asynccontextmanager
async def serving(*, is_admin=False, is_open=False, **settings):
    """A server with an administrative call of each kind, which answer whoever gets through."""

    async def unary(request, context):
        return request

    async def stream(request, context):
        yield request

    async def endless(request, context):
        while True:
            yield request
            await asyncio.sleep(0.01)

    async def ready(request, context):
        while True:
            yield request

    async def late(request, context):
        raise TimeoutError

    methods = {
        "Endless": grpc.unary_stream_rpc_method_handler(endless),
        "Ready": grpc.unary_stream_rpc_method_handler(ready),
        "Late": grpc.unary_unary_rpc_method_handler(late),
        "Unary": grpc.unary_unary_rpc_method_handler(unary),
        "Stream": grpc.unary_stream_rpc_method_handler(stream),
    }
    config = Config(**settings)
    control = AccessControl(
        Identities(config),
        Listener(is_admin=is_admin, is_open=is_open),
        closes_descriptions=config.descriptions == "administrators",
    )
    server = grpc.aio.server(interceptors=[control])
    server.add_generic_rpc_handlers([grpc.method_handlers_generic_handler("a.Service", methods)])
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
        yield channel
    await server.stop(None)


async def asked(channel, name=None):
    """The reasons for which both kinds of call are refused; none where they are not."""
    metadata = [("x-vehicle-subject", name)] if name else []
    reasons = []
    calls = channel.unary_unary("/a.Service/Unary"), channel.unary_stream("/a.Service/Stream")
    for call in calls:
        try:
            started = call(b"hello", metadata=metadata)
            if isinstance(started, grpc.aio.UnaryStreamCall):
                assert [answer async for answer in started] == [b"hello"]
            else:
                assert await started == b"hello"
        except grpc.aio.AioRpcError as error:
            reasons.append(
                dict(error.trailing_metadata())[REASON_KEY].removeprefix("ERROR_REASON_")
            )
    return set(reasons)


@pytest.mark.parametrize(
    ("listener", "refused"),
    [
        ({"is_admin": True, "is_open": True}, set()),
        ({"is_open": True}, set()),
        ({}, {"FORBIDDEN"}),
    ],
    ids=["admin", "private", "public"],
)
async def test_where_no_administrators_are_named_the_address_decides(listener, refused):
    async with serving(**listener) as channel:
        assert await asked(channel) == refused


@pytest.mark.parametrize("is_admin", [True, False])
async def test_where_administrators_are_named_nobody_else_is_one(is_admin):
    settings = {"identity": "header", "administrators": ("alice", "bob")}
    async with serving(is_admin=is_admin, is_open=is_admin, **settings) as channel:
        assert await asked(channel, "alice") == set()
        assert await asked(channel, "car-7") == {"FORBIDDEN"}
        assert await asked(channel) == {"UNAUTHENTICATED"}


@pytest.mark.parametrize("method", ["Endless", "Ready"])
async def test_a_call_that_lasts_ends_with_its_caller_s_token(monkeypatch, method):
    monkeypatch.setattr(identity.Caller, "valid_for_s", 0.05)
    settings = {"identity": "header", "administrators": ("alice",)}
    async with serving(**settings) as channel:
        endless = channel.unary_stream(f"/a.Service/{method}")
        call = endless(b"hello", metadata=[("x-vehicle-subject", "alice")])
        with contextlib.suppress(grpc.aio.AioRpcError):
            while await call.read() == b"hello":
                pass
        assert await call.code() is grpc.StatusCode.UNAUTHENTICATED
        assert dict(await call.trailing_metadata())[REASON_KEY] == "ERROR_REASON_TOKEN_EXPIRED"


async def test_a_call_s_own_timeout_is_not_taken_for_its_token_s_end():
    settings = {"identity": "header", "administrators": ("alice",)}
    async with serving(**settings) as channel:
        call = channel.unary_unary("/a.Service/Late")
        with pytest.raises(grpc.aio.AioRpcError) as ended:
            await call(b"hello", metadata=[("x-vehicle-subject", "alice")])
    assert ended.value.code() is grpc.StatusCode.UNKNOWN


class Caller:
    """Calls everything that a server has at an address."""

    def __init__(self, address):
        self._channel = grpc.aio.insecure_channel(address)

    async def __aenter__(self):
        return self

    async def __aexit__(self, *_):
        await self._channel.close()

    async def health(self):
        stub = health_pb2_grpc.HealthStub(self._channel)
        return (await stub.Check(health_pb2.HealthCheckRequest())).status

    async def describe(self, **options):
        stub = drive_service_pb2_grpc.DriveServiceStub(self._channel)
        request = drive_service_pb2.DescribeModelsRequest()
        return (await stub.DescribeModels(request, **options)).default_model

    async def reflect(self):
        stub = reflection_pb2_grpc.ServerReflectionStub(self._channel)
        request = reflection_pb2.ServerReflectionRequest(list_services="*")
        call = stub.ServerReflectionInfo(iter([request]))
        return [
            service.name
            async for answer in call
            for service in answer.list_services_response.service
        ]

    async def drive(self):
        vehicle = Vehicle(drive_service_pb2_grpc.DriveServiceStub(self._channel))
        await vehicle.open()
        return vehicle.opened


def refused(code):
    return pytest.raises(grpc.aio.AioRpcError, match=code.name)


@contextlib.asynccontextmanager
async def both(tiny, caplog, **settings):
    """A server with an address for administrators: callers at the vehicles' and at theirs."""
    caplog.set_level(logging.INFO)
    async with running(tiny, admin=PLACE, **settings) as run:
        (line,) = (record for record in caplog.records if record.message == "admin")
        admin = line.steerstream_fields["address"]
        async with Caller(run.address) as vehicle, Caller(admin) as administrator:
            yield vehicle, administrator


async def test_administrators_have_an_address_where_no_session_opens(tiny, caplog):
    async with both(tiny, caplog) as (vehicle, administrator):
        assert await vehicle.describe() == await administrator.describe() == "tiny"
        assert await vehicle.health() == await administrator.health() == SERVING
        assert "steerstream.v1.DriveService" in await administrator.reflect()
        with refused(grpc.StatusCode.UNIMPLEMENTED):
            await vehicle.reflect()
        assert (await vehicle.drive()).model.name == "tiny"
        with refused(grpc.StatusCode.PERMISSION_DENIED):
            await administrator.drive()


async def test_descriptions_can_be_closed_to_vehicles(tiny, caplog):
    async with both(tiny, caplog, descriptions="administrators") as (vehicle, administrator):
        with refused(grpc.StatusCode.PERMISSION_DENIED):
            await vehicle.describe()
        assert await administrator.describe() == "tiny"
        assert await vehicle.health() == SERVING
        assert (await vehicle.drive()).model.name == "tiny"


async def test_where_callers_have_identities_strangers_get_no_description_but_health(tiny):
    async with running(tiny, identity="header") as run, Caller(run.address) as caller:
        with refused(grpc.StatusCode.UNAUTHENTICATED):
            await caller.describe()
        with refused(grpc.StatusCode.UNAUTHENTICATED):
            await caller.reflect()
        assert await caller.describe(metadata=[("x-vehicle-subject", "car-7")]) == "tiny"
        assert await caller.health() == SERVING
