"""Vehicles under a load against a real server: what is sent, counted, refused and ended."""

from __future__ import annotations

import pytest

from benchmark.errors import BenchmarkError
from benchmark.loadgen.open_loop import Load, Retry
from benchmark.loadgen.tally import STAGES


def quick(pictures, **changes):
    values = {"vehicles": 2, "rate_hz": 20.0, "seconds": 0.5, "warm_up_s": 0.2}
    values |= {"budget_ms": 2_000.0, "pictures": pictures}
    return Load(**values | changes)


def test_every_frame_that_was_due_is_sent_and_counted_once(server, generators, pictures):
    tally = generators.run(server.address, quick(pictures, vehicles=3))
    assert tally.opened == 3
    assert tally.frames == 3 * 10
    assert tally.commands == tally.frames - tally.skipped.total()
    assert tally.unanswered == 0
    assert not tally.refused
    assert not tally.ended
    assert all(tally.stages[stage].count == tally.commands for stage in STAGES)
    assert tally.sent_late.count == tally.frames
    assert tally.client_cpu > 0


def test_a_vehicle_without_a_slot_is_refused_and_sends_nothing(server, generators, pictures):
    tally = generators.run(server.address, quick(pictures, vehicles=7))
    assert (tally.opened, tally.refused.total()) == (4, 3)
    assert tally.refusal.count == 3
    assert tally.frames == 4 * 10


@pytest.mark.parametrize("retry", [Retry.AFTER_HINT, Retry.AT_ONCE])
def test_a_refused_vehicle_asks_again(server, generators, pictures, retry):
    tally = generators.run_all(
        server.address, [quick(pictures, vehicles=5, seconds=2.5, retry=retry)]
    )
    assert 4 <= tally[0].opened <= 5
    assert tally[0].refused.total() >= 2


def test_sessions_come_and_go_and_leave_no_slot_taken(server, generators, pictures):
    churn = quick(pictures, vehicles=4, seconds=1.0, lifetime_s=0.2, vanishing=0.5)
    tally = generators.run(server.address, churn)
    assert tally.opened > 4
    assert tally.unanswered == 0
    again = generators.run(server.address, quick(pictures, vehicles=4))
    assert again.opened == 4


def test_a_server_that_is_not_there_is_one_clear_error(generators, pictures):
    with pytest.raises(BenchmarkError, match="no server at"):
        generators.run("127.0.0.1:9", quick(pictures, vehicles=1))
