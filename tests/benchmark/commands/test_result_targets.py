"""Targets are found in results, and only undisturbed ones are judged."""

from __future__ import annotations

import pytest

from benchmark.commands import result_targets


def result(benchmark, results):
    return {benchmark: {"benchmark": benchmark, "results": results}}


def test_without_admission_goodput_alone_is_judged():
    run = {"hostile": False, "missed_percent": 60.0, "refusal_ms": {"p99": None}}
    runs = [run | {"factor": 1, "goodput_fps": 200.0}, run | {"factor": 4, "goodput_fps": 190.0}]
    table = result_targets.table(result("overload", {"runs": runs}))
    assert "| overload, 4 times: goodput of peak | at least 90 % | 95 % | reached |" in table
    assert len(table.splitlines()) == 3


def test_overload_is_judged_at_its_worst():
    run = {"hostile": False, "missed_percent": 0.0, "refusal_ms": {"p99": 3.0}}
    runs = [run | {"factor": 1, "goodput_fps": 200.0}, run | {"factor": 4, "goodput_fps": 150.0}]
    table = result_targets.table(result("overload", {"runs": runs}))
    assert "| overload, 4 times: goodput of peak | at least 90 % | 75 % | **short** |" in table
    assert "1 times" not in table


def test_a_stall_is_judged_by_its_median_and_by_its_largest():
    found = {"stall_ms": 300.0, "median_ms": 50.0, "largest_ms": None}
    table = result_targets.table(result("stall", found))
    what = "stall, 300 ms: until all frames are in time again"
    assert f"| {what}, median | at most 500 ms | 50 ms | reached |" in table
    assert f"| {what}, largest | at most 500 ms | inf ms | **short** |" in table


def test_a_failover_of_triton_alone_has_no_targets():
    assert "failover" not in result_targets.table(result("failover", {"triton": {}}))


def test_tls_is_judged_by_its_ratio():
    table = result_targets.table(result("tls", {"ratio": 0.93}))
    assert "| tls: vehicles with TLS / in plain text | at least 0.9 | 0.93 | reached |" in table


def test_histories_are_judged_by_what_they_broke_and_by_their_time():
    found = {"histories": 10_000, "broken": {"7": ["why"]}, "cpu_s": 500.0}
    table = result_targets.table(result("histories", found))
    assert "| histories, 10,000 histories: broken | at most 0 | 1 | **short** |" in table
    assert "each, on one core | at most 60 ms | 50 ms | reached |" in table


@pytest.mark.parametrize(("frames", "aim"), [(199_999, "0.01"), (200_000, "0.001")])
def test_a_long_run_may_miss_less_than_a_short_one(frames, aim):
    trip = {"round_trip": {"p50": 2.0, "p99": 4.0}}
    share = {"missed_percent": 0.002, "latency_ms": trip, "frames": frames}
    table = result_targets.table(result("capacity", {"at_80_percent": share}))
    assert f"| capacity, at 80 %: misses | at most {aim} % | 0.002 % |" in table


def carrying(vehicles, **more):
    return {"capacity": {"vehicles": vehicles}} | more


def test_capacities_are_compared_as_shipped_like_for_like_and_with_an_earlier_revision():
    peers = {
        "steerstream-earlier": carrying(20, paced={"1": {"p50_ms": 4.0}}),
        "steerstream": carrying(36, paced={"1": {"p50_ms": 2.0}}),
        "steerstream-view": carrying(60, bytes_a_frame=6_600),
        "triton": carrying(24),
        "triton-int8": carrying(30),
        "openpi-int8": carrying(40),
        "openpi": {},
    }
    table = result_targets.table(result("peers", {"peers": peers}))
    for row in (
        "with the view, times those of Triton | at least 2 | 2.5 | reached |",
        "with whole pictures, times those of Triton | at least 1.3 | 1.5 | reached |",
        "of the best peer with our 8 bits | at least 1.05 | 0.9 | **short** |",
        "with whole pictures, times those of the earlier revision | at least 1.6 | 1.8 | reached |",
        "with the view, times those of the earlier revision | at least 2.4 | 3 | reached |",
        "p50 of one vehicle, times that of the earlier revision | at most 0.6 | 0.5 | reached |",
        "a frame of the view | at most 8 kB | 6.6 kB | reached |",
    ):
        assert row in table
    assert "times those of openpi" not in table, "it was not measured"


def attacked(name, **changes):
    found = {"attack": name, "slots_lost": 0, "is_shut_out": False, "shut_out": {}}
    found |= {"health_failed": {}, "health_ms": {"p99": 5.0}, "vehicle": {"missed_percent": 0.0}}
    found |= {
        "memory_mb": {"before": 100.0, "peak": 400.0, "after": 110.0},
        "room_at_rate": [16, 15],
    }
    return found | changes


def test_attacks_are_judged_by_their_sum_and_by_their_worst():
    attacks = [
        attacked(
            "a",
            slots_lost=2,
            health_failed={"UNAVAILABLE": 4},
            shut_out={"TIMEOUT": 3},
            health_ms={"p99": 120.0},
        ),
        attacked("b", slots_lost=1, is_shut_out=True, room_at_rate=[16, 4]),
        attacked(
            "c",
            vehicle={"missed_percent": None},
            memory_mb={"before": 1.0, "peak": 6500.0, "after": None},
        ),
    ]
    table = result_targets.table(result("attack", {"attacks": attacks}))
    for row in (
        "all together: slots lost | at most 0 | 3 | **short** |",
        "all together: times the vehicle was shut out | at most 0 | 1 | **short** |",
        "all together: newcomers shut out | at most 0 | 3 | **short** |",
        "all together: failed health probes | at most 0 | 4 | **short** |",
        "worst of 3, c: misses | at most 0.1 % | 100 % | **short** |",
        "worst of 3, a: health p99 | at most 100 ms | 120 ms | **short** |",
        "worst of 3, c: memory after / before | at most 1.3 | inf | **short** |",
        "worst of 3, c: peak of memory | at most 4600 MB | 6.5e+03 MB | **short** |",
        "worst of 3, b: load lost | at most 20 % | 75 % | **short** |",
    ):
        assert row in table


def test_neighbours_are_judged_by_those_that_stay_and_by_the_time_after():
    beside = {"settled": {"missed_percent": 0.5}, "healed_s": 3.0}
    found = result("attack", {"attacks": [], "neighbours": beside})
    table = result_targets.table(found)
    assert "those that stay: misses | at most 0.1 % | 0.5 % | **short** |" in table
    assert "until vehicles are taken again | at most 60 s | 3 s | reached |" in table
