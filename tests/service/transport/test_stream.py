"""One stream on its own: a context in memory, a real session, and an engine that a test lets go."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import sys
import threading
import time
import weakref
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest

from steerstream.v1 import drive_service_pb2, frame_pb2, session_pb2
from steerstream_bundle import loading, pictures
from steerstream_service.admission.admission import Admission
from steerstream_service.admission.catalogue import Model
from steerstream_service.admission.load import Claim
from steerstream_service.admission.picture_cost import NO_PICTURE
from steerstream_service.config import Config
from steerstream_service.domain import (
    Camera,
    FramePolicy,
    NotStepped,
    Opening,
    SkipReason,
    Stepped,
)
from steerstream_service.engine.decode_queue import DecodeQueue
from steerstream_service.engine.engine import Engine, deliver
from steerstream_service.errors import IdleError, InvalidFieldError, NotOpenError, TakenOverError
from steerstream_service.session.frame_stages import FrameRecord
from steerstream_service.telemetry.observer import Observer
from steerstream_service.transport import intake as intake_module
from steerstream_service.transport import stream as stream_module
from steerstream_service.transport.deadline_timer import DeadlineTimer
from steerstream_service.transport.intake import Intake, Reader
from steerstream_service.transport.stream import DriveStream
from tests.bundle.jpeg_files import of_size
from tests.service import bundles
from tests.service.records import until
from tests.service.vehicle import FRAME_NS, LONG_BUDGET_MS, jpeg, raw

MS = 1_000_000
GREY = np.full((8, 16, 3), 100, np.uint8)
OPENED = drive_service_pb2.DriveResponse(opened=session_pb2.SessionOpened(session_id="tiny"))


class Context:
    """An RPC in memory: what the client sends, and what it was sent."""

    def __init__(self):
        self.sent = []
        self.reads = 0
        self.takes_answers = asyncio.Event()
        self.takes_answers.set()
        self._requests = asyncio.Queue()

    def client_sends(self, **message):
        self.client_sends_bytes(drive_service_pb2.DriveRequest(**message).SerializeToString())

    def client_sends_bytes(self, data):
        self._requests.put_nowait(data)

    def client_closes(self):
        self._requests.put_nowait(object())

    async def read(self):
        request = await self._requests.get()
        self.reads += 1
        return request

    async def send_initial_metadata(self, metadata):
        assert not self.sent

    async def write(self, message):
        await self.takes_answers.wait()
        self.sent.append(message)

    @property
    def answers(self):
        """What was sent after `opened`: commands, skips and notices."""
        kinds = [message.WhichOneof("message") for message in self.sent[1:]]
        assert not self.sent or self.sent[0] is OPENED
        return [getattr(message, kind) for message, kind in zip(self.sent[1:], kinds, strict=True)]


class HeldEngine(Engine):
    """Keeps frames until a test answers them."""

    def __init__(self):
        super().__init__([])
        self.frames = []

    async def start(self):
        pass

    async def stop(self):
        pass

    def submit(self, queue, record):
        self.frames.append(record)

    def answer(self, outcome=None):
        record = self.frames.pop(0)
        if record.claim():
            record.outcome = outcome or Stepped((0.1, 10.0, 0.2), record.arrived_ns, 0, 1)
            deliver([record])


class Open:
    """A stream that runs, with all that it touches."""

    def __init__(self, admission, config, opening):
        self.context = Context()
        self.engine = HeldEngine()
        self.decoder = ThreadPoolExecutor(1)
        self.lease = admission.admit(opening)
        self.stream = DriveStream(
            cast(Any, self.context),
            Reader(self.context, Intake()),
            self.lease,
            engine=self.engine,
            decoder=DecodeQueue(self.decoder, 1),
            deadlines=DeadlineTimer(),
            config=config,
            observer=Observer(),
        )
        self.task = asyncio.create_task(self.stream.run(OPENED))

    def frames(self, *numbers, **fields):
        fields = fields or {"rgb8": raw(GREY)}
        for number in numbers:
            frame = frame_pb2.Frame(
                sequence_number=number, capture_time_ns=1 + FRAME_NS * number, **fields
            )
            self.context.client_sends(frame=frame)

    async def submitted(self, count=1):
        await until(lambda: len(self.engine.frames) >= count)

    async def answered(self, count):
        await until(lambda: len(self.context.answers) >= count)

    async def taken_or_answered(self, count):
        await until(lambda: self.engine.frames or len(self.context.answers) >= count)

    def let_go(self):
        """Hold the stream no more; returns a reference that holds nothing."""
        there = weakref.ref(self.stream)
        self.stream.close()
        self.task.cancel()
        del self.stream, self.task
        return there

    async def end(self):
        """Return what ended the stream; None for a good end."""
        async with asyncio.timeout(60):
            await asyncio.wait([self.task])
        return self.task.exception()


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    return loading.load(bundles.recurrent(tmp_path_factory.mktemp("bundles") / "tiny.onnx"))


@pytest.fixture
def opened(tiny):
    """Opens streams; they are closed when the test ends."""
    streams = []

    async def open_(policy=FramePolicy.EVERY, rate_hz=None, **settings):
        config = Config(**settings)
        model = Model(tiny, config)
        for size in model.queue.cost.buckets:
            model.queue.cost.measured(size, 1_000_000)
        admission = Admission({"tiny": model}, "tiny", config, cores=2)
        camera = Camera(0, 0, 0.0, 0.0, 0.0)
        opening = Opening("car", None, LONG_BUDGET_MS, policy, camera, b"", rate_hz)
        streams.append(Open(admission, config, opening))
        return streams[-1]

    yield open_
    for each in streams:
        if hasattr(each, "stream"):
            each.let_go()
        each.decoder.shutdown(cancel_futures=True)


async def test_a_full_server_tells_a_session_once_how_often_to_send(opened):
    run = await opened(FramePolicy.LATEST, rate_hz=20.0)
    for share, phase in ((1.0, 0.25), (0.5, 0.25), (0.5, 0.75), (0.4, 0.25), (1.0, 0.0)):
        run.stream.set_pace(share, phase)
    await run.answered(3)
    paces = [(answer.pace.period_ms, answer.pace.first_in_ms) for answer in run.context.answers]
    assert paces == [(100.0, 25.0), (125.0, 0.0), (0.0, 0.0)]


async def test_no_pace_is_so_slow_that_a_session_would_be_idle(opened):
    run = await opened(FramePolicy.LATEST, rate_hz=20.0)
    run.stream.set_pace(0.001, 0.0)
    await run.answered(1)
    (answer,) = run.context.answers
    assert answer.pace.period_ms == 1e3 * Config().idle_timeout_s / 4


async def test_a_session_that_wants_every_answer_is_asked_for_no_pace(opened):
    run = await opened(FramePolicy.EVERY, rate_hz=20.0)
    run.stream.set_pace(0.5, 0.5)
    run.frames(0)
    await run.submitted()
    assert not run.context.answers


async def test_a_client_that_is_done_gets_its_answers_before_the_stream_ends(opened):
    run = await opened()
    run.frames(0, 1)
    run.context.client_closes()
    for _ in range(2):
        await run.submitted()
        assert not run.task.done()
        run.engine.answer()
    assert await run.end() is None
    assert [answer.sequence_number for answer in run.context.answers] == [0, 1]


@pytest.fixture
def no_garbage():
    """Nothing is collected: what is not let go of stays."""
    gc.disable()
    yield
    gc.enable()


@pytest.mark.parametrize(
    "left",
    ["nothing", "an error", "a frame that waits", "a frame that is stepped", "a frame taken back"],
)
@pytest.mark.usefixtures("no_garbage")
async def test_a_stream_that_is_closed_leaves_no_garbage(opened, left):
    """A collection of it, with the answers of all vehicles that left, stopped those that drive."""
    run = await opened()
    run.frames(0, 1)
    await run.submitted()
    if left == "nothing":
        for number in range(2):
            await run.submitted()
            run.engine.answer()
            await run.answered(number + 1)
    elif left == "an error":
        run.stream.end(IdleError("nothing came"))
        assert isinstance(await run.end(), IdleError)
    elif left == "a frame that is stepped":
        assert run.engine.frames[0].claim()
    elif left == "a frame taken back":
        run.stream._perform(run.stream._session.tick(time.monotonic_ns() + 10**15))
        await run.answered(1)
        run.engine.frames.clear()  # An engine drops those that it cannot claim.
    there = run.let_go()
    for record in run.engine.frames:
        record.outcome = NotStepped(SkipReason.FAILED, "the step failed")
        deliver([record])
    await until(lambda: there() is None)


async def test_a_reset_divides_the_frames_around_it(opened):
    run = await opened()
    run.frames(0)
    run.context.client_sends(reset=session_pb2.Reset())
    run.frames(1)
    for expected in (0, 1):
        await run.submitted()
        assert run.engine.frames[0].epoch == expected
        run.engine.answer()


@pytest.mark.parametrize(("count", "epoch"), [(0, 1), (1, 1), (1024, 1024)])
async def test_one_message_stands_for_resets_in_a_row(opened, count, epoch):
    run = await opened()
    run.context.client_sends(reset=session_pb2.Reset(count=count))
    run.frames(0)
    await run.submitted()
    assert run.engine.frames[0].epoch == epoch


async def test_a_message_of_more_resets_than_it_may_stand_for_ends_the_stream(opened):
    run = await opened()
    run.context.client_sends(reset=session_pb2.Reset(count=1025))
    error = await run.end()
    assert isinstance(error, InvalidFieldError)
    assert "reset.count must be at most 1024, is 1025" in str(error)


async def test_a_wrong_message_ends_the_stream_with_its_error(opened):
    run = await opened()
    run.context.client_sends(open=session_pb2.OpenSession(vehicle_id="car"))
    assert isinstance(await run.end(), NotOpenError)


async def test_a_stream_whose_place_was_taken_has_nothing_more_stepped(opened):
    run = await opened()
    run.frames(0, 1)
    await run.submitted()
    run.lease.model.queue.pool.release(run.lease.slot)
    run.stream.displace(TakenOverError("another session"))
    run.engine.answer()
    assert isinstance(await run.end(), TakenOverError)
    assert run.engine.frames == []


async def test_a_client_that_takes_nothing_does_not_hold_up_a_stream_whose_place_was_taken(
    opened, monkeypatch
):
    monkeypatch.setattr("steerstream_service.transport.stream._GOODBYE_S", 0.0)
    run = await opened(idle_timeout_s=3600.0)
    run.frames(0)
    await run.submitted()
    run.context.takes_answers.clear()
    run.engine.answer()
    await until(lambda: run.stream._writing_since_ns is not None)
    run.stream.displace(TakenOverError("another session"))
    run.stream.displace(TakenOverError("a third one"))
    error = await run.end()
    assert isinstance(error, TakenOverError)
    assert str(error) == "another session"


@pytest.mark.parametrize(
    "picture", [{"rgb8": raw(GREY)}, {"jpeg": jpeg(GREY)}], ids=["raw", "jpeg"]
)
async def test_a_fault_of_the_decoder_ends_its_stream_and_no_other(opened, monkeypatch, picture):
    ill, well = await opened(), await opened()
    with monkeypatch.context() as patch:
        patch.setattr(pictures, "to_input", lambda *_, **__: 1 // 0)
        ill.frames(0, **picture)
        assert isinstance(await ill.end(), ZeroDivisionError)
    well.frames(0, **picture)
    await well.submitted()
    well.engine.answer()
    await well.answered(1)


async def test_a_frame_that_is_late_at_the_engine_counts_as_late_for_its_session(opened):
    run = await opened()
    run.frames(0, 1)
    await run.submitted()
    run.engine.answer(NotStepped(SkipReason.LATE, "too late"))
    await run.submitted()
    run.engine.answer(NotStepped(SkipReason.FAILED, "the step failed"))
    await run.answered(2)
    assert run.lease.rate_meter.review().late == 1


@pytest.mark.parametrize(("seconds", "missed"), [(0.9, 1), (1.1, 0)])
async def test_a_server_does_not_miss_frames_that_wait_for_their_client_to_take_answers(
    opened, monkeypatch, seconds, missed
):
    run = await opened()
    await until(lambda: run.context.sent)
    run.context.takes_answers.clear()
    run.frames(0)
    await run.submitted()
    run.engine.answer()
    run.frames(1)
    await run.submitted()
    later_ns = time.monotonic_ns() + round(seconds * 1e9)
    monkeypatch.setattr(stream_module, "time", SimpleNamespace(monotonic_ns=lambda: later_ns))
    run.engine.answer(NotStepped(SkipReason.LATE, "too late"))
    run.context.takes_answers.set()
    await run.answered(2)
    counts = run.lease.rate_meter.review()
    assert (counts.late, counts.missed) == (1, missed)


@pytest.mark.parametrize(("together", "missed"), [(2, 1), (4, 0)])
async def test_a_server_does_not_miss_frames_that_wait_for_others_of_their_session(
    opened, together, missed
):
    run = await opened(rate_hz=1.0)
    run.frames(*range(together))
    for _ in range(together - 1):
        await run.submitted()
        run.engine.answer()
    await run.submitted()
    run.engine.answer(NotStepped(SkipReason.LATE, "too late"))
    await run.answered(together)
    counts = run.lease.rate_meter.review()
    assert (counts.within, counts.late, counts.missed) == (together, 1, missed)


async def test_nothing_more_is_read_from_a_client_that_has_no_answers_yet(opened):
    run = await opened(max_unsent_answers=4)
    run.frames(*range(10))
    await until(lambda: run.context.reads == 4)
    for _ in range(100):
        await asyncio.sleep(0)
    assert run.context.reads == 4
    run.engine.answer()
    await until(lambda: run.context.reads == 5)


@pytest.fixture
def pauses_s(monkeypatch):
    """The pauses that readers make, which take no time."""
    pauses_s = []

    async def pause(seconds):
        pauses_s.append(seconds)
        await asyncio.sleep(0)

    monkeypatch.setattr(stream_module, "asyncio", _with(asyncio, sleep=pause))
    return pauses_s


@pytest.mark.parametrize("numbers", [range(10), [0] * 10], ids=["good", "faulty"])
async def test_a_surplus_frame_of_a_busy_server_delays_the_next_one(opened, pauses_s, numbers):
    run = await opened(rate_hz=0.1)
    run.lease.capacity.is_busy = True
    run.frames(*numbers)
    await until(lambda: run.context.reads == 10)
    assert pauses_s == [0.2, 0.2], "8 frames may come at once"


async def test_a_dear_picture_that_comes_before_its_turn_is_refused_undecoded(
    opened, pauses_s, monkeypatch
):
    run = await opened(FramePolicy.LATEST, rate_hz=20.0)
    now_ns = time.monotonic_ns()
    monkeypatch.setattr(stream_module, "time", _with(time, monotonic_ns=lambda: now_ns))
    for _ in range(100):
        other = Claim(run.lease.demand, NO_PICTURE)
        run.lease.capacity.dear_turn(other, now_ns, 10**12)
    run.frames(0, jpeg=of_size(2000, 1024, 1_840_000))
    await run.answered(1)
    (answer,) = run.context.answers
    assert answer.reason == SkipReason.OVERLOADED
    assert "send smaller ones" in answer.detail
    assert pauses_s == [5.0], "however long the others take"
    assert not run.engine.frames
    terms = run.lease.terms
    idle_ns = run.stream.session.idle_check_ns - now_ns
    assert idle_ns == terms.idle_timeout_ns - terms.expiring_notice_ns + 5000 * MS


@contextlib.contextmanager
def busy(decoder):
    """Keep a decoder of one thread from beginning anything."""
    ended = threading.Event()
    decoder.submit(ended.wait)
    try:
        yield
    finally:
        ended.set()


def next_turn_ns(lease, now_ns):
    """When another session's dear picture would have its next turn."""
    other = Claim(lease.demand, NO_PICTURE)
    told = lease.capacity.dear_turn(other, now_ns, 1.0)
    lease.capacity.give_turn_back(other, now_ns)
    return told.next_ns


