"""The engine's own thread: it takes frames from the event loop, and keeps an idle device warm."""

from __future__ import annotations

import asyncio
import threading

import pytest

from steerstream_bundle import loading
from steerstream_service.domain import Stepped
from steerstream_service.engine import thread_engine
from steerstream_service.engine.model_queue import ModelQueue
from steerstream_service.engine.thread_engine import ThreadEngine
from steerstream_service.errors import StuckError
from tests.service import bundles
from tests.service.records import stepped, submitted


def queue_of(path):
    return ModelQueue(loading.load(path), sessions=8, max_batch=4)


async def test_an_engine_without_work_keeps_a_device_warm(tmp_path, monkeypatch):
    queue = queue_of(bundles.recurrent(tmp_path / "a.onnx"))
    warm_up, runs, thrice = queue._stepper.warm_up, [], threading.Event()

    def counted(size):
        warm_up(size)
        runs.append(size)
        if runs[-3:] == [1, 1, 1]:
            thrice.set()

    monkeypatch.setattr(queue._stepper, "warm_up", counted)
    monkeypatch.setattr(queue._stepper, "keep_warm_s", 0.001)
    engine = ThreadEngine([queue])
    await engine.start()
    runs.clear()
    thrice.clear()
    assert await asyncio.to_thread(thrice.wait, 10)
    assert isinstance(await stepped(engine, queue), Stepped)
    await engine.stop()


async def test_frames_that_come_during_a_step_are_the_next_batch(tmp_path, monkeypatch):
    queue = queue_of(bundles.recurrent(tmp_path / "a.onnx"))
    engine = ThreadEngine([queue])
    await engine.start()
    step, sizes, begun, go_on = queue.step, [], threading.Event(), threading.Event()

    def held(batch):
        sizes.append(len(batch))
        begun.set()
        assert go_on.wait(60)
        step(batch)

    monkeypatch.setattr(queue, "step", held)
    first = asyncio.create_task(stepped(engine, queue))
    assert await asyncio.to_thread(begun.wait, 60)
    done = asyncio.get_running_loop().create_future()
    replies = [lambda record: None] * 2 + [done.set_result]
    for reply in replies:
        engine.submit(queue, submitted(queue, reply=reply))
    go_on.set()
    await first
    async with asyncio.timeout(60):
        await done
    assert sizes == [1, 3]
    await engine.stop()


async def test_the_thread_ends_after_its_step(tmp_path):
    engine = ThreadEngine([queue_of(bundles.recurrent(tmp_path / "a.onnx"))])
    await engine.start()
    thread = engine._thread
    assert thread.is_alive()
    await engine.stop()
    assert not thread.is_alive()


async def test_a_step_that_does_not_end_is_named_instead_of_waited_for(tmp_path, monkeypatch):
    monkeypatch.setattr(thread_engine, "_STOP_S", 0.01)
    queue = queue_of(bundles.recurrent(tmp_path / "a.onnx"))
    engine = ThreadEngine([queue])
    await engine.start()
    assert engine.step_s == 0.0
    begun, go_on = threading.Event(), threading.Event()

    def held(_batch):
        begun.set()
        assert go_on.wait(60)
        raise ValueError

    monkeypatch.setattr(queue, "step", held)
    engine.submit(queue, submitted(queue, reply=lambda record: None))
    assert await asyncio.to_thread(begun.wait, 60)
    assert engine.step_s > 0.0
    with pytest.raises(StuckError, match="a step has not ended"):
        await engine.stop()
    go_on.set()
    await asyncio.to_thread(engine._thread.join, 60)
    assert engine.step_s == 0.0


async def test_whatever_fails_in_the_warm_up_ends_the_wait_for_it(tmp_path, monkeypatch):
    queue = queue_of(bundles.recurrent(tmp_path / "a.onnx"))

    def failing(_size):
        raise MemoryError("no 3 GB")

    monkeypatch.setattr(queue._stepper, "warm_up", failing)
    engine = ThreadEngine([queue])
    with pytest.raises(MemoryError, match="no 3 GB"):
        await engine.start()
    await engine.stop()


async def test_an_engine_whose_thread_does_not_start_can_be_stopped(tmp_path, monkeypatch):
    def start(_self):
        raise RuntimeError("can't start new thread")

    engine = ThreadEngine([queue_of(bundles.recurrent(tmp_path / "a.onnx"))])
    with monkeypatch.context() as patched:
        patched.setattr(threading.Thread, "start", start)
        with pytest.raises(RuntimeError, match="can't start"):
            await engine.start()
    await engine.stop()
