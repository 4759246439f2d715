"""Whatever a session takes is given back on every path: faults planted at each of its steps."""

from __future__ import annotations

import asyncio
import contextlib
from concurrent.futures import ThreadPoolExecutor
from typing import Any, cast

import numpy as np
import pytest

from steerstream.v1 import drive_service_pb2, frame_pb2, session_pb2
from steerstream_bundle import loading
from steerstream_service.admission.admission import Admission
from steerstream_service.admission.catalogue import Model
from steerstream_service.config import Config
from steerstream_service.engine.decode_queue import DecodeQueue
from steerstream_service.engine.loop_engine import LoopEngine
from steerstream_service.telemetry.observer import Observer
from steerstream_service.transport.call_bounds import CallBounds
from steerstream_service.transport.deadline_timer import DeadlineTimer
from steerstream_service.transport.identity import Identities
from steerstream_service.transport.servicer import DriveService
from tests.service import bundles
from tests.service.vehicle import FRAME_NS, jpeg, raw

GREY = np.full((8, 16, 3), 100, np.uint8)
FRAMES: list[dict[str, Any]] = [
    {"rgb8": raw(GREY)},
    {"jpeg": jpeg(GREY)},
    {"jpeg": b"damaged"},
    {"rgb8": raw(GREY)},
]


class PlantedError(Exception):
    """What goes wrong at the chosen step."""


class Steps:
    """Counts the steps of a session, and breaks the chosen one."""

    def __init__(self, at, how):
        self.at, self.how = at, how
        self.count = 0
        self.task = None

    def step(self):
        self.count += 1
        if self.count == self.at:
            if self.how == "raise":
                raise PlantedError
            # As gRPC does where the client is gone, whatever the handler is doing.
            self.task.cancel()


class Context:
    """An RPC whose client opens a session, sends some frames and is done."""

    def __init__(self, steps):
        self._steps = steps
        open_ = session_pb2.OpenSession(
            vehicle_id="car", budget_ms=5000, frame_policy=session_pb2.FRAME_POLICY_EVERY
        )
        frames = [
            frame_pb2.Frame(sequence_number=n, capture_time_ns=1 + FRAME_NS * n, **picture)
            for n, picture in enumerate(FRAMES)
        ]
        self._requests = [
            drive_service_pb2.DriveRequest(open=open_),
            *(drive_service_pb2.DriveRequest(frame=frame) for frame in frames),
        ]
        self.sent = 0
        self.callbacks = []

    def add_done_callback(self, callback):
        self._steps.step()
        self.callbacks.append(callback)

    def invocation_metadata(self):
        return ()

    def peer(self):
        self._steps.step()
        return "unix:"

    async def read(self):
        self._steps.step()
        await asyncio.sleep(0)
        self._steps.step()
        return self._requests.pop(0).SerializeToString() if self._requests else None

    async def send_initial_metadata(self, metadata):
        self._steps.step()
        await asyncio.sleep(0)
        self._steps.step()

    async def write(self, message):
        self._steps.step()
        await asyncio.sleep(0)
        self._steps.step()
        self.sent += 1

    async def abort(self, code, details, metadata):
        await asyncio.sleep(0)
        raise asyncio.CancelledError


class Faulty(Observer):
    """An observer that breaks where it may not."""

    def __init__(self, steps):
        for name in ("opened", "answered", "skipped", "ended", "refused"):
            setattr(self, name, lambda *_: steps.step())


class FaultyEngine(LoopEngine):
    """The real engine; the hand-over to it may fail."""

    steps: Steps | None = None

    def submit(self, queue, record):
        if self.steps is not None:
            self.steps.step()
        super().submit(queue, record)


class FaultyDeadlines(DeadlineTimer):
    """The real timer; a stream may fail while it is made."""

    def __init__(self, steps):
        super().__init__()
        self._steps = steps

    def deadline(self, check):
        self._steps.step()
        return super().deadline(check)


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    return loading.load(bundles.recurrent(tmp_path_factory.mktemp("bundles") / "tiny.onnx"))


async def drive(tiny, steps):
    """Serve one client; returns how much of the server it still holds."""
    config = Config(max_sessions=2)
    model = Model(tiny, config)
    admission = Admission({"tiny": model}, "tiny", config, cores=1, in_loop=True)
    engine = FaultyEngine([model.queue])
    await engine.start()
    engine.steps = steps
    with ThreadPoolExecutor(1) as decoder:
        pictures = DecodeQueue(decoder, 1)
        service = DriveService(
            admission, engine, pictures, config, Faulty(steps), identities=Identities(config)
        )
        service._deadlines = FaultyDeadlines(steps)
        service.open_for_sessions()
        context = Context(steps)
        bounds = CallBounds(4, {}, lambda: None)
        serve = bounds._bounded("Drive", service.Drive)
        steps.task = asyncio.ensure_future(serve(None, cast("Any", context)))
        async with asyncio.timeout(60):
            await asyncio.wait([steps.task])
        steps.at = 0
        with contextlib.suppress(asyncio.CancelledError, PlantedError):
            await steps.task
        # As gRPC does when a handler has ended, however it did.
        for callback in context.callbacks:
            callback(context)
        held = (
            bounds._open["Drive"] + len(bounds._calls),
            admission.sessions,
            2 - model.queue.pool.free,
            admission.capacity.load,
            len(service._streams),
        )
        service.reap()
    await engine.stop()
    for _ in range(5):
        await asyncio.sleep(0)
    readers = [task for task in asyncio.all_tasks() if "DriveStream" in repr(task)]
    return held, readers, context.sent


def test_a_session_without_a_fault_takes_all_its_steps(tiny):
    steps = Steps(0, "raise")
    held, readers, sent = asyncio.run(drive(tiny, steps))
    assert (held, readers, sent) == ((0, 0, 0, 0, 0), [], 1 + len(FRAMES))
    assert 20 <= steps.count <= 60, "the faults below are planted at 1 to 60"


@pytest.mark.parametrize("how", ["raise", "cancel"])
@pytest.mark.parametrize("at", range(1, 61))
def test_slots_and_load_come_back_wherever_a_session_breaks(tiny, at, how):
    held, readers, _ = asyncio.run(drive(tiny, Steps(at, how)))
    assert held == (0, 0, 0, 0, 0)
    assert readers == []