async def test_a_picture_whose_frame_was_answered_while_it_was_decoded_has_had_its_turn(opened):
    run = await opened(FramePolicy.LATEST, rate_hz=20.0)
    now_ns = time.monotonic_ns()
    record = FrameRecord(0, 1, None, None, now_ns)
    record.decode_forecast_ns = 10e6
    run.lease.capacity.dear_turn(run.lease.claim, now_ns, record.decode_forecast_ns)
    taken_ns = next_turn_ns(run.lease, now_ns)
    run.stream._count_decoded(record)
    assert next_turn_ns(run.lease, now_ns) == taken_ns


@pytest.mark.parametrize("why", ["invalid", "no JPEG", "given up", "taken back", "gone"])
async def test_a_dear_picture_that_costs_nothing_puts_nobody_off(
    opened, pauses_s, why, monkeypatch
):
    """Neither one that is refused for its field, nor one of a session that is gone."""
    run = await opened(FramePolicy.LATEST, rate_hz=20.0)
    now_ns = time.monotonic_ns()
    monkeypatch.setattr(stream_module, "time", _with(time, monotonic_ns=lambda: now_ns))
    if why == "invalid":
        run.frames(0, jpeg=of_size(2000, 1024, 1_840_000), vehicle_speed_mps=float("nan"))
        await run.answered(1)
    elif why == "given up":
        run.stream._decoder._clock = lambda: now_ns + 10**15
        run.frames(0, jpeg=of_size(2000, 1024, 1_840_000))
        await run.answered(1)
        await until(lambda: pauses_s)
    elif why == "no JPEG":
        run.frames(0, jpeg=of_size(2000, 1024, 1_840_000)[:-2])
        await run.answered(1)
        await until(lambda: pauses_s)
    else:
        with busy(run.decoder):
            run.frames(0, jpeg=of_size(2000, 1024, 1_840_000))
            await until(lambda: pauses_s)
            assert next_turn_ns(run.lease, now_ns) > now_ns + 40 * MS
            if why == "taken back":
                run.stream._perform(run.stream._session.tick(now_ns + 10**15))
            else:
                run.let_go()
    assert bool(pauses_s) is (why != "invalid")
    assert next_turn_ns(run.lease, now_ns) < now_ns + 40 * MS


