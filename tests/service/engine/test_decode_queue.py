"""Which frame is decoded next, and which is given up, by a virtual clock."""

from __future__ import annotations

import asyncio
import gc
import weakref
from collections import Counter
from concurrent.futures import Executor, Future, ThreadPoolExecutor

import pytest

from steerstream_service.engine.decode_queue import DecodeQueue
from steerstream_service.session.frame_stages import FrameRecord
from tests.service.records import until

MS = 1_000_000
BUDGET_NS, STEP_NS = 50 * MS, 2 * MS


class Decoders(Executor):
    """Holds what it is given until a test lets it run."""

    def __init__(self):
        self.held = []

    def submit(self, fn, /, *args, **kwargs):
        future = Future()
        self.held.append((future, fn, args))
        return future

    def run(self):
        """Run the first that was not cancelled; returns its record."""
        while self.held:
            future, fn, args = self.held.pop(0)
            if future.set_running_or_notify_cancel():
                try:
                    future.set_result(fn(*args))
                except ValueError as error:
                    future.set_exception(error)
                return args[0]
        return None


class Server:
    """A queue in virtual time: each frame takes the whole server a while."""

    def __init__(self, decoders=1, beside=None):
        self.now_ns = 10**9
        self.executor = Decoders()
        self.queue = DecodeQueue(self.executor, decoders, lambda: self.now_ns, beside=beside)
        self.done, self.given_up, self.errors = [], [], []

    def frame(self, vehicle, *, budget_ns=BUDGET_NS, served_ns=0, turn_ns=None, decode_ms=0.0):
        record = FrameRecord(vehicle, 0, None, None, self.now_ns)
        record.deadline_ns = self.now_ns + budget_ns
        record.start_by_ns = record.deadline_ns - STEP_NS
        record.turn_ns = record.deadline_ns if turn_ns is None else turn_ns
        record.served_ns = served_ns
        record.decode_forecast_ns = decode_ms * MS
        self.queue.put(record, self._decode, self._done, self._give_up)
        return record

    def serve(self, ms):
        """Decode the next frame, which takes the server so long with all else; returns it."""
        self.now_ns += round(ms * MS)
        return self.executor.run()

    def _decode(self, record):
        record.decode_ns = MS // 2

    def _done(self, record, error):
        self.errors.append(error)
        self.done.append(record)

    def _give_up(self, record):
        self.given_up.append(record)


def numbers(records):
    return [record.sequence_number for record in records]


async def learned(server, ms=1, frames=60):
    """Let the queue measure how long the server takes for a frame."""
    for number in range(3):
        server.frame(number, budget_ns=10**10)
    for number in range(3, frames):
        server.serve(ms)
        server.frame(number, budget_ns=10**10)
    while server.serve(ms):
        pass
    await asyncio.sleep(0)
    assert not server.given_up
    server.done.clear()
    return server


async def test_frames_are_decoded_by_their_deadlines_whatever_their_order():
    server = Server()
    for number, budget_ms in enumerate((50, 40, 30, 45)):
        server.frame(number, budget_ns=budget_ms * MS)
    while server.serve(1):
        pass
    assert numbers(server.done) == [0, 2, 1, 3], "the first began at once"


async def test_as_many_frames_are_decoded_at_once_as_there_are_decoders():
    server = Server(decoders=2)
    for number in range(4):
        server.frame(number)
    assert len(server.executor.held) == 2
    server.serve(1)
    assert len(server.executor.held) == 2


async def test_the_time_of_a_frame_is_measured_only_while_others_wait():
    server = await learned(Server(), ms=2)
    assert server.queue.frame_ns == pytest.approx(2 * MS, rel=0.01)
    for number in range(50):
        server.now_ns += 40 * MS
        server.frame(number)
        server.serve(1)
    assert server.queue.frame_ns == pytest.approx(2 * MS, rel=0.01), "it was idle in between"


async def test_one_stall_does_not_look_like_load():
    server = await learned(Server(), ms=1)
    server.frame(0)
    server.frame(1)
    server.serve(300)
    assert server.queue.frame_ns < 1.5 * MS


async def test_a_frame_that_would_be_late_is_given_up_before_it_is_decoded():
    server = await learned(Server(), ms=1)
    for number in range(60):
        server.frame(number)
    await asyncio.sleep(0)
    assert 35 <= 60 - len(server.given_up) <= 42, "0.8 of 48 ms"
    waits = len(server.executor.held) + 60
    while server.serve(1):
        waits -= 1
    in_time = [record for record in server.done if record.decode_ns]
    assert len(in_time) + len(server.given_up) == 60
    assert server.now_ns < in_time[-1].start_by_ns


