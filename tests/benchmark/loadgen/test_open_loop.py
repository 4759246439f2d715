"""What vehicles of the open loop count, on a server that answers, stalls, refuses or ends."""

from __future__ import annotations

import dataclasses
import itertools

from benchmark.loadgen.open_loop import Load, Retry, run
from benchmark.loadgen.picture_set import PictureSet
from tests.benchmark.loadgen.fake_transport import FakeTransport

PICTURES = PictureSet(pictures=(b"a", b"b"))


LOAD = Load(
    vehicles=1, rate_hz=100.0, seconds=0.3, budget_ms=10_000.0, pictures=PICTURES, warm_up_s=0.1
)


def load(**changes):
    return dataclasses.replace(LOAD, **changes)


async def test_a_camera_ticks_evenly_and_every_frame_in_the_window_counts():
    server = FakeTransport()
    tally = await run(server, load())
    (stream,) = server.streams
    numbers, pictures, times_ns = zip(*stream.sent, strict=True)
    assert numbers == tuple(range(len(numbers)))
    assert pictures == numbers
    gaps_ns = {later - earlier for earlier, later in itertools.pairwise(times_ns)}
    assert max(abs(gap - 10_000_000) for gap in gaps_ns) <= 10
    assert tally.frames == tally.commands == 30
    assert len(numbers) >= 30
    assert stream.end == "closed"


async def test_the_server_is_asked_for_the_budget_without_the_network():
    server = FakeTransport()
    await run(server, load(budget_ms=50.0, network_ms=5.0, declared_rate_hz=20.0))
    (terms,) = server.terms
    assert (terms.budget_ms, terms.rate_hz, terms.every) == (45.0, 20.0, False)


async def test_frames_that_the_transport_does_not_take_are_due_and_unanswered():
    server = FakeTransport(takes=12)
    tally = await run(server, load(patience_s=0.0, budget_ms=1.0))
    assert tally.frames == 30
    assert tally.unanswered >= 30 - 12
    assert tally.sent_late.count == tally.frames
    assert server.streams[0].end == "aborted"


async def test_frames_without_an_answer_are_waited_for_and_then_unanswered():
    server = FakeTransport(answers=0)
    tally = await run(server, load(patience_s=0.01, budget_ms=1.0))
    assert (tally.frames, tally.commands, tally.unanswered) == (30, 0, 30)
    assert server.streams[0].end == "aborted"


async def test_a_frame_that_a_full_server_does_not_want_is_a_miss():
    server = FakeTransport(wants_each=2)
    tally = await run(server, load(patience_s=0.0))
    assert (tally.frames, tally.unanswered) == (30, 0)
    assert tally.skipped == {"HELD_BACK": 15}
    assert tally.commands == 15
    assert tally.missed == 15


async def test_a_session_that_is_ended_has_no_frames_after_its_end():
    server = FakeTransport(ends_after=20)
    tally = await run(server, load())
    assert tally.ended == {"SHED": 1}
    assert tally.opened == 1
    assert tally.frames <= 20
    assert len(server.streams) == 1


async def test_a_vehicle_that_is_told_to_tries_again_after_the_hint():
    server = FakeTransport(refusals=2)
    tally = await run(server, load(retry=Retry.AFTER_HINT))
    assert tally.refused == {"TOO_MANY_SESSIONS": 2}
    assert (tally.refusal.count, tally.held_back.count) == (2, 0)
    assert tally.opened == 1


async def test_a_vehicle_that_does_not_wait_is_counted_apart():
    server = FakeTransport(refusals=3)
    tally = await run(server, load(retry=Retry.AT_ONCE))
    assert (tally.refusal.count, tally.held_back.count, tally.opened) == (1, 2, 1)


async def test_vehicles_that_vanish_wait_for_no_answer():
    server = FakeTransport(answers=0)
    tally = await run(server, load(lifetime_s=0.05, vanishing=1.0, seconds=0.2))
    assert tally.unanswered == 0
    # One that opens when a machine that stood still goes on, after the window, does not count.
    assert len(server.streams) - 1 <= tally.opened <= len(server.streams)
    assert {stream.end for stream in server.streams} == {"aborted"}
