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
    assert hints[-1] >= 9000
    assert max(hints) == 10_000


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
