"""The comparison's options, and one peer run for real: the one that needs nothing installed."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import pytest

from benchmark.commands import peers
from benchmark.errors import BenchmarkError
from benchmark.peers import judge


def options(*arguments: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    peers.add_arguments(parser)
    parser.add_argument("--json", type=Path)
    return parser.parse_args(arguments)


def test_a_failed_peer_has_a_row_without_figures() -> None:
    text = peers.table({"peers": {"triton": {"failed": "wrong state: session 3"}}})
    assert "no figures: wrong state: session 3" in text


def test_names_that_do_not_exist_are_one_clear_error(bundle_path: Path) -> None:
    with pytest.raises(BenchmarkError, match="there are: steerstream, "):
        peers.run(options("--model", str(bundle_path), "--peers", "tritn"))
    with pytest.raises(BenchmarkError, match="there are: throughput"):
        peers.run(options("--model", str(bundle_path), "--phases", "speed"))


def test_the_thread_pool_is_measured_for_real(bundle_path: Path, tmp_path: Path) -> None:
    file = tmp_path / "peers.json"
    held = {"openpi": {"start_s": 1.0}, "threads-ort": {"vanish": {}}}
    file.write_text(json.dumps({"results": {"peers": held}}))
    given = ("--peers", "threads-ort", "--phases", "throughput,overload", "--quick", "--merge")
    files = ("--json", str(file), "--data", str(tmp_path))
    found = peers.run(options("--model", str(bundle_path), *given, *files))
    assert found["failed"] == []
    assert found["peers"]["openpi"] == {"start_s": 1.0}
    figures = found["peers"]["threads-ort"]
    assert figures["vanish"] == {}
    assert figures["state_check"]["ok"]
    assert figures["state_check"]["largest_difference"] < judge.TOLERANCE
    assert set(figures["throughput"]["rgb8"]) == {"1", "8", "32"}
    one = figures["throughput"]["rgb8"]["1"]
    assert one["ratio"] == pytest.approx(one["fps"] / one["bare_fps"])
    assert figures["overload"]["4"]["sessions"] >= figures["overload"]["2"]["sessions"] >= 1
    assert "thread pool + ONNX Runtime" in peers.table(found)
