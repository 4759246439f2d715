"""What open sessions cost: the slopes, and one small run."""

from __future__ import annotations

import argparse

import pytest

from benchmark.commands import growth
from benchmark.errors import BenchmarkError


def point(sessions, cpu_us, resident_mb):
    return {
        "sessions": sessions,
        "frames": 100,
        "missed_percent": 0.0,
        "cpu_us_a_frame": cpu_us,
        "cpu_share": 0.1,
        "resident_mb": resident_mb,
    }


def options(*arguments):
    parser = argparse.ArgumentParser()
    growth.add_arguments(parser)
    return parser.parse_args(arguments)


def test_slopes_are_those_of_the_straight_line():
    points = [point(1, 1000.5, 100.3), point(16, 1008.0, 104.8), point(64, 1032.0, 119.2)]
    assert growth.slopes(points) == {"cpu_us_a_frame": 0.5, "bytes": 300_000}
    table = growth.table({"points": points, "slopes": growth.slopes(points)})
    assert "adds 0.50 us to a frame, and 300 kB of memory" in table
    assert table.count("| 100 |") == 3


def test_one_number_of_sessions_has_no_slope():
    found = growth.slopes([point(4, 1000.0, 100.0)])
    assert found == {"cpu_us_a_frame": None, "bytes": None}
    assert "adds" not in growth.table({"points": [point(4, 1000.0, 100.0)], "slopes": found})


def test_a_server_elsewhere_is_refused(server):
    with pytest.raises(BenchmarkError, match="leave out --target"):
        growth.run(options("--target", server.address, "--size", "64x48", "--seconds", "0.2"))


def test_a_server_is_measured_with_more_and_more_sessions(bundle_path):
    small = ("--model", str(bundle_path), "--sessions", "3,1", "--size", "64x48")
    found = growth.run(options(*small, "--seconds", "0.5", "--budget-ms", "2000"))
    assert [each["sessions"] for each in found["points"]] == [1, 3]
    assert all(each["frames"] and each["resident_mb"] > 20 for each in found["points"])
