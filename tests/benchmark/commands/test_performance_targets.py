"""Targets are found in results, and only undisturbed ones are judged."""

from __future__ import annotations

from benchmark.commands import performance_targets


def result(benchmark, results):
    return {benchmark: {"benchmark": benchmark, "results": results}}


def test_efficiency_is_judged_by_its_undisturbed_rounds_alone():
    row = {"sessions": 8, "pictures": "raw 200x66", "ratio": 0.96, "p50_ratio": 1.0}
    rows = [row | {"undisturbed": 2}, row | {"undisturbed": 0, "ratio": 0.1}]
    table = performance_targets.table(result("efficiency", rows))
    assert "| efficiency, raw 200x66, 8 sessions: ratio | at least 0.95 | 0.96 | reached |" in table
    assert len(table.splitlines()) == 3


def test_overload_is_judged_at_its_worst():
    run = {"hostile": False, "missed_percent": 0.0, "refusal_ms": {"p99": 3.0}}
    runs = [run | {"factor": 1, "goodput_fps": 200.0}, run | {"factor": 4, "goodput_fps": 150.0}]
    table = performance_targets.table(result("overload", {"runs": runs}))
    assert "| overload, 4 times: goodput of peak | at least 90 % | 75 % | **short** |" in table
    assert "1 times" not in table


def test_the_better_runtime_of_both_servers_is_compared():
    peers = {
        "steerstream": {"capacity": {"vehicles": 15}},
        "steerstream-openvino": {"capacity": {"vehicles": 30}},
        "triton": {"capacity": {"vehicles": 20}},
        "openpi": {},
    }
    table = performance_targets.table(result("peers", {"peers": peers}))
    assert "| at least 1.5 | 1.5 | reached |" in table
