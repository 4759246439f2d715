"""The ratio comes from the rounds in which both servers had time for their frames."""

from __future__ import annotations

from benchmark.commands.tls import judged


def one(plain_us, tls_us, *, missed=0.0):
    return {
        "plain": {"cpu_us": plain_us, "missed_percent": 0.0},
        "tls": {"cpu_us": tls_us, "missed_percent": missed},
    }


def test_a_round_with_many_misses_does_not_count():
    rounds = [one(90.0, 100.0), one(80.0, 100.0, missed=30.0), one(92.0, 100.0), one(94.0, 100.0)]
    assert judged(rounds) == {"undisturbed": 3, "ratio": 0.92}


def test_where_all_were_disturbed_all_count_and_it_says_so():
    rounds = [one(90.0, 100.0, missed=30.0), one(80.0, 100.0, missed=30.0)]
    assert judged(rounds) == {"undisturbed": 0, "ratio": 0.85}