async def test_a_message_is_let_go_before_the_next_one_is_waited_for(opened, monkeypatch):
    requests = []

    def parse(data):
        requests.append(drive_service_pb2.DriveRequest.FromString(data))
        return requests[-1]

    messages = SimpleNamespace(DriveRequest=SimpleNamespace(FromString=parse))
    monkeypatch.setattr(intake_module, "drive_service_pb2", messages)
    run = await opened()
    frame = frame_pb2.Frame(sequence_number=1, capture_time_ns=1, rgb8=raw(GREY))
    data = drive_service_pb2.DriveRequest(frame=frame).SerializeToString()
    held = sys.getrefcount(data)
    run.context.client_sends_bytes(data)
    await run.submitted()
    assert sys.getrefcount(data) == held, "it may have megabytes"
    copies = sys.getrefcount(requests[0])
    assert copies == 2, "by this list and this call"


async def test_more_than_a_few_resets_a_second_are_read_slowly(opened, pauses_s, monkeypatch):
    run = await opened()
    monkeypatch.setattr(stream_module, "time", SimpleNamespace(monotonic_ns=lambda: 10**12))
    for _ in range(20):
        run.context.client_sends(reset=session_pb2.Reset())
    await until(lambda: run.context.reads == 20)
    assert len(pauses_s) == 12, "8 may come at once"
    assert all(0 < seconds <= 0.1 for seconds in pauses_s)


