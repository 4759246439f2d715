"""The engine on the event loop's thread: it leaves the loop to others between its turns."""

from __future__ import annotations

import asyncio
import itertools
import time

import pytest

from steerstream_bundle import loading
from steerstream_service.domain import Stepped
from steerstream_service.engine.loop_engine import LoopEngine, TurnExecutor
from steerstream_service.engine.model_queue import ModelQueue
from steerstream_service.session.frame_stages import FrameRecord
from tests.service import bundles
from tests.service.records import stepped, submitted, until


@pytest.fixture
def queue(tmp_path):
    bundle = loading.load(bundles.recurrent(tmp_path / "a.onnx"))
    return ModelQueue(bundle, sessions=8, max_batch=4)


@pytest.fixture
async def engine(queue):
    engine = LoopEngine([queue])
    await engine.start()
    yield engine
    await engine.stop()


async def test_it_takes_no_turn_after_its_end(engine, queue):
    frame = submitted(queue, reply=lambda record: pytest.fail("it was stepped"))
    engine.submit(queue, frame)
    await engine.stop()
    for _ in range(10):
        await asyncio.sleep(0)
    assert queue.waiting == 1


async def test_it_leaves_the_loop_to_others_between_two_steps(engine, queue):
    passes = 0
    replies = [asyncio.create_task(stepped(engine, queue)) for _ in range(8)]

    def all_done():
        nonlocal passes
        passes += 1
        return all(reply.done() for reply in replies)

    await until(all_done)
    assert {type(reply.result()) for reply in replies} == {Stepped}
    assert passes > 8 / queue.cost.buckets[-1], "each step is followed by a pass of the loop"


async def test_a_turn_waits_for_messages_that_are_on_their_way(engine, queue):
    """A message reaches its stream's reader three passes of the loop after gRPC's poller wakes."""
    passes_before = []
    passes = 0
    engine.submit(queue, submitted(queue, reply=lambda _: passes_before.append(passes)))

    def replied():
        nonlocal passes
        passes += 1
        return bool(passes_before)

    await until(replied)
    assert passes_before[0] >= 3


async def test_a_turn_waits_as_long_as_messages_come_but_not_for_ever(engine, queue):
    passes_before = []
    passes = 0
    engine.submit(queue, submitted(queue, reply=lambda _: passes_before.append(passes)))

    def replied():
        nonlocal passes
        passes += 1
        if passes < hears:
            engine.heard()
        return bool(passes_before)

    hears = 20
    await until(replied)
    assert 20 <= passes_before.pop() <= 26
    hears, passes = 10**6, 0
    engine.submit(queue, submitted(queue, reply=lambda _: passes_before.append(passes)))
    await until(replied)
    assert 40 <= passes_before.pop() <= 60


async def test_messages_that_take_long_delay_a_turn_by_little_and_then_all_of_it_is_done(
    engine, queue, monkeypatch
):
    """Of megabytes each, in virtual time: 48 passes of them would take 200 ms."""
    passed_ms = 0
    for clock in ("thread_time_ns", "monotonic_ns"):
        monkeypatch.setattr(time, clock, lambda: 10**6 * passed_ms)
    executor = TurnExecutor(engine)
    done_ms = []
    for record in frames(5):
        executor.submit(lambda _: done_ms.append(passed_ms), record)

    def hears():
        nonlocal passed_ms
        passed_ms += 4
        engine.heard()
        return len(done_ms) == 5

    await until(hears)
    assert done_ms[0] <= 20
    assert done_ms == [done_ms[0]] * 5, "in one go, for they have waited"


async def test_it_calls_one_function_a_turn_and_hands_its_fault_on(engine):
    executor = TurnExecutor(engine)
    called, passes, ended = [], [], []
    count = 0

    def work(record):
        called.append(record)
        passes.append(count)
        return 1 // record.sequence_number

    records = frames(4)
    turns = [executor.submit(work, record) for record in records]
    for turn in turns:
        turn.add_done_callback(ended.append)
    assert turns[2].cancel()
    assert turns[2].cancelled()

    def last_done():
        nonlocal count
        count += 1
        return turns[3] in ended

    await until(last_done)
    assert called == [records[0], records[1], records[3]]
    assert ended == [turns[0], turns[1], turns[3]]
    assert len(set(passes)) == 3, "each has a turn, and others theirs between them"
    assert isinstance(turns[0].exception(), ZeroDivisionError)
    assert turns[1].exception() is None
    assert not turns[1].cancel(), "it has begun"
    assert not turns[1].cancelled()


async def test_it_steps_what_is_decoded_before_it_decodes_a_whole_crowd(engine, queue):
    executor, order = TurnExecutor(engine), []

    def decode(_):
        order.append("decode")
        engine.submit(queue, submitted(queue, reply=lambda _: order.append("step")))

    for record in frames(8):
        executor.submit(decode, record)
    await until(lambda: order.count("step") == 8)
    assert order.count("decode") == 8
    last_decode = len(order) - 1 - order[::-1].index("decode")
    assert order.index("step") < last_decode


async def test_frames_without_end_that_need_no_decoding_keep_no_picture_from_its_turn(
    engine, queue
):
    """Four sessions that flooded a server with small raw pictures stopped all others for 0.5 s."""
    executor, decoded = TurnExecutor(engine), []
    stepped_frames = 0

    def again(record):
        nonlocal stepped_frames
        stepped_frames += 1
        engine.submit(queue, submitted(queue, slot=record.slot, reply=again))

    for _ in range(8):
        engine.submit(queue, submitted(queue, reply=again))
    for record in frames(4):
        executor.submit(lambda _: decoded.append(stepped_frames), record)
    await until(lambda: len(decoded) == 4 or stepped_frames > 100)
    assert [later - earlier for earlier, later in itertools.pairwise(decoded)] == [4, 4, 4]


def frames(count):
    return [FrameRecord(number, 0, None, None, 0) for number in range(count)]
