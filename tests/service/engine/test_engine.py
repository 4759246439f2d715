"""Both engines: outcomes on the event loop, faults that cost one batch, and their end."""

from __future__ import annotations

import asyncio
import threading

import numpy as np
import pytest

from steerstream_bundle import loading
from steerstream_bundle.errors import BundleError
from steerstream_service.domain import NotStepped, SkipReason, Stepped
from steerstream_service.engine.loop_engine import LoopEngine, TurnExecutor
from steerstream_service.engine.model_queue import Job, Lane
from steerstream_service.engine.thread_engine import ThreadEngine
from tests.service import bundles

FAR_NS = 10**18
GREY = np.full((8, 16, 3), 100, np.uint8)
RED = np.full((8, 16, 3), 250, np.uint8)

both = pytest.mark.parametrize("kind", [ThreadEngine, LoopEngine])


def lane_of(path):
    return Lane(loading.load(path), sessions=8, max_batch=4)


async def run(engine, lane, pixels=GREY, *, slot=None, reset=True, deadline_ns=FAR_NS):
    answer = asyncio.get_running_loop().create_future()
    threads = []

    def reply(outcome):
        threads.append(threading.current_thread())
        answer.set_result(outcome)

    slot = lane.pool.allocate() if slot is None else slot
    terms = {"reset": reset, "interval_s": 0.05, "deadline_ns": deadline_ns}
    engine.submit(Job(lane, slot, pixels, **terms, reply=reply))
    outcome = await answer
    assert threads == [threading.main_thread()]
    return outcome


@both
async def test_outcomes_come_on_the_event_loop_s_thread(tmp_path, kind):
    lanes = [
        lane_of(bundles.recurrent(tmp_path / "a.onnx")),
        lane_of(bundles.stateless(tmp_path / "b.onnx")),
    ]
    engine = kind(lanes)
    await engine.start()
    outcomes = await asyncio.gather(*(run(engine, lanes[n % 2]) for n in range(10)))
    assert all(isinstance(outcome, Stepped) for outcome in outcomes)
    assert max(outcome.batch_size for outcome in outcomes) <= 4
    await engine.stop()


@both
async def test_a_fault_costs_one_batch_and_the_engine_lives(tmp_path, kind):
    lane = lane_of(bundles.failing(tmp_path / "f.onnx"))
    engine = kind([lane])
    await engine.start()
    slot = lane.pool.allocate()
    await run(engine, lane, slot=slot)
    failed = await run(engine, lane, RED, slot=slot)
    assert isinstance(failed, NotStepped)
    assert failed.reason is SkipReason.FAILED
    after = await run(engine, lane, slot=slot, reset=False)
    expected = bundles.expected(np.stack([GREY, GREY]))[1]
    assert after.outputs == pytest.approx(expected, abs=1e-5)
    await engine.stop()


@both
async def test_a_late_frame_comes_back_without_a_step(tmp_path, kind):
    lane = lane_of(bundles.recurrent(tmp_path / "a.onnx"))
    engine = kind([lane])
    await engine.start()
    late = await run(engine, lane, deadline_ns=0)
    assert isinstance(late, NotStepped)
    assert late.reason is SkipReason.LATE
    await engine.stop()


@both
async def test_a_network_that_fails_keeps_the_engine_from_starting(tmp_path, kind):
    lane = lane_of(bundles.failing(tmp_path / "f.onnx"))
    lane._stepper._frames[:] = 250
    engine = kind([lane])
    with pytest.raises(BundleError, match="the network fails"):
        await engine.start()
    await engine.stop()


@both
async def test_an_engine_that_never_started_can_be_stopped(tmp_path, kind):
    await kind([lane_of(bundles.recurrent(tmp_path / "a.onnx"))]).stop()


async def test_an_engine_without_work_keeps_a_device_warm(tmp_path, monkeypatch):
    lane = lane_of(bundles.recurrent(tmp_path / "a.onnx"))
    warm_up, runs, thrice = lane._stepper.warm_up, [], threading.Event()

    def counted(size):
        warm_up(size)
        runs.append(size)
        if runs[-3:] == [1, 1, 1]:
            thrice.set()

    monkeypatch.setattr(lane._stepper, "warm_up", counted)
    monkeypatch.setattr(lane._stepper, "keep_warm_s", 0.001)
    engine = ThreadEngine([lane])
    await engine.start()
    runs.clear()
    thrice.clear()
    assert await asyncio.to_thread(thrice.wait, 10)
    assert isinstance(await run(engine, lane), Stepped)
    await engine.stop()


async def test_a_loop_takes_no_turn_after_its_end(tmp_path):
    lane = lane_of(bundles.recurrent(tmp_path / "a.onnx"))
    engine = LoopEngine([lane])
    await engine.start()
    slot = lane.pool.allocate()
    terms = {"reset": True, "interval_s": 0.05, "deadline_ns": FAR_NS}
    engine.submit(Job(lane, slot, GREY, **terms, reply=lambda _: pytest.fail("it was stepped")))
    await engine.stop()
    for _ in range(10):
        await asyncio.sleep(0)
    assert lane.waiting == 1


async def test_a_loop_leaves_the_loop_to_others_between_two_steps(tmp_path):
    lane = lane_of(bundles.recurrent(tmp_path / "a.onnx"))
    engine = LoopEngine([lane])
    await engine.start()
    passes = 0
    replies = [asyncio.create_task(run(engine, lane)) for _ in range(8)]
    while not all(reply.done() for reply in replies):
        await asyncio.sleep(0)
        passes += 1
    assert {type(reply.result()) for reply in replies} == {Stepped}
    assert passes > 8 / lane.cost.buckets[-1], "each step is followed by a pass of the loop"
    await engine.stop()


async def test_a_loop_calls_one_function_a_turn_and_hands_its_fault_on(tmp_path):
    engine = LoopEngine([lane_of(bundles.recurrent(tmp_path / "a.onnx"))])
    await engine.start()
    executor = TurnExecutor(engine)
    done, passes = [], []

    def work(number):
        done.append(number)
        passes.append(count)
        return 1 // number

    futures = [executor.submit(work, number) for number in (1, 0, 2, 3)]
    futures[2].cancel()
    count = 0
    while not futures[3].done():
        count += 1
        await asyncio.sleep(0)
    assert done == [1, 0, 3]
    assert len(set(passes)) == 3, "each has a turn, and others theirs between them"
    assert futures[0].result() == 1
    assert isinstance(futures[1].exception(), ZeroDivisionError)
    await engine.stop()


async def test_a_loop_steps_what_is_decoded_before_it_decodes_a_whole_crowd(tmp_path):
    lane = lane_of(bundles.recurrent(tmp_path / "a.onnx"))
    engine = LoopEngine([lane])
    await engine.start()
    executor, order = TurnExecutor(engine), []

    def decode():
        order.append("decode")
        job = Job(
            lane,
            lane.pool.allocate(),
            GREY,
            reset=True,
            interval_s=0.05,
            deadline_ns=FAR_NS,
            reply=lambda _: order.append("step"),
        )
        engine.submit(job)

    futures = [executor.submit(decode) for _ in range(8)]
    while order.count("step") < 8:  # noqa: ASYNC110 - nothing else tells
        await asyncio.sleep(0)
    assert all(future.done() for future in futures)
    assert order.index("step") < len(order) - 1 - order[::-1].index("decode")
    await engine.stop()