async def test_a_flood_of_bad_frames_is_read_slowly(opened, pauses_s, monkeypatch):
    run = await opened(FramePolicy.LATEST, rate_hz=1000)
    monkeypatch.setattr(stream_module, "time", SimpleNamespace(monotonic_ns=lambda: 10**12))
    run.frames(*range(20), vehicle_speed_mps=float("nan"))
    await until(lambda: run.context.reads == 20)
    assert len(pauses_s) == 12, "8 may come at once"
    assert all(0 < seconds <= 1 / 100 for seconds in pauses_s)


async def test_a_flood_of_good_frames_is_read_as_fast_as_it_comes(opened, pauses_s):
    run = await opened(FramePolicy.LATEST, rate_hz=1000)
    run.frames(*range(20))
    await until(lambda: run.context.reads == 20)
    assert pauses_s == []


async def test_a_client_that_says_it_reads_nothing_is_answered_overloaded_and_then_ended(
    opened, monkeypatch
):
    run = await opened(max_unsent_answers=4, idle_timeout_s=10.0)
    for number in range(4):
        run.frames(number, rgb8=raw(GREY), answers_taken=0)
        await run.submitted()
        run.engine.answer()
        await run.answered(number + 1)
    run.frames(4, rgb8=raw(GREY), answers_taken=0)
    await run.answered(5)
    skip = run.context.answers[-1]
    assert skip.reason == SkipReason.OVERLOADED
    assert "read them" in skip.detail
    later_ns = time.monotonic_ns() + 11 * 10**9
    monkeypatch.setattr(stream_module, "time", SimpleNamespace(monotonic_ns=lambda: later_ns))
    run.stream._check_idle()
    error = await run.end()
    assert isinstance(error, IdleError)
    assert "no answer was taken" in str(error)


