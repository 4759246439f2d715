"""Vehicles under a load against a real server: what is sent, counted, refused and ended."""

from __future__ import annotations

import pytest

from benchmark.errors import BenchmarkError
from benchmark.loadgen import requests
from benchmark.loadgen.closed_loop import ClosedLoop
from benchmark.loadgen.flood import Flood
from benchmark.loadgen.open_loop import Load, Retry
from benchmark.loadgen.stream import Connection
from benchmark.loadgen.tally import STAGES
from steerstream.v1 import drive_service_pb2


def quick(images, **changes):
    values = {"vehicles": 2, "rate_hz": 20.0, "seconds": 0.5, "warm_up_s": 0.2}
    values |= {"budget_ms": 2_000.0, "images": images}
    return Load(**values | changes)


def test_a_prepared_request_is_the_message_that_the_contract_means(images):
    request = drive_service_pb2.DriveRequest.FromString(
        requests.frame_request(images[0], 300, 1 << 60)
    )
    assert (request.frame.sequence_number, request.frame.capture_time_ns) == (300, 1 << 60)
    assert (request.frame.rgb8.width_px, request.frame.rgb8.height_px) == (64, 48)
    assert len(request.frame.rgb8.pixels) == 3 * 64 * 48


def test_every_frame_that_was_due_is_sent_and_counted_once(server, generators, images):
    tally = generators.run(server.address, quick(images, vehicles=3))
    assert tally.opened == 3
    assert tally.frames == 3 * 10
    assert tally.commands == tally.frames - tally.skipped.total()
    assert tally.unanswered == 0
    assert not tally.refused
    assert not tally.ended
    assert all(tally.stages[stage].count == tally.commands for stage in STAGES)
    assert tally.sent_late.count == tally.frames
    assert tally.client_cpu > 0


def test_who_finds_no_slot_is_refused_and_sends_nothing(server, generators, images):
    tally = generators.run(server.address, quick(images, vehicles=7))
    assert (tally.opened, tally.refused.total()) == (4, 3)
    assert tally.refusal.count == 3
    assert tally.frames == 4 * 10


@pytest.mark.parametrize("retry", [Retry.AFTER_HINT, Retry.AT_ONCE])
def test_who_was_refused_asks_again(server, generators, images, retry):
    tally = generators.run_all(
        server.address, [quick(images, vehicles=5, seconds=2.5, retry=retry)]
    )
    assert 4 <= tally[0].opened <= 5
    assert tally[0].refused.total() >= 2


def test_sessions_come_and_go_and_leave_no_slot_taken(server, generators, images):
    churn = quick(images, vehicles=4, seconds=1.0, lifetime_s=0.2, vanishing=0.5)
    tally = generators.run(server.address, churn)
    assert tally.opened > 4
    assert tally.unanswered == 0
    again = generators.run(server.address, quick(images, vehicles=4))
    assert again.opened == 4


def test_a_closed_loop_has_one_frame_under_way_each(server, generators, images):
    job = ClosedLoop(sessions=2, seconds=0.3, images=images, warm_up_s=0.1)
    (tally,) = generators.run_all(server.address, [job])
    assert tally.opened == 2
    assert tally.commands == tally.frames > 2


def test_a_flood_gets_answers_and_an_end(server, generators, images):
    (tally,) = generators.run_all(server.address, [Flood(seconds=0.3, images=images)])
    assert tally.frames > 0
    assert tally.commands > 0


def test_a_server_that_is_not_there_is_one_clear_error(generators, images):
    with pytest.raises(BenchmarkError, match="no server at"):
        generators.run("127.0.0.1:9", quick(images, vehicles=1))


async def test_notices_are_no_answers(server, images):
    async with Connection(server.address) as connection:
        stream = await connection.open(
            requests.open_request("one", budget_ms=1_000.0, rate_hz=20.0)
        )
        await stream.send(requests.frame_request(images[0], 0, 1))
        response = await anext(stream.answers())
        assert response.command.sequence_number == 0
        await stream.finish()
        assert await stream.receive() is None
