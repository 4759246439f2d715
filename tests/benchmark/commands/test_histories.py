"""The command that runs simulated histories, and what it says of them."""

from __future__ import annotations

import argparse

from benchmark.commands import histories


def test_it_runs_histories_says_how_far_it_is_and_counts_what_they_broke(capfd):
    results = histories.run(argparse.Namespace(histories=2, seed=3))
    assert results["broken"] == {}
    assert results["frames"] > 50
    assert "1/1 chunks of 100 histories" in capfd.readouterr().err
    table = histories.table(results)
    assert table.splitlines()[-1].startswith(f"| 2 | {results['frames']} | 0 | none |")


def test_seeds_that_broke_a_promise_are_named():
    results = {"histories": 9, "frames": 1, "broken": {"3": ["a"], "5": ["b"]}, "cpu_s": 60.0}
    assert "| 9 | 1 | 2 | 3, 5 | 1.0 min |" in histories.table(results)