async def test_a_client_that_takes_its_answers_again_is_served_again(opened):
    run = await opened(max_unsent_answers=2)
    for number, taken in enumerate([0, 0, 0, 2, 99]):
        run.frames(number, rgb8=raw(GREY), answers_taken=taken)
        await run.taken_or_answered(number + 1)
        if run.engine.frames:
            run.engine.answer()
        await run.answered(number + 1)
    skipped = [hasattr(answer, "reason") for answer in run.context.answers]
    assert skipped == [False, False, True, False, False]


async def test_a_client_that_does_not_say_what_it_took_is_believed(opened):
    run = await opened(max_unsent_answers=2)
    for number in range(8):
        run.frames(number)
        await run.submitted()
        run.engine.answer()
        await run.answered(number + 1)
    assert not any(hasattr(answer, "reason") for answer in run.context.answers)


async def test_a_stream_that_closes_claims_its_frame_back_from_the_engine(opened):
    run = await opened()
    run.frames(0)
    await run.submitted()
    run.stream.close()
    assert not run.engine.frames[0].claim()


async def test_a_ready_frame_replaces_one_that_the_engine_has_not_begun(opened):
    run = await opened(FramePolicy.LATEST)
    run.frames(0)
    await run.submitted()
    run.frames(1)
    await run.submitted(2)
    await run.answered(1)
    (skip,) = run.context.answers
    assert (skip.sequence_number, skip.reason) == (0, SkipReason.SUPERSEDED)
    run.engine.answer()
    run.engine.answer()
    await run.answered(2)
    assert run.context.answers[1].sequence_number == 1


async def test_a_stream_that_ends_leaves_no_reader(opened):
    run = await opened()
    run.task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await run.task
    await asyncio.sleep(0)
    readers = [task for task in asyncio.all_tasks() if "DriveStream._read" in repr(task)]
    assert readers == []


def _with(module, **changes):
    """A module with some of its names replaced."""

    class Changed:
        def __getattr__(self, name):
            return changes.get(name, getattr(module, name))

    return Changed()
