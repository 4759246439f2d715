from __future__ import annotations

import argparse

import pytest

from benchmark.commands import environment


def options(*arguments: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    environment.add_arguments(parser)
    return parser.parse_args(["--seconds", "0.2", *arguments])


@pytest.mark.parametrize("mode", ["sync", "async"])
def test_each_number_of_environments_is_stepped(mode):
    results = environment.run(
        options("--modes", mode, "--counts", "2,1", "--width-px", "160", "--height-px", "120")
    )
    assert results["size_px"] == [160, 120]
    points = results["points"]
    assert [(point["mode"], point["environments"]) for point in points] == [(mode, 1), (mode, 2)]
    assert all(point["steps_per_s"] > 0 for point in points)


def test_the_table_shows_each_number():
    points = [{"mode": "async", "environments": 4, "steps_per_s": 1234.5}]
    assert "| async | 4 | 1,23" in environment.table({"size_px": [320, 240], "points": points})
