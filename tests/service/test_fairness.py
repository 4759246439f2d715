"""No session starves another: one client sends all it can, and the others miss nothing."""

from __future__ import annotations

import asyncio
import contextlib
from types import SimpleNamespace

import grpc
import numpy as np
import pytest

from steerstream.v1 import command_pb2, session_pb2
from steerstream_bundle import loading
from steerstream_service.domain import Outcome, Stepped
from steerstream_service.engine import engine as engine_module
from steerstream_service.engine.engine import deliver
from steerstream_service.engine.loop_engine import LoopEngine
from steerstream_service.engine.model_queue import ModelQueue
from tests.service import bundles, costs
from tests.service.records import submitted, until
from tests.service.vehicle import pictures, running, values

GREY = np.full((8, 16, 3), 100, np.uint8)
POLICIES = {"LATEST": session_pb2.FRAME_POLICY_LATEST, "EVERY": session_pb2.FRAME_POLICY_EVERY}
BUDGET_MS = 2000
"""A hundred times what these frames take: a miss is starvation, not a busy machine."""
MS = 1_000_000


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    return bundles.recurrent(tmp_path_factory.mktemp("bundles") / "tiny.onnx")


class Flood:
    """A client that keeps as many frames in flight as the server lets it."""

    def __init__(self, vehicle, *, reads=True):
        self.vehicle = vehicle
        self.answers = []
        self._tasks = [asyncio.create_task(self._pour())]
        if reads:
            self._tasks.append(asyncio.create_task(self._read()))

    async def stop(self):
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self.vehicle.call.cancel()

    async def _pour(self):
        while True:
            await self.vehicle.frame(GREY)

    async def _read(self):
        while True:
            self.answers.append(await self.vehicle.answer())


@contextlib.asynccontextmanager
async def flooded(run, *, reads=True, count=1, **opening):
    floods = [Flood(await run.vehicle(**opening), reads=reads) for _ in range(count)]
    try:
        yield floods
    finally:
        for flood in floods:
            await flood.stop()


async def commands(vehicle, film):
    """Drive a film frame by frame; every answer is a command, and they come in order."""
    answers = [await vehicle.drive(picture) for picture in film]
    kinds = {type(answer) for answer in answers}
    assert kinds == {command_pb2.Command}, [str(a)[:200] for a in answers]
    assert [answer.sequence_number for answer in answers] == list(range(len(film)))
    assert [answer.alive_counter for answer in answers] == list(range(1, len(film) + 1))
    return np.asarray([values(answer.raw) for answer in answers])


@pytest.mark.parametrize("steps_on", ["thread", "loop"])
@pytest.mark.parametrize("reads", [True, False], ids=["reading", "without reading"])
@pytest.mark.parametrize("policy", POLICIES)
async def test_others_miss_nothing_while_one_client_floods(tiny, policy, reads, steps_on):
    films = [pictures(40, seed) for seed in range(3)]
    async with (
        running(tiny, steps_on=steps_on) as run,
        flooded(run, reads=reads, frame_policy=POLICIES[policy], budget_ms=BUDGET_MS) as floods,
    ):
        others = [
            await run.vehicle(budget_ms=BUDGET_MS, frame_policy=POLICIES[kind])
            for kind in ("LATEST", "EVERY", "LATEST")
        ]
        rows = await asyncio.gather(
            *(commands(other, film) for other, film in zip(others, films, strict=True))
        )
        if reads:
            # It has its share too, even where the others are done before its first turn.
            await until(lambda: any(isinstance(a, command_pb2.Command) for a in floods[0].answers))
    for film, outputs in zip(films, rows, strict=True):
        np.testing.assert_allclose(outputs, bundles.expected(film), atol=1e-5)


async def test_a_flood_on_one_model_starves_no_other(tiny, tmp_path):
    bundles.stateless(tmp_path / "other.onnx")
    async with (
        running(tiny, tmp_path) as run,
        flooded(run, count=4, model="tiny", budget_ms=BUDGET_MS) as floods,
    ):
        other = await run.vehicle(model="stateless", budget_ms=BUDGET_MS)
        film = pictures(30, seed=5)
        rows = await commands(other, film)
        assert all(flood.answers for flood in floods)
    np.testing.assert_allclose(rows[:, 1], 10 * film.mean(axis=(1, 2))[:, 0] / 255, atol=1e-5)


async def test_a_slow_reader_is_not_read_from_without_bound(tiny):
    """What a client does not take back bounds what the server takes from it."""
    async with (
        running(tiny, max_unsent_answers=8) as run,
        flooded(run, reads=False, frame_policy=POLICIES["EVERY"]) as (flood,),
    ):
        other = await run.vehicle()
        await commands(other, pictures(20, seed=1))
        (stream,) = (
            stream
            for stream in run.server._service._streams
            if stream.lease.session_id == flood.vehicle.opened.session_id
        )
        assert stream._unsent <= 8
        assert await other.done() is grpc.StatusCode.OK


def test_a_model_with_nearer_deadlines_leaves_the_other_its_turn(tmp_path, monkeypatch):
    """Frames of one model always have nearer deadlines; the other's frame is in time all the same.

    The busy queue never runs dry: each frame that is answered is replaced at once. Time is what
    the steps say that they take.
    """
    busy = ModelQueue(loading.load(bundles.recurrent(tmp_path / "a.onnx")), sessions=8, max_batch=2)
    rare = ModelQueue(loading.load(bundles.stateless(tmp_path / "b.onnx")), sessions=8, max_batch=2)
    engine = LoopEngine([busy, rare])
    now_ns = 0

    def timed(queue):
        step = queue.step

        def timed_step(batch):
            nonlocal now_ns
            step(batch)
            now_ns += queue.cost[len(batch)]

        return timed_step

    monkeypatch.setattr(engine_module, "time", SimpleNamespace(monotonic_ns=lambda: now_ns))
    for queue in (busy, rare):
        monkeypatch.setattr(queue, "cost", costs.table(lambda size: 10.0 * size, max_batch=2))
        monkeypatch.setattr(queue.cost, "measured", lambda *_, **__: None)
        monkeypatch.setattr(queue, "step", timed(queue))

    def put_busy(record=None):
        slot = record.slot if record else None
        deadline_ns = now_ns + 200 * MS
        busy.put(submitted(busy, slot=slot, deadline_ns=deadline_ns, reply=put_busy))

    for _ in range(8):
        put_busy()
    answered: list[Outcome] = []
    rare.put(submitted(rare, deadline_ns=1000 * MS, reply=answered.append))
    steps = 0
    while not answered:
        for records in engine._turn():
            deliver(records)
            steps += 1
        assert now_ns <= 1000 * MS, "the rare frame was not answered in time"
    assert isinstance(answered[0].outcome, Stepped)
    assert steps > 10, "the busy model had its turns before"
