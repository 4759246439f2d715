from __future__ import annotations

import asyncio

import pytest

from steerstream.v1 import watch_pb2, watch_pb2_grpc
from steerstream_service.process import server
from steerstream_service.transport.watch_service import WatchService
from tests.service import bundles
from tests.service.vehicle import running


class Cleaning:
    """A watcher's call that has something left to do when it was cancelled."""

    def __init__(self) -> None:
        self.may_end = asyncio.Event()
        self.has_ended = asyncio.Event()


@pytest.fixture
async def call(monkeypatch):
    call = Cleaning()

    async def watch(_service, _request, context) -> None:
        try:
            await context.write(watch_pb2.WatchServerResponse())
            await asyncio.Event().wait()
        finally:
            await call.may_end.wait()
            call.has_ended.set()

    monkeypatch.setattr(WatchService, "WatchServer", watch)
    return call


@pytest.fixture
def tiny(tmp_path):
    return bundles.recurrent(tmp_path / "tiny.onnx")


async def watched(run) -> None:
    """Watch the server, and go away."""
    service = watch_pb2_grpc.WatchServiceStub(run.channel())
    await service.WatchServer(watch_pb2.WatchServerRequest()).read()
    await run.close()


async def test_a_server_that_has_stopped_runs_no_call_any_more(tiny, monkeypatch, call):
    monkeypatch.setattr(server, "_STOP_S", 60.0)
    async with running(tiny) as run:
        await watched(run)
        stopping = asyncio.create_task(run.server.shutdown())
        await asyncio.wait([stopping], timeout=0.2)
        call.may_end.set()
        await stopping
        assert call.has_ended.is_set()


async def test_a_call_that_does_not_end_holds_no_stop_up_for_ever(tiny, monkeypatch, caplog, call):
    monkeypatch.setattr(server, "_STOP_S", 0.05)
    async with running(tiny) as run:
        await watched(run)
        await run.server.shutdown()
        assert not call.has_ended.is_set()
        assert "calls_left" in caplog.messages
        call.may_end.set()
        await call.has_ended.wait()
