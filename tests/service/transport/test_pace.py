"""How fast one connection may begin calls."""

from __future__ import annotations

from steerstream_service.transport import pace as module
from steerstream_service.transport.pace import Pace

MS, S = 1_000_000, 1_000_000_000


def test_a_burst_goes_on_at_once_and_then_calls_wait_their_turn():
    pace = Pace(10.0, 3)
    assert [pace.wait_ns("a", S) for _ in range(5)] == [0, 0, 0, 100 * MS, 200 * MS]
    assert pace.wait_ns("b", S) == 0, "another connection has a pace for itself"


def test_a_call_that_would_wait_for_more_than_a_second_is_refused_and_counts_for_nothing():
    pace = Pace(10.0, 1)
    waits = [pace.wait_ns("a", S) for _ in range(100)]
    assert waits[:11] == [100 * MS * turn for turn in range(11)]
    assert waits[11:] == [None] * 89
    assert pace.wait_ns("a", S + 100 * MS) == S


def test_a_quiet_connection_has_its_burst_again():
    pace = Pace(10.0, 3)
    for _ in range(3):
        pace.wait_ns("a", S)
    assert [pace.wait_ns("a", 2 * S) for _ in range(4)] == [0, 0, 0, 100 * MS]


def test_connections_without_end_take_no_more_memory(monkeypatch):
    monkeypatch.setattr(module, "_REMEMBERED", 10)
    pace = Pace(10.0, 1)
    for number in range(1000):
        assert pace.wait_ns(str(number), S) == 0
        assert pace.wait_ns("busy", S + number * 100 * MS) == 0
    assert len(pace._due_ns) == 10
