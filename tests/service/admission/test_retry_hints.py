"""Who was refused comes back when it was told to; a newcomer never waits."""

from __future__ import annotations

from steerstream_service.admission.retry_hints import RetryHints

MS, S = 1_000_000, 1_000_000_000


def test_a_newcomer_does_not_wait():
    hints = RetryHints()
    hints.refused("other", 0)
    assert hints.early_ns("car", 1) == 0


def test_a_vehicle_that_comes_too_soon_waits_until_its_time():
    hints = RetryHints()
    hint_ms = hints.refused("car", 5 * S)
    assert 1000 <= hint_ms <= 2000
    assert hints.early_ns("car", 5 * S + 10 * MS) == (hint_ms - 10) * MS


def test_a_vehicle_that_heeds_the_hint_does_not_wait():
    hints = RetryHints()
    hint_ms = hints.refused("car", 0)
    assert hints.early_ns("car", hint_ms * MS) == 0


def test_a_crowd_is_spread_over_time_and_a_large_one_over_more():
    small, large = RetryHints(), RetryHints()
    hints = [small.refused(f"car-{n}", 0) for n in range(50)]
    assert len(set(hints)) > 25
    assert max(hints) <= 2000
    hints = [large.refused(f"car-{n}", 0) for n in range(1000)]
    assert max(hints) <= 10_000
    assert min(hints[-100:]) >= 7500
    assert len(set(hints[-100:])) > 50, "nor does a crowd that gets the longest come together"


def test_a_server_that_drives_few_vehicles_refuses_fewer():
    """Three vehicles at 20 Hz leave 15 refusals a second, and none at all leaves 10."""
    hints = RetryHints()
    told = [hints.refused(f"car-{n}", 0, frames_hz=60.0) for n in range(46)]
    assert told[0] <= 2000
    assert 3000 <= told[-1] <= 6000
    assert 4600 <= hints.refused("car-46", 0, frames_hz=0.0) <= 9200
    assert hints.refused("car-47", 0, frames_hz=2000.0) <= 2000


def test_those_whose_time_has_come_are_forgotten():
    hints = RetryHints()
    for second in range(100):
        hints.refused(f"car-{second}", second * 2 * S)
    assert len(hints._until_ns) <= 2


def test_a_crowd_without_end_takes_no_memory_without_end():
    hints = RetryHints()
    for index in range(12_000):
        hints.refused(f"car-{index}", 0)
    assert len(hints._until_ns) == 10_000
