"""The pipe between a supervisor and a worker: three messages, and its end."""

from __future__ import annotations

import asyncio
import contextlib
import socket

import pytest

from steerstream_service.process import worker_pipe
from steerstream_service.process.worker_pipe import WorkerPipe


@contextlib.asynccontextmanager
async def pipe():
    """The supervisor's end and the worker's."""
    ends = [await WorkerPipe.over(end) for end in socket.socketpair()]
    try:
        yield ends
    finally:
        for end in ends:
            end.close()


async def test_a_worker_is_ready_and_told_to_serve():
    async with pipe() as (supervisor, worker):
        await worker.say_ready("127.0.0.1:50051")
        assert await supervisor.ready() == "127.0.0.1:50051"
        await supervisor.say_serve()
        await supervisor.say_hurry()
        supervisor.close()
        assert await told(worker) == ["serve", "hurry"]


async def told(worker):
    """What a worker was told to do until its supervisor ended."""
    orders, ended = [], asyncio.Event()

    async def serve():
        orders.append("serve")

    worker.start_obeying(serve, lambda: orders.append("hurry"), ended.set)
    await ended.wait()
    return orders


async def test_a_worker_that_ends_is_never_ready():
    async with pipe() as (supervisor, worker):
        worker.close()
        assert await supervisor.ready() is None


@pytest.mark.parametrize("served", [False, True])
async def test_a_supervisor_that_ends_is_noticed(served):
    async with pipe() as (supervisor, worker):
        if served:
            await supervisor.say_serve()
        supervisor.close()
        assert await told(worker) == ["serve"] * served


async def test_a_message_to_a_process_that_has_ended_is_lost_without_an_error():
    async with pipe() as (supervisor, worker):
        worker.close()
        for _ in range(3):
            await supervisor.say_serve()
        assert await supervisor.ready() is None


@pytest.fixture
def quick(monkeypatch):
    """A hundredth of the times."""
    monkeypatch.setattr(worker_pipe, "_ALIVE_EVERY_S", 0.01)


@pytest.mark.usefixtures("quick")
async def test_a_worker_that_says_nothing_is_stuck():
    async with pipe() as (supervisor, _):
        assert await supervisor.stuck()


@pytest.mark.usefixtures("quick")
async def test_a_worker_whose_event_loop_turns_is_not_stuck():
    async with pipe() as (supervisor, worker):
        await worker.say_ready("127.0.0.1:50051")
        await supervisor.ready()
        for _ in range(3):
            assert await supervisor._heard() == "alive"
        worker.close()
        assert not await supervisor.stuck()
