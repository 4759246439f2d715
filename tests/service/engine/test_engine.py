"""What both engines do: outcomes on the event loop, faults that cost one batch, and an end."""

from __future__ import annotations

import asyncio
import threading

import numpy as np
import pytest

from steerstream_bundle import loading
from steerstream_bundle.errors import BundleError
from steerstream_service.domain import NotStepped, SkipReason, Stepped
from steerstream_service.engine.loop_engine import LoopEngine
from steerstream_service.engine.model_queue import ModelQueue
from steerstream_service.engine.thread_engine import ThreadEngine
from tests.service import bundles
from tests.service.records import GREY, RED, stepped, submitted

both = pytest.mark.parametrize("kind", [ThreadEngine, LoopEngine])


def queue_of(path):
    return ModelQueue(loading.load(path), sessions=8, max_batch=4)


@both
async def test_outcomes_come_on_the_event_loop_s_thread(tmp_path, kind):
    queues = [
        queue_of(bundles.recurrent(tmp_path / "a.onnx")),
        queue_of(bundles.stateless(tmp_path / "b.onnx")),
    ]
    engine = kind(queues)
    await engine.start()
    replied, threads, everything = [], [], asyncio.Event()

    def reply(record):
        threads.append(threading.current_thread())
        replied.append(record)
        if len(replied) == 10:
            everything.set()

    frames = [submitted(queues[n % 2], reply=reply) for n in range(10)]
    for n, frame in enumerate(frames):
        engine.submit(queues[n % 2], frame)
    async with asyncio.timeout(60):
        await everything.wait()
    assert set(threads) == {threading.main_thread()}
    assert {id(frame) for frame in replied} == {id(frame) for frame in frames}
    assert all(isinstance(frame.outcome, Stepped) for frame in frames)
    assert max(frame.outcome.batch_size for frame in frames) <= 4
    await engine.stop()


@both
async def test_a_fault_costs_one_batch_and_the_engine_lives(tmp_path, kind):
    queue = queue_of(bundles.failing(tmp_path / "f.onnx"))
    engine = kind([queue])
    await engine.start()
    slot = queue.pool.allocate()
    await stepped(engine, queue, slot=slot)
    failed = await stepped(engine, queue, RED, slot=slot)
    assert isinstance(failed, NotStepped)
    assert failed.reason is SkipReason.FAILED
    after = await stepped(engine, queue, slot=slot, reset=False)
    expected = bundles.expected(np.stack([GREY, GREY]))[1]
    assert after.outputs == pytest.approx(expected, abs=1e-5)
    await engine.stop()


@both
async def test_a_late_frame_comes_back_without_a_step(tmp_path, kind):
    queue = queue_of(bundles.recurrent(tmp_path / "a.onnx"))
    engine = kind([queue])
    await engine.start()
    late = await stepped(engine, queue, deadline_ns=0)
    assert isinstance(late, NotStepped)
    assert late.reason is SkipReason.LATE
    await engine.stop()


@both
async def test_a_frame_that_was_claimed_back_gets_no_reply(tmp_path, kind):
    queue = queue_of(bundles.recurrent(tmp_path / "a.onnx"))
    engine = kind([queue])
    await engine.start()
    back = submitted(queue, reply=lambda record: pytest.fail("it was claimed back"))
    assert back.claim()
    engine.submit(queue, back)
    assert isinstance(await stepped(engine, queue), Stepped)
    assert not queue.waiting
    await engine.stop()


@both
async def test_a_network_that_fails_keeps_the_engine_from_starting(tmp_path, kind):
    queue = queue_of(bundles.failing(tmp_path / "f.onnx"))
    queue._stepper._frames[:] = 250
    engine = kind([queue])
    with pytest.raises(BundleError, match="the network fails"):
        await engine.start()
    await engine.stop()


@both
async def test_an_engine_that_never_started_can_be_stopped(tmp_path, kind):
    await kind([queue_of(bundles.recurrent(tmp_path / "a.onnx"))]).stop()