async def test_beyond_capacity_every_session_gets_the_same_share():
    """120 vehicles at 20 Hz ask 2,400 frames a second of a server that does 1,000."""
    server = await learned(Server(), ms=1)
    served_ns, commands = Counter(), Counter()
    due_ns = {vehicle: server.now_ns + vehicle * BUDGET_NS // 120 for vehicle in range(120)}
    waiting = {}
    end_ns = server.now_ns + 2_000 * MS
    late = 0
    while server.now_ns < end_ns:
        for vehicle, due in due_ns.items():
            if due <= server.now_ns:
                turn_ns = None
                if vehicle in waiting and server.queue.take_back(waiting[vehicle]):
                    turn_ns = waiting[vehicle].turn_ns
                record = server.frame(vehicle, served_ns=served_ns[vehicle], turn_ns=turn_ns)
                waiting[vehicle] = record
                due_ns[vehicle] += BUDGET_NS
        await asyncio.sleep(0)
        record = server.serve(1)
        if record is not None:
            late += server.now_ns > record.start_by_ns
            served_ns[record.sequence_number] = server.now_ns
            commands[record.sequence_number] += 1
    assert commands.total() >= 1_900, "as many as the server can do"
    assert late == 0
    shares = [commands[vehicle] * 120 / commands.total() for vehicle in range(120)]
    assert 0.7 <= min(shares) <= max(shares) <= 1.3, "a command every second or third period"


async def test_the_time_that_a_session_s_pictures_take_is_its_own():
    """Dear pictures before a frame make it late, and those behind it do not."""
    for dear_budget_ns, given_up in ((20 * BUDGET_NS, 0), (BUDGET_NS - MS, 1)):
        server = await learned(Server(), ms=1)
        for number in range(4):
            server.frame(number, budget_ns=dear_budget_ns, decode_ms=10 if number < 3 else 0)
        for _ in range(6):
            server.frame(9)
        await asyncio.sleep(0)
        assert len(server.given_up) == given_up
        assert all(record.decode_forecast_ns for record in server.given_up), "the dear one goes"


async def test_what_decoding_took_is_not_counted_twice():
    server = Server()
    for number in range(3):
        server.frame(number, budget_ns=10**10, decode_ms=4)
    for number in range(3, 60):
        server.serve(5)
        server.frame(number, budget_ns=10**10, decode_ms=4)
    assert server.queue.frame_ns == pytest.approx(1 * MS, rel=0.05)


async def test_beyond_capacity_every_session_gets_the_same_share_of_the_time():
    """One session's pictures take nine times as long as those of twenty others."""
    server = await learned(Server(), ms=1)
    served_ns, commands, waiting = Counter(), Counter(), {}
    end_ns = server.now_ns + 3_000 * MS
    due_ns = {vehicle: server.now_ns + vehicle * BUDGET_NS // 21 for vehicle in range(21)}
    while server.now_ns < end_ns:
        for vehicle, due in due_ns.items():
            if due <= server.now_ns:
                turn_ns = None
                if vehicle in waiting and server.queue.take_back(waiting[vehicle]):
                    turn_ns = waiting[vehicle].turn_ns
                waiting[vehicle] = server.frame(
                    vehicle,
                    served_ns=served_ns[vehicle],
                    turn_ns=turn_ns,
                    decode_ms=0 if vehicle else 28,
                )
                due_ns[vehicle] += BUDGET_NS
        await asyncio.sleep(0)
        held = server.executor.held
        takes_ms = 2 if not held or held[0][2][0].sequence_number else 30
        record = server.serve(takes_ms)
        if record is not None:
            served_ns[record.sequence_number] = server.now_ns
            commands[record.sequence_number] += 1
    others = [commands[vehicle] for vehicle in range(1, 21)]
    assert min(others) > 20, "in time for most of the 60 frames of each"
    assert commands[0] < min(others) / 2


async def test_long_pictures_leave_one_decoder_to_others():
    server = Server(decoders=2)
    for number in range(3):
        server.frame(number, decode_ms=20)
    server.frame(3, budget_ns=2 * BUDGET_NS)
    started = [args[0].sequence_number for _, _, args in server.executor.held]
    assert started == [0, 3], "the last is the least urgent"
    server.serve(1)
    server.serve(1)
    assert numbers(server.done) == [0, 3]
    while server.serve(1):
        pass
    assert numbers(server.done) == [0, 3, 1, 2]


async def test_a_single_decoder_decodes_long_pictures_too():
    server = Server()
    for number in range(3):
        server.frame(number, budget_ns=4 * BUDGET_NS, decode_ms=20)
    while server.serve(1):
        pass
    assert numbers(server.done) == [0, 1, 2]


async def test_a_loop_that_decodes_has_another_thread_for_long_pictures():
    beside = Decoders()
    server = Server(beside=beside)
    for number in range(3):
        server.frame(number, budget_ns=20 * BUDGET_NS, decode_ms=50)
    for number in range(3, 6):
        server.frame(number, decode_ms=1)
    assert len(beside.held) == 1, "one at a time"
    while server.serve(1):
        pass
    assert numbers(server.done) == [3, 4, 5], "none has waited for a long one"
    while beside.run():
        pass
    assert numbers(server.done) == [3, 4, 5, 0, 1, 2]
    await asyncio.sleep(0)
    assert not server.given_up


async def test_a_long_picture_beside_the_loop_makes_no_other_frame_late():
    server = await learned(Server(beside=Decoders()), ms=2)
    for number in range(4):
        server.frame(number, budget_ns=20 * BUDGET_NS, decode_ms=100)
    for number in range(4, 12):
        server.frame(number, decode_ms=1)
    await asyncio.sleep(0)
    assert not server.given_up
    for number in range(12, 15):
        server.frame(number, decode_ms=100)
    await asyncio.sleep(0)
    given_up = {record.decode_forecast_ns for record in server.given_up}
    assert given_up == {100 * MS}, "of the long ones not all can be in time"


async def test_a_long_picture_is_taken_back_from_the_other_thread_too():
    beside = Decoders()
    server = Server(beside=beside)
    first, second = (server.frame(number, decode_ms=20) for number in range(2))
    assert server.queue.take_back(first)
    assert beside.run() is second


async def test_a_forecast_that_is_far_too_long_is_corrected():
    server = await learned(Server(), ms=40)
    assert server.queue.frame_ns > 30 * MS
    for number in range(600):
        server.frame(number)
        server.frame(number)
        server.serve(1)
        await asyncio.sleep(0)
    assert server.queue.frame_ns < 2 * MS


async def test_what_waited_out_a_stall_is_given_up_and_the_next_frames_are_in_time():
    server = await learned(Server(), ms=1)
    for number in range(20):
        server.frame(number)
    server.now_ns += 300 * MS
    server.executor.run()
    await asyncio.sleep(0)
    assert len(server.given_up) == 19, "all but the one that was with the decoder"
    for number in range(20):
        server.frame(100 + number)
    while server.serve(1):
        pass
    await asyncio.sleep(0)
    assert len(server.given_up) == 19


async def test_a_frame_is_taken_back_until_its_decoding_begins():
    server = Server()
    first, second, third = (server.frame(number) for number in range(3))
    assert server.queue.take_back(second)
    assert not server.queue.take_back(second)
    assert server.queue.take_back(first), "it is with the decoder, which has not begun"
    assert server.serve(1) is third
    assert not server.queue.take_back(third)
    assert numbers(server.done) == [2]
    assert not server.given_up


@pytest.mark.parametrize("is_taken_back", [False, True])
async def test_a_frame_that_has_left_waits_for_no_collection_of_garbage(is_taken_back):
    server = Server()

    def decode(record):
        record.decode_ns = MS // 2

    record, there = FrameRecord(0, 0, None, None, 0), weakref.ref(decode)
    record.turn_ns = record.start_by_ns = server.now_ns + BUDGET_NS
    gc.disable()
    try:
        server.queue.put(record, decode, server._done, server._give_up)
        del decode
        assert there() is not None
        if is_taken_back:
            assert server.queue.take_back(record)
        server.executor.run()
        assert there() is None
    finally:
        gc.enable()


async def test_a_fault_of_the_decoder_is_handed_on_and_the_next_frame_is_decoded():
    server = Server()

    def fails(record):
        raise ValueError("broken")

    server._decode = fails
    server.frame(0)
    server.frame(1)
    server.serve(1)
    server.serve(1)
    assert [str(error) for error in server.errors] == ["broken", "broken"]


async def test_a_decoder_in_another_thread_reports_in_the_event_loop():
    server = Server()
    with ThreadPoolExecutor(1) as executor:
        server.queue = DecodeQueue(executor, 1, lambda: server.now_ns)
        for number in range(3):
            server.frame(number)
        await until(lambda: len(server.done) == 3)
    assert numbers(server.done) == [0, 1, 2]
